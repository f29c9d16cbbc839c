//! Reads tar archives as they come: one entry at a time, nothing kept but the block at hand.
//!
//! V7, ustar, GNU (long names) and POSIX (extended headers). Written here because a reader that streams through async
//! code, with a bound on everything an archive says of itself, is smaller than what it would take to hold another to that.

mod header;
mod pax;

use super::source::{Source, SourceError};
use bytes::Bytes;
use header::{BLOCK, Block, Kind};
use pax::Pax;
use std::fmt;

/// Bytes of a long name or of extended headers. Names of objects are far shorter.
const MAX_EXTENDED: u64 = 1 << 20;

/// Why an archive cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TarError {
    /// It is no archive, or a broken one.
    Invalid(&'static str),
    Source(SourceError),
}

impl fmt::Display for TarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TarError::Invalid(words) => f.write_str(words),
            TarError::Source(error) => error.fmt(f),
        }
    }
}

impl From<SourceError> for TarError {
    fn from(error: SourceError) -> Self {
        TarError::Source(error)
    }
}

/// One thing in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As stored: not checked in any way.
    pub name: Vec<u8>,
    /// Bytes of content.
    pub size: u64,
    pub what: What,
    /// Headers its extended attributes ask for; names are lower case and otherwise as stored.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// What kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    File,
    SparseFile,
    NoFile,
}

/// An archive being read.
pub struct Archive {
    source: Source,
    global: Pax,
    /// Of the entry at hand: content not read yet, and what fills up its last block.
    content: u64,
    filling: u64,
    is_begun: bool,
}

impl Archive {
    pub fn new(source: Source) -> Self {
        Archive {
            source,
            global: Pax::default(),
            content: 0,
            filling: 0,
            is_begun: false,
        }
    }

    /// The next entry; what was not read of the one before is passed over. `None`: the archive ended well.
    pub async fn next(&mut self) -> Result<Option<Entry>, TarError> {
        let (mut long_name, mut pax) = (None, self.global.clone());
        loop {
            self.pass_over().await?;
            let Some(block) = self.block().await? else {
                return match (self.is_begun, long_name.is_some()) {
                    (false, _) => Err(TarError::Invalid("empty file")),
                    (true, true) => Err(TarError::Invalid("unexpected end of data")),
                    // Some programs leave the zeros at the end out.
                    (true, false) => Ok(None),
                };
            };
            self.is_begun = true;
            let header = match header::parse(&block)? {
                Block::End => return Ok(None),
                Block::Header(header) => header,
            };
            self.set_content(header.size)?;
            match header.kind {
                Kind::LongName => {
                    let mut name = self.extended().await?;
                    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
                    name.truncate(end);
                    long_name = Some(name);
                    continue;
                }
                Kind::LongLink => {
                    self.extended().await?;
                    continue;
                }
                Kind::Pax => {
                    let words = self.extended().await?;
                    pax.read(&words)?;
                    continue;
                }
                Kind::PaxGlobal => {
                    let words = self.extended().await?;
                    self.global.read(&words)?;
                    pax = self.global.clone();
                    continue;
                }
                Kind::File | Kind::Sparse | Kind::Empty | Kind::Other => {}
            }
            let size = match pax.size {
                Some(size) if header.kind != Kind::Empty => size,
                _ => header.size,
            };
            self.set_content(size)?;
            let name = pax.path.take().or(long_name).unwrap_or(header.name);
            let what = match header.kind {
                Kind::File if pax.is_sparse => What::SparseFile,
                Kind::File => What::File,
                Kind::Sparse => {
                    self.pass_map(&block).await?;
                    What::SparseFile
                }
                _ => What::NoFile,
            };
            return Ok(Some(Entry {
                name,
                size,
                what,
                headers: pax.headers.into_iter().collect(),
            }));
        }
    }

    /// Content of the entry at hand, as it comes; `None` at its end.
    pub async fn read(&mut self) -> Result<Option<Bytes>, TarError> {
        if self.content == 0 {
            return Ok(None);
        }
        let most = usize::try_from(self.content).unwrap_or(usize::MAX);
        let Some(chunk) = self.source.take(most).await? else {
            return Err(TarError::Invalid("unexpected end of data"));
        };
        self.content -= chunk.len() as u64;
        Ok(Some(chunk))
    }

    /// The source, to read what follows the archive.
    pub fn into_source(self) -> Source {
        self.source
    }

    fn set_content(&mut self, size: u64) -> Result<(), TarError> {
        let block = BLOCK as u64;
        let filled = size
            .checked_next_multiple_of(block)
            .ok_or(TarError::Invalid("invalid header"))?;
        self.content = size;
        self.filling = filled - size;
        Ok(())
    }

    async fn pass_over(&mut self) -> Result<(), TarError> {
        while self.read().await?.is_some() {}
        while self.filling > 0 {
            let Some(chunk) = self.source.take(self.filling as usize).await? else {
                // Only the filling is missing: the content was whole.
                self.filling = 0;
                break;
            };
            self.filling -= chunk.len() as u64;
        }
        Ok(())
    }

    /// The next block; `None` when nothing at all follows.
    async fn block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut block = [0; BLOCK];
        let mut at = 0;
        while at < BLOCK {
            match self.source.take(BLOCK - at).await? {
                Some(chunk) => {
                    block[at..at + chunk.len()].copy_from_slice(&chunk);
                    at += chunk.len();
                }
                None if at == 0 => return Ok(None),
                None => return Err(TarError::Invalid("truncated header")),
            }
        }
        Ok(Some(block))
    }

    /// The content of an entry that speaks of others.
    async fn extended(&mut self) -> Result<Vec<u8>, TarError> {
        if self.content > MAX_EXTENDED {
            return Err(TarError::Invalid("extended headers are too large"));
        }
        let mut gathered = Vec::with_capacity(self.content as usize);
        while let Some(chunk) = self.read().await? {
            gathered.extend_from_slice(&chunk);
        }
        Ok(gathered)
    }

    /// GNU's sparse files: further blocks of the map of holes stand between header and content.
    async fn pass_map(&mut self, header: &[u8; BLOCK]) -> Result<(), TarError> {
        let mut goes_on = header[482] != 0;
        while goes_on {
            let block = self
                .block()
                .await?
                .ok_or(TarError::Invalid("unexpected end of data"))?;
            goes_on = block[504] != 0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
