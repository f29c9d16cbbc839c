//! Gzip with a bound on what comes out, and without a clock on what goes in.

use super::RingFileError;
use flate2::bufread::GzDecoder;
use flate2::{Compression, GzBuilder};
use std::io::{Read, Write};

/// The modification time that Swift writes into every ring file, so that equal rings are equal files (seconds).
pub(super) const MTIME_SECS: u32 = 1_300_507_380;

/// Unpacks a whole gzip stream, checksum included; more than `limit_bytes` of content is an error.
pub(super) fn unpack(file: &[u8], limit_bytes: usize) -> Result<Vec<u8>, RingFileError> {
    let mut content = Vec::new();
    let mut limited = GzDecoder::new(file).take(limit_bytes as u64 + 1);
    limited.read_to_end(&mut content).map_err(RingFileError::Gzip)?;
    if content.len() > limit_bytes {
        return Err(RingFileError::TooLarge {
            what: "ring",
            limit_bytes,
        });
    }
    Ok(content)
}

/// Packs content as one gzip stream.
pub(super) fn pack(content: &[u8]) -> Result<Vec<u8>, RingFileError> {
    let mut encoder = GzBuilder::new()
        .mtime(MTIME_SECS)
        .write(Vec::new(), Compression::best());
    encoder.write_all(content).map_err(RingFileError::Gzip)?;
    encoder.finish().map_err(RingFileError::Gzip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_past_the_limit_is_refused() {
        let file = pack(&[0; 100_000]).unwrap();
        assert!(file.len() < 1000);
        assert_eq!(unpack(&file, 100_000).unwrap().len(), 100_000);
        assert!(matches!(
            unpack(&file, 99_999),
            Err(RingFileError::TooLarge { .. })
        ));
    }

    #[test]
    fn a_stream_cut_short_is_refused() {
        let file = pack(b"some content of a file").unwrap();
        for end in 0..file.len() {
            assert!(
                matches!(unpack(&file[..end], 1000), Err(RingFileError::Gzip(_))),
                "{end}"
            );
        }
    }
}
