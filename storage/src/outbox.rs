//! The name of an update that is owed to another server.

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
