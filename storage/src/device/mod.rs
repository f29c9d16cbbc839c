//! A device: what other rooms do with one. Opening and closing here; operations by kind in the files beside.
//!
//! Invariants: reads that memory can answer stay on the async thread, all others run on the device's reader threads;
//! every change goes through the commit queue; nothing works on a device after its close has begun, but what was
//! queued before is still committed.

mod agreement;
mod containers;
mod expiry;
mod graves;
mod list;
mod objects;
mod open;
mod space_guard;
mod synced;
mod syncs;
mod versions;

use crate::body::files::Files;
use crate::commit::CommitQueue;
use crate::config::{DeviceConfig, DeviceIdentity};
use crate::error::OpenError;
use crate::index::Index;
use crate::pool::Pool;
use expiry::ExpiryFloor;
use space_guard::SpaceGuard;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use synced::Synced;

/// An open device. Clones share it.
#[derive(Clone, Debug)]
pub struct Device {
    shared: Arc<Shared>,
}

/// What the threads and the callers of a device share.
pub(crate) struct Shared {
    pub(crate) config: DeviceConfig,
    pub(crate) index: Index,
    pub(crate) files: Arc<Files>,
    pub(crate) readers: Pool,
    pub(crate) commits: CommitQueue,
    pub(crate) sequence: AtomicU64,
    pub(crate) objects: AtomicI64,
    pub(crate) tombstones: AtomicI64,
    pub(crate) bytes: AtomicI64,
    pub(crate) expiry_floor: ExpiryFloor,
    space: SpaceGuard,
    pub(crate) synced: Synced,
    /// Raw form of the newest deletion that was forgotten here.
    pub(crate) reclaimed: AtomicU64,
    /// Raw form of the moment up to which every deletion was learnt of.
    pub(crate) caught_up: AtomicU64,
    pub(crate) in_doubt: AtomicBool,
    /// Taken by the first close: the committer, then the workers.
    threads: Mutex<Option<Threads>>,
}

struct Threads {
    committer: JoinHandle<()>,
    workers: Vec<JoinHandle<()>>,
}

impl Shared {
    pub(crate) fn name(&self) -> &str {
        &self.config.identity.device
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

impl Device {
    /// Makes a directory a device of this identity. One that already is stays as it is. Blocks.
    ///
    /// # Errors
    /// [`OpenError::Foreign`] when it is another's device.
    pub fn format(path: &Path, identity: &DeviceIdentity) -> Result<(), OpenError> {
        crate::marker::format(path, identity)
    }

    /// Opens a formatted device: replays the index's log, removes bodies that no record names. Blocks.
    pub fn open(config: DeviceConfig) -> Result<Device, OpenError> {
        open::open(config).map(|shared| Device { shared })
    }

    /// The ring's name for it.
    pub fn name(&self) -> &str {
        self.shared.name()
    }

    /// Commits what was queued, then ends the device's threads. Further calls on it answer `Closed`.
    pub async fn close(&self) {
        let shared = self.shared.clone();
        let closing = tokio::task::spawn_blocking(move || shared.close());
        if closing.await.is_err() {
            tracing::error!(device = self.name(), "closing the device failed");
        }
    }
}

impl Shared {
    fn close(&self) {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Threads { committer, workers }) = threads else {
            return;
        };
        self.commits.close();
        if committer.join().is_err() {
            tracing::error!(device = self.name(), "the committer had panicked");
        }
        self.readers.close();
        self.files.threads.close();
        for worker in workers {
            // Jobs that panic are caught where they run.
            let _ = worker.join();
        }
        if let Err(error) = self.index.flush() {
            tracing::warn!(device = self.name(), %error, "the index was not flushed; the next start replays its log");
        }
    }
}
