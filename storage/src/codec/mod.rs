//! The bytes of index values: written by hand, versioned, each closed by a CRC over its key and itself.
//!
//! Invariants: a value read under another key, cut short or with a flipped bit is [`Damaged`], never a panic; a reader
//! accepts exactly what a writer of the same version wrote. `docs/on-disk.md` has the layout byte by byte.

pub(crate) mod container;
pub(crate) mod fingerprint;
pub(crate) mod keys;
pub(crate) mod object;
pub(crate) mod row;
pub(crate) mod sync;
pub(crate) mod update;

use martlet_protocol::packed::{self, Reader};
use martlet_protocol::timestamp::Timestamp;

/// The value is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damaged;

type Decoded<T> = Result<T, Damaged>;

/// Builds a value.
pub(crate) struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    /// Starts a value with its format version.
    pub(crate) fn new(version: u8, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.push(version);
        Encoder { bytes }
    }

    pub(crate) fn byte(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(crate) fn raw(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
    }

    /// Unsigned LEB128.
    pub(crate) fn number(&mut self, value: u64) {
        packed::number(&mut self.bytes, value);
    }

    /// Zigzag, then LEB128.
    pub(crate) fn signed(&mut self, value: i64) {
        self.number(((value << 1) ^ (value >> 63)) as u64);
    }

    pub(crate) fn text(&mut self, value: &str) {
        packed::text(&mut self.bytes, value);
    }

    pub(crate) fn timestamp(&mut self, value: Timestamp) {
        packed::timestamp(&mut self.bytes, value);
    }

    /// 0, or 1 and the number.
    pub(crate) fn option(&mut self, value: Option<u64>) {
        match value {
            None => self.byte(0),
            Some(value) => {
                self.byte(1);
                self.number(value);
            }
        }
    }

    /// An MD5 in lower-case hexadecimal shrinks to 17 bytes; any other text is kept as it is.
    pub(crate) fn etag(&mut self, etag: &str) {
        match md5_bytes(etag) {
            Some(md5) => {
                self.byte(1);
                self.raw(&md5);
            }
            None => {
                self.byte(0);
                self.text(etag);
            }
        }
    }

    pub(crate) fn pairs(&mut self, pairs: &[(String, String)]) {
        self.number(pairs.len() as u64);
        for (name, value) in pairs {
            self.text(name);
            self.text(value);
        }
    }

    /// Closes the value with the CRC over `key` and everything before.
    pub(crate) fn seal(mut self, key: &[u8]) -> Vec<u8> {
        let crc = seal_crc(key, &self.bytes);
        self.raw(&crc.to_le_bytes());
        self.bytes
    }
}

/// Reads a value.
pub(crate) struct Decoder<'a> {
    from: Reader<'a>,
}

impl<'a> Decoder<'a> {
    /// Checks the CRC and the version, and stands at the first field.
    pub(crate) fn open(key: &[u8], value: &'a [u8], version: u8) -> Decoded<Self> {
        let (body, crc) = value.split_last_chunk::<4>().ok_or(Damaged)?;
        if seal_crc(key, body) != u32::from_le_bytes(*crc) {
            return Err(Damaged);
        }
        match body.split_first() {
            Some((found, rest)) if *found == version => Ok(Decoder {
                from: Reader::new(rest),
            }),
            _ => Err(Damaged),
        }
    }

    pub(crate) fn byte(&mut self) -> Decoded<u8> {
        self.from.byte().ok_or(Damaged)
    }

    pub(crate) fn raw<const N: usize>(&mut self) -> Decoded<[u8; N]> {
        self.from.raw().ok_or(Damaged)
    }

    pub(crate) fn number(&mut self) -> Decoded<u64> {
        self.from.number().ok_or(Damaged)
    }

