//! The bytes of a body file: the body, a CRC-32 per block, and a footer that says whose body it is.
//!
//! ```text
//! 0                 body, `length` bytes
//! length            one CRC-32 per block of `block_bytes` (the last may be shorter), 4 bytes little-endian each
//! length + 4·blocks footer, 84 bytes, little-endian:
//!    0  8  magic "MARTLETB"
//!    8  4  version 1
//!   12  4  block_bytes
//!   16  8  length
//!   24 32  BLAKE3 of the body
//!   56 18  key of the record: policy (2, big-endian), path hash (16)
//!   74  6  zero
//!   80  4  CRC-32 of the 80 bytes before
//! ```
//! The body comes first so that reads of it are aligned; the CRCs are together so that a long read needs one more
//! `pread`. Reads take length and block size from the record; the footer is for starts and for rescue.

use super::buffers;
use crate::codec::object::FileId;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const MAGIC: &[u8; 8] = b"MARTLETB";
const VERSION: u32 = 1;
pub(crate) const FOOTER_BYTES: usize = 84;
pub(crate) const CRC_BYTES: u64 = 4;

/// What a footer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) block_bytes: u32,
    pub(crate) length: u64,
    pub(crate) blake3: [u8; 32],
    pub(crate) key: [u8; 18],
}

impl Footer {
    pub(crate) fn encode(&self) -> [u8; FOOTER_BYTES] {
        let mut out = [0; FOOTER_BYTES];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&self.block_bytes.to_le_bytes());
        out[16..24].copy_from_slice(&self.length.to_le_bytes());
        out[24..56].copy_from_slice(&self.blake3);
        out[56..74].copy_from_slice(&self.key);
        let crc = crc32fast::hash(&out[..80]);
        out[80..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// `None`: not a footer, or a damaged one.
    pub(crate) fn decode(bytes: &[u8; FOOTER_BYTES]) -> Option<Self> {
        let crc = crc32fast::hash(&bytes[..80]);
        let whole = bytes[80..] == crc.to_le_bytes() && bytes[..8] == *MAGIC;
        if !whole || bytes[8..12] != VERSION.to_le_bytes() {
            return None;
        }
        Some(Footer {
            block_bytes: u32::from_le_bytes(bytes[12..16].try_into().ok()?),
            length: u64::from_le_bytes(bytes[16..24].try_into().ok()?),
            blake3: bytes[24..56].try_into().ok()?,
            key: bytes[56..74].try_into().ok()?,
        })
    }

    /// The footer at the end of a file. `None`: the file was never finished.
    pub(crate) fn read(file: &File) -> io::Result<Option<Self>> {
        let size = file.metadata()?.len();
        let Some(at) = size.checked_sub(FOOTER_BYTES as u64) else {
            return Ok(None);
        };
        let mut bytes = [0; FOOTER_BYTES];
        file.read_exact_at(&mut bytes, at)?;
        Ok(Footer::decode(&bytes))
    }
}

/// Where the blocks of a body are, and how they are checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blocks {
    pub(crate) length: u64,
    pub(crate) block_bytes: u64,
}

/// Why blocks could not be had.
#[derive(Debug)]
pub(crate) enum BlockError {
    Damaged(String),
    Io(io::Error),
}

impl From<io::Error> for BlockError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => BlockError::Damaged("the file is too short".into()),
            // A sector that cannot be read is a damaged copy: another has the bytes.
            _ if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
                BlockError::Damaged(format!("unreadable: {error}"))
            }
            _ => BlockError::Io(error),
        }
    }
}

impl Blocks {
    pub(crate) fn count(&self) -> u64 {
        self.length.div_ceil(self.block_bytes)
    }

    /// Bytes of a finished file.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.length + self.count() * CRC_BYTES + FOOTER_BYTES as u64
    }

    /// Reads and verifies the blocks that hold `start..end` (not empty, within the body); answers the bytes of the
    /// first such block up to the end of the last, and where in the body they begin.
    pub(crate) fn read(
        &self,
        file: &File,
        id: FileId,
        start: u64,
        end: u64,
    ) -> Result<(Vec<u8>, u64), BlockError> {
        let (first, last) = (start / self.block_bytes, (end - 1) / self.block_bytes);
        let from = first * self.block_bytes;
        let to = ((last + 1) * self.block_bytes).min(self.length);
        let mut bytes = buffers::take((to - from) as usize);
        read_at(file, &mut bytes, to - from, from)?;
        let mut crcs = Vec::new();
        let crcs_from = self.length + first * CRC_BYTES;
        read_at(file, &mut crcs, (last - first + 1) * CRC_BYTES, crcs_from)?;
        let blocks = bytes.chunks(self.block_bytes as usize);
        for (at, (block, crc)) in blocks.zip(crcs.chunks(CRC_BYTES as usize)).enumerate() {
            if crc32fast::hash(block).to_le_bytes() != crc {
                let block = first + at as u64;
                let name = crate::codec::hex(&id.0);
                return Err(BlockError::Damaged(format!(
                    "block {block} of body file {name} fails its CRC"
                )));
            }
        }
        Ok((bytes, from))
    }
}

/// Reads exactly `length` bytes at `offset` into an empty buffer, without clearing it first.
fn read_at(file: &File, into: &mut Vec<u8>, length: u64, offset: u64) -> io::Result<()> {
    let length = usize::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    into.reserve_exact(length);
    while into.len() < length {
        let at = offset + into.len() as u64;
        match rustix::io::pread(file, rustix::buffer::spare_capacity(into), at) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // The allocator may have given more room than asked for, and the read filled it.
    into.truncate(length);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn footers_read_back_and_damage_shows() {
        let footer = Footer {
            block_bytes: 65536,
            length: 1 << 33,
            blake3: [5; 32],
            key: [6; 18],
        };
        let bytes = footer.encode();
        assert_eq!(Footer::decode(&bytes), Some(footer));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Footer::decode(&flipped), None, "{bit}");
        }
    }

    #[test]
    fn every_range_is_verified() {
        let mut file = tempfile::tempfile().unwrap();
        let body: Vec<u8> = (0..25u8).collect();
        let blocks = Blocks {
            length: 25,
            block_bytes: 10,
        };
        file.write_all(&body).unwrap();
        for block in body.chunks(10) {
            file.write_all(&crc32fast::hash(block).to_le_bytes()).unwrap();
        }
        let id = FileId([0; 16]);
        for start in 0..25 {
            for end in start + 1..=25 {
                let (bytes, from) = blocks.read(&file, id, start, end).unwrap();
                let at = (start - from) as usize;
                let part = &bytes[at..at + (end - start) as usize];
                assert_eq!(part, &body[start as usize..end as usize]);
            }
        }
        file.write_all_at(&[99], 12).unwrap();
        assert!(blocks.read(&file, id, 0, 10).is_ok());
        assert!(matches!(
            blocks.read(&file, id, 9, 11),
            Err(BlockError::Damaged(_))
        ));
        assert!(matches!(
            blocks.read(&file, id, 19, 20),
            Err(BlockError::Damaged(_))
        ));
        assert!(blocks.read(&file, id, 20, 25).is_ok());
    }
}
