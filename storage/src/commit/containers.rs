//! Decides what becomes of a container or account record.

use super::batch::Batch;
use crate::codec::container::StoredContainer;
use crate::codec::fingerprint;
use crate::codec::keys;
use crate::container::{ContainerMetadata, DeleteContainerOutcome, PutContainer, PutContainerOutcome, Space};
use crate::error::StorageError;
use crate::index::Family;
use martlet_protocol::hash::PathHash;
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::record::ContainerRecord;
use martlet_protocol::timestamp::Timestamp;
use martlet_protocol::update::Update;
use std::collections::BTreeMap;

/// Which container or account an operation is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ContainerKey {
    pub(crate) space: Space,
    pub(crate) hash: PathHash,
    pub(crate) bytes: [u8; 17],
}

impl ContainerKey {
    pub(crate) fn new(space: Space, hash: PathHash) -> Result<Self, StorageError> {
        match keys::container(space, hash) {
            Some(bytes) => Ok(ContainerKey { space, hash, bytes }),
            None => Err(StorageError::Io("a space of objects has no containers".into())),
        }
    }
}

impl Batch<'_> {
    /// The record as this batch leaves it.
    pub(crate) fn container(&mut self, at: ContainerKey) -> Result<Option<StoredContainer>, StorageError> {
        let read = |value: &[u8]| StoredContainer::decode(&at.bytes, value);
        match self.get(Family::Containers, &at.bytes, read)? {
            None => Ok(None),
            Some(Ok(stored)) => Ok(Some(stored)),
            Some(Err(_)) => Err(self.suspect(Family::Containers, &at.bytes)),
        }
    }

    pub(crate) fn put_container(
        &mut self,
        at: ContainerKey,
        put: PutContainer,
        outbox: impl FnOnce(&ContainerRecord) -> Option<Update>,
    ) -> Result<PutContainerOutcome, StorageError> {
        let old = self.container(at)?;
        let Some(before) = old else {
            let new = created(put);
            let record = new.record.clone();
            self.replace_container(at, None, Some(new));
            let outbox = outbox(&record).map(|update| self.add_to_outbox(&update));
            return Ok(PutContainerOutcome::Created { record, outbox });
        };
        let mut new = before.clone();
        let record = &mut new.record;
        let reborn = record.is_deleted();
        if reborn {
            if put.timestamp <= record.delete_timestamp {
                return Ok(PutContainerOutcome::Older {
                    record: before.record,
                });
            }
            record.policy = put.policy.unwrap_or(put.default_policy);
            record.status_changed_at = put.timestamp;
        } else if put.policy.is_some_and(|wanted| wanted != record.policy) {
            return Ok(PutContainerOutcome::PolicyConflict {
                existing: record.policy,
                record: before.record,
            });
        }
        record.put_timestamp = record.put_timestamp.max(put.timestamp);
        record.merge_metadata(put.metadata);
        let record = record.clone();
        self.replace_container(at, Some(before), Some(new));
        let outbox = outbox(&record).map(|update| self.add_to_outbox(&update));
        Ok(if reborn {
            PutContainerOutcome::Created { record, outbox }
        } else {
            PutContainerOutcome::Updated { record, outbox }
        })
    }

    /// `None`: there is no such container, or it is deleted.
    pub(crate) fn post_container(
        &mut self,
        at: ContainerKey,
        timestamp: Timestamp,
        metadata: ContainerMetadata,
    ) -> Result<Option<ContainerRecord>, StorageError> {
        let Some(old) = self.container(at)?.filter(|old| !old.record.is_deleted()) else {
            return Ok(None);
        };
        let mut new = old.clone();
        new.record.put_timestamp = new.record.put_timestamp.max(timestamp);
        new.record.merge_metadata(metadata);
        let record = new.record.clone();
        self.replace_container(at, Some(old), Some(new));
        Ok(Some(record))
    }

    pub(crate) fn delete_container(
        &mut self,
        at: ContainerKey,
        timestamp: Timestamp,
        outbox: impl FnOnce(&ContainerRecord) -> Option<Update>,
    ) -> Result<DeleteContainerOutcome, StorageError> {
        let Some(old) = self.container(at)?.filter(|old| !old.record.is_deleted()) else {
            return Ok(DeleteContainerOutcome::NotFound);
        };
        // An account may go while its containers are still there: the reaper takes them.
        if at.space == Space::Containers && !old.record.is_empty() {
            return Ok(DeleteContainerOutcome::NotEmpty);
        }
        if timestamp <= old.record.put_timestamp {
            return Ok(DeleteContainerOutcome::Conflict {
                existing: old.record.put_timestamp,
            });
        }
        let mut new = old.clone();
        new.record.delete_timestamp = timestamp;
        new.record.status_changed_at = timestamp;
        let items: Vec<String> = new.record.metadata.keys().cloned().collect();
        let cleared = items.into_iter().map(|name| (name, (String::new(), timestamp)));
        new.record.merge_metadata(cleared);
        let record = new.record.clone();
        self.replace_container(at, Some(old), Some(new));
        let outbox = outbox(&record).map(|update| self.add_to_outbox(&update));
        Ok(DeleteContainerOutcome::Deleted { record, outbox })
    }

    /// Takes what is newer in a replica's record; counts stay those of the rows that are here.
    pub(crate) fn merge_container(
        &mut self,
        at: ContainerKey,
        mut theirs: ContainerRecord,
    ) -> Result<bool, StorageError> {
        let Some(old) = self.container(at)? else {
            theirs.stats = BTreeMap::new();
            let new = StoredContainer {
                record: theirs,
                rows_digest: [0; 16],
            };
            self.replace_container(at, None, Some(new));
            return Ok(true);
        };
        let mut new = old.clone();
        join(&mut new.record, theirs);
        let changed = new != old;
        if changed {
            self.replace_container(at, Some(old), Some(new));
        }
        Ok(changed)
    }

    /// Lets a copy go with all its rows, when `fingerprint` (if given) is still its own.
    pub(crate) fn remove_container(
        &mut self,
        at: ContainerKey,
        fingerprint: Option<[u8; 16]>,
    ) -> Result<bool, StorageError> {
        let Some(old) = self.container(at)? else {
            return Ok(false);
        };
        if fingerprint.is_some_and(|expected| expected != fingerprint::container(&old)) {
            return Ok(false);
        }
        if let Some(end) = keys::after(&at.bytes) {
            self.delete_range(Family::Rows, &at.bytes, &end);
        }
        self.replace_container(at, Some(old), None);
        Ok(true)
    }

    /// The one place where a container record changes: digest and change entry go with it.
    pub(super) fn replace_container(
        &mut self,
        at: ContainerKey,
        old: Option<StoredContainer>,
        new: Option<StoredContainer>,
    ) {
        if let Some(old) = &old {
            self.flip_digest(at.space, at.hash, &fingerprint::container(old));
            if old.record.is_deleted() {
                self.level_grave(at.space, at.hash, "", old.record.delete_timestamp);
            }
        }
        if let (Some(old), Some(new)) = (&old, &new) {
            self.note_policy(at, old, new);
        }
        if at.space == Space::Containers {
            self.note_sync(at.hash, old.as_ref(), new.as_ref());
        }
        match new {
            None => self.delete(Family::Containers, &at.bytes),
            Some(new) => {
                self.flip_digest(at.space, at.hash, &fingerprint::container(&new));
                self.mark_changed(at.space, at.hash);
                if new.record.is_deleted() {
                    self.dig_grave(at.space, at.hash, "", new.record.delete_timestamp);
                }
                self.put(Family::Containers, &at.bytes, new.encode(&at.bytes));
            }
        }
    }
}

