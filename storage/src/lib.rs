//! The only room that touches disks: one index per device, bodies beside it, one commit path. Knows no HTTP.
//!
//! A [`Device`] is a directory that its marker file names. Everything known of an object or container lives in the
//! device's index (one RocksDB) and changes in one atomic batch, written by the device's one committer thread; bodies
//! above the inline limit are files that a batch makes visible. `docs/on-disk.md` describes every byte.
//!
//! Invariants a reader could break by accident:
//! - nothing here blocks an async thread: a device has its own bounded reader, writer and committer threads;
//! - what a batch says is durable before its callers hear of it, and a body before the batch that names it;
//! - record, digest, change entry, expiry entry, counts and outbox entry of one change are in one batch;
//! - a damaged copy is taken out of the index (quarantined) where it is found, and is never served.

mod agreement;
mod body;
mod codec;
mod commit;
mod config;
mod container;
mod device;
mod error;
mod graves;
mod index;
mod marker;
mod object;
mod outbox;
mod pool;
mod set;
mod syncs;

pub use agreement::{Change, ChangesPage, DeviceStats, Version};
pub use body::{BodyReader, BodyWriter};
pub use config::{DeviceConfig, DeviceIdentity, Reserve};
pub use container::{
    ContainerMetadata, DeleteContainerOutcome, PutContainer, PutContainerOutcome, Row, RowsOutcome, Space,
};
pub use device::Device;
pub use error::{OpenError, StorageError, Unavailable};
pub use graves::{Buried, Grave, GravesPage, Stray};
pub use object::{DeleteObject, DeleteOutcome, OpenObject, PostOutcome, PutObject, PutOutcome, Written};
pub use outbox::{AccountRow, OutboxId, Owed, OwedRow, RowHere, RowsHere};
pub use set::DeviceSet;
pub use syncs::{SyncEntry, SyncState};

/// What every operation of this room answers.
pub type Result<T, E = StorageError> = std::result::Result<T, E>;
