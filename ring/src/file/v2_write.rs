//! Writes version 2 of the ring file; its form is described in [`super::v2`].
//!
//! Swift finds the index 31 bytes before the end of the packed file and unpacks from there and from the begin of each
//! section, as if each were a stream of its own. So every section is packed on its own and flushed whole, and the
//! numbers at the end are stored unpacked: 18 bytes for each of the two, 13 for the end of the gzip stream.

use super::gzip::MTIME_SECS;
use super::v2::{ASSIGNMENTS, DEVICES, METADATA};
use super::{MAGIC, RingFileError};
use crate::ring::{RingParts, Row};
use flate2::{Compress, Compression, Crc, FlushCompress};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// In alphabetical order, as in Swift's own files.
#[derive(Serialize)]
struct Metadata {
    dev_id_bytes: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_part_power: Option<u32>,
    part_shift: u32,
    replica_count: f64,
    version: Option<u64>,
}

/// The whole file.
pub(super) fn compose(parts: &RingParts) -> Result<Vec<u8>, RingFileError> {
    let wide = parts.rows.iter().any(|row| matches!(row, Row::Wide(_)));
    let metadata = Metadata {
        dev_id_bytes: if wide { 4 } else { 2 },
        next_part_power: parts.next_part_power,
        part_shift: 32 - parts.part_power,
        replica_count: replica_count(parts),
        version: parts.version,
    };
    let mut file = File::new();
    file.section(METADATA, &json(METADATA, &metadata)?);
    file.section(DEVICES, &json(DEVICES, &parts.devices)?);
    file.section(ASSIGNMENTS, &table(parts, wide)?);
    file.finish()
}

fn json<T: Serialize>(what: &'static str, value: &T) -> Result<Vec<u8>, RingFileError> {
    serde_json::to_vec(value).map_err(|error| RingFileError::Json { what, error })
}

fn replica_count(parts: &RingParts) -> f64 {
    match parts.rows.split_last() {
        None => 0.0,
        Some((last, full)) => full.len() as f64 + last.len() as f64 / f64::from(1u32 << parts.part_power),
    }
}

fn table(parts: &RingParts, wide: bool) -> Result<Vec<u8>, RingFileError> {
    let mut table = Vec::new();
    for id in parts.rows.iter().flat_map(Row::ids) {
        if wide {
            table.extend_from_slice(&id.to_be_bytes());
        } else {
            let id = u16::try_from(id).map_err(|_| RingFileError::NeedsVersion2)?;
            table.extend_from_slice(&id.to_be_bytes());
        }
    }
    Ok(table)
}

/// A gzip file under way, with what its end needs to know.
struct File {
    packed: Vec<u8>,
    crc: Crc,
    unpacked_bytes: u64,
    index: BTreeMap<&'static str, (u64, u64, u64, u64, &'static str, String)>,
}

impl File {
    fn new() -> File {
        let mut packed = vec![0x1f, 0x8b, 8, 0];
        packed.extend_from_slice(&MTIME_SECS.to_le_bytes());
        // Packed as well as it goes, on an unknown system.
        packed.extend_from_slice(&[2, 255]);
        let mut file = File {
            packed,
            crc: Crc::new(),
            unpacked_bytes: 0,
            index: BTreeMap::new(),
        };
        let mut magic = MAGIC.to_vec();
        magic.extend_from_slice(&2u16.to_be_bytes());
        file.store(&magic);
        file
    }

    fn here(&self) -> (u64, u64) {
        (self.packed.len() as u64, self.unpacked_bytes)
    }

    fn section(&mut self, name: &'static str, content: &[u8]) {
        let (packed_begin, begin) = self.here();
        let blob = blob(content);
        self.pack(&blob);
        let (packed_end, end) = self.here();
        let checksum = Sha256::digest(&blob);
        let checksum = checksum.iter().map(|byte| format!("{byte:02x}")).collect();
        let entry = (packed_begin, begin, packed_end, end, "sha256", checksum);
        self.index.insert(name, entry);
    }

    fn finish(mut self) -> Result<Vec<u8>, RingFileError> {
        let (packed_begin, begin) = self.here();
        let index = json("index", &self.index)?;
        self.pack(&blob(&index));
        for number in [begin, packed_begin] {
            self.store(&number.to_be_bytes());
            self.packed.extend_from_slice(&stored_head(false, 0));
        }
        self.packed.extend_from_slice(&stored_head(true, 0));
        self.packed.extend_from_slice(&self.crc.sum().to_le_bytes());
        // The format has the length modulo 2^32.
        self.packed
            .extend_from_slice(&(self.unpacked_bytes as u32).to_le_bytes());
        Ok(self.packed)
    }

    /// A few bytes as they are.
    fn store(&mut self, bytes: &[u8]) {
        self.note(bytes);
        self.packed
            .extend_from_slice(&stored_head(false, bytes.len() as u16));
        self.packed.extend_from_slice(bytes);
    }

    /// Packs bytes so that unpacking can begin before and after them.
    fn pack(&mut self, bytes: &[u8]) {
        self.note(bytes);
        let mut packer = Compress::new(Compression::best(), false);
        let mut buffer = vec![0u8; 64 * 1024];
        loop {
            let read = packer.total_in() as usize;
            let written = packer.total_out() as usize;
            let outcome = packer.compress(&bytes[read..], &mut buffer, FlushCompress::Full);
            let count = packer.total_out() as usize - written;
            self.packed.extend_from_slice(&buffer[..count]);
            // A buffer that was not filled means that everything came out. With nothing left to do the packer
            // reports a buffer error, which only says so.
            let whole = packer.total_in() as usize == bytes.len() && count < buffer.len();
            if whole || outcome.is_err() {
                return;
            }
        }
    }

    fn note(&mut self, bytes: &[u8]) {
        self.crc.update(bytes);
        self.unpacked_bytes += bytes.len() as u64;
    }
}

/// Begins a block of bytes that are stored unpacked.
fn stored_head(is_last: bool, length: u16) -> [u8; 5] {
    let [a, b] = length.to_le_bytes();
    let [c, d] = (!length).to_le_bytes();
    [is_last.into(), a, b, c, d]
}

fn blob(content: &[u8]) -> Vec<u8> {
    let mut blob = (content.len() as u64).to_be_bytes().to_vec();
    blob.extend_from_slice(content);
    blob
}

#[cfg(test)]
mod tests {
    use super::super::{FormatVersion, read_parts, write};
    use super::*;
    use crate::device::Device;

    #[test]
    fn large_tables_read_back() {
        let device = |id: u32| Device {
            id,
            ..Device::at("10.0.0.1", 6200, "sdb1")
        };
        let ids = |seed: u32| (0..1u32 << 16).map(move |at| (at.wrapping_mul(seed) >> 5) % 3);
        let parts = RingParts {
            part_power: 16,
            devices: (0..3).map(|id| Some(device(id))).collect(),
            rows: vec![
                Row::Wide(ids(2_654_435_761).collect()),
                Row::Wide(ids(40_503).take(1000).collect()),
            ],
            version: None,
            next_part_power: Some(17),
        };
        let file = write(&parts, FormatVersion::V2).unwrap();
        let (version, back) = read_parts(&file).unwrap();
        assert_eq!(version, FormatVersion::V2);
        assert_eq!(back, parts);
    }
}
