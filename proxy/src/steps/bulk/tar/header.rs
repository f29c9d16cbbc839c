//! One block of a tar archive that begins an entry: V7, ustar, and GNU's. Pure.

use super::TarError;

/// Archives are made of these.
pub const BLOCK: usize = 512;

/// What a block says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// A block of zeros ends the archive.
    End,
    Header(Header),
}

/// An entry, before what extended headers say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// As stored: no encoding is promised.
    pub name: Vec<u8>,
    /// Bytes of content.
    pub size: u64,
    pub kind: Kind,
}

/// What follows the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    /// A file with holes: its stored content is not its bytes.
    Sparse,
    /// Links, devices and pipes: no content follows, whatever size is written.
    Empty,
    /// Folders, and kinds of other programs: content, if any, is passed over.
    Other,
    /// GNU: the next entry's name is the content.
    LongName,
    /// GNU: the next entry's link target is the content.
    LongLink,
    /// POSIX: words about the next entry.
    Pax,
    /// POSIX: words about all entries from here on.
    PaxGlobal,
}

/// Reads a block.
pub fn parse(block: &[u8; BLOCK]) -> Result<Block, TarError> {
    if block.iter().all(|byte| *byte == 0) {
        return Ok(Block::End);
    }
    let stored = number(&block[148..156])?;
    if !checksums(block).contains(&(stored as i64)) {
        return Err(TarError::Invalid("bad checksum"));
    }
    let mut name = text(&block[..100]).to_vec();
    let kind = match block[156] {
        // Before there was a kind for folders, a slash at the end said so.
        0 if name.ends_with(b"/") => Kind::Other,
        0 | b'0' | b'7' => Kind::File,
        b'1' | b'2' | b'3' | b'4' | b'6' => Kind::Empty,
        b'L' => Kind::LongName,
        b'K' => Kind::LongLink,
        b'S' => Kind::Sparse,
        b'x' | b'X' => Kind::Pax,
        b'g' => Kind::PaxGlobal,
        _ => Kind::Other,
    };
    // GNU keeps other things where ustar keeps the front part of a long name.
    let is_ustar = &block[257..263] == b"ustar\0";
    let front = text(&block[345..500]);
    if is_ustar && !front.is_empty() {
        let mut whole = front.to_vec();
        whole.push(b'/');
        whole.append(&mut name);
        name = whole;
    }
    let size = match kind {
        Kind::Empty => 0,
        _ => number(&block[124..136])?,
    };
    Ok(Block::Header(Header { name, size, kind }))
}

/// Up to the first zero.
fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..end]
}

/// Octal digits, or (first bit set) a big-endian number.
fn number(field: &[u8]) -> Result<u64, TarError> {
    const BAD: TarError = TarError::Invalid("invalid header");
    match field.first() {
        Some(0x80) => {
            let (high, low) = field[1..].split_at(field.len().saturating_sub(9));
            if high.iter().any(|byte| *byte != 0) {
                return Err(BAD);
            }
            Ok(low.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
        }
        Some(byte) if *byte > 0x80 => Err(BAD),
        _ => {
            let digits = std::str::from_utf8(text(field)).map_err(|_| BAD)?.trim();
            match digits {
                "" => Ok(0),
                _ => u64::from_str_radix(digits, 8).map_err(|_| BAD),
            }
        }
    }
}

/// The sum of a block's bytes, with its own field read as spaces; some programs summed signed bytes.
fn checksums(block: &[u8; BLOCK]) -> [i64; 2] {
    let (mut unsigned, mut signed) = (0, 0);
    for (at, byte) in block.iter().enumerate() {
        let byte = if (148..156).contains(&at) { b' ' } else { *byte };
        unsigned += i64::from(byte);
        signed += i64::from(byte as i8);
    }
    [unsigned, signed]
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A block with a right checksum.
    pub fn block(name: &[u8], size: &str, kind: u8) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        block[..name.len()].copy_from_slice(name);
        block[124..124 + size.len()].copy_from_slice(size.as_bytes());
        block[156] = kind;
        block[257..263].copy_from_slice(b"ustar\0");
        seal(&mut block);
        block
    }

    pub fn seal(block: &mut [u8; BLOCK]) {
        let sum = format!("{:06o}\0 ", checksums(block)[0]);
        block[148..156].copy_from_slice(sum.as_bytes());
    }

    fn header(block: &[u8; BLOCK]) -> Header {
        match parse(block).unwrap() {
            Block::Header(header) => header,
            Block::End => panic!("an end"),
        }
    }

    #[test]
    fn blocks_of_all_kinds() {
        assert_eq!(parse(&[0; BLOCK]), Ok(Block::End));
        for (name, size, kind, expected) in [
            (&b"a/b"[..], "00000000012\0", b'0', (10, Kind::File)),
            (b"a/b", "12", 0, (10, Kind::File)),
            (b"a/b", "    12 ", b'7', (10, Kind::File)),
            (b"a/b/", "0", 0, (0, Kind::Other)),
            (b"a/b", "0", b'5', (0, Kind::Other)),
            (b"a/b", "777", b'2', (0, Kind::Empty)),
            (b"long", "20", b'L', (16, Kind::LongName)),
            (b"long", "20", b'K', (16, Kind::LongLink)),
            (b"pax", "20", b'x', (16, Kind::Pax)),
            (b"pax", "20", b'g', (16, Kind::PaxGlobal)),
            (b"holes", "20", b'S', (16, Kind::Sparse)),
            (b"odd", "20", b'Z', (16, Kind::Other)),
        ] {
            let found = header(&block(name, size, kind));
            assert_eq!((found.size, found.kind), expected, "{kind}");
            assert_eq!(found.name, name);
        }
    }

    #[test]
    fn long_names_have_a_front_part_in_ustar_only() {
        let mut long = block(b"name", "0", b'0');
        long[345..350].copy_from_slice(b"front");
        seal(&mut long);
        assert_eq!(header(&long).name, b"front/name");
        long[257..265].copy_from_slice(b"ustar  \0");
        seal(&mut long);
        assert_eq!(header(&long).name, b"name");
    }

    #[test]
    fn large_and_bad_numbers() {
        assert_eq!(number(b"\x80\0\0\0\0\0\0\x02\0\0\0\0"), Ok(2 << 32));
        assert!(number(b"\x80\x01\0\0\0\0\0\0\0\0\0\0").is_err());
        assert!(number(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff").is_err());
        for bad in [&b"9"[..], b"-1", b"1x", b"\xc3\x28", b"777777777777777777777777"] {
            assert!(number(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_changed_byte_is_seen() {
        let mut damaged = block(b"a/b", "12", b'0');
        damaged[0] = b'c';
        assert_eq!(parse(&damaged), Err(TarError::Invalid("bad checksum")));
        let mut signed = block(b"a/\xff", "12", b'0');
        let sum = format!("{:06o}\0 ", checksums(&signed)[1]);
        signed[148..156].copy_from_slice(sum.as_bytes());
        assert!(parse(&signed).is_ok());
    }
}
