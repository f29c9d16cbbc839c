//! Large objects as one body: `answer` decides what a request gets of it, `reader` streams the pieces,
//! which it asks of the core (`direct`) or, where a step has a say in one, of all steps.

mod answer;
mod begun;
mod direct;
mod rate;
mod reader;

pub use answer::{Joined, Wanted, answer};
pub use rate::RateLimit;
pub use reader::{Reader, SegmentError, Source};

use bytes::Bytes;
use futures_util::Stream;
use martlet_protocol::name::ObjectPath;
use martlet_protocol::range::ByteRange;
use std::pin::Pin;
use std::sync::Arc;

/// One part of a body, in the order it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes at hand.
    Data(Bytes),
    /// Bytes of a stored object.
    Object(ObjectPiece),
}

/// Which bytes of which object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectPiece {
    /// Shared with the manifest, as the ETag is: a piece is made of it for each segment that is read.
    pub path: Arc<ObjectPath>,
    /// The ETag it must still have; `None` takes it as it is.
    pub etag: Option<Arc<str>>,
    /// The whole object's length in bytes.
    pub size: u64,
    /// What of it is wanted.
    pub range: ByteRange,
}

impl ObjectPiece {
    /// Whether the whole object is wanted.
    pub fn is_whole(&self) -> bool {
        self.range.start == 0 && self.range.end == self.size
    }
}

impl Piece {
    /// Bytes it will give.
    pub fn bytes(&self) -> u64 {
        match self {
            Piece::Data(bytes) => bytes.len() as u64,
            Piece::Object(piece) => piece.range.len(),
        }
    }
}

/// Pieces as they are found out; nested manifests are read when their turn comes.
pub type Pieces = Pin<Box<dyn Stream<Item = Result<Piece, SegmentError>> + Send>>;
