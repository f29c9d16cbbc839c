//! Reads every body and every record of the local devices again and again, at a set rate, and repairs what it finds.
//!
//! A damaged copy is put aside by storage where it is met; here another copy is fetched at once. Where the auditor has got
//! to is kept on the device, so that a restart does not begin a long round anew.

pub use dark_data::{DarkData, DarkDataAction};

use crate::pace::Pace;
use crate::replicator::Replicator;
use crate::wire;
use futures_util::future::join_all;
use martlet_protocol::hash::PathHash;
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::record::ObjectRecord;
use martlet_storage::{Device, DeviceSet, Space, StorageError, Version};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Instant;

mod dark_data;

/// Under which name a device keeps the auditor's place.
const PLACE: &str = "auditor";

/// How fast one device is read. 0 is no limit.
#[derive(Clone, Debug)]
pub struct AuditorConfig {
    /// Swift's `bytes_per_second`.
    pub bytes_per_second: u64,
    /// Swift's `files_per_second`, of records of any kind.
    pub records_per_second: u64,
}

impl Default for AuditorConfig {
    fn default() -> Self {
        AuditorConfig {
            bytes_per_second: 10_000_000,
            records_per_second: 200,
        }
    }
}

/// What one round found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AuditReport {
    /// Objects, containers, accounts and rows read.
    pub records: u64,
    /// Bytes of bodies read.
    pub bytes: u64,
    /// Copies and records that were damaged and are in quarantine now.
    pub damaged: u64,
    /// Objects that no container lists (see [`DarkData`]).
    pub dark: u64,
    /// Damaged objects that were fetched anew at once. The others come with the next round of the replicator.
    pub repaired: u64,
    pub failures: u64,
}

impl AuditReport {
    fn add(&mut self, other: AuditReport) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.damaged += other.damaged;
        self.repaired += other.repaired;
        self.dark += other.dark;
        self.failures += other.failures;
    }
}

/// Where the auditor is: everything before was read in this round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    space: String,
    prefix: u16,
}

/// Reads the local devices. Clones share everything.
#[derive(Clone)]
pub struct Auditor(Arc<Shared>);

struct Shared {
    config: AuditorConfig,
    devices: DeviceSet,
    replicator: Replicator,
    dark_data: DarkData,
}

impl Auditor {
    pub fn new(
        config: AuditorConfig,
        devices: DeviceSet,
        replicator: Replicator,
        dark_data: DarkData,
    ) -> Self {
        Auditor(Arc::new(Shared {
            config,
            devices,
            replicator,
            dark_data,
        }))
    }

    /// Everything on the local devices, as fast as it goes.
    pub async fn pass(&self) -> AuditReport {
        let unlimited = AuditorConfig {
            bytes_per_second: 0,
            records_per_second: 0,
        };
        self.round(&unlimited, false).await
    }

    /// What is left of the round under way, at the set rate.
    pub async fn paced_pass(&self) -> AuditReport {
        self.round(&self.0.config, true).await
    }

    async fn round(&self, config: &AuditorConfig, goes_on: bool) -> AuditReport {
        let local: Vec<(String, Device)> = self.0.devices.iter().collect();
        let begun = Instant::now();
        let work = local.iter().map(|(name, device)| async move {
            let mut walk = Walk {
                auditor: &self.0,
                name,
                device,
                pace: Pace::new(config.bytes_per_second, config.records_per_second, Instant::now()),
                report: AuditReport::default(),
            };
            if let Err(error) = walk.all(goes_on).await {
                tracing::error!(device = name, %error, "the device cannot be audited");
                walk.report.failures += 1;
            }
            walk.report
        });
        let mut sum = AuditReport::default();
        for report in join_all(work).await {
            sum.add(report);
        }
        metrics::gauge!("martlet_auditor_round_seconds").set(begun.elapsed().as_secs_f64());
        sum
    }
}

/// One round over one device.
struct Walk<'a> {
    auditor: &'a Shared,
    name: &'a str,
    device: &'a Device,
    pace: Pace,
    report: AuditReport,
}

