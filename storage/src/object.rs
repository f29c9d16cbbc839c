//! What callers say about objects, and what they hear back.

use crate::body::BodyReader;
use crate::outbox::Owed;
use martlet_protocol::record::{Metadata, ObjectRecord};
use martlet_protocol::timestamp::Timestamp;

/// A PUT without its body.
#[derive(Clone, Debug)]
pub struct PutObject {
    pub account: String,
    pub container: String,
    pub object: String,
    pub timestamp: Timestamp,
    /// MD5 of the body, lower-case hexadecimal.
    pub etag: String,
    pub content_type: String,
    pub metadata: Metadata,
    /// Seconds since 1970.
    pub delete_at: Option<u64>,
    /// `If-None-Match: *`: only when no object is there (one that has expired by `timestamp` is not there).
    pub if_none_match_star: bool,
}

/// What became of a PUT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    Stored {
        outbox: Option<Owed>,
    },
    /// Data or a tombstone as new or newer is there.
    Conflict {
        existing: Timestamp,
    },
    /// `if_none_match_star` was asked and an object is there.
    Exists,
}

/// What became of a POST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostOutcome {
    Stored {
        record: Box<ObjectRecord>,
        outbox: Option<Owed>,
    },
    NotFound {
        tombstone: Option<Timestamp>,
    },
    /// Metadata as new or newer is there.
    Conflict {
        existing: Timestamp,
    },
}

/// A DELETE.
#[derive(Clone, Debug)]
pub struct DeleteObject {
    pub account: String,
    pub container: String,
    pub object: String,
    pub timestamp: Timestamp,
    /// `X-If-Delete-At`: only when the object still expires at this second.
    pub if_delete_at: Option<u64>,
}

/// What became of a DELETE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeleteOutcome {
    /// A tombstone took the object's place.
    Deleted {
        previous: Box<ObjectRecord>,
        outbox: Option<Owed>,
    },
    /// No object was there; a tombstone is there now. `tombstone` is the one that was there before.
    NotFound {
        tombstone: Option<Timestamp>,
        outbox: Option<Owed>,
    },
    /// Data as new or newer is there.
    Conflict {
        existing: Timestamp,
    },
    DeleteAtMismatch,
}

/// What became of a write that concerns versions, and the rows that are owed for all it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written<T> {
    /// Owes no rows beside those of `owed`.
    pub outcome: T,
    pub owed: Vec<Owed>,
}

impl Written<()> {
    pub(crate) fn nothing() -> Self {
        Written {
            outcome: (),
            owed: Vec::new(),
        }
    }
}

impl From<PutOutcome> for Written<PutOutcome> {
    fn from(mut outcome: PutOutcome) -> Self {
        let owed = match &mut outcome {
            PutOutcome::Stored { outbox } => outbox.take(),
            PutOutcome::Conflict { .. } | PutOutcome::Exists => None,
        };
        Written {
            outcome,
            owed: owed.into_iter().collect(),
        }
    }
}

impl From<PostOutcome> for Written<PostOutcome> {
    fn from(mut outcome: PostOutcome) -> Self {
        let owed = match &mut outcome {
            PostOutcome::Stored { outbox, .. } => outbox.take(),
            PostOutcome::NotFound { .. } | PostOutcome::Conflict { .. } => None,
        };
        Written {
            outcome,
            owed: owed.into_iter().collect(),
        }
    }
}

impl From<DeleteOutcome> for Written<DeleteOutcome> {
    fn from(mut outcome: DeleteOutcome) -> Self {
        let owed = match &mut outcome {
            DeleteOutcome::Deleted { outbox, .. } | DeleteOutcome::NotFound { outbox, .. } => outbox.take(),
            DeleteOutcome::Conflict { .. } | DeleteOutcome::DeleteAtMismatch => None,
        };
        Written {
            outcome,
            owed: owed.into_iter().collect(),
        }
    }
}

/// An object and its body. The body stays readable when the object is overwritten or deleted meanwhile.
#[derive(Debug)]
pub struct OpenObject {
    pub record: ObjectRecord,
    /// Empty for a tombstone.
    pub body: BodyReader,
}
