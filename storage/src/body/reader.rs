//! Gives out a body, every byte verified. What it reads stays readable when the object is overwritten meanwhile.

use super::file::{BlockError, Blocks};
use crate::codec::object::FileId;
use crate::device::Shared;
use crate::error::StorageError;
use crate::pool::{self, Pending};
use bytes::Bytes;
use martlet_protocol::hash::PathHash;
use martlet_protocol::policy::PolicyIndex;
use std::fs::File;
use std::sync::Arc;

/// A body, or a range of it, in verified pieces.
#[derive(Debug)]
pub struct BodyReader {
    length: u64,
    position: u64,
    end: u64,
    source: Source,
    /// The piece at `position`, already asked for.
    ahead: Option<Ahead>,
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
    end: u64,
    pending: Pending<Result<Bytes, String>>,
}

impl BodyReader {
    pub(crate) fn memory(bytes: Bytes) -> Self {
        let length = bytes.len() as u64;
        BodyReader {
            length,
            position: 0,
            end: length,
            source: Source::Memory(bytes),
            ahead: None,
        }
    }

    pub(crate) fn file(open: OpenFile) -> Self {
        let length = open.blocks.length;
        BodyReader {
            length,
            position: 0,
            end: length,
            source: Source::File(Arc::new(open)),
            ahead: None,
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
        self.ahead = None;
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
        let ahead = match self.ahead.take() {
            Some(ahead) => ahead,
            None => begin(&open, self.position, self.end)?,
        };
        let end = ahead.end;
        let bytes = wait(&open, ahead).await?;
        let (answer, pending) = tokio::sync::oneshot::channel();
        // The receiver is right here.
        let _ = answer.send(Ok(Ok(bytes)));
        self.ahead = Some(Ahead { end, pending });
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
        let ahead = match self.ahead.take() {
            Some(ahead) => ahead,
            None => begin(&open, self.position, self.end)?,
        };
        let end = ahead.end;
        let bytes = wait(&open, ahead).await?;
        self.position = end;
        if self.position < self.end {
            self.ahead = Some(begin(&open, self.position, self.end)?);
        }
        Ok(Some(bytes))
    }
}

/// Asks the threads for the piece at `start`; it ends at a block's end, so that no block is read twice.
fn begin(open: &Arc<OpenFile>, start: u64, end: u64) -> Result<Ahead, StorageError> {
    let block_bytes = open.blocks.block_bytes;
    let per_piece = (open.shared.config.read_chunk_bytes as u64 / block_bytes).max(1);
    let piece_end = ((start / block_bytes + per_piece) * block_bytes).min(end);
    let job = open.clone();
    let pending = open.shared.readers.start_job(move || {
        match job.blocks.read(&job.file, job.id, start, piece_end) {
            Ok((bytes, from)) => {
                let part = (start - from) as usize..(piece_end - from) as usize;
                Ok(Ok(Bytes::from(bytes).slice(part)))
            }
            Err(BlockError::Damaged(what)) => Ok(Err(what)),
            Err(BlockError::Io(error)) => Err(error.into()),
        }
    })?;
    Ok(Ahead {
        end: piece_end,
        pending,
    })
}

async fn wait(open: &OpenFile, ahead: Ahead) -> Result<Bytes, StorageError> {
    match pool::finish(ahead.pending).await? {
        Ok(bytes) => Ok(bytes),
        Err(damage) => {
            open.shared
                .quarantine_file(open.policy, open.hash, open.id, damage.clone())
                .await;
            Err(StorageError::Corrupt(damage))
        }
    }
}
