//! Takes a body as it arrives: small ones are kept, larger ones go piece by piece to a file on the device's threads.
//!
//! Invariants: at most one piece of a body is with the threads while the next one gathers, so that a body holds at most
//! about two pieces of memory; a writer that is dropped leaves nothing behind; a file is synced, with its directory,
//! before anything can name it.

use super::file::{Blocks, CRC_BYTES, Footer};
use super::files::Files;
use crate::codec::object::{FileId, Location};
use crate::error::StorageError;
use crate::pool::Pending;
use bytes::{Bytes, BytesMut};
use rustix::fs::FallocateFlags;
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Bytes gathered before they go to the file.
const PIECE_BYTES: usize = 256 * 1024;
/// Chunks below this are copied together, so that a trickle of tiny ones does not pin a buffer each.
const SMALL_CHUNK_BYTES: usize = 2048;
/// Room taken ahead at first when the length is not known; doubles up to the second.
const FIRST_EXTENT_BYTES: u64 = 1 << 20;
const LARGEST_EXTENT_BYTES: u64 = 64 << 20;

/// A body on its way in. Dropping it discards what was written.
#[derive(Debug)]
pub struct BodyWriter {
    files: Arc<Files>,
    inline_limit_bytes: u64,
    block_bytes: u32,
    expected: Option<u64>,
    written: u64,
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
    tail: BytesMut,
    target: Target,
}

#[derive(Debug)]
enum Target {
    /// Still within the inline limit.
    Memory,
    File(Box<BodyFile>),
    /// The file is with the threads.
    Away(Pending<Box<BodyFile>>),
    /// A write failed.
    Broken(StorageError),
}

/// A body that is complete, and durable when it is a file.
#[derive(Debug)]
pub(crate) struct FinishedBody {
    pub(crate) length: u64,
    pub(crate) blake3: [u8; 32],
    pub(crate) content: Content,
}

#[derive(Debug)]
pub(crate) enum Content {
    Inline(Bytes),
    File(Box<BodyFile>),
}

/// How a complete body becomes a [`FinishedBody`].
pub(crate) enum Finishing {
    /// It was small: nothing to wait for.
    Done(FinishedBody),
    /// The rest is to be written and synced, on a thread.
    OnThread(UnsyncedBody),
}

/// A body whose file still lacks its end.
pub(crate) struct UnsyncedBody {
    file: Box<BodyFile>,
    rest: Vec<Bytes>,
}

impl BodyWriter {
    pub(crate) fn new(
        files: Arc<Files>,
        inline_limit_bytes: usize,
        block_bytes: usize,
        expected: Option<u64>,
    ) -> Self {
        files.open_bodies.fetch_add(1, Ordering::Relaxed);
        BodyWriter {
            files,
            inline_limit_bytes: inline_limit_bytes as u64,
            block_bytes: u32::try_from(block_bytes).unwrap_or(u32::MAX).max(512),
            expected,
            written: 0,
            gathered: Vec::new(),
            gathered_bytes: 0,
            tail: BytesMut::new(),
            target: Target::Memory,
        }
    }

