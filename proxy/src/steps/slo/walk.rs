//! Walks through a manifest and those within it, and gives the pieces of a run of bytes.

use super::get::fetch;
use super::plan::{self, Slice};
use super::stored::{Content, Segment};
use crate::context::Origin;
use crate::pipeline::Next;
use crate::steps::segments::{ObjectPiece, Piece, Pieces, SegmentError};
use futures_util::stream;
use martlet_protocol::name::{AccountName, ObjectPath};
use martlet_protocol::range::ByteRange;
use std::collections::VecDeque;
use std::sync::Arc;

/// Manifests within manifests, the outermost counted.
const MAX_DEPTH: usize = 10;
/// Nested manifests kept in case their turn comes again: ranges of one are often used one after the other.
const MAX_RECENT: usize = 4;

/// What kept segments give; `None` if one of them is not what this proxy or Swift's has written.
pub fn contents(segments: &[Segment], account: &AccountName) -> Option<Arc<[Content]>> {
    let contents = segments.iter().map(|segment| segment.content(account));
    contents.collect()
}

/// The pieces of `window`. Nested manifests are read when their turn comes, and only if the window touches them.
pub fn pieces(
    contents: Arc<[Content]>,
    window: ByteRange,
    account: AccountName,
    next: Next,
    origin: Origin,
) -> Pieces {
    let walk = Walk {
        account,
        next,
        origin,
        frames: vec![Frame::new(contents, window)],
        recent: VecDeque::new(),
    };
    Box::pin(stream::unfold(Some(walk), |walk| async move {
        let mut walk = walk?;
        match walk.next_piece().await {
            Ok(Some(piece)) => Some((Ok(piece), Some(walk))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    }))
}

/// The parts of one manifest that lie in a window, each with its own part of the window.
struct Frame {
    contents: Arc<[Content]>,
    slices: VecDeque<Slice>,
}

impl Frame {
    fn new(contents: Arc<[Content]>, window: ByteRange) -> Self {
        let slices = plan::slices(contents.iter().map(Content::len), window).collect();
        Frame { contents, slices }
    }
}

struct Walk {
    account: AccountName,
    next: Next,
    origin: Origin,
    frames: Vec<Frame>,
    recent: VecDeque<(Arc<ObjectPath>, Arc<[Content]>)>,
}

impl Walk {
    async fn next_piece(&mut self) -> Result<Option<Piece>, SegmentError> {
        loop {
            let Some(top) = self.frames.last_mut() else {
                return Ok(None);
            };
            let Some(slice) = top.slices.pop_front() else {
                self.frames.pop();
                continue;
            };
            let window = slice.range;
            match &top.contents[slice.index] {
                Content::Data(bytes) => {
                    return Ok(Some(Piece::Data(
                        bytes.slice(window.start as usize..window.end as usize),
                    )));
                }
                Content::Object {
                    path,
                    etag,
                    size,
                    range,
                    is_manifest,
                } => {
                    let range = ByteRange {
                        start: range.start + window.start,
                        end: range.start + window.end,
                    };
                    if !is_manifest {
                        return Ok(Some(Piece::Object(ObjectPiece {
                            path: path.clone(),
                            etag: etag.clone(),
                            size: *size,
                            range,
                        })));
                    }
                    let path = path.clone();
                    self.enter(path, range).await?;
                }
            }
        }
    }

    async fn enter(&mut self, path: Arc<ObjectPath>, window: ByteRange) -> Result<(), SegmentError> {
        if self.frames.len() >= MAX_DEPTH {
            return Err(SegmentError::Invalid("manifests are nested too deeply".into()));
        }
        let known = self.recent.iter().find(|(known, _)| *known == path);
        let contents = match known {
            Some((_, contents)) => contents.clone(),
            None => {
                // Boxed: most walks never come here.
                let contents = Box::pin(self.read(&path)).await?;
                if self.recent.len() == MAX_RECENT {
                    self.recent.pop_front();
                }
                self.recent.push_back((path, contents.clone()));
                contents
            }
        };
        self.frames.push(Frame::new(contents, window));
        Ok(())
    }

    async fn read(&self, path: &ObjectPath) -> Result<Arc<[Content]>, SegmentError> {
        let manifest = fetch(path, None, &self.next, &self.origin).await;
        let manifest = manifest.map_err(|unread| {
            let words = format!("nested manifest {}: {}", path.path(), unread.words());
            match unread.is_temporary() {
                true => SegmentError::Unavailable(words),
                false => SegmentError::Invalid(words),
            }
        })?;
        contents(&manifest.segments, &self.account)
            .ok_or_else(|| SegmentError::Invalid(format!("nested manifest {} is damaged", path.path())))
    }
}
