//! Dark data: objects that no container lists. Nobody can find them, and nobody pays for them.
//!
//! See "Dark data" at Swift's object auditor watchers. An object is dark only when every replica of its container answered
//! and none has a living row of it, and only after a grace: rows may be on their way. A copy that goes leaves a tombstone of
//! the next offset, so that the other replicas do not bring it back.

use crate::neighbours::Neighbours;
use crate::replicator::Rings;
use martlet_protocol::hash::{HashSalt, PathHash};
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::record::ObjectRecord;
use martlet_service::Clock;
use martlet_storage::{Device, Space, StorageError};
use serde::{Deserialize, Serialize};

/// What is done with dark data. Swift's `action`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DarkDataAction {
    /// Nobody looks for it.
    #[default]
    Off,
    Log,
    /// Its body is put aside.
    Quarantine,
    Delete,
}

/// The watcher.
#[derive(Clone)]
pub struct DarkData {
    pub action: DarkDataAction,
    /// Objects younger than this are left alone, seconds. Swift's `grace_age`.
    pub grace_age_secs: u64,
    pub neighbours: Neighbours,
    pub rings: Rings,
    pub clock: Clock,
    pub salt: HashSalt,
}

impl DarkData {
    /// `true`: the object is dark, and the action was done.
    pub(super) async fn look(
        &self,
        device: &Device,
        policy: PolicyIndex,
        hash: PathHash,
        record: &ObjectRecord,
    ) -> Result<bool, StorageError> {
        let old_enough = record.newest().secs().saturating_add(self.grace_age_secs) < self.clock.now().secs();
        if self.action == DarkDataAction::Off || !old_enough || self.is_listed(record).await {
            return Ok(false);
        }
        tracing::warn!(
            device = device.name(),
            path = format!("/{}/{}/{}", record.account, record.container, record.object),
            timestamp = record.timestamp.internal(),
            action = ?self.action,
            "an object that no container lists"
        );
        let newest = record.newest();
        if self.action == DarkDataAction::Log {
            return Ok(true);
        }
        let tombstone = ObjectRecord {
            timestamp: newest.with_offset(newest.offset() + 1),
            data: None,
            meta: None,
            ..record.clone()
        };
        if self.action == DarkDataAction::Quarantine {
            let reason = "no container lists it".to_owned();
            device.set_aside(policy, hash, newest, reason).await?;
        }
        device.merge_object(policy, hash, tombstone, None).await?;
        Ok(true)
    }

    /// Whether a replica of the container lists it, or could not be asked.
    async fn is_listed(&self, record: &ObjectRecord) -> bool {
        let rings = self.rings.load_full();
        let ring = &rings.container;
        let hash = self.salt.hash(&record.account, Some(&record.container), None);
        for node in ring.primaries(ring.partition(&hash)) {
            let peer = self.neighbours.peer(node);
            match peer.row(Space::Containers, hash, &record.object).await {
                Ok(Some(row)) if !row.deleted => return true,
                Ok(_) => {}
                Err(_) => return true,
            }
        }
        false
    }
}
