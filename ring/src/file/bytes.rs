//! Takes device ids and lengths out of a ring file's content.

use super::RingFileError;
use crate::ring::Row;

/// Order of the bytes of a number.
#[derive(Clone, Copy)]
pub(super) enum Order {
    Little,
    Big,
}

/// A row of ids of two bytes each; an odd last byte is left out.
pub(super) fn narrow_row(bytes: &[u8], order: Order) -> Row {
    let (pairs, _) = bytes.as_chunks::<2>();
    let read = match order {
        Order::Little => |pair: &[u8; 2]| u16::from_le_bytes(*pair),
        Order::Big => |pair: &[u8; 2]| u16::from_be_bytes(*pair),
    };
    Row::Narrow(pairs.iter().map(read).collect())
}

/// A row of big-endian ids of four bytes each; an incomplete last id is left out.
pub(super) fn wide_row(bytes: &[u8]) -> Row {
    let (quads, _) = bytes.as_chunks::<4>();
    Row::Wide(quads.iter().map(|quad| u32::from_be_bytes(*quad)).collect())
}

/// Splits a big-endian u32 length and that many bytes off the front: the text, then the rest.
pub(super) fn split_blob_u32<'a>(
    what: &'static str,
    bytes: &'a [u8],
) -> Result<(&'a [u8], &'a [u8]), RingFileError> {
    let cut = RingFileError::Truncated(what);
    let Some((length, rest)) = bytes.split_first_chunk() else {
        return Err(cut);
    };
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
        .ok_or(cut)
}

/// Splits a big-endian u64 length and that many bytes off the front: the blob, then the rest.
pub(super) fn split_blob_u64<'a>(
    what: &'static str,
    bytes: &'a [u8],
) -> Result<(&'a [u8], &'a [u8]), RingFileError> {
    let cut = || RingFileError::Truncated(what);
    let (length, rest) = bytes.split_first_chunk().ok_or_else(cut)?;
    let length = usize::try_from(u64::from_be_bytes(*length)).map_err(|_| cut())?;
    rest.split_at_checked(length).ok_or_else(cut)
}
