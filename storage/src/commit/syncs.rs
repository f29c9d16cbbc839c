//! Keeps, for each container that another cluster mirrors (`X-Container-Sync-To`), the log of rows it is to be sent.
//!
//! Invariants: a container has a state exactly while it names where it goes and has a key; a row has at most one entry,
//! which its newest write made, so that the log is never longer than the listing; an entry goes only by
//! [`Batch::settle_syncs`], or with the state.

use super::batch::Batch;
use crate::codec::container::StoredContainer;
use crate::codec::{keys, sync as sync_codec};
use crate::error::StorageError;
use crate::index::Family;
use crate::syncs::{SyncEntry, SyncState};
use martlet_protocol::hash::PathHash;
use martlet_protocol::record::ContainerRecord;

/// What the log says of rows before they are written.
pub(super) struct Logged {
    /// The container has no state yet.
    is_new: bool,
    /// The entry of each row, in the order of the rows.
    before: Vec<Option<u64>>,
}

impl Batch<'_> {
    /// What there is in the log of rows that are to be written; `None`: the container goes nowhere.
    pub(super) fn read_syncs<'n>(
        &self,
        hash: PathHash,
        container: &ContainerRecord,
        names: impl Iterator<Item = &'n str>,
    ) -> Result<Option<Logged>, StorageError> {
        if container.sync_to().is_none() {
            return Ok(None);
        }
        let is_new = self.sync_state(hash)?.is_none();
        let before = names
            .map(|name| self.sync_sequence(hash, name))
            .collect::<Result<_, _>>()?;
        Ok(Some(Logged { is_new, before }))
    }

    /// Rows were written whose names were given to [`Batch::read_syncs`].
    pub(super) fn log_syncs<'n>(
        &mut self,
        hash: PathHash,
        logged: Logged,
        names: impl Iterator<Item = &'n str>,
    ) {
        if logged.is_new {
            // It was told where to go before this device kept such logs.
            self.put_sync_state(hash, &from_the_start());
        }
        for (name, before) in names.zip(logged.before) {
            self.log_sync(hash, name, before);
        }
    }

    /// A container's record changes: where it goes may be new, or nowhere any more.
    pub(super) fn note_sync(
        &mut self,
        hash: PathHash,
        old: Option<&StoredContainer>,
        new: Option<&StoredContainer>,
    ) {
        // Another key is no reason to begin anew: what it kept from being sent is still in the log.
        fn end(stored: Option<&StoredContainer>) -> Option<&str> {
            Some(stored?.record.sync_to()?.0)
        }
        let (old, new) = (end(old), end(new));
        if old == new {
            return;
        }
        if old.is_some()
            && let Some(end) = keys::after(&hash.0)
        {
            self.delete_range(Family::Syncs, &hash.0, &end);
        }
        if new.is_some() {
            self.put_sync_state(hash, &from_the_start());
        }
    }

    /// Takes entries out of the log. One whose row was written again meanwhile has another sequence by now, and stays.
    pub(crate) fn settle_syncs(&mut self, entries: &[SyncEntry]) -> Result<(), StorageError> {
        let read = |entry: &SyncEntry| self.sync_sequence(entry.hash, &entry.name);
        let known = entries.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        for (entry, known) in entries.iter().zip(known) {
            if known == Some(entry.sequence) {
                self.delete(Family::Syncs, &keys::sync_name(entry.hash, &entry.name));
            }
            self.delete(Family::Syncs, &keys::sync_entry(entry.hash, entry.sequence));
        }
        Ok(())
    }

    /// Entries up to this sequence were met once. Never back; nothing for a container that goes nowhere.
    pub(crate) fn meet_syncs(&mut self, hash: PathHash, sequence: u64) -> Result<(), StorageError> {
        if let Some(state) = self.sync_state(hash)?
            && state.met < sequence
        {
            let met = sequence;
            self.put_sync_state(hash, &SyncState { met, ..state });
        }
        Ok(())
    }

    /// Adds rows that were there before the log: those named, which stand behind `behind`; `next` is where the rest
    /// begins. Nothing, when the state is not the one the caller saw.
    pub(crate) fn list_syncs(
        &mut self,
        hash: PathHash,
        behind: String,
        names: &[String],
        next: Option<String>,
    ) -> Result<(), StorageError> {
        let Some(state) = self.sync_state(hash)? else {
            return Ok(());
        };
        if state.listed_to != Some(behind) {
            return Ok(());
        }
        let read = |name: &String| self.sync_sequence(hash, name);
        let known = names.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        for (name, known) in names.iter().zip(known) {
            if known.is_none() {
                self.log_sync(hash, name, None);
            }
        }
        let listed_to = next;
        self.put_sync_state(hash, &SyncState { listed_to, ..state });
        Ok(())
    }

    fn log_sync(&mut self, hash: PathHash, name: &str, before: Option<u64>) {
        if let Some(before) = before {
            self.delete(Family::Syncs, &keys::sync_entry(hash, before));
        }
        let sequence = self.next_sequence();
        let value = sequence.to_be_bytes().to_vec();
        self.put(Family::Syncs, &keys::sync_name(hash, name), value);
        let value = name.as_bytes().to_vec();
        self.put(Family::Syncs, &keys::sync_entry(hash, sequence), value);
    }

    /// The entry of a row in the log.
    fn sync_sequence(&self, hash: PathHash, name: &str) -> Result<Option<u64>, StorageError> {
        let read = |value: &[u8]| value.try_into().ok().map(u64::from_be_bytes);
        Ok(self
            .get(Family::Syncs, &keys::sync_name(hash, name), read)?
            .flatten())
    }

    /// A state that cannot be read begins anew: what was sent already is only looked at again.
    fn sync_state(&self, hash: PathHash) -> Result<Option<SyncState>, StorageError> {
        let key = keys::sync_state(hash);
        self.get(Family::Syncs, &key, |value| {
            sync_codec::decode(&key, value).unwrap_or_else(|_| from_the_start())
        })
    }

    fn put_sync_state(&mut self, hash: PathHash, state: &SyncState) {
        let key = keys::sync_state(hash);
        self.put(Family::Syncs, &key, sync_codec::encode(&key, state));
    }
}

/// Nothing was met, and no row is in the log yet.
pub(crate) fn from_the_start() -> SyncState {
    SyncState {
        met: 0,
        listed_to: Some(String::new()),
    }
}
