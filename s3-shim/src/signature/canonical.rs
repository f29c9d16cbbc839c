//! The exact bytes a signature covers: canonical paths, queries, headers and dates. Pure.

use http::HeaderMap;
use martlet_protocol::date::civil;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// S3 encodes everything but letters, digits and `-._~`; the slash stays in paths only.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// The path as S3 signs it: decoded once and encoded strictly, with no dot segments removed.
pub fn path(raw: &str) -> String {
    let decoded: Vec<u8> = percent_decode(raw.as_bytes()).collect();
    if decoded.is_empty() {
        "/".to_owned()
    } else {
        percent_encode(&decoded, PATH).to_string()
    }
}

/// Decoded pairs of a raw query, in the order they stand. `+` is a space.
pub fn pairs(raw: &str) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    raw.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

fn decode(text: &str) -> Vec<u8> {
    let spaced: Vec<u8> = text
        .bytes()
        .map(|byte| if byte == b'+' { b' ' } else { byte })
        .collect();
    percent_decode(&spaced).collect()
}

/// The query as Signature V4 signs it: encoded strictly, sorted, without the one named pair.
pub fn query(raw: &str, without: Option<&str>) -> String {
    let mut encoded: Vec<(String, String)> = pairs(raw)
        .filter(|(name, _)| without.is_none_or(|without| name != without.as_bytes()))
        .map(|(name, value)| {
            (
                percent_encode(&name, QUERY).to_string(),
                percent_encode(&value, QUERY).to_string(),
            )
        })
        .collect();
    encoded.sort();
    let mut text = String::new();
    for (name, value) in encoded {
        let separator = if text.is_empty() { "" } else { "&" };
        let _ = write!(text, "{separator}{name}={value}");
    }
    text
}

/// One header's values joined by commas, each trimmed and with runs of spaces made one. `None` when absent.
pub fn header_value(headers: &HeaderMap, name: &str) -> Option<Vec<u8>> {
    let mut joined: Option<Vec<u8>> = None;
    for value in headers.get_all(name) {
        let line = joined.get_or_insert_with(Vec::new);
        if !line.is_empty() {
            line.push(b',');
        }
        let mut words = value
            .as_bytes()
            .split(|byte| matches!(byte, b' ' | b'\t'))
            .filter(|word| !word.is_empty());
        if let Some(first) = words.next() {
            line.extend_from_slice(first);
        }
        for word in words {
            line.push(b' ');
            line.extend_from_slice(word);
        }
    }
    joined
}

/// SHA-256 as lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// `20130524T000000Z` as seconds since 1970.
pub fn parse_amz_date(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let number = |range: std::ops::Range<usize>| -> Option<u64> {
        let digits = text.get(range)?;
        if digits.bytes().all(|byte| byte.is_ascii_digit()) {
            digits.parse().ok()
        } else {
            None
        }
    };
    seconds(
        number(0..4)?,
        number(4..6)?,
        number(6..8)?,
        number(9..11)?,
        number(11..13)?,
        number(13..15)?,
    )
}

/// Seconds since 1970 of a moment of the civil calendar in UTC; `None` when there is no such moment.
pub fn seconds(year: u64, month: u64, day: u64, hour: u64, minute: u64, second: u64) -> Option<u64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Years begin in March, so that the leap day is the last of its year.
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let shifted_month = if month <= 2 { month + 9 } else { month - 3 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let days = shifted_year * 365 + shifted_year / 4 - shifted_year / 100 + shifted_year / 400 + day_of_year;
    let secs = (days - 719_468) * 86_400 + hour * 3_600 + minute * 60 + second;
    let (_, real_month, real_day, ..) = civil(secs - second);
    (real_month == month && real_day == day).then_some(secs)
}

/// Seconds since 1970 as `20130524T000000Z`.
pub fn amz_date(secs: u64) -> String {
    let (year, month, day, hour, minute, second) = civil(secs);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded_once_and_encoded_strictly() {
        assert_eq!(path("/a b(c)/%28d%29/%2F+~"), "/a%20b%28c%29/%28d%29//%2B~");
        assert_eq!(path("/a/../b//c/./"), "/a/../b//c/./");
        assert_eq!(path(""), "/");
        assert_eq!(path("/%ff%zz"), "/%FF%25zz");
    }

    #[test]
    fn queries_are_sorted_after_encoding() {
        assert_eq!(query("prefix=J&max-keys=2", None), "max-keys=2&prefix=J");
        assert_eq!(query("lifecycle", None), "lifecycle=");
        assert_eq!(
            query("b=2&a=%7e+x&a=1&X-Amz-Signature=abc", Some("X-Amz-Signature")),
            "a=1&a=~%20x&b=2"
        );
    }

    #[test]
    fn header_values_are_trimmed_and_joined() {
        let mut headers = HeaderMap::new();
        headers.append("my-header", "  a   b  c ".parse().unwrap());
        headers.append("my-header", "d".parse().unwrap());
        assert_eq!(header_value(&headers, "my-header").unwrap(), b"a b c,d");
        assert_eq!(header_value(&headers, "other"), None);
    }

    #[test]
    fn dates_go_both_ways() {
        assert_eq!(parse_amz_date("20130524T000000Z"), Some(1_369_353_600));
        for secs in (0..4_000_000_000u64).step_by(9_876_543) {
            assert_eq!(parse_amz_date(&amz_date(secs)), Some(secs));
        }
        for bad in [
            "",
            "20130524",
            "20130524T000000",
            "20130230T000000Z",
            "20131301T000000Z",
            "2013052 T000000Z",
            "20130524T250000Z",
            "+2130524T000000Z",
            "2013é52T000000Z",
        ] {
            assert_eq!(parse_amz_date(bad), None, "{bad}");
        }
    }
}
