//! Sums over records taken anew: digests, counts, expiries. Needed only after damage; otherwise every batch keeps them.

use super::batch::Counters;
use super::rows::{count_row, settle_stats};
use crate::codec::container::StoredContainer;
use crate::codec::fingerprint::{self, Fingerprint};
use crate::codec::object::StoredObject;
use crate::codec::{keys, row as row_codec, update};
use crate::container::{Row, Space};
use crate::error::StorageError;
use crate::index::{Family, Index, Tier, for_each};
use martlet_protocol::policy::PolicyIndex;
use rocksdb::WriteBatch;
use std::collections::HashMap;

/// Stands in the default family while everything must be summed anew at the next start.
pub(crate) const WANTED: &[u8] = b"recount";
/// Stands in the default family once deletions and strays are listed: devices of before are summed anew once.
pub(crate) const LISTED: &[u8] = b"graves-listed";
/// How far sequences jump when some may have been lost with the log: none is ever given twice.
const SEQUENCE_JUMP: u64 = 1 << 32;
/// Bytes of changes written at once while everything is summed anew.
const WRITE_BYTES: usize = 1 << 20;
/// Larger than every key of the families it is used on.
const END: &[u8] = &[0xff; 40];

/// The value cannot be decoded.
pub(super) fn is_damaged(family: Family, key: &[u8], value: &[u8]) -> bool {
    match family {
        Family::Objects => StoredObject::decode(key, value).is_err(),
        Family::Containers => StoredContainer::decode(key, value).is_err(),
        Family::Rows => row_codec::decode(key, value).is_err(),
        Family::Outbox => update::decode(key, value).is_err(),
        _ => false,
    }
}

/// The digest over the records of a space whose hash begins with `prefix`, but for the one under the key `without`.
pub(crate) fn range_digest(
    index: &Index,
    space: Space,
    prefix: u16,
    without: Option<&[u8]>,
) -> Result<Fingerprint, StorageError> {
    let (family, lower) = range(space, prefix);
    let mut digest = Fingerprint::default();
    let upper = keys::after(&lower);
    for_each(index, family, &lower, upper.as_deref(), |key, value| {
        if Some(key) != without
            && let Some(fingerprint) = fingerprint_of(family, key, value)
        {
            fingerprint::xor(&mut digest, &fingerprint);
        }
        Ok(true)
    })?;
    Ok(digest)
}

/// The family of a space's records, and what their keys begin with when the hash begins with `prefix`.
pub(crate) fn range(space: Space, prefix: u16) -> (Family, Vec<u8>) {
    let [kind, policy_high, policy_low] = keys::space(space);
    let [high, low] = prefix.to_be_bytes();
    match space {
        Space::Objects(_) => (Family::Objects, vec![policy_high, policy_low, high, low]),
        Space::Containers | Space::Accounts => (Family::Containers, vec![kind, high, low]),
    }
}

fn fingerprint_of(family: Family, key: &[u8], value: &[u8]) -> Option<Fingerprint> {
    match family {
        Family::Objects => {
            let stored = StoredObject::decode(key, value).ok()?;
            Some(fingerprint::object(&stored.record))
        }
        _ => {
            let stored = StoredContainer::decode(key, value).ok()?;
            Some(fingerprint::container(&stored))
        }
    }
}

/// The container with counts and digest as its rows give them; rows that cannot be read, and those `without` names,
/// do not count.
pub(crate) fn container(
    index: &Index,
    key: &[u8; 17],
    mut stored: StoredContainer,
    without: impl Fn(&[u8]) -> bool,
) -> Result<StoredContainer, StorageError> {
    stored.record.stats.clear();
    stored.rows_digest = Fingerprint::default();
    let upper = keys::after(key);
    for_each(index, Family::Rows, key, upper.as_deref(), |row_key, value| {
        if !without(row_key)
            && let Ok(row) = row_codec::decode(row_key, value)
        {
            count_row(&mut stored, &row, 1);
        }
        Ok(true)
    })?;
    settle_stats(&mut stored.record);
    Ok(stored)
}

