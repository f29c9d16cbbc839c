//! What is owed to other servers: the name of an entry in the outbox, and the row of an object before it gets there.

use crate::container::{PutContainer, Row};
use martlet_protocol::hash::PathHash;
use martlet_protocol::record::ContainerRecord;
use martlet_protocol::update::{Update, UpdateTarget};

/// Where an update stands in the outbox. Orders as the outbox is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutboxId {
    /// 16 bytes of key: the sequence (queued updates, first in order), or the hash of the row's path (coalesced ones).
    pub(crate) coalesced: bool,
    pub(crate) key: [u8; 16],
    /// Which writing of a coalesced entry this is: an acknowledgement of an older one leaves a newer one alone.
    pub(crate) version: u64,
}

impl OutboxId {
    /// Its key in the index.
    pub(crate) fn index_key(&self) -> [u8; 17] {
        crate::codec::keys::outbox(self.coalesced, self.key)
    }
}

/// An update as it stands in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    pub id: OutboxId,
    /// Its targets are those that do not have it yet.
    pub update: Update,
}

/// The row that a container is owed of an object, before the commit of the object.
#[derive(Debug)]
pub struct OwedRow {
    pub update: Update,
    /// The target whose replica is on the same device, if one is: its row becomes part of the object's own commit.
    pub here: Option<RowHere>,
}

impl From<Update> for OwedRow {
    fn from(update: Update) -> Self {
        OwedRow { update, here: None }
    }
}

/// Composes what a container then owes its account.
pub type AccountRow = Box<dyn FnOnce(&ContainerRecord) -> Option<Update> + Send>;

/// A row for a container on the same device.
pub struct RowHere {
    /// Which of the update's targets this device is.
    pub target: UpdateTarget,
    pub container: PathHash,
    pub row: Row,
    /// A row may bring this container into being.
    pub create: Option<PutContainer>,
    pub account_row: AccountRow,
}

impl std::fmt::Debug for RowHere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowHere")
            .field("target", &self.target)
            .field("container", &self.container)
            .field("row", &self.row)
            .finish_non_exhaustive()
    }
}

/// Turns an owed row into one for the same device. The container server does: it knows how a row is read, and what the
/// account is owed of it.
pub trait RowsHere: Send + Sync {
    /// `None`: this row must be sent, and whatever is wrong with it is for the container server to say.
    fn row_here(&self, update: &Update, target: &UpdateTarget) -> Option<RowHere>;
}
