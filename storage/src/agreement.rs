//! What replicas compare: digests, versions, changes. And what operators see: stats.

use martlet_protocol::hash::PathHash;
use martlet_protocol::timestamp::Timestamp;

/// One record as a replica compares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    pub hash: PathHash,
    pub newest: Timestamp,
    /// Equal when the records (and for containers all rows) are equal.
    pub fingerprint: [u8; 16],
    /// Bytes of an object's body; 0 for tombstones, containers and accounts.
    pub bytes: u64,
}

/// Something changed under this hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub sequence: u64,
    pub hash: PathHash,
}

/// A page of the change log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangesPage {
    pub entries: Vec<Change>,
    /// Ask on with `since: next`.
    pub next: u64,
    /// Changes with a sequence below this are forgotten: who asks for older ones must compare digests instead.
    pub trimmed_before: u64,
}

/// A device in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceStats {
    pub objects: u64,
    pub tombstones: u64,
    /// Bytes of object bodies.
    pub bytes: u64,
    /// Updates not yet acknowledged.
    pub outbox: u64,
    /// Copies moved into quarantine and still lying there.
    pub quarantined: u64,
    pub free_bytes: u64,
    pub total_bytes: u64,
}
