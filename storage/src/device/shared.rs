//! What all threads and callers of a device share, and how a read finds its thread.

use crate::body::files::Files;
use crate::codec::object::FileId;
use crate::commit::objects::ObjectKey;
use crate::commit::quarantine::DamagedBody;
use crate::commit::{CommitQueue, Kind};
use crate::config::DeviceConfig;
use crate::error::StorageError;
use crate::index::{Family, Index, ReadFailure, Tier};
use crate::pool::Pool;
use crate::room::Room;
use martlet_protocol::hash::PathHash;
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::timestamp::Timestamp;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The inside of a device.
pub(crate) struct Shared {
    pub(crate) config: DeviceConfig,
    pub(crate) index: Index,
    pub(crate) readers: Pool,
    pub(crate) files: Arc<Files>,
    pub(crate) commits: CommitQueue,
    pub(crate) room: Room,
    /// The last sequence of a durable batch.
    pub(crate) sequence: AtomicU64,
    pub(crate) objects: AtomicI64,
    pub(crate) tombstones: AtomicI64,
    pub(crate) bytes: AtomicI64,
    /// No queued update has a sequence below this.
    pub(crate) outbox_floor: AtomicU64,
    /// Nothing expires before this second.
    pub(crate) expiry_floor: Floor,
    pub(crate) synced_at: Mutex<Timestamp>,
}

/// A bound below which a scan need not look: raised by scans, lowered by writers.
#[derive(Debug, Default)]
pub(crate) struct Floor {
    /// The floor, and how often it was lowered.
    state: Mutex<(u64, u64)>,
}

impl Floor {
    fn lock(&self) -> MutexGuard<'_, (u64, u64)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where to begin, and a ticket for [`Floor::raise`].
    pub(crate) fn start(&self) -> (u64, u64) {
        *self.lock()
    }

    pub(crate) fn lower(&self, to: u64) {
        let mut state = self.lock();
        *state = (state.0.min(to), state.1 + 1);
    }

    /// Nothing is below `to`, as a scan begun with `ticket` saw; void when something was written since.
    pub(crate) fn raise(&self, to: u64, ticket: u64) {
        let mut state = self.lock();
        if state.1 == ticket {
            state.0 = state.0.max(to);
        }
    }
}

/// What a job of the reader threads hands back when a record is damaged.
type Damage = (Family, Vec<u8>);

impl Shared {
    pub(crate) fn name(&self) -> &str {
        &self.config.identity.device
    }

    /// Reads from memory right here, or else on a reader thread. A damaged record is quarantined before the error is
    /// returned.
    pub(crate) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        job: impl Fn(&Shared, Tier) -> Result<T, ReadFailure> + Send + 'static,
    ) -> Result<T, StorageError> {
        match job(self, Tier::Memory) {
            Ok(answer) => return Ok(answer),
            Err(ReadFailure::Failed(error @ StorageError::Closed)) => return Err(error),
            Err(_) => {}
        }
        self.scan(move |shared| job(shared, Tier::Disk)).await
    }

    /// Reads on a reader thread.
    pub(crate) async fn scan<T: Send + 'static>(
        self: &Arc<Self>,
        job: impl FnOnce(&Shared) -> Result<T, ReadFailure> + Send + 'static,
    ) -> Result<T, StorageError> {
        let shared = self.clone();
        let answer: Result<T, Damage> = self
            .readers
            .run(move || match job(&shared) {
                Ok(answer) => Ok(Ok(answer)),
                Err(ReadFailure::Damaged(family, key)) => Ok(Err((family, key))),
                Err(other) => Err(other.into()),
            })
            .await?;
        match answer {
            Ok(answer) => Ok(answer),
            Err((family, key)) => {
                let text = crate::codec::hex(&key);
                if let Some(waiter) = self.begin_quarantine(family, key) {
                    waiter.wait().await?;
                }
                Err(StorageError::Corrupt(format!("record {text} cannot be read")))
            }
        }
    }

    fn begin_quarantine(&self, family: Family, key: Vec<u8>) -> Option<crate::commit::Waiter<()>> {
        // A full queue: whoever reads it next tries again.
        let slot = self.commits.reserve().ok()?;
        let take_out = move |batch: &mut crate::commit::batch::Batch<'_>| batch.quarantine_record(family, &key);
        Some(self.commits.submit(slot, Kind::Alone, take_out))
    }

    /// Takes a damaged record out; nobody waits.
    pub(crate) fn quarantine_record(&self, family: Family, key: Vec<u8>) {
        drop(self.begin_quarantine(family, key));
    }

    /// Takes an object out whose body is damaged, and waits until that is durable.
    pub(crate) async fn quarantine_body(&self, at: ObjectKey, body: DamagedBody, reason: String) {
        let Ok(slot) = self.commits.reserve() else {
            return;
        };
        let take_out = move |batch: &mut crate::commit::batch::Batch<'_>| batch.quarantine_body(at, body, reason);
        if let Err(error) = self.commits.submit(slot, Kind::Shared, take_out).wait().await {
            tracing::error!(device = self.name(), %error, "a damaged copy was not quarantined");
        }
    }

    pub(crate) async fn quarantine_file(&self, policy: PolicyIndex, hash: PathHash, id: FileId, reason: String) {
        let at = ObjectKey { policy, hash };
        self.quarantine_body(at, DamagedBody::File(id), reason).await;
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("name", &self.name()).finish_non_exhaustive()
    }
}