/// Sums everything anew: removes records that cannot be read, then digests, counts and expiries follow from the rest.
/// Cut short before [`finished`], it begins again at the next start.
pub(crate) fn everything(index: &Index) -> Result<Counters, StorageError> {
    let mut writer = Writer::new(index);
    writer.put(Family::Meta, WANTED, &[])?;
    writer.flush(true)?;
    let known = index.get(Tier::Disk, Family::Meta, keys::COUNTERS)?;
    let known = known
        .and_then(|value| Counters::decode(&value))
        .unwrap_or_default();
    let mut counters = Counters {
        sequence: known.sequence.saturating_add(SEQUENCE_JUMP),
        ..Counters::default()
    };
    for family in [Family::Digests, Family::Expiries, Family::Graves, Family::Strays] {
        index.batch_delete_range(&mut writer.batch, family, &[], END);
    }
    writer.flush(false)?;

    let mut digests: HashMap<[u8; 5], Fingerprint> = HashMap::new();
    let mut policies: HashMap<[u8; 17], PolicyIndex> = HashMap::new();
    for_each(index, Family::Objects, &[], None, |key, value| {
        let place = keys::read_object(key);
        let (Some((policy, hash)), Ok(stored)) = (place, StoredObject::decode(key, value)) else {
            tracing::error!(
                key = crate::codec::hex(key),
                "an object record cannot be read and is removed"
            );
            writer.delete(Family::Objects, key)?;
            return Ok(true);
        };
        let digest = keys::digest(keys::space(Space::Objects(policy)), hash.prefix());
        let fingerprint = fingerprint::object(&stored.record);
        fingerprint::xor(digests.entry(digest).or_default(), &fingerprint);
        match &stored.record.data {
            None => {
                counters.tombstones += 1;
                let grave = keys::grave(
                    keys::space(Space::Objects(policy)),
                    stored.record.timestamp.secs(),
                    hash,
                    "",
                );
                writer.put(Family::Graves, &grave, &[])?;
            }
            Some(data) => {
                counters.objects += 1;
                counters.bytes = counters.bytes.saturating_add_unsigned(data.length);
            }
        }
        if let Some(secs) = stored.record.delete_at() {
            writer.put(Family::Expiries, &keys::expiry(secs, policy, hash), &[])?;
        }
        Ok(true)
    })?;
    for_each(index, Family::Containers, &[], None, |key, value| {
        let place: Option<&[u8; 17]> = key.try_into().ok();
        let (Some(place), Ok(stored)) = (place, StoredContainer::decode(key, value)) else {
            tracing::error!(
                key = crate::codec::hex(key),
                "a container record cannot be read and is removed"
            );
            writer.delete(Family::Containers, key)?;
            return Ok(true);
        };
        let new = container(index, place, stored.clone(), |_| false)?;
        if new != stored {
            writer.put(Family::Containers, key, &new.encode(key))?;
        }
        if let Some((space, hash)) = keys::read_container(key) {
            let digest = keys::digest(keys::space(space), hash.prefix());
            fingerprint::xor(digests.entry(digest).or_default(), &fingerprint::container(&new));
            if new.record.is_deleted() {
                let secs = new.record.delete_timestamp.secs();
                writer.put(
                    Family::Graves,
                    &keys::grave(keys::space(space), secs, hash, ""),
                    &[],
                )?;
            }
            policies.insert(*place, new.record.policy);
        }
        Ok(true)
    })?;
    for_each(index, Family::Rows, &[], None, |key, value| {
        let Ok(row) = row_codec::decode(key, value) else {
            writer.delete(Family::Rows, key)?;
            return Ok(true);
        };
        let Some((container, (space, hash))) = key
            .first_chunk::<17>()
            .and_then(|container| Some((container, keys::read_container(container)?)))
        else {
            return Ok(true);
        };
        if row.deleted() {
            let grave = keys::grave(keys::space(space), row.newest().secs(), hash, row.name());
            writer.put(Family::Graves, &grave, &[])?;
        }
        if let Row::Object(row) = &row
            && policies
                .get(container)
                .is_some_and(|policy| *policy != row.policy)
        {
            writer.put(Family::Strays, &keys::stray(hash, &row.name), &[])?;
        }
        Ok(true)
    })?;
    for (key, digest) in &digests {
        writer.put(Family::Digests, key, digest)?;
    }
    writer.put(Family::Meta, LISTED, &[])?;
    writer.put(Family::Meta, keys::COUNTERS, &counters.encode())?;
    writer.flush(true)?;
    Ok(counters)
}

/// Everything is summed, and the bodies that nobody names are gone: only now the next start need not begin again.
pub(crate) fn finished(index: &Index) -> Result<(), StorageError> {
    if index.get(Tier::Disk, Family::Meta, WANTED)?.is_none() {
        return Ok(());
    }
    let mut writer = Writer::new(index);
    writer.delete(Family::Meta, WANTED)?;
    writer.flush(true)
}

/// Gathers changes into batches of bounded size.
struct Writer<'a> {
    index: &'a Index,
    batch: WriteBatch,
}

impl<'a> Writer<'a> {
    fn new(index: &'a Index) -> Self {
        Writer {
            index,
            batch: WriteBatch::new(),
        }
    }

    fn put(&mut self, family: Family, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        self.index.batch_put(&mut self.batch, family, key, value);
        self.flush_when_large()
    }

    fn delete(&mut self, family: Family, key: &[u8]) -> Result<(), StorageError> {
        self.index.batch_delete(&mut self.batch, family, key);
        self.flush_when_large()
    }

    fn flush_when_large(&mut self) -> Result<(), StorageError> {
        if self.batch.size_in_bytes() < WRITE_BYTES {
            return Ok(());
        }
        self.flush(false)
    }

    fn flush(&mut self, sync: bool) -> Result<(), StorageError> {
        self.index.write(std::mem::take(&mut self.batch), sync)
    }
}

/// Policies that have objects here: found by seeking from one to the next.
pub(crate) fn policies(index: &Index) -> Result<Vec<PolicyIndex>, StorageError> {
    let mut found = Vec::new();
    let mut rows = index.scan(Family::Objects, &[], None);
    rows.seek_to_first();
    while let Some((policy, _)) = rows.key().and_then(keys::read_object) {
        found.push(policy);
        match policy.0.checked_add(1) {
            Some(next) => rows.seek(next.to_be_bytes()),
            None => break,
        }
    }
    rows.status()?;
    Ok(found)
}
