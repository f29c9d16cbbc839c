//! What replicas compare, and what operators see.

use super::{Device, Shared};
use crate::agreement::{Change, ChangesPage, DeviceStats, Version};
use crate::codec::container::StoredContainer;
use crate::codec::fingerprint::{self, Fingerprint};
use crate::codec::keys;
use crate::codec::object::StoredObject;
use crate::commit::recount;
use crate::container::Space;
use crate::error::StorageError;
use crate::index::{Family, ReadFailure, Tier, for_each};
use martlet_protocol::hash::PathHash;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Device {
    /// The digest of each range of hashes (by their first 16 bits) that has records; ranges without any are left out.
    pub async fn digests(&self, space: Space) -> Result<Vec<(u16, [u8; 16])>, StorageError> {
        let shared = self.shared.clone();
        let read = move || {
            let lower = keys::space(space);
            let upper = keys::after(&lower);
            let mut found = Vec::new();
            for_each(
                &shared.index,
                Family::Digests,
                &lower,
                upper.as_deref(),
                |key, value| {
                    let prefix = key.get(3..).and_then(|prefix| <[u8; 2]>::try_from(prefix).ok());
                    if let (Some(prefix), Ok(digest)) = (prefix, Fingerprint::try_from(value))
                        && digest != Fingerprint::default()
                    {
                        found.push((u16::from_be_bytes(prefix), digest));
                    }
                    Ok(true)
                },
            )?;
            Ok(found)
        };
        self.shared.readers.run(read).await
    }

    /// The records of one range of hashes, in order, after a hash.
    pub async fn versions(
        &self,
        space: Space,
        prefix: u16,
        after: Option<PathHash>,
        limit: usize,
    ) -> Result<Vec<Version>, StorageError> {
        let shared = self.shared.clone();
        self.shared
            .readers
            .run(move || shared.versions(space, prefix, after, limit))
            .await
    }

    /// What has changed since a sequence (exclusive), oldest first.
    pub async fn changes(&self, space: Space, since: u64, limit: usize) -> Result<ChangesPage, StorageError> {
        let shared = self.shared.clone();
        let read = move || {
            let prefix = keys::space(space);
            let upper = keys::after(&prefix);
            let trimmed = shared
                .index
                .get(Tier::Disk, Family::Meta, &keys::trimmed(prefix))?;
            let trimmed = trimmed
                .and_then(|value| <[u8; 8]>::try_from(&*value).ok())
                .map_or(0, u64::from_be_bytes);
            let mut page = ChangesPage {
                entries: Vec::new(),
                next: since,
                trimmed_before: trimmed,
            };
            let lower = keys::change(prefix, since.saturating_add(1));
            for_each(
                &shared.index,
                Family::Changes,
                &lower,
                upper.as_deref(),
                |key, value| {
                    if page.entries.len() == limit {
                        return Ok(false);
                    }
                    let sequence = key
                        .get(3..)
                        .and_then(|key| <[u8; 8]>::try_from(key).ok())
                        .map(u64::from_be_bytes);
                    if let (Some(sequence), Ok(hash)) = (sequence, <[u8; 16]>::try_from(value)) {
                        page.entries.push(Change {
                            sequence,
                            hash: PathHash(hash),
                        });
                        page.next = sequence;
                    }
                    Ok(true)
                },
            )?;
            Ok(page)
        };
        self.shared.readers.run(read).await
    }

    /// No change of any space has a sequence above this.
    pub fn last_sequence(&self, _space: Space) -> u64 {
        self.shared.sequence.load(Ordering::Acquire)
    }

    /// Forgets changes with a sequence below `before`.
    pub async fn trim_changes(&self, space: Space, before: u64) -> Result<(), StorageError> {
        let prefix = keys::space(space);
        self.commit(move |batch| {
            let known = batch.get(Family::Meta, &keys::trimmed(prefix), |value| {
                <[u8; 8]>::try_from(value).map_or(0, u64::from_be_bytes)
            })?;
            if known.unwrap_or(0) < before {
                batch.delete_range(
                    Family::Changes,
                    &keys::change(prefix, 0),
                    &keys::change(prefix, before),
                );
                batch.put(
                    Family::Meta,
                    &keys::trimmed(prefix),
                    before.to_be_bytes().to_vec(),
                );
            }
            Ok(())
        })
        .await
    }

    /// The spaces in which this device holds records.
    pub async fn spaces(&self) -> Result<Vec<Space>, StorageError> {
        let shared = self.shared.clone();
        let read = move || {
            let mut found: Vec<Space> = recount::policies(&shared.index)?
                .into_iter()
                .map(Space::Objects)
                .collect();
            for space in [Space::Containers, Space::Accounts] {
                let [kind, _, _] = keys::space(space);
                let upper = keys::after(&[kind]);
                let mut any = false;
                for_each(
                    &shared.index,
                    Family::Containers,
                    &[kind],
                    upper.as_deref(),
                    |_, _| {
                        any = true;
                        Ok(false)
                    },
                )?;
                if any {
                    found.push(space);
                }
            }
            Ok(found)
        };
        self.shared.readers.run(read).await
    }

    /// Copies and records in quarantine.
    pub fn quarantined(&self) -> u64 {
        self.shared.files.quarantined.load(Ordering::Relaxed)
    }

    /// The device in numbers. Counts the outbox, so ask seldom.
    pub async fn stats(&self) -> Result<DeviceStats, StorageError> {
        let shared = self.shared.clone();
        let read = move || {
            let mut outbox = 0;
            for_each(&shared.index, Family::Outbox, &[], None, |_, _| {
                outbox += 1;
                Ok(true)
            })?;
            let space = shared.space.read()?;
            let count = |number: i64| number.max(0) as u64;
            Ok(DeviceStats {
                objects: count(shared.objects.load(Ordering::Relaxed)),
                tombstones: count(shared.tombstones.load(Ordering::Relaxed)),
                bytes: count(shared.bytes.load(Ordering::Relaxed)),
                outbox,
                quarantined: shared.files.quarantined.load(Ordering::Relaxed),
                free_bytes: space.free,
                total_bytes: space.total,
            })
        };
        self.shared.readers.run(read).await
    }
}

