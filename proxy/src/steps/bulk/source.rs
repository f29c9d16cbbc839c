//! The bytes of an uploaded archive, unpacked as they come. Nothing here grows with the archive.

use bytes::Bytes;
use bytes::buf::Buf;
use flate2::bufread::MultiGzDecoder;
use martlet_service::{Body, BodyError};
use std::fmt;
use std::io::{self, BufRead, Read};
use std::time::Duration;

/// Bytes unpacked at a time.
const UNPACKED_CHUNK: usize = 128 << 10;

/// How the archive is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    None,
    Gzip,
    Bzip2,
}

/// Why no more bytes come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceError {
    /// The upload broke off.
    Upload(BodyError),
    /// What was uploaded cannot be unpacked.
    Unpacking(String),
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceError::Upload(error) => error.fmt(f),
            SourceError::Unpacking(words) => f.write_str(words),
        }
    }
}

/// An upload, unpacked.
pub struct Source {
    body: Body,
    /// Silence of the client after which the upload counts as broken off.
    patience: Duration,
    /// Taken while a thread works on it.
    unpacker: Option<Unpacker>,
    chunk: Bytes,
}

impl Source {
    pub fn new(body: Body, packing: Packing, patience: Duration) -> Self {
        Source {
            body,
            patience,
            unpacker: Unpacker::new(packing),
            chunk: Bytes::new(),
        }
    }

    /// What comes next, at most so many bytes; `None` at the end.
    pub async fn take(&mut self, most: usize) -> Result<Option<Bytes>, SourceError> {
        if self.chunk.is_empty() {
            match self.next_chunk().await? {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(None),
            }
        }
        let length = most.min(self.chunk.len());
        Ok(Some(self.chunk.split_to(length)))
    }

    /// Reads at most so many bytes of the upload that nobody wants any more, so that the client hears the answer.
    pub async fn drain(mut self, most: u64) {
        let mut drained = 0;
        while drained < most
            && let Ok(Some(chunk)) = self.uploaded().await
        {
            drained += chunk.len() as u64;
        }
    }

    async fn next_chunk(&mut self) -> Result<Option<Bytes>, SourceError> {
        if self.unpacker.is_none() {
            return self.uploaded().await;
        }
        loop {
            let Some(unpacker) = self.unpacker.take() else {
                return Err(SourceError::Unpacking("unpacking broke off".into()));
            };
            // On a thread that may be busy: a chunk may take a while to unpack.
            let (unpacker, step) = tokio::task::spawn_blocking(move || unpacker.step())
                .await
                .map_err(|_| SourceError::Unpacking("unpacking broke off".into()))?;
            let unpacker = self.unpacker.insert(unpacker);
            match step {
                Ok(chunk) => return Ok(Some(chunk).filter(|chunk| !chunk.is_empty())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(SourceError::Unpacking(error.to_string())),
            }
            let more = next(&mut self.body, self.patience).await?;
            unpacker.feed(more);
        }
    }

    async fn uploaded(&mut self) -> Result<Option<Bytes>, SourceError> {
        next(&mut self.body, self.patience).await
    }
}

async fn next(body: &mut Body, patience: Duration) -> Result<Option<Bytes>, SourceError> {
    match tokio::time::timeout(patience, body.next()).await {
        Ok(next) => next.transpose().map_err(SourceError::Upload),
        Err(_) => Err(SourceError::Upload(BodyError::Timeout)),
    }
}

enum Unpacker {
    Gzip(Box<MultiGzDecoder<Feed>>),
    Bzip2(Box<Bunzip>),
}

impl Unpacker {
    fn new(packing: Packing) -> Option<Self> {
        match packing {
            Packing::None => None,
            Packing::Gzip => Some(Unpacker::Gzip(Box::new(MultiGzDecoder::new(Feed::default())))),
            Packing::Bzip2 => Some(Unpacker::Bzip2(Box::new(Bunzip::new()))),
        }
    }

    /// Gives packed bytes; `None` says that no more will come.
    fn feed(&mut self, chunk: Option<Bytes>) {
        let feed = match self {
            Unpacker::Gzip(decoder) => decoder.get_mut(),
            Unpacker::Bzip2(decoder) => &mut decoder.feed,
        };
        match chunk {
            Some(chunk) => feed.chunk = chunk,
            None => feed.has_ended = true,
        }
    }

