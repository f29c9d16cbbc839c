//! The logs of containers that another cluster mirrors: which there are, what is to be sent, what was.

use super::Device;
use crate::codec::{keys, sync as sync_codec};
use crate::commit::syncs::from_the_start;
use crate::container::Space;
use crate::error::StorageError;
use crate::index::{Family, Tier};
use crate::syncs::{SyncEntry, SyncState};
use martlet_protocol::hash::PathHash;

impl Device {
    /// Containers that name another cluster, in order of their hashes, after one of them.
    pub async fn synced_containers(
        &self,
        after: Option<PathHash>,
        limit: usize,
    ) -> Result<Vec<PathHash>, StorageError> {
        let shared = self.shared.clone();
        let read = move || {
            let mut rows = shared.index.scan(Family::Syncs, &[], None);
            match after.map(|hash| keys::after(&hash.0)) {
                Some(Some(next)) => rows.seek(next),
                Some(None) => return Ok(Vec::new()),
                None => rows.seek_to_first(),
            }
            let mut found = Vec::new();
            while let Some(hash) = rows.key().and_then(|key| key.first_chunk::<16>().copied()) {
                if found.len() == limit {
                    break;
                }
                found.push(PathHash(hash));
                match keys::after(&hash) {
                    Some(next) => rows.seek(next),
                    None => break,
                }
            }
            rows.status()?;
            Ok(found)
        };
        self.shared.readers.run(read).await
    }

    /// How far a container's synchronization has got; `None`: it goes nowhere.
    pub async fn sync_state(&self, hash: PathHash) -> Result<Option<SyncState>, StorageError> {
        let shared = self.shared.clone();
        let read = move || {
            let key = keys::sync_state(hash);
            let value = shared.index.get(Tier::Disk, Family::Syncs, &key)?;
            Ok(value.map(|value| sync_codec::decode(&key, &value).unwrap_or_else(|_| from_the_start())))
        };
        self.shared.readers.run(read).await
    }

    /// Entries of a container's log behind a sequence, oldest first.
    pub async fn sync_entries(
        &self,
        hash: PathHash,
        behind: u64,
        limit: usize,
    ) -> Result<Vec<SyncEntry>, StorageError> {
        let shared = self.shared.clone();
        let read = move || {
            let lower = keys::sync_entry(hash, behind.saturating_add(1));
            let upper = keys::after(&keys::sync_entry(hash, 0)[..17]);
            let mut rows = shared.index.scan(Family::Syncs, &lower, upper.as_deref());
            rows.seek_to_first();
            let mut found = Vec::new();
            while let Some((key, value)) = rows.item() {
                if found.len() == limit {
                    break;
                }
                if let (Some(sequence), Ok(name)) = (keys::read_sync_entry(key), std::str::from_utf8(value)) {
                    let name = name.to_owned();
                    found.push(SyncEntry { hash, sequence, name });
                }
                rows.next();
            }
            rows.status()?;
            Ok(found)
        };
        self.shared.readers.run(read).await
    }

    /// Rows in the logs of all containers together: what other clusters are still to be sent, or asked whether they have
    /// it. Counted up to a limit. Rows that were there before their container's log began are not among them.
    pub async fn unsent(&self, limit: u64) -> Result<u64, StorageError> {
        let shared = self.shared.clone();
        let read = move || {
            let mut rows = shared.index.scan(Family::Syncs, &[], None);
            rows.seek_to_first();
            let mut count = 0;
            while count < limit
                && let Some(key) = rows.key()
            {
                count += u64::from(keys::read_sync_entry(key).is_some());
                rows.next();
            }
            rows.status()?;
            Ok(count)
        };
        self.shared.readers.run(read).await
    }

    /// The other cluster has what these entries tell of.
    pub async fn settle_syncs(&self, entries: Vec<SyncEntry>) -> Result<(), StorageError> {
        self.commit(move |batch| batch.settle_syncs(&entries)).await
    }

    /// Entries up to this sequence were met once.
    pub async fn meet_syncs(&self, hash: PathHash, sequence: u64) -> Result<(), StorageError> {
        self.commit(move |batch| batch.meet_syncs(hash, sequence)).await
    }

    /// Brings a page of the rows that were there before the log into it. `true`: there are more.
    pub async fn list_syncs(&self, hash: PathHash, limit: usize) -> Result<bool, StorageError> {
        let Some(behind) = self.sync_state(hash).await?.and_then(|state| state.listed_to) else {
            return Ok(false);
        };
        let after = Some(behind.clone()).filter(|name| !name.is_empty());
        let rows = self.rows_after(Space::Containers, hash, after, limit).await?;
        let names: Vec<String> = rows.iter().map(|row| row.name().to_owned()).collect();
        let next = names.last().filter(|_| names.len() == limit).cloned();
        let more = next.is_some();
        self.commit(move |batch| batch.list_syncs(hash, behind, &names, next))
            .await?;
        Ok(more)
    }
}