    pub(crate) fn signed(&mut self) -> Decoded<i64> {
        let value = self.number()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A count of things that take at least a byte each, so that a damaged count cannot ask for the moon.
    pub(crate) fn count(&mut self) -> Decoded<usize> {
        let count = usize::try_from(self.number()?).map_err(|_| Damaged)?;
        (count <= self.from.left()).then_some(count).ok_or(Damaged)
    }

    pub(crate) fn text(&mut self) -> Decoded<String> {
        self.from.text().ok_or(Damaged)
    }

    pub(crate) fn timestamp(&mut self) -> Decoded<Timestamp> {
        self.from.timestamp().ok_or(Damaged)
    }

    pub(crate) fn option(&mut self) -> Decoded<Option<u64>> {
        match self.byte()? {
            0 => Ok(None),
            1 => Ok(Some(self.number()?)),
            _ => Err(Damaged),
        }
    }

    pub(crate) fn etag(&mut self) -> Decoded<String> {
        match self.byte()? {
            0 => self.text(),
            1 => Ok(hex(&self.raw::<16>()?)),
            _ => Err(Damaged),
        }
    }

    pub(crate) fn pairs(&mut self) -> Decoded<Vec<(String, String)>> {
        let count = self.count()?;
        let mut pairs = Vec::with_capacity(count);
        for _ in 0..count {
            pairs.push((self.text()?, self.text()?));
        }
        Ok(pairs)
    }

    /// Everything was read.
    pub(crate) fn end(self) -> Decoded<()> {
        (self.from.left() == 0).then_some(()).ok_or(Damaged)
    }
}

fn seal_crc(key: &[u8], body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(key);
    crc.update(body);
    crc.finalize()
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)] as char);
        text.push(DIGITS[usize::from(byte & 15)] as char);
    }
    text
}

fn md5_bytes(etag: &str) -> Option<[u8; 16]> {
    let digits: &[u8; 32] = etag.as_bytes().try_into().ok()?;
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 16];
    for (at, pair) in digits.chunks_exact(2).enumerate() {
        bytes[at] = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back() {
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX];
        let signed = [0, 1, -1, i64::MAX, i64::MIN];
        let mut encoder = Encoder::new(1, 0);
        numbers.iter().for_each(|n| encoder.number(*n));
        signed.iter().for_each(|n| encoder.signed(*n));
        let value = encoder.seal(b"key");
        let mut decoder = Decoder::open(b"key", &value, 1).unwrap();
        for number in numbers {
            assert_eq!(decoder.number(), Ok(number));
        }
        for number in signed {
            assert_eq!(decoder.signed(), Ok(number));
        }
        assert_eq!(decoder.end(), Ok(()));
    }

    #[test]
    fn etags_read_back_whatever_they_are() {
        let md5 = "d41d8cd98f00b204e9800998ecf8427e";
        for etag in [md5, &md5.to_uppercase(), "", "\"quoted-3\"", "ümlaut"] {
            let mut encoder = Encoder::new(1, 0);
            encoder.etag(etag);
            let value = encoder.seal(b"");
            let read = Decoder::open(b"", &value, 1).unwrap().etag();
            assert_eq!(read.as_deref(), Ok(etag));
        }
    }

    #[test]
    fn any_flipped_bit_other_key_or_cut_is_found() {
        let mut encoder = Encoder::new(1, 0);
        encoder.text("some text");
        encoder.timestamp(Timestamp::from_secs(5).with_offset(7));
        let value = encoder.seal(b"key");
        assert!(Decoder::open(b"key", &value, 1).is_ok());
        assert!(Decoder::open(b"kez", &value, 1).is_err());
        assert!(Decoder::open(b"key", &value, 2).is_err());
        for cut in 0..value.len() {
            assert!(Decoder::open(b"key", &value[..cut], 1).is_err(), "{cut}");
        }
        for bit in 0..value.len() * 8 {
            let mut flipped = value.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Decoder::open(b"key", &flipped, 1).is_err(), "{bit}");
        }
    }
}
