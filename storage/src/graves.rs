//! What callers say about deletions that may be forgotten, and about rows under a wrong policy.

use crate::container::Space;
use martlet_protocol::hash::PathHash;
use martlet_protocol::timestamp::Timestamp;

/// A deletion that is still remembered: of an object, a container, an account, or a row of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grave {
    pub space: Space,
    /// Of the object; or of the container or account, also when a row of it is meant.
    pub hash: PathHash,
    /// The row; `None`: the record itself.
    pub name: Option<String>,
    /// The deletion.
    pub newest: Timestamp,
}

impl Grave {
    /// A deleted row.
    pub fn is_row(&self) -> bool {
        self.name.is_some()
    }
}

/// A page of deletions, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GravesPage {
    pub graves: Vec<Grave>,
    /// Ask on after this; `None`: that was the last page.
    pub next: Option<Vec<u8>>,
}

/// What a device holds where another has a grave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buried {
    /// The same deletion.
    Same,
    Nothing,
    /// Data, or another deletion.
    Other,
}

/// A row whose object lies under another policy than its container's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// The container.
    pub hash: PathHash,
    /// The row; empty: the container changed its policy, and any row may be one.
    pub name: String,
}
