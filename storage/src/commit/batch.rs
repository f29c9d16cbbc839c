//! A batch in the making: the index as the operations so far leave it, and what goes to disk in one write.

use crate::body::files::{QuarantineNote, QuarantinedBody};
use crate::codec::fingerprint::{self, Fingerprint};
use crate::codec::keys::{self, SpaceKey};
use crate::codec::object::FileId;
use crate::container::Space;
use crate::error::StorageError;
use crate::index::{Family, Index, Tier};
use bytes::Bytes;
use martlet_protocol::hash::PathHash;
use martlet_protocol::timestamp::Timestamp;
use rocksdb::WriteBatch;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Digests kept in the committer's memory at most; past it all are read from the index again.
const MAX_CACHED_DIGESTS: usize = 400_000;

/// Counts of the device, written with every batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// The last sequence given to a change or an outbox entry.
    pub(crate) sequence: u64,
    pub(crate) objects: i64,
    pub(crate) tombstones: i64,
    pub(crate) bytes: i64,
}

impl Counters {
    pub(crate) fn encode(&self) -> [u8; 32] {
        let mut out = [0; 32];
        out[..8].copy_from_slice(&self.sequence.to_be_bytes());
        out[8..16].copy_from_slice(&self.objects.to_be_bytes());
        out[16..24].copy_from_slice(&self.tombstones.to_be_bytes());
        out[24..].copy_from_slice(&self.bytes.to_be_bytes());
        out
    }

    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        let value: &[u8; 32] = value.try_into().ok()?;
        let number = |at: usize| i64::from_be_bytes(value[at..at + 8].try_into().unwrap_or_default());
        Some(Counters {
            sequence: number(0) as u64,
            objects: number(8),
            tombstones: number(16),
            bytes: number(24),
        })
    }
}

/// What the committer keeps between batches. Changed only after a batch is written.
pub(crate) struct CommitState {
    pub(crate) counters: Counters,
    digests: HashMap<[u8; 5], Fingerprint>,
}

impl CommitState {
    pub(super) fn new(counters: Counters) -> Self {
        CommitState {
            counters,
            digests: HashMap::new(),
        }
    }
}

/// What is to be done once the batch is durable.
#[derive(Default)]
pub(crate) struct Effects {
    /// Body files that are named now.
    pub(crate) adopt: Vec<FileId>,
    /// Body files that are not named any more.
    pub(crate) unlink: Vec<FileId>,
    pub(crate) quarantine: Vec<(QuarantinedBody, QuarantineNote)>,
    /// Some of `quarantine` is damage, so that the device lacks what it should have; not only what nobody should have.
    pub(crate) is_loss: bool,
    /// The earliest second at which something new expires.
    pub(crate) earliest_expiry: Option<u64>,
    /// The newest deletion that was forgotten.
    pub(crate) reclaimed: Option<Timestamp>,
    /// Values that could not be read and are to be taken out.
    pub(crate) suspects: Vec<(Family, Vec<u8>)>,
}

/// A batch in the making.
pub(crate) struct Batch<'a> {
    pub(crate) index: &'a Index,
    state: &'a mut CommitState,
    /// By family and key. In order: what comes sorted to RocksDB is taken faster, and nothing is hashed.
    overlay: BTreeMap<Family, BTreeMap<Vec<u8>, Option<Bytes>>>,
    ranges: Vec<(Family, Vec<u8>, Vec<u8>)>,
    digest_changes: BTreeMap<[u8; 5], Fingerprint>,
    digest_values: BTreeMap<[u8; 5], Fingerprint>,
    changed: Vec<(SpaceKey, PathHash)>,
    changed_seen: BTreeSet<(SpaceKey, PathHash)>,
    pub(crate) counters: Counters,
    pub(crate) effects: Effects,
}

impl<'a> Batch<'a> {
    pub(super) fn new(index: &'a Index, state: &'a mut CommitState) -> Self {
        Batch {
            counters: state.counters,
            index,
            state,
            overlay: BTreeMap::new(),
            ranges: Vec::new(),
            digest_changes: BTreeMap::new(),
            digest_values: BTreeMap::new(),
            changed: Vec::new(),
            changed_seen: BTreeSet::new(),
            effects: Effects::default(),
        }
    }