/// A container that was never here.
pub(super) fn created(put: PutContainer) -> StoredContainer {
    let mut record = ContainerRecord {
        account: put.account,
        container: put.container,
        created_at: put.timestamp,
        put_timestamp: put.timestamp,
        delete_timestamp: Timestamp::ZERO,
        status_changed_at: put.timestamp,
        policy: put.policy.unwrap_or(put.default_policy),
        metadata: BTreeMap::new(),
        stats: BTreeMap::new(),
    };
    record.merge_metadata(put.metadata);
    StoredContainer {
        record,
        rows_digest: [0; 16],
    }
}

/// Joins two records of one container so that replicas come to agree in whatever order they meet.
///
/// Two sides that created it under different policies: the older creation wins as long as it was never deleted (the
/// client saw it first); once it was, the newest rebirth does. The second rule is a maximum, and the moment at which the
/// first gives way to it (any deletion known) is itself joined by maximum, so all end with the same.
fn join(ours: &mut ContainerRecord, theirs: ContainerRecord) {
    let status =
        |record: &ContainerRecord| -> (Timestamp, PolicyIndex) { (record.status_changed_at, record.policy) };
    ours.created_at = ours.created_at.min(theirs.created_at);
    ours.put_timestamp = ours.put_timestamp.max(theirs.put_timestamp);
    ours.delete_timestamp = ours.delete_timestamp.max(theirs.delete_timestamp);
    let pair = if ours.delete_timestamp.is_zero() {
        status(ours).min(status(&theirs))
    } else {
        status(ours).max(status(&theirs))
    };
    (ours.status_changed_at, ours.policy) = pair;
    ours.merge_metadata(theirs.metadata);
}
