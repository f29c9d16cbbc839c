//! Swift's timestamps: seconds with five decimals, and an optional offset that orders events of one moment.
//!
//! See "Internal timestamps" in Swift's developer documentation (`swift.common.utils.timestamp`).

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Units of `raw` in one second: a timestamp counts hundred-thousandths of a second.
pub const UNITS_PER_SECOND: u64 = 100_000;
/// The largest second Swift can write with ten digits.
const MAX_SECS: u64 = 9_999_999_999;

/// A moment as Swift writes it. Orders first by time, then by offset.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    raw: u64,
    offset: u64,
}

/// The text was not a timestamp in any of Swift's forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimestampError;

impl fmt::Display for TimestampError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a timestamp")
    }
}

impl std::error::Error for TimestampError {}

impl Timestamp {
    /// Before everything; Swift's "0000000000.00000".
    pub const ZERO: Timestamp = Timestamp { raw: 0, offset: 0 };

    /// From hundred-thousandths of a second since 1970. Values past ten digits of seconds are cut to the largest.
    pub fn from_raw(raw: u64) -> Self {
        Timestamp {
            raw: raw.min(MAX_SECS * UNITS_PER_SECOND + UNITS_PER_SECOND - 1),
            offset: 0,
        }
    }

    /// From whole seconds since 1970.
    pub fn from_secs(secs: u64) -> Self {
        Self::from_raw(secs.saturating_mul(UNITS_PER_SECOND))
    }

    /// The same moment with another offset.
    pub fn with_offset(self, offset: u64) -> Self {
        Timestamp {
            raw: self.raw,
            offset,
        }
    }

    /// Hundred-thousandths of a second since 1970.
    pub fn raw(self) -> u64 {
        self.raw
    }

    /// The offset that orders events of one moment; 0 for ordinary requests.
    pub fn offset(self) -> u64 {
        self.offset
    }

    /// Whole seconds since 1970, rounded down.
    pub fn secs(self) -> u64 {
        self.raw / UNITS_PER_SECOND
    }

    /// Whole seconds since 1970, rounded up: what `Last-Modified` shows.
    pub fn ceil_secs(self) -> u64 {
        self.raw.div_ceil(UNITS_PER_SECOND)
    }

    /// The next moment.
    pub fn next(self) -> Self {
        Self::from_raw(self.raw + 1)
    }

    /// True for [`Timestamp::ZERO`].
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// `1234567890.12345`: what clients see in `X-Timestamp`.
    pub fn normal(self) -> String {
        let mut out = String::with_capacity(16);
        self.push_normal(&mut out);
        out
    }

    fn push_normal(self, out: &mut String) {
        let mut digits = [b'0'; 16];
        let mut value = self.raw;
        for at in (0..16).rev() {
            if at == 10 {
                digits[at] = b'.';
                continue;
            }
            digits[at] = b'0' + (value % 10) as u8;
            value /= 10;
        }
        out.push_str(std::str::from_utf8(&digits).expect("digits and a point"));
    }

    /// The form between servers: normal, with `_%016x` when the offset is not 0.
    pub fn internal(self) -> String {
        let mut out = String::with_capacity(33);
        self.push_normal(&mut out);
        if self.offset != 0 {
            out.push_str(&format!("_{:016x}", self.offset));
        }
        out
    }

    /// `2026-11-23T23:41:06.123450`: the form of `last_modified` in listings (UTC, without a zone, as Swift).
    pub fn isoformat(self) -> String {
        let micros = (self.raw % UNITS_PER_SECOND) * 10;
        let (year, month, day, hour, minute, second) = crate::date::civil(self.secs());
        // By hand: a listing of ten thousand rows has as many of these.
        let mut out = *b"0000-00-00T00:00:00.000000";
        let mut put = |end: usize, digits: usize, mut value: u64| {
            for at in (end - digits..end).rev() {
                out[at] = b'0' + (value % 10) as u8;
                value /= 10;
            }
        };
        put(4, 4, year);
        put(7, 2, month);
        put(10, 2, day);
        put(13, 2, hour);
        put(16, 2, minute);
        put(19, 2, second);
        put(26, 6, micros);
        String::from_utf8(out.to_vec()).expect("digits and marks")
    }

    /// HTTP date of the moment, seconds rounded up.
    pub fn http_date(self) -> String {
        crate::date::format_http_date(self.ceil_secs())
    }

    /// Reads normal, internal and short forms (`1234567890`, `1234567890.5`).
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        let (time, offset) = match text.split_once('_') {
            Some((time, offset)) => {
                if offset.is_empty() || offset.len() > 16 || !offset.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(TimestampError);
                }
                (time, u64::from_str_radix(offset, 16).map_err(|_| TimestampError)?)
            }
            None => (text, 0),
        };
        let (whole, fraction) = time.split_once('.').unwrap_or((time, "0"));
        if whole.is_empty() || whole.len() > 10 || fraction.is_empty() || fraction.len() > 20 {
            return Err(TimestampError);
        }
        if !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
            return Err(TimestampError);
        }
        let secs: u64 = whole.parse().map_err(|_| TimestampError)?;
        let mut units = 0;
        let mut bytes = fraction.bytes();
        for _ in 0..5 {
            units = units * 10 + bytes.next().map_or(0, |b| u64::from(b - b'0'));
        }
        Ok(Timestamp {
            raw: secs * UNITS_PER_SECOND + units,
            offset,
        })
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        Self::parse(text)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.internal())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.internal())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.internal())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Timestamp::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_read_back_and_order() {
        for (text, normal) in [
            ("1234567890.12345", "1234567890.12345"),
            ("1234567890", "1234567890.00000"),
            ("12.5", "0000000012.50000"),
            ("0000000001.123456789", "0000000001.12345"),
        ] {
            assert_eq!(Timestamp::parse(text).unwrap().normal(), normal, "{text}");
        }
        let offset = Timestamp::parse("1234567890.12345_00000000000000aa").unwrap();
        assert_eq!(offset.offset(), 0xaa);
        assert_eq!(offset.internal(), "1234567890.12345_00000000000000aa");
        assert!(offset > Timestamp::parse("1234567890.12345").unwrap());
        assert!(offset < Timestamp::parse("1234567890.12346").unwrap());
    }

    #[test]
    fn bad_forms_are_refused() {
        for text in [
            "",
            "abc",
            "-1",
            "1.",
            ".5",
            "12345678901",
            "1.5_",
            "1.5_xyz",
            "1_00000000000000000",
            "1e9",
            "nan",
        ] {
            assert!(Timestamp::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn dates_round_up() {
        let t = Timestamp::parse("0000000000.00001").unwrap();
        assert_eq!(t.http_date(), "Thu, 01 Jan 1970 00:00:01 GMT");
        assert_eq!(
            Timestamp::parse("1402440467.05458").unwrap().isoformat(),
            "2014-06-10T22:47:47.054580"
        );
    }
}