impl Walk<'_> {
    async fn all(&mut self, goes_on: bool) -> Result<(), StorageError> {
        let mut place = match goes_on {
            true => self.device.place(PLACE).await?,
            false => None,
        }
        .and_then(|place| serde_json::from_slice::<Place>(&place).ok());
        let spaces = self.device.spaces().await?;
        if let Some(at) = &place
            && !spaces.iter().any(|space| wire::space_name(*space) == at.space)
        {
            place = None;
        }
        for space in spaces {
            let name = wire::space_name(space);
            let from = match &place {
                Some(at) if at.space != name => continue,
                Some(at) => at.prefix,
                None => 0,
            };
            place = None;
            for (prefix, _) in self.device.digests(space).await? {
                if prefix < from {
                    continue;
                }
                self.prefix(space, prefix).await?;
                if goes_on {
                    let place = Place {
                        space: name.clone(),
                        prefix,
                    };
                    self.device
                        .set_place(PLACE, serde_json::to_vec(&place).unwrap_or_default());
                }
            }
        }
        if goes_on {
            self.device.set_place(PLACE, Vec::new());
        }
        Ok(())
    }

    async fn prefix(&mut self, space: Space, prefix: u16) -> Result<(), StorageError> {
        let mut after: Option<PathHash> = None;
        loop {
            // Reading the versions decodes every record; those that cannot be read are put aside.
            let aside = self.device.quarantined();
            let page = self
                .device
                .versions(space, prefix, after, wire::MAX_VERSIONS)
                .await?;
            self.count_damaged(aside);
            for version in &page {
                match space {
                    Space::Objects(policy) => self.object(policy, version).await?,
                    Space::Containers | Space::Accounts => self.rows(space, version.hash).await?,
                }
                self.advance(1, 0).await;
            }
            after = page.last().map(|version| version.hash);
            if page.len() < wire::MAX_VERSIONS {
                return Ok(());
            }
        }
    }

    async fn object(&mut self, policy: PolicyIndex, version: &Version) -> Result<(), StorageError> {
        match self.read_body(policy, version.hash).await {
            Ok(None) => Ok(()),
            Ok(Some(record)) => {
                let watcher = &self.auditor.dark_data;
                if watcher.look(self.device, policy, version.hash, &record).await? {
                    self.report.dark += 1;
                    metrics::counter!("martlet_auditor_dark_objects_total").increment(1);
                }
                Ok(())
            }
            Err(StorageError::Corrupt(reason)) => {
                self.report.damaged += 1;
                metrics::counter!("martlet_auditor_damaged_total").increment(1);
                tracing::error!(
                    device = self.name,
                    hash = version.hash.to_string(),
                    reason,
                    "the auditor found a damaged copy"
                );
                let replicator = &self.auditor.replicator;
                if replicator
                    .repair(self.name, self.device, policy, version.hash)
                    .await
                {
                    self.report.repaired += 1;
                    metrics::counter!("martlet_auditor_repaired_total").increment(1);
                }
                Ok(())
            }
            // Others need the device more than the auditor does.
            Err(StorageError::Busy) => {
                self.report.failures += 1;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the whole body; storage verifies each block, the sum over all is compared here. `None`: there is none to read.
    async fn read_body(
        &mut self,
        policy: PolicyIndex,
        hash: PathHash,
    ) -> Result<Option<ObjectRecord>, StorageError> {
        let Some(mut open) = self.device.open_object(policy, hash).await? else {
            return Ok(None);
        };
        let Some(data) = &open.record.data else {
            return Ok(None);
        };
        let mut hasher = blake3::Hasher::new();
        while let Some(chunk) = open.body.next().await? {
            hasher.update(&chunk);
            self.advance(0, chunk.len() as u64).await;
        }
        if *hasher.finalize().as_bytes() == data.blake3 {
            return Ok(Some(open.record));
        }
        let reason = "the body is not the one of its record".to_owned();
        let newest = open.record.newest();
        match self
            .device
            .set_aside(policy, hash, newest, reason.clone())
            .await?
        {
            true => Err(StorageError::Corrupt(reason)),
            // Replaced while it was read.
            false => Ok(None),
        }
    }

    async fn rows(&mut self, space: Space, hash: PathHash) -> Result<(), StorageError> {
        let mut after = None;
        loop {
            let page = self.device.rows_after(space, hash, after, wire::MAX_ROWS).await;
            let page = match page {
                // Put aside where it was met; a replica has that row.
                Err(StorageError::Corrupt(_)) => {
                    self.report.damaged += 1;
                    return Ok(());
                }
                page => page?,
            };
            self.advance(page.len() as u64, 0).await;
            after = page.last().map(|row| row.name().to_owned());
            if page.len() < wire::MAX_ROWS {
                return Ok(());
            }
        }
    }

    fn count_damaged(&mut self, before: u64) {
        let more = self.device.quarantined().saturating_sub(before);
        self.report.damaged += more;
    }

    async fn advance(&mut self, records: u64, bytes: u64) {
        self.report.records += records;
        self.report.bytes += bytes;
        metrics::counter!("martlet_auditor_records_total").increment(records);
        metrics::counter!("martlet_auditor_bytes_total").increment(bytes);
        let pause = self.pace.spent(records, bytes, Instant::now());
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
}
