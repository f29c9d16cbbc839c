//! Deletions that may be forgotten, rows under a wrong policy, and whether the device may have slept through a deletion.

use super::{Device, Shared};
use crate::codec::container::StoredContainer;
use crate::codec::object::StoredObject;
use crate::codec::{keys, row as row_codec};
use crate::commit::containers::ContainerKey;
use crate::commit::graves::buried_container;
use crate::commit::objects::ObjectKey;
use crate::container::Space;
use crate::error::StorageError;
use crate::graves::{Buried, Grave, GravesPage, Stray};
use crate::index::{Family, Tier};
use martlet_protocol::hash::PathHash;
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::timestamp::Timestamp;
use std::sync::atomic::Ordering;

/// Longest place of a worker that is remembered, bytes.
const MAX_PLACE_BYTES: usize = 4096;

impl Device {
    /// Deletions of a space made at or before a second, oldest first, after a place in that order.
    pub async fn graves(
        &self,
        space: Space,
        until_secs: u64,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<GravesPage, StorageError> {
        let shared = self.shared.clone();
        self.shared
            .readers
            .run(move || shared.graves(space, until_secs, after, limit))
            .await
    }

    /// What is here where another device has these graves.
    pub async fn buried(&self, graves: Vec<Grave>) -> Result<Vec<Buried>, StorageError> {
        let shared = self.shared.clone();
        self.shared
            .readers
            .run(move || graves.iter().map(|grave| shared.buried(grave)).collect())
            .await
    }

    /// Forgets these deletions, each only while it is still the same: every replica must have them. How many went.
    pub async fn reclaim(&self, graves: Vec<Grave>) -> Result<usize, StorageError> {
        self.commit(move |batch| batch.reclaim(graves)).await
    }

    /// The newest deletion that was ever forgotten here. A device that did not learn of it in time must not be believed.
    pub fn reclaimed_up_to(&self) -> Timestamp {
        Timestamp::from_raw(self.shared.reclaimed.load(Ordering::Acquire))
    }

    /// The moment up to which this device has learnt of every deletion. Kept over restarts.
    pub fn caught_up(&self) -> Timestamp {
        Timestamp::from_raw(self.shared.caught_up.load(Ordering::Acquire))
    }

    /// Sets [`Device::caught_up`]; never back. Written with the next batch: what is lost is only learnt again.
    pub fn set_caught_up(&self, at: Timestamp) {
        if self.shared.caught_up.fetch_max(at.raw(), Ordering::AcqRel) >= at.raw() {
            return;
        }
        let moment = at.raw().to_be_bytes().to_vec();
        self.shared.commits.submit_lazy(move |batch| {
            batch.put(Family::Meta, keys::CAUGHT_UP, moment);
            Ok(())
        });
    }

    /// It may hold what others have deleted and forgotten: nobody but the replicator may use it (see
    /// [`crate::DeviceSet::get`]).
    pub fn is_in_doubt(&self) -> bool {
        self.shared.in_doubt.load(Ordering::Acquire)
    }

    pub fn set_in_doubt(&self, in_doubt: bool) {
        self.shared.in_doubt.store(in_doubt, Ordering::Release);
    }

    /// Takes an object out of the index and puts its body into quarantine, when its newest change is still this one.
    pub async fn set_aside(
        &self,
        policy: PolicyIndex,
        hash: PathHash,
        newest: Timestamp,
        reason: String,
    ) -> Result<bool, StorageError> {
        let at = ObjectKey { policy, hash };
        self.commit(move |batch| batch.set_aside(at, newest, reason))
            .await
    }

    /// Lets rows go, living ones too, each only while its newest change is still the one given. How many went.
    pub async fn drop_rows(
        &self,
        space: Space,
        hash: PathHash,
        rows: Vec<(String, Timestamp)>,
    ) -> Result<usize, StorageError> {
        let at = ContainerKey::new(space, hash)?;
        self.commit(move |batch| batch.drop_rows(at, &rows)).await
    }

    /// Rows under another policy than their container's, after one of them.
    pub async fn strays(&self, after: Option<Stray>, limit: usize) -> Result<Vec<Stray>, StorageError> {
        let shared = self.shared.clone();
        let read = move || {
            let mut rows = shared.index.scan(Family::Strays, &[], None);
            match &after {
                Some(after) => rows.seek([keys::stray(after.hash, &after.name).as_slice(), b"\0"].concat()),
                None => rows.seek_to_first(),
            }
            let mut found = Vec::new();
            while let Some(key) = rows.key() {
                if found.len() == limit {
                    break;
                }
                if let Some((hash, name)) = keys::read_stray(key) {
                    let name = name.to_owned();
                    found.push(Stray { hash, name });
                }
                rows.next();
            }
            rows.status()?;
            Ok(found)
        };
        self.shared.readers.run(read).await
    }

    /// One row as it is, a deleted one too.
    pub async fn row(
        &self,
        space: Space,
        hash: PathHash,
        name: String,
    ) -> Result<Option<crate::Row>, StorageError> {
        let shared = self.shared.clone();
        self.shared
            .readers
            .run(move || shared.decoded_row(space, hash, &name))
            .await
    }

    /// A stray was dealt with: it leaves the list unless it is still one.
    pub async fn settle_stray(&self, stray: Stray) -> Result<(), StorageError> {
        self.commit(move |batch| batch.settle_stray(stray.hash, &stray.name))
            .await
    }

    /// Where a worker that goes round and round said it was.
    pub async fn place(&self, worker: &'static str) -> Result<Option<Vec<u8>>, StorageError> {
        let shared = self.shared.clone();
        let read = move || {
            let value = shared.index.get(Tier::Disk, Family::Meta, &keys::place(worker))?;
            Ok(value.map(|value| value.to_vec()))
        };
        self.shared.readers.run(read).await
    }

    /// Remembers where a worker is; lost at worst, and then it goes over the same ground again.
    pub fn set_place(&self, worker: &'static str, place: Vec<u8>) {
        debug_assert!(place.len() <= MAX_PLACE_BYTES, "a place is a key or two");
        self.shared.commits.submit_lazy(move |batch| {
            batch.put(Family::Meta, &keys::place(worker), place);
            Ok(())
        });
    }
}

impl Shared {
    fn graves(
        &self,
        space: Space,
        until_secs: u64,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<GravesPage, StorageError> {
        let prefix = keys::space(space);
        let upper = [&prefix[..], &until_secs.saturating_add(1).to_be_bytes()].concat();
        let mut rows = self.index.scan(Family::Graves, &prefix, Some(&upper));
        match after {
            Some(after) => rows.seek([after.as_slice(), b"\0"].concat()),
            None => rows.seek_to_first(),
        }
        let mut page = GravesPage::default();
        let mut seen = 0;
        while let Some(key) = rows.key() {
            if seen == limit {
                break;
            }
            seen += 1;
            page.next = Some(key.to_vec());
            let found = keys::read_grave(key)
                .map(|(space, secs, hash, name)| {
                    Ok::<_, StorageError>((self.deletion(space, hash, name)?, secs))
                })
                .transpose()?;
            match found {
                Some((Some(grave), secs)) if grave.newest.secs() == secs => page.graves.push(grave),
                // Nothing lies there any more: it went with a container that was let go.
                _ => {
                    let key = key.to_vec();
                    self.commits.submit_lazy(move |batch| batch.close_grave(&key));
                }
            }
            rows.next();
        }
        rows.status()?;
        if seen < limit {
            page.next = None;
        }
        Ok(page)
    }

    /// The deletion that is remembered under a key, if there is one.
    fn deletion(&self, space: Space, hash: PathHash, name: &str) -> Result<Option<Grave>, StorageError> {
        let newest = match (space, name) {
            (Space::Objects(policy), _) => self
                .decoded_object(policy, hash)?
                .filter(|stored| stored.record.is_tombstone())
                .map(|stored| stored.record.timestamp),
            (space, "") => self
                .decoded_container(space, hash)?
                .filter(|stored| stored.record.is_deleted())
                .map(|stored| stored.record.delete_timestamp),
            (space, name) => self
                .decoded_row(space, hash, name)?
                .filter(|row| row.deleted())
                .map(|row| row.newest()),
        };
        Ok(newest.map(|newest| Grave {
            space,
            hash,
            name: Some(name.to_owned()).filter(|name| !name.is_empty()),
            newest,
        }))
    }

    fn buried(&self, grave: &Grave) -> Result<Buried, StorageError> {
        let found = match (grave.space, &grave.name) {
            (Space::Objects(policy), _) => self.decoded_object(policy, grave.hash)?.map(|stored| {
                let record = &stored.record;
                record.is_tombstone() && record.timestamp == grave.newest
            }),
            (space, None) => self
                .decoded_container(space, grave.hash)?
                .map(|stored| buried_container(&stored, grave.newest) == Buried::Same),
            (space, Some(name)) => self
                .decoded_row(space, grave.hash, name)?
                .map(|row| row.deleted() && row.newest() == grave.newest),
        };
        Ok(match found {
            None => Buried::Nothing,
            Some(true) => Buried::Same,
            Some(false) => Buried::Other,
        })
    }

    fn decoded_object(
        &self,
        policy: PolicyIndex,
        hash: PathHash,
    ) -> Result<Option<StoredObject>, StorageError> {
        let key = keys::object(policy, hash);
        let value = self.index.get(Tier::Disk, Family::Objects, &key)?;
        Ok(value.and_then(|value| StoredObject::decode(&key, &value).ok()))
    }

    fn decoded_container(
        &self,
        space: Space,
        hash: PathHash,
    ) -> Result<Option<StoredContainer>, StorageError> {
        let key = ContainerKey::new(space, hash)?.bytes;
        let value = self.index.get(Tier::Disk, Family::Containers, &key)?;
        Ok(value.and_then(|value| StoredContainer::decode(&key, &value).ok()))
    }

    fn decoded_row(
        &self,
        space: Space,
        hash: PathHash,
        name: &str,
    ) -> Result<Option<crate::Row>, StorageError> {
        let key = keys::row(&ContainerKey::new(space, hash)?.bytes, name);
        let value = self.index.get(Tier::Disk, Family::Rows, &key)?;
        Ok(value.and_then(|value| row_codec::decode(&key, &value).ok()))
    }
}
