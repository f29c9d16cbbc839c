//! The primitives of our own binary forms, on the wire and on disk: numbers, texts, timestamps.
//!
//! Numbers are unsigned LEB128, texts their length and UTF-8, timestamps two numbers. Reading is bounded by the bytes
//! there are, and answers `None` for anything that a writer would not have written.

use crate::timestamp::Timestamp;

/// Unsigned LEB128.
pub fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub fn text(out: &mut Vec<u8>, value: &str) {
    number(out, value.len() as u64);
    out.extend_from_slice(value.as_bytes());
}

pub fn timestamp(out: &mut Vec<u8>, value: Timestamp) {
    number(out, value.raw());
    number(out, value.offset());
}

/// Where the next field begins.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// Bytes that were not read yet.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    pub fn raw<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*chunk)
    }

    pub fn number(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return None;
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(std::str::from_utf8(text).ok()?.to_owned())
    }

    /// `None`, too, for a moment that no timestamp can say.
    pub fn timestamp(&mut self) -> Option<Timestamp> {
        let raw = self.number()?;
        let is_moment = raw < 10_000_000_000 * crate::timestamp::UNITS_PER_SECOND;
        let offset = self.number()?;
        is_moment.then(|| Timestamp::from_raw(raw).with_offset(offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_reads_back_and_junk_does_not() {
        let mut out = Vec::new();
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX];
        numbers.iter().for_each(|value| number(&mut out, *value));
        text(&mut out, "\u{e4}");
        let at = Timestamp::from_secs(5).with_offset(7);
        timestamp(&mut out, at);
        out.extend_from_slice(b"end");
        let mut from = Reader::new(&out);
        for value in numbers {
            assert_eq!(from.number(), Some(value));
        }
        assert_eq!(from.text().as_deref(), Some("\u{e4}"));
        assert_eq!(from.timestamp(), Some(at));
        assert_eq!((from.raw(), from.left()), (Some(*b"end"), 0));
        assert_eq!((from.byte(), from.number(), from.text()), (None, None, None));
        let too_long = [0xff; 10];
        assert_eq!(Reader::new(&too_long).number(), None);
        assert_eq!(Reader::new(b"\x05abc").text(), None);
        assert_eq!(Reader::new(b"\x01\xff").text(), None);
        let mut never = Vec::new();
        number(&mut never, u64::MAX);
        number(&mut never, 0);
        assert_eq!(Reader::new(&never).timestamp(), None);
    }
}