    /// Unpacks a chunk; an empty one is the end, `WouldBlock` says that packed bytes are wanted.
    fn step(mut self) -> (Self, io::Result<Bytes>) {
        let mut chunk = vec![0; UNPACKED_CHUNK];
        let mut length = 0;
        while length < chunk.len() {
            let read = match &mut self {
                Unpacker::Gzip(decoder) => decoder.read(&mut chunk[length..]),
                Unpacker::Bzip2(decoder) => decoder.read(&mut chunk[length..]),
            };
            match read {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && length > 0 => break,
                Err(error) => return (self, Err(error)),
            }
        }
        chunk.truncate(length);
        (self, Ok(Bytes::from(chunk)))
    }
}

/// Packed bytes at hand: asks for more by `WouldBlock`.
#[derive(Default)]
struct Feed {
    chunk: Bytes,
    has_ended: bool,
}

impl Read for Feed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.len().min(into.len());
        into[..length].copy_from_slice(&self.chunk[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Feed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.chunk.is_empty() && !self.has_ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, count: usize) {
        self.chunk.advance(count);
    }
}

/// Unpacks bzip2: one stream after another, as `pbzip2` and concatenation make them.
struct Bunzip {
    feed: Feed,
    /// `None` between two streams.
    stream: Option<bzip2::Decompress>,
    is_begun: bool,
}

impl Bunzip {
    fn new() -> Self {
        Bunzip {
            feed: Feed::default(),
            stream: None,
            is_begun: false,
        }
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let input = self.feed.fill_buf()?;
            let has_ended = input.is_empty();
            if self.stream.is_none() && has_ended && self.is_begun {
                return Ok(0);
            }
            self.is_begun = true;
            let stream = self.stream.get_or_insert_with(|| bzip2::Decompress::new(false));
            let (consumed_before, written_before) = (stream.total_in(), stream.total_out());
            let status = stream
                .decompress(input, into)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let consumed = (stream.total_in() - consumed_before) as usize;
            let written = (stream.total_out() - written_before) as usize;
            self.feed.consume(consumed);
            if status == bzip2::Status::StreamEnd {
                self.stream = None;
            }
            if written > 0 {
                return Ok(written);
            }
            if has_ended && self.stream.is_some() {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "unexpected end of data",
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn body_in_pieces(bytes: &[u8], size: usize) -> Body {
        let pieces: Vec<_> = bytes
            .chunks(size)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        Body::stream(futures_util::stream::iter(pieces))
    }

    async fn unpacked(bytes: &[u8], packing: Packing, size: usize) -> Result<Vec<u8>, SourceError> {
        let patience = Duration::from_secs(30);
        let mut source = Source::new(body_in_pieces(bytes, size), packing, patience);
        let mut whole = Vec::new();
        while let Some(chunk) = source.take(1_000).await? {
            assert!(chunk.len() <= 1_000);
            whole.extend_from_slice(&chunk);
        }
        Ok(whole)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    fn bzip2(bytes: &[u8]) -> Vec<u8> {
        let mut packer = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::default());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    #[tokio::test]
    async fn all_packings_in_pieces_of_any_size() {
        let bytes: Vec<u8> = (0..300_000u32).map(|at| (at * 7 + at / 251) as u8).collect();
        for size in [1, 7, 4_096, 1 << 20] {
            let packed = [
                (bytes.clone(), Packing::None),
                (gzip(&bytes), Packing::Gzip),
                (bzip2(&bytes), Packing::Bzip2),
                ([gzip(&bytes[..9]), gzip(&bytes[9..])].concat(), Packing::Gzip),
                ([bzip2(&bytes[..9]), bzip2(&bytes[9..])].concat(), Packing::Bzip2),
            ];
            for (packed, packing) in packed {
                let size = size.max(packed.len() / 2_000);
                let found = unpacked(&packed, packing, size).await.unwrap();
                assert!(found == bytes, "{packing:?} in pieces of {size}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_cut_or_damaged_is_an_error() {
        let bytes = vec![5; 10_000];
        for (packed, packing) in [(gzip(&bytes), Packing::Gzip), (bzip2(&bytes), Packing::Bzip2)] {
            for end in [0, 3, packed.len() / 2, packed.len() - 1] {
                let found = unpacked(&packed[..end], packing, 16).await;
                assert!(
                    matches!(found, Err(SourceError::Unpacking(_))),
                    "{packing:?} {end}"
                );
            }
            let mut damaged = packed.clone();
            let last = damaged.len() - 1;
            damaged[last - 6] ^= 0x55;
            assert!(unpacked(&damaged, packing, 16).await.is_err(), "{packing:?}");
            assert!(unpacked(b"not packed at all", packing, 16).await.is_err());
        }
    }

    #[tokio::test]
    async fn a_bomb_comes_in_small_pieces() {
        let bytes = vec![0; 20 << 20];
        for (packed, packing) in [(gzip(&bytes), Packing::Gzip), (bzip2(&bytes), Packing::Bzip2)] {
            let mut source = Source::new(Body::full(packed), packing, Duration::from_secs(30));
            let mut total = 0;
            while let Some(chunk) = source.take(usize::MAX).await.unwrap() {
                assert!(chunk.len() <= UNPACKED_CHUNK);
                total += chunk.len();
            }
            assert_eq!(total, bytes.len());
        }
    }

    #[tokio::test]
    async fn an_upload_that_breaks_off_or_falls_silent_is_an_error() {
        let (mut sender, body) = Body::channel(4);
        sender.send(Bytes::from_static(b"abc")).await.unwrap();
        drop(sender);
        let mut source = Source::new(body, Packing::None, Duration::from_secs(30));
        assert_eq!(source.take(9).await, Ok(Some(Bytes::from_static(b"abc"))));
        assert_eq!(source.take(9).await, Err(SourceError::Upload(BodyError::Aborted)));
        let (_sender, body) = Body::channel(4);
        let mut source = Source::new(body, Packing::Gzip, Duration::from_millis(1));
        assert_eq!(source.take(9).await, Err(SourceError::Upload(BodyError::Timeout)));
    }
}