    /// The value as this batch leaves it, run through `read`.
    pub(crate) fn get<T>(
        &self,
        family: Family,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>, StorageError> {
        if let Some(value) = self.overlay.get(&family).and_then(|values| values.get(key)) {
            return Ok(value.as_deref().map(read));
        }
        let in_range = |(of, from, to): &(Family, Vec<u8>, Vec<u8>)| {
            *of == family && from.as_slice() <= key && key < to.as_slice()
        };
        if self.ranges.iter().any(in_range) {
            return Ok(None);
        }
        let value = self.index.get(Tier::Disk, family, key)?;
        Ok(value.map(|value| read(&value)))
    }

    pub(crate) fn put(&mut self, family: Family, key: &[u8], value: impl Into<Bytes>) {
        self.lay(family, key, Some(value.into()));
    }

    pub(crate) fn delete(&mut self, family: Family, key: &[u8]) {
        self.lay(family, key, None);
    }

    fn lay(&mut self, family: Family, key: &[u8], value: Option<Bytes>) {
        self.overlay
            .entry(family)
            .or_default()
            .insert(key.to_vec(), value);
    }

    /// Everything in `from..to`, also what this batch has put there so far.
    pub(crate) fn delete_range(&mut self, family: Family, from: &[u8], to: &[u8]) {
        if let Some(values) = self.overlay.get_mut(&family) {
            values.retain(|key, _| key.as_slice() < from || key.as_slice() >= to);
        }
        self.ranges.push((family, from.to_vec(), to.to_vec()));
    }

    /// A record with this fingerprint came or went.
    pub(crate) fn flip_digest(&mut self, space: Space, hash: PathHash, fingerprint: &Fingerprint) {
        let key = keys::digest(keys::space(space), hash.prefix());
        fingerprint::xor(self.digest_changes.entry(key).or_default(), fingerprint);
    }

    /// The digest was summed anew from records as they are on disk.
    pub(crate) fn set_digest(&mut self, space: Space, prefix: u16, value: Fingerprint) {
        let key = keys::digest(keys::space(space), prefix);
        self.digest_changes.remove(&key);
        self.digest_values.insert(key, value);
    }

    /// Peers that pull are to look at this hash.
    pub(crate) fn mark_changed(&mut self, space: Space, hash: PathHash) {
        let change = (keys::space(space), hash);
        if self.changed_seen.insert(change) {
            self.changed.push(change);
        }
    }

    pub(crate) fn next_sequence(&mut self) -> u64 {
        self.counters.sequence += 1;
        self.counters.sequence
    }

    /// The file is not named by any record from this batch on.
    pub(crate) fn discard_file(&mut self, id: FileId) {
        self.put(Family::Meta, &keys::garbage(id.0), Bytes::new());
        self.effects.unlink.push(id);
    }

    /// A value that cannot be read: the committer takes it out after this batch.
    pub(crate) fn suspect(&mut self, family: Family, key: &[u8]) -> StorageError {
        self.effects.suspects.push((family, key.to_vec()));
        StorageError::Corrupt(format!("record {} cannot be read", crate::codec::hex(key)))
    }

    fn is_empty(&self) -> bool {
        self.overlay.values().all(BTreeMap::is_empty)
            && self.ranges.is_empty()
            && self.digest_changes.is_empty()
            && self.digest_values.is_empty()
            && self.changed.is_empty()
    }

    /// Writes everything. On success what the batch did is the state.
    pub(super) fn write(mut self, sync: bool) -> (Result<(), StorageError>, Effects) {
        if self.is_empty() {
            return (Ok(()), self.effects);
        }
        let written = self.build().and_then(|batch| self.index.write(batch, sync));
        if written.is_ok() {
            self.state.counters = self.counters;
            if self.state.digests.len() > MAX_CACHED_DIGESTS {
                self.state.digests.clear();
            }
            self.state.digests.extend(std::mem::take(&mut self.digest_values));
        } else {
            // Nobody may rely on what was read on the way: the next batch reads it again.
            self.state.digests.clear();
            self.effects = Effects {
                suspects: std::mem::take(&mut self.effects.suspects),
                ..Effects::default()
            };
        }
        (written, self.effects)
    }

    fn build(&mut self) -> Result<WriteBatch, StorageError> {
        let changed = std::mem::take(&mut self.changed);
        for (space, hash) in changed {
            let sequence = self.next_sequence();
            let key = keys::change(space, sequence);
            self.put(Family::Changes, &key, hash.0.to_vec());
        }
        for (key, change) in std::mem::take(&mut self.digest_changes) {
            let mut value = match (self.digest_values.get(&key), self.state.digests.get(&key)) {
                (Some(value), _) | (None, Some(value)) => *value,
                (None, None) => {
                    let stored = self.index.get(Tier::Disk, Family::Digests, &key)?;
                    let stored = stored.and_then(|value| Fingerprint::try_from(&*value).ok());
                    stored.unwrap_or_default()
                }
            };
            fingerprint::xor(&mut value, &change);
            self.digest_values.insert(key, value);
        }
        let bytes: usize = self
            .overlay
            .values()
            .flatten()
            .map(|(key, value)| key.len() + value.as_ref().map_or(0, Bytes::len) + 16)
            .sum();
        let mut batch = WriteBatch::with_capacity_bytes(bytes + self.digest_values.len() * 32 + 64);
        for (family, from, to) in &self.ranges {
            self.index.batch_delete_range(&mut batch, *family, from, to);
        }
        for (family, values) in &self.overlay {
            for (key, value) in values {
                match value {
                    Some(value) => self.index.batch_put(&mut batch, *family, key, value),
                    None => self.index.batch_delete(&mut batch, *family, key),
                }
            }
        }
        for (key, value) in &self.digest_values {
            self.index.batch_put(&mut batch, Family::Digests, key, value);
        }
        if self.counters != self.state.counters {
            let counters = self.counters.encode();
            self.index
                .batch_put(&mut batch, Family::Meta, keys::COUNTERS, &counters);
        }
        Ok(batch)
    }
}
