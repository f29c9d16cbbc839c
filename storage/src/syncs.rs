//! What callers say and hear about rows that another cluster is to have: the log that a synchronized container keeps.

use martlet_protocol::hash::PathHash;

/// How far the synchronization of a container has got on this device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncState {
    /// The sequence up to which entries were met once, each by the replica whose share it is. Those that are still there
    /// are everybody's. Swift's `x_container_sync_point1`; its second point is where the log begins.
    pub met: u64,
    /// Rows behind this name are not in the log yet: synchronization was turned on when they were there already. `None`:
    /// all are.
    pub listed_to: Option<String>,
}

/// A row that was written since it was last sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncEntry {
    /// The container.
    pub hash: PathHash,
    /// Later writes have higher ones.
    pub sequence: u64,
    /// The row.
    pub name: String,
}
