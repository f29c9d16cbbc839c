//! Deletes what is due: each device its own copies, from its time-ordered range of expiries.
//!
//! The tombstone carries the moment of expiry, so that every replica writes the same one. A device that was away may not
//! know of a POST that took the expiry back; it expires only what was due before its last complete replication round,
//! because a POST after the expiry would have found nothing to change.

use crate::account_report;
use crate::replicator::Rings;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use martlet_protocol::hash::{HashSalt, PathHash};
use martlet_protocol::header;
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::record::ObjectRecord;
use martlet_protocol::timestamp::Timestamp;
use martlet_protocol::update::{Update, UpdateOp, UpdateTarget};
use martlet_service::Clock;
use martlet_storage::{DeleteObject, DeleteOutcome, Device, DeviceSet, OwedRow, StorageError};
use serde::Serialize;
use std::sync::Arc;

/// Bounds of the expirer.
#[derive(Clone, Debug)]
pub struct ExpirerConfig {
    /// Where this node listens, as the rings write it.
    pub addresses: Vec<(String, u16)>,
    /// Deletions of one device under way at once: they share commits.
    pub concurrency: usize,
    /// Deletions of one device in one pass; the rest waits for the next.
    pub deletions_per_pass: usize,
}

impl Default for ExpirerConfig {
    fn default() -> Self {
        ExpirerConfig {
            addresses: Vec::new(),
            concurrency: 256,
            deletions_per_pass: 100_000,
        }
    }
}

/// What one pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExpireReport {
    /// Copies that are tombstones now.
    pub expired: u64,
    pub failures: u64,
    /// Devices that must replicate first.
    pub unsynced_devices: u64,
}

/// Expires objects on the local devices. Clones share everything.
#[derive(Clone)]
pub struct Expirer(Arc<Shared>);

struct Shared {
    config: ExpirerConfig,
    devices: DeviceSet,
    rings: Rings,
    clock: Clock,
    salt: HashSalt,
}

impl Expirer {
    pub fn new(
        config: ExpirerConfig,
        devices: DeviceSet,
        rings: Rings,
        clock: Clock,
        salt: HashSalt,
    ) -> Self {
        Expirer(Arc::new(Shared {
            config,
            devices,
            rings,
            clock,
            salt,
        }))
    }

    /// Expires everything that is due on the local devices.
    pub async fn pass(&self) -> ExpireReport {
        let local: Vec<(String, Device)> = self.0.devices.iter().collect();
        let work = local.iter().map(|(name, device)| async move {
            self.device_pass(name, device).await.unwrap_or_else(|error| {
                tracing::error!(device = name, %error, "expiries cannot be read");
                ExpireReport {
                    failures: 1,
                    ..ExpireReport::default()
                }
            })
        });
        let mut sum = ExpireReport::default();
        for report in join_all(work).await {
            sum.expired += report.expired;
            sum.failures += report.failures;
            sum.unsynced_devices += report.unsynced_devices;
        }
        metrics::counter!("martlet_expirer_expired_total").increment(sum.expired);
        sum
    }

    async fn device_pass(&self, name: &str, device: &Device) -> Result<ExpireReport, StorageError> {
        const PAGE: usize = 1_000;
        let mut report = ExpireReport::default();
        let synced_at = device.synced_at();
        if synced_at == Timestamp::ZERO {
            report.unsynced_devices = 1;
            return Ok(report);
        }
        let horizon = self.0.clock.now().min(synced_at).secs();
        for _ in 0..self.0.config.deletions_per_pass.div_ceil(PAGE) {
            let due = device.due(horizon, PAGE).await?;
            let full = due.len() == PAGE;
            let work = due
                .into_iter()
                .map(|(policy, hash, at)| self.expire(name, device, policy, hash, at));
            let mut work = stream::iter(work).buffer_unordered(self.0.config.concurrency.max(1));
            let mut progress = false;
            while let Some(outcome) = work.next().await {
                match outcome {
                    Ok(true) => {
                        report.expired += 1;
                        progress = true;
                    }
                    Ok(false) => {}
                    Err(error) => {
                        report.failures += 1;
                        tracing::info!(device = name, %error, "an object could not be expired for now");
                    }
                }
            }
            if !full || !progress {
                break;
            }
        }
        Ok(report)
    }

    /// `false`: it is no longer due.
    async fn expire(
        &self,
        name: &str,
        device: &Device,
        policy: PolicyIndex,
        hash: PathHash,
        at: u64,
    ) -> Result<bool, StorageError> {
        let Some(record) = device.read_object(policy, hash).await? else {
            return Ok(false);
        };
        if record.is_tombstone() || record.delete_at() != Some(at) {
            return Ok(false);
        }
        // Only clocks that disagree give data that is newer than its own expiry.
        let timestamp = Timestamp::from_secs(at).max(record.newest().next());
        let targets = self.targets(name, policy, hash, &record);
        let update = row_of(&record, policy, timestamp, targets);
        let delete = DeleteObject {
            account: record.account,
            container: record.container,
            object: record.object,
            timestamp,
            if_delete_at: Some(at),
        };
        match device
            .delete_object(policy, hash, delete, move |_| update.map(OwedRow::from))
            .await?
        {
            DeleteOutcome::Deleted { .. } => Ok(true),
            DeleteOutcome::NotFound { .. }
            | DeleteOutcome::Conflict { .. }
            | DeleteOutcome::DeleteAtMismatch => Ok(false),
        }
    }

    /// As a proxy does it: each replica of the object owes the row to one replica of the container. A handoff copy owes
    /// it to all.
    fn targets(
        &self,
        name: &str,
        policy: PolicyIndex,
        hash: PathHash,
        record: &ObjectRecord,
    ) -> Vec<UpdateTarget> {
        let rings = self.0.rings.load();
        let ring = &rings.container;
        let container_hash = self.0.salt.hash(&record.account, Some(&record.container), None);
        let all = account_report::targets(ring, ring.partition(&container_hash));
        let primaries = rings
            .object(policy)
            .map(|ring| ring.primaries(ring.partition(&hash)))
            .unwrap_or_default();
        let is_me = |ip: &str, port: u16| self.0.config.addresses.iter().any(|(i, p)| i == ip && *p == port);
        let place = primaries
            .iter()
            .position(|node| node.device == name && is_me(&node.ip, node.port));
        match place {
            // With fewer object replicas than container replicas the first ones owe more rows.
            Some(place) => {
                let copies = primaries.len();
                all.into_iter()
                    .enumerate()
                    .filter(|(at, _)| at % copies == place)
                    .map(|(_, target)| target)
                    .collect()
            }
            None => all,
        }
    }
}

/// The row that says so to the container.
fn row_of(
    record: &ObjectRecord,
    policy: PolicyIndex,
    timestamp: Timestamp,
    targets: Vec<UpdateTarget>,
) -> Option<Update> {
    let headers = [
        (header::X_BACKEND_MARTLET_SERVER, "container".to_owned()),
        (header::X_BACKEND_STORAGE_POLICY_INDEX, policy.to_string()),
        (header::X_TIMESTAMP, timestamp.internal()),
    ];
    (!targets.is_empty()).then(|| Update {
        account: record.account.clone(),
        container: record.container.clone(),
        object: Some(record.object.clone()),
        op: UpdateOp::Delete,
        targets,
        headers: headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        coalesce: false,
    })
}