impl Shared {
    fn versions(
        self: &Arc<Self>,
        space: Space,
        prefix: u16,
        after: Option<PathHash>,
        limit: usize,
    ) -> Result<Vec<Version>, StorageError> {
        let (family, lower) = recount::range(space, prefix);
        let upper = keys::after(&lower);
        // Records' keys end with the hash; the key just past one has another byte behind it.
        let from = match after {
            None => lower.clone(),
            Some(after) => {
                let head = lower.len() - 2;
                [&lower[..head], after.0.as_slice(), b"\0"].concat()
            }
        };
        let mut found = Vec::new();
        let mut damaged = Vec::new();
        let mut rows = self.index.scan(family, &lower, upper.as_deref());
        rows.seek(&from);
        while let Some((key, value)) = rows.item() {
            if found.len() == limit {
                break;
            }
            match version(family, key, value) {
                Some(version) => found.push(version),
                None => damaged.push(key.to_vec()),
            }
            rows.next();
        }
        rows.status()?;
        for key in damaged {
            // Put aside: a replica brings it back in a later round.
            drop(self.seen(ReadFailure::Damaged(family, key)));
        }
        Ok(found)
    }
}

fn version(family: Family, key: &[u8], value: &[u8]) -> Option<Version> {
    match family {
        Family::Objects => {
            let (_, hash) = keys::read_object(key)?;
            let stored = StoredObject::decode(key, value).ok()?;
            let fingerprint = fingerprint::object(&stored.record);
            Some(Version {
                hash,
                newest: stored.record.newest(),
                fingerprint,
                bytes: stored.record.data.as_ref().map_or(0, |data| data.length),
            })
        }
        _ => {
            let (_, hash) = keys::read_container(key)?;
            let stored = StoredContainer::decode(key, value).ok()?;
            let record = &stored.record;
            let metadata = record
                .metadata
                .values()
                .map(|(_, at)| *at)
                .max()
                .unwrap_or_default();
            let newest = record.put_timestamp.max(record.delete_timestamp).max(metadata);
            Some(Version {
                hash,
                newest,
                fingerprint: fingerprint::container(&stored),
                bytes: 0,
            })
        }
    }
}
