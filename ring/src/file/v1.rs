//! Version 1 of the ring file: a JSON head, then the rows as bare arrays.
//!
//! ```text
//! R1NG 00 01
//! u32 big-endian   length of the JSON
//! JSON             devs, part_shift, replica_count, byteorder, and when known version, next_part_power
//! rows             replica_count times 2^(32 - part_shift) ids of two bytes, in the order that byteorder names;
//!                  the last row ends early when the replica count is fractional
//! ```

use super::bytes::{Order, narrow_row, split_blob_u32};
use super::{MAGIC, MAX_JSON_BYTES, RingFileError, json, part_power};
use crate::device::{Device, DeviceSlots};
use crate::ring::{MAX_REPLICAS, RingError, RingParts, Row};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Head {
    devs: DeviceSlots,
    part_shift: u32,
    /// Rows, the fractional one included.
    replica_count: usize,
    /// Of the machine that wrote the rows. Files older than this key come from little-endian machines.
    byteorder: Option<String>,
    #[serde(default)]
    version: Option<u64>,
    #[serde(default)]
    next_part_power: Option<u32>,
}

/// As [`Head`], in the alphabetical order of Swift's own files.
#[derive(Serialize)]
struct WrittenHead<'a> {
    byteorder: &'static str,
    devs: &'a [Option<Device>],
    #[serde(skip_serializing_if = "Option::is_none")]
    next_part_power: Option<u32>,
    part_shift: u32,
    replica_count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
}

/// Reads what follows the version. Bytes behind the last row are passed over, as in Swift.
pub(super) fn parse(body: &[u8]) -> Result<RingParts, RingFileError> {
    let (text, mut table) = split_blob_u32("head", body)?;
    let head: Head = json("head", text)?;
    let order = match head.byteorder.as_deref() {
        None | Some("little") => Order::Little,
        Some("big") => Order::Big,
        Some(other) => return Err(RingFileError::ByteOrder(other.into())),
    };
    let part_power = part_power(head.part_shift)?;
    let row_bytes = 2usize << part_power;
    if head.replica_count > MAX_REPLICAS {
        return Err(RingError::TooManyReplicas(head.replica_count).into());
    }
    let mut rows = Vec::with_capacity(head.replica_count);
    for _ in 0..head.replica_count {
        let (row, rest) = table.split_at(row_bytes.min(table.len()));
        if row.len() % 2 != 0 {
            return Err(RingFileError::Truncated("table"));
        }
        rows.push(narrow_row(row, order));
        table = rest;
    }
    Ok(RingParts {
        part_power,
        devices: head.devs.0,
        rows,
        version: head.version,
        next_part_power: head.next_part_power,
    })
}

/// The whole content of a file, not yet packed.
pub(super) fn compose(parts: &RingParts) -> Result<Vec<u8>, RingFileError> {
    let head = WrittenHead {
        byteorder: "little",
        devs: &parts.devices,
        next_part_power: parts.next_part_power,
        part_shift: 32 - parts.part_power,
        replica_count: parts.rows.len(),
        version: parts.version,
    };
    let what = "head";
    let text = serde_json::to_vec(&head).map_err(|error| RingFileError::Json { what, error })?;
    let length = u32::try_from(text.len())
        .ok()
        .filter(|_| text.len() <= MAX_JSON_BYTES)
        .ok_or(RingFileError::TooLarge {
            what,
            limit_bytes: MAX_JSON_BYTES,
        })?;
    let mut content = Vec::new();
    content.extend_from_slice(MAGIC);
    content.extend_from_slice(&1u16.to_be_bytes());
    content.extend_from_slice(&length.to_be_bytes());
    content.extend_from_slice(&text);
    for id in parts.rows.iter().flat_map(Row::ids) {
        // 65535 means "no device" to Swift's builder.
        let id = u16::try_from(id)
            .ok()
            .filter(|id| *id != u16::MAX)
            .ok_or(RingFileError::NeedsVersion2)?;
        content.extend_from_slice(&id.to_le_bytes());
    }
    Ok(content)
}
