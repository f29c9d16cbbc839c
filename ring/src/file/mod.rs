//! Swift's `.ring.gz` files, from bytes and to bytes.
//!
//! Both versions are one gzip stream that begins with `R1NG` and a version of two bytes, big-endian; what follows is
//! described in [`v1`] and [`v2`]. A ring file may come from anywhere: every length is checked against what is there, and
//! every allocation against a limit below, before it is made.
//!
//! See <https://docs.openstack.org/swift/latest/overview_ring_format.html>.

mod bytes;
mod gzip;
mod v1;
mod v2;
mod v2_write;

use crate::ring::{Ring, RingError, RingParts};
use std::fmt;

/// Largest ring, unpacked. The ring of 2^24 partitions and 14 replicas fits; a "gzip bomb" stops here.
pub const MAX_UNPACKED_BYTES: usize = 512 << 20;

/// Largest JSON text within a ring file: the list of devices.
pub const MAX_JSON_BYTES: usize = 64 << 20;

const MAGIC: &[u8; 4] = b"R1NG";

/// Why bytes are not a ring file that can be used.
#[derive(Debug)]
pub enum RingFileError {
    /// The gzip stream is broken, cut short, or fails its own checksum.
    Gzip(std::io::Error),
    /// Something is larger than a ring may be.
    TooLarge { what: &'static str, limit_bytes: usize },
    /// The content does not begin with `R1NG`.
    NotARing,
    /// The version is neither 1 nor 2.
    Version(u16),
    /// The content ends before what its lengths promise.
    Truncated(&'static str),
    /// A JSON text does not parse, or lacks a key.
    Json {
        what: &'static str,
        error: serde_json::Error,
    },
    /// `byteorder` is neither `little` nor `big`.
    ByteOrder(String),
    /// Device ids have neither two nor four bytes.
    DeviceIdBytes(u64),
    /// `part_shift` gives no partition power.
    PartShift(u32),
    /// The index of a version 2 file lacks a section.
    NoSection(&'static str),
    /// The index of a version 2 file and a section's own length disagree.
    SectionLength(&'static str),
    /// A section's checksum is of a kind that Swift does not write.
    ChecksumKind(String),
    /// A section is not what was written.
    ChecksumMismatch(&'static str),
    /// The parts do not make a ring.
    Ring(RingError),
    /// The ring needs version 2: an id does not fit into two bytes.
    NeedsVersion2,
}

impl fmt::Display for RingFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RingFileError::Gzip(error) => write!(f, "not a whole gzip stream: {error}"),
            RingFileError::TooLarge { what, limit_bytes } => {
                write!(f, "the {what} is larger than {limit_bytes} bytes")
            }
            RingFileError::NotARing => f.write_str("not a ring file: R1NG does not stand at its begin"),
            RingFileError::Version(version) => write!(f, "ring file version {version} is not known"),
            RingFileError::Truncated(what) => write!(f, "the {what} is cut short"),
            RingFileError::Json { what, error } => write!(f, "the {what} is not the JSON of a ring: {error}"),
            RingFileError::ByteOrder(order) => write!(f, "byte order {order:?} is not known"),
            RingFileError::DeviceIdBytes(bytes) => write!(f, "device ids of {bytes} bytes are not known"),
            RingFileError::PartShift(shift) => write!(f, "part_shift {shift} is not within 1 and 32"),
            RingFileError::NoSection(name) => write!(f, "the section {name} is missing"),
            RingFileError::SectionLength(name) => {
                write!(f, "the index and the length of the section {name} disagree")
            }
            RingFileError::ChecksumKind(kind) => write!(f, "checksums of the kind {kind:?} are not known"),
            RingFileError::ChecksumMismatch(name) => {
                write!(f, "the section {name} does not match its checksum")
            }
            RingFileError::Ring(error) => fmt::Display::fmt(error, f),
            RingFileError::NeedsVersion2 => {
                f.write_str("a version 1 file holds device ids up to 65534, this ring has larger ones")
            }
        }
    }
}

impl std::error::Error for RingFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RingFileError::Gzip(error) => Some(error),
            RingFileError::Json { error, .. } => Some(error),
            RingFileError::Ring(error) => Some(error),
            _ => None,
        }
    }
}

impl From<RingError> for RingFileError {
    fn from(error: RingError) -> Self {
        RingFileError::Ring(error)
    }
}

/// A version of the file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatVersion {
    /// Every Swift since 1.7 reads it; device ids have two bytes.
    V1,
    /// Swift 2.36 and later; device ids have two or four bytes, each section its checksum.
    V2,
}

/// Reads the bytes of a `.ring.gz` of version 1 or 2.
pub fn read(file: &[u8]) -> Result<Ring, RingFileError> {
    let (_, parts) = read_parts(file)?;
    Ok(Ring::new(parts)?)
}

/// What a file holds, not checked as a ring: a builder may write its file before anything is assigned.
pub fn read_parts(file: &[u8]) -> Result<(FormatVersion, RingParts), RingFileError> {
    let content = gzip::unpack(file, MAX_UNPACKED_BYTES)?;
    let (magic, rest) = content.split_first_chunk().ok_or(RingFileError::NotARing)?;
    if magic != MAGIC {
        return Err(RingFileError::NotARing);
    }
    let (version, body) = rest
        .split_first_chunk()
        .ok_or(RingFileError::Truncated("version"))?;
    match u16::from_be_bytes(*version) {
        1 => Ok((FormatVersion::V1, v1::parse(body)?)),
        2 => Ok((FormatVersion::V2, v2::parse(&content)?)),
        version => Err(RingFileError::Version(version)),
    }
}

/// Writes the `.ring.gz` of version 1, which every Swift since 1.7 reads. Equal rings give equal bytes.
pub fn write_v1(ring: &Ring) -> Result<Vec<u8>, RingFileError> {
    write(&ring.to_parts(), FormatVersion::V1)
}

/// Writes a `.ring.gz`. Equal parts give equal bytes.
pub fn write(parts: &RingParts, version: FormatVersion) -> Result<Vec<u8>, RingFileError> {
    match version {
        FormatVersion::V1 => gzip::pack(&v1::compose(parts)?),
        FormatVersion::V2 => v2_write::compose(parts),
    }
}

/// `part_shift` as files have it to the partition power.
fn part_power(part_shift: u32) -> Result<u32, RingFileError> {
    match part_shift {
        1..=32 => Ok(32 - part_shift),
        _ => Err(RingFileError::PartShift(part_shift)),
    }
}

fn json<'a, T: serde::Deserialize<'a>>(what: &'static str, text: &'a [u8]) -> Result<T, RingFileError> {
    if text.len() > MAX_JSON_BYTES {
        return Err(RingFileError::TooLarge {
            what,
            limit_bytes: MAX_JSON_BYTES,
        });
    }
    serde_json::from_slice(text).map_err(|error| RingFileError::Json { what, error })
}
