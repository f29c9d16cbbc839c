//! Gives out a body, every byte verified. What it reads stays readable when the object is overwritten meanwhile.

use super::buffers;
use super::file::{BlockError, Blocks};
use crate::codec::object::FileId;
use crate::device::Shared;
use crate::error::StorageError;
use crate::pool::{self, Pending};
use bytes::Bytes;
use martlet_protocol::hash::PathHash;
use martlet_protocol::policy::PolicyIndex;
use std::collections::VecDeque;
use std::fs::File;
use std::sync::Arc;

/// A body, or a range of it, in verified pieces.
#[derive(Debug)]
pub struct BodyReader {
    length: u64,
    position: u64,
    end: u64,
    source: Source,
    /// The pieces from `position` on that were already asked for.
    ahead: VecDeque<Ahead>,
}

#[derive(Debug)]
enum Source {
    /// Verified when it was read.
    Memory(Bytes),
    File(Arc<OpenFile>),
}

/// A body file that is open, and what is needed to quarantine it.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) shared: Arc<Shared>,
    pub(crate) policy: PolicyIndex,
    pub(crate) hash: PathHash,
    pub(crate) id: FileId,
    pub(crate) file: File,
    pub(crate) blocks: Blocks,
}

#[derive(Debug)]
struct Ahead {
    start: u64,
    end: u64,
    piece: Piece,
}

/// Verified bytes, or what is wrong with them.
pub(crate) type Read = Result<Bytes, String>;

#[derive(Debug)]
enum Piece {
    Here(Read),
    Asked(Pending<Read>),
}

/// The first pieces of a body, read in the same errand that opened the file.
#[derive(Debug, Default)]
pub(crate) struct FirstPieces(VecDeque<Ahead>);

/// So many are read at once where they are the whole of what is wanted. A reader holds as much anyway: a piece that is
/// being sent, and the next.
const FIRST_PIECES: usize = 2;

impl BodyReader {
    pub(crate) fn memory(bytes: Bytes) -> Self {
        let length = bytes.len() as u64;
        BodyReader {
            length,
            position: 0,
            end: length,
            source: Source::Memory(bytes),
            ahead: VecDeque::new(),
        }
    }

    /// The first pieces are given out when the reading begins where they do.
    pub(crate) fn file(open: OpenFile, first: FirstPieces) -> Self {
        let length = open.blocks.length;
        BodyReader {
            length,
            position: 0,
            end: length,
            source: Source::File(Arc::new(open)),
            ahead: first.0,
        }
    }

    /// Bytes of the whole body.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// From here on gives bytes `start..end` of the body (cut to its length). May be called again for another range.
    pub fn set_range(&mut self, start: u64, end: u64) {
        self.end = end.min(self.length);
        self.position = start.min(self.end);
        if self.ahead.iter().any(|ahead| ahead.end > self.end) {
            self.ahead.clear();
        }
    }

    /// The piece that comes next, if it was asked for. Others that were are of no use then.
    fn take_ahead(&mut self) -> Option<Ahead> {
        let ahead = self.ahead.pop_front();
        if ahead.as_ref().is_some_and(|ahead| ahead.start == self.position) {
            return ahead;
        }
        self.ahead.clear();
        None
    }

    /// Reads the first piece now, so that damage shows before a response is begun.
    pub async fn prefetch(&mut self) -> Result<(), StorageError> {
        let Source::File(open) = &self.source else {
            return Ok(());
        };
        if self.position >= self.end {
            return Ok(());
        }
        let open = open.clone();
        let ahead = match self.take_ahead() {
            Some(ahead) => ahead,
            None => begin(&open, self.position, self.end)?,
        };
        let (start, end) = (ahead.start, ahead.end);
        let piece = Piece::Here(Ok(wait(&open, ahead).await?));
        self.ahead.push_front(Ahead { start, end, piece });
        Ok(())
    }

    /// The next piece; `None` at the end. `Corrupt`: the copy is damaged, and quarantined by now.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StorageError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let open = match &self.source {
            Source::Memory(bytes) => {
                let part = bytes.slice(self.position as usize..self.end as usize);
                self.position = self.end;
                return Ok(Some(part));
            }
            Source::File(open) => open.clone(),
        };
        let ahead = match self.take_ahead() {
            Some(ahead) => ahead,
            None => begin(&open, self.position, self.end)?,
        };
        let end = ahead.end;
        let bytes = wait(&open, ahead).await?;
        self.position = end;
        if self.position < self.end && self.ahead.is_empty() {
            self.ahead.push_back(begin(&open, self.position, self.end)?);
        }
        Ok(Some(bytes))
    }
}

/// Asks the threads for the piece at `start`.
fn begin(open: &Arc<OpenFile>, start: u64, end: u64) -> Result<Ahead, StorageError> {
    let end = piece_end(open.blocks, open.shared.config.read_chunk_bytes, start, end);
    let job = open.clone();
    let pending = open
        .shared
        .readers
        .start_job(move || read_piece(&job.file, job.blocks, job.id, start, end))?;
    Ok(Ahead {
        start,
        end,
        piece: Piece::Asked(pending),
    })
}

/// Where a piece that begins at `start` ends: at a block's end, so that no block is read twice.
fn piece_end(blocks: Blocks, chunk_bytes: usize, start: u64, end: u64) -> u64 {
    let block_bytes = blocks.block_bytes;
    let per_piece = (chunk_bytes as u64 / block_bytes).max(1);
    ((start / block_bytes + per_piece) * block_bytes).min(end)
}

/// Reads and verifies bytes `start..end`, which are within the body and not none.
fn read_piece(file: &File, blocks: Blocks, id: FileId, start: u64, end: u64) -> Result<Read, StorageError> {
    match blocks.read(file, id, start, end) {
        Ok((bytes, from)) => {
            let part = (start - from) as usize..(end - from) as usize;
            Ok(Ok(buffers::share(bytes).slice(part)))
        }
        Err(BlockError::Damaged(what)) => Ok(Err(what)),
        Err(BlockError::Io(error)) => Err(error.into()),
    }
}

impl FirstPieces {
    /// Reads the first piece of `start..end`, cut to the body; with it the next, if that is the last. To be called where
    /// blocking is allowed.
    pub(crate) fn read(
        file: &File,
        blocks: Blocks,
        id: FileId,
        chunk_bytes: usize,
        (start, end): (u64, u64),
    ) -> Result<Self, StorageError> {
        let end = end.min(blocks.length);
        let mut pieces = VecDeque::with_capacity(FIRST_PIECES);
        let mut position = start;
        while position < end && pieces.len() < FIRST_PIECES {
            let until = piece_end(blocks, chunk_bytes, position, end);
            if !pieces.is_empty() && until < end {
                break;
            }
            let read = read_piece(file, blocks, id, position, until)?;
            let is_good = read.is_ok();
            pieces.push_back(Ahead {
                start: position,
                end: until,
                piece: Piece::Here(read),
            });
            if !is_good {
                break;
            }
            position = until;
        }
        Ok(FirstPieces(pieces))
    }
}

async fn wait(open: &OpenFile, ahead: Ahead) -> Result<Bytes, StorageError> {
    let read = match ahead.piece {
        Piece::Here(read) => read,
        Piece::Asked(pending) => pool::finish(pending).await?,
    };
    match read {
        Ok(bytes) => Ok(bytes),
        Err(damage) => {
            open.shared
                .quarantine_file(open.policy, open.hash, open.id, damage.clone())
                .await;
            Err(StorageError::Corrupt(damage))
        }
    }
}