    /// Bytes taken so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Takes the next bytes of the body. Waits while the disk is behind.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), StorageError> {
        self.written += chunk.len() as u64;
        self.gathered_bytes += chunk.len();
        if chunk.len() < SMALL_CHUNK_BYTES {
            self.tail.extend_from_slice(&chunk);
            if self.tail.len() >= PIECE_BYTES / 4 {
                self.close_tail();
            }
        } else {
            self.close_tail();
            self.gathered.push(chunk);
        }
        let in_file = !matches!(self.target, Target::Memory);
        if !in_file && self.written <= self.inline_limit_bytes || self.gathered_bytes < PIECE_BYTES && in_file
        {
            return Ok(());
        }
        self.hand_over().await
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.gathered.push(self.tail.split().freeze());
        }
    }

    fn take_gathered(&mut self) -> Vec<Bytes> {
        self.close_tail();
        self.gathered_bytes = 0;
        std::mem::take(&mut self.gathered)
    }

    /// Gives what was gathered to the threads; waits for the piece before it.
    async fn hand_over(&mut self) -> Result<(), StorageError> {
        let pieces = self.take_gathered();
        let file = self.file().await?;
        let files = self.files.clone();
        let (block_bytes, expected) = (self.block_bytes, self.expected);
        let started = self.files.threads.start_job(move || {
            let mut file = match file {
                Some(file) => file,
                None => BodyFile::create(files, block_bytes, expected)?,
            };
            file.append(&pieces)?;
            Ok(file)
        });
        self.target = match started {
            Ok(pending) => Target::Away(pending),
            Err(error) => Target::Broken(error.clone()),
        };
        match &self.target {
            Target::Broken(error) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// The file, back from the threads. `None`: there is none yet. Cancelling this loses the file (and removes it).
    async fn file(&mut self) -> Result<Option<Box<BodyFile>>, StorageError> {
        if let Target::Away(pending) = &mut self.target {
            let back = match pending.await {
                Ok(back) => back,
                Err(_) => Err(StorageError::Io("a body was dropped by its thread".into())),
            };
            self.target = match back {
                Ok(file) => Target::File(file),
                Err(error) => Target::Broken(error),
            };
        }
        match std::mem::replace(&mut self.target, Target::Memory) {
            Target::Memory => Ok(None),
            Target::File(file) => Ok(Some(file)),
            Target::Broken(error) => {
                self.target = Target::Broken(error.clone());
                Err(error)
            }
            // Just received above.
            Target::Away(_) => Err(StorageError::Io("a body is still with its thread".into())),
        }
    }

    /// The body is complete.
    pub(crate) async fn finish(mut self) -> Result<Finishing, StorageError> {
        let file = self.file().await?;
        let rest = self.take_gathered();
        match file {
            Some(file) => Ok(Finishing::OnThread(UnsyncedBody { file, rest })),
            None => {
                let bytes = match rest.len() {
                    1 => rest.into_iter().next().unwrap_or_default(),
                    _ => rest.concat().into(),
                };
                Ok(Finishing::Done(FinishedBody {
                    length: bytes.len() as u64,
                    blake3: blake3::hash(&bytes).into(),
                    content: Content::Inline(bytes),
                }))
            }
        }
    }
}

impl Drop for BodyWriter {
    fn drop(&mut self) {
        self.files.open_bodies.fetch_sub(1, Ordering::Relaxed);
    }
}

impl UnsyncedBody {
    /// Writes the rest, the CRCs and the footer; syncs file and directory. `key` is the record that is to name it.
    pub(crate) fn finish(self, key: [u8; 18]) -> Result<FinishedBody, StorageError> {
        let UnsyncedBody { mut file, rest } = self;
        file.append(&rest)?;
        let blake3 = file.seal(key)?;
        Ok(FinishedBody {
            length: file.length,
            blake3,
            content: Content::File(file),
        })
    }
}

impl FinishedBody {
    /// Where the record says its body is.
    pub(crate) fn location(&self) -> Location {
        match &self.content {
            Content::Inline(bytes) => Location::Inline {
                crc: crc32fast::hash(bytes),
            },
            Content::File(file) => Location::File {
                id: file.id,
                block_bytes: file.block_bytes,
            },
        }
    }
}

/// A body file that nothing names yet. Dropped before [`BodyFile::keep`], it is removed.
#[derive(Debug)]
pub(crate) struct BodyFile {
    files: Arc<Files>,
    id: FileId,
    file: File,
    block_bytes: u32,
    length: u64,
    /// Bytes of the file that have room on disk.
    allocated: u64,
    next_extent: u64,
    hasher: blake3::Hasher,
    crcs: Vec<u8>,
    block: crc32fast::Hasher,
    block_filled: u32,
    kept: bool,
}

impl BodyFile {
    fn create(files: Arc<Files>, block_bytes: u32, expected: Option<u64>) -> io::Result<Box<Self>> {
        let (id, file) = files.create()?;
        let mut body = Box::new(BodyFile {
            files,
            id,
            file,
            block_bytes,
            length: 0,
            allocated: 0,
            next_extent: FIRST_EXTENT_BYTES,
            hasher: blake3::Hasher::new(),
            crcs: Vec::new(),
            block: crc32fast::Hasher::new(),
            block_filled: 0,
            kept: false,
        });
        if let Some(length) = expected {
            let blocks = Blocks {
                length,
                block_bytes: u64::from(block_bytes),
            };
            body.allocate(blocks.file_bytes())?;
        }
        Ok(body)
    }

    /// Takes room on disk ahead, in few and large extents; also finds out early that there is none.
    fn allocate(&mut self, bytes: u64) -> io::Result<()> {
        let more = bytes.saturating_sub(self.allocated);
        if more == 0 {
            return Ok(());
        }
        let how = FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.file, how, self.allocated, more) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                self.allocated = bytes;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn append(&mut self, pieces: &[Bytes]) -> io::Result<()> {
        let more: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        if self.length + more > self.allocated {
            self.allocate(self.length + more.max(self.next_extent))?;
            self.next_extent = (self.next_extent * 2).min(LARGEST_EXTENT_BYTES);
        }
        let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        write_all_vectored(&mut self.file, &mut slices)?;
        for piece in pieces {
            self.hasher.update(piece);
            self.add_crcs(piece);
        }
        self.length += more;
        Ok(())
    }

    fn add_crcs(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = (self.block_bytes - self.block_filled) as usize;
            let (part, rest) = bytes.split_at(room.min(bytes.len()));
            self.block.update(part);
            self.block_filled += part.len() as u32;
            bytes = rest;
            if self.block_filled == self.block_bytes {
                self.end_block();
            }
        }
    }

    fn end_block(&mut self) {
        let crc = std::mem::take(&mut self.block).finalize();
        self.crcs.extend_from_slice(&crc.to_le_bytes());
        self.block_filled = 0;
    }

    fn seal(&mut self, key: [u8; 18]) -> io::Result<[u8; 32]> {
        if self.block_filled > 0 {
            self.end_block();
        }
        let blake3 = *self.hasher.finalize().as_bytes();
        let footer = Footer {
            block_bytes: self.block_bytes,
            length: self.length,
            blake3,
            key,
        };
        let blocks = Blocks {
            length: self.length,
            block_bytes: u64::from(self.block_bytes),
        };
        debug_assert_eq!(self.crcs.len() as u64, blocks.count() * CRC_BYTES);
        let footer = footer.encode();
        let mut end = [IoSlice::new(&self.crcs), IoSlice::new(&footer)];
        write_all_vectored(&mut self.file, &mut end)?;
        if self.allocated > blocks.file_bytes() {
            // Gives back what was taken ahead.
            self.file.set_len(blocks.file_bytes())?;
        }
        self.file.sync_data()?;
        self.files.sync_incoming()?;
        Ok(blake3)
    }

    /// A batch names the file now: it stays whatever becomes of this value.
    pub(crate) fn keep(mut self: Box<Self>) -> FileId {
        self.kept = true;
        self.id
    }
}

impl Drop for BodyFile {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let (files, id) = (self.files.clone(), self.id);
        let remove = move || {
            if let Err(error) = files.unlink(id) {
                tracing::warn!(%error, "a discarded body was not removed; the next start will");
            }
        };
        // A closed device leaves it to the next start.
        self.files.threads.spawn(remove);
    }
}

fn write_all_vectored(file: &mut File, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
