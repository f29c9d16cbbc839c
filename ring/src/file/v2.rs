//! Version 2 of the ring file (Swift 2.36): named sections with checksums, and an index at the end.
//!
//! ```text
//! R1NG 00 02
//! sections     each a blob: u64 big-endian length, then that many bytes
//! index        a blob of JSON: section -> [packed begin, begin, packed end, end, kind of checksum, checksum in hex]
//! u64          where the index begins, counted in unpacked bytes
//! u64          where the index begins in the packed file
//! ```
//!
//! All numbers are big-endian. Begin, end and checksum of a section include its length. The packed offsets let Swift read
//! one section without unpacking the file. Martlet needs all sections and follows the unpacked offsets, which also
//! survive a packing of the file by other tools. Sections with other names than the three of a ring are passed over.

use super::bytes::{Order, narrow_row, split_blob_u64, wide_row};
use super::{RingFileError, json, part_power};
use crate::device::DeviceSlots;
use crate::ring::{MAX_REPLICAS, RingError, RingParts};
use md5::Md5;
use serde::Deserialize;
use serde::de::IgnoredAny;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use std::collections::BTreeMap;

pub(super) const METADATA: &str = "swift/ring/metadata";
pub(super) const DEVICES: &str = "swift/ring/devices";
pub(super) const ASSIGNMENTS: &str = "swift/ring/assignments";

/// The last 16 bytes: the two begins of the index.
const TAIL_BYTES: usize = 16;

#[derive(Deserialize)]
struct Metadata {
    part_shift: u32,
    dev_id_bytes: u64,
    #[serde(default)]
    version: Option<u64>,
    #[serde(default)]
    next_part_power: Option<u32>,
}

/// Largest index. Swift's has three entries; each more costs memory.
const MAX_INDEX_BYTES: usize = 1 << 20;

/// Where a section lies, as the index has it: packed begin, begin, packed end, end, kind of checksum, checksum.
type Entry = (IgnoredAny, u64, IgnoredAny, u64, String, String);

struct Sections<'a> {
    content: &'a [u8],
    index: BTreeMap<String, Entry>,
}

/// Reads the whole content, from `R1NG` on.
pub(super) fn parse(content: &[u8]) -> Result<RingParts, RingFileError> {
    let sections = Sections::new(content)?;
    let metadata: Metadata = json(METADATA, sections.read(METADATA)?)?;
    let devices: DeviceSlots = json(DEVICES, sections.read(DEVICES)?)?;
    let table = sections.read(ASSIGNMENTS)?;
    let part_power = part_power(metadata.part_shift)?;
    let (id_bytes, wide) = match metadata.dev_id_bytes {
        2 => (2, false),
        4 => (4, true),
        bytes => return Err(RingFileError::DeviceIdBytes(bytes)),
    };
    if table.len() % id_bytes != 0 {
        return Err(RingFileError::Truncated(ASSIGNMENTS));
    }
    let row_bytes = id_bytes << part_power;
    let replicas = table.len().div_ceil(row_bytes);
    if replicas > MAX_REPLICAS {
        return Err(RingError::TooManyReplicas(replicas).into());
    }
    let rows = table
        .chunks(row_bytes)
        .map(|row| {
            if wide {
                wide_row(row)
            } else {
                narrow_row(row, Order::Big)
            }
        })
        .collect();
    Ok(RingParts {
        part_power,
        devices: devices.0,
        rows,
        version: metadata.version,
        next_part_power: metadata.next_part_power,
    })
}

impl<'a> Sections<'a> {
    /// Finds the index from the end of the content.
    fn new(content: &'a [u8]) -> Result<Self, RingFileError> {
        let what = "index";
        let cut = || RingFileError::Truncated(what);
        let tail_begin = content.len().checked_sub(TAIL_BYTES).ok_or_else(cut)?;
        let (before, tail) = content.split_at(tail_begin);
        let (begin, _) = tail.split_first_chunk().ok_or_else(cut)?;
        let begin = usize::try_from(u64::from_be_bytes(*begin)).map_err(|_| cut())?;
        let (blob, _) = split_blob_u64(what, before.get(begin..).ok_or_else(cut)?)?;
        if blob.len() > MAX_INDEX_BYTES {
            return Err(RingFileError::TooLarge {
                what,
                limit_bytes: MAX_INDEX_BYTES,
            });
        }
        Ok(Sections {
            content,
            index: json(what, blob)?,
        })
    }

    /// A section's bytes without its length, after its checksum was found right.
    fn read(&self, name: &'static str) -> Result<&'a [u8], RingFileError> {
        let (_, begin, _, end, kind, checksum) =
            self.index.get(name).ok_or(RingFileError::NoSection(name))?;
        let offset = |at: &u64| usize::try_from(*at).map_err(|_| RingFileError::Truncated(name));
        let section = self
            .content
            .get(offset(begin)?..offset(end)?)
            .ok_or(RingFileError::Truncated(name))?;
        let (blob, rest) = split_blob_u64(name, section)?;
        if !rest.is_empty() {
            return Err(RingFileError::SectionLength(name));
        }
        if !digest_hex(kind, section)?.eq_ignore_ascii_case(checksum) {
            return Err(RingFileError::ChecksumMismatch(name));
        }
        Ok(blob)
    }
}

fn digest_hex(kind: &str, bytes: &[u8]) -> Result<String, RingFileError> {
    let digest = match kind {
        "md5" => Md5::digest(bytes).to_vec(),
        "sha1" => Sha1::digest(bytes).to_vec(),
        "sha256" => Sha256::digest(bytes).to_vec(),
        "sha512" => Sha512::digest(bytes).to_vec(),
        other => return Err(RingFileError::ChecksumKind(other.into())),
    };
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}
