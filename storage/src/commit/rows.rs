//! Merges rows into a container or account and keeps its counts and digest exact.

use super::batch::Batch;
use super::containers::{ContainerKey, created};
use crate::codec::container::StoredContainer;
use crate::codec::{fingerprint, keys, row as row_codec};
use crate::container::{PutContainer, Row, RowsOutcome, Space};
use crate::error::StorageError;
use crate::index::Family;
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::record::{ContainerRecord, PolicyStat};
use martlet_protocol::timestamp::Timestamp;
use martlet_protocol::update::Update;
use std::collections::{BTreeMap, HashMap};

impl Batch<'_> {
    pub(super) fn row(&mut self, key: &[u8]) -> Result<Option<Row>, StorageError> {
        match self.get(Family::Rows, key, |value| row_codec::decode(key, value))? {
            None => Ok(None),
            Some(Ok(row)) => Ok(Some(row)),
            Some(Err(_)) => Err(self.suspect(Family::Rows, key)),
        }
    }

    pub(crate) fn put_rows(
        &mut self,
        at: ContainerKey,
        rows: Vec<Row>,
        create: Option<PutContainer>,
        outbox: impl FnOnce(&ContainerRecord) -> Option<Update>,
    ) -> Result<RowsOutcome, StorageError> {
        let old = self.container(at)?;
        let mut new = match (&old, create) {
            (Some(old), _) => old.clone(),
            (None, Some(put)) => created(put),
            (None, None) => return Ok(RowsOutcome::NoContainer),
        };
        // Reads first; what is staged below cannot fail. A name may come twice: the later meets the earlier's outcome.
        let mut staged: Vec<(Vec<u8>, Option<Row>, Row)> = Vec::with_capacity(rows.len());
        let mut places: HashMap<Vec<u8>, usize> = HashMap::with_capacity(rows.len());
        for row in rows {
            let key = keys::row(&at.bytes, row.name());
            if let Some(place) = places.get(&key) {
                let merged = &mut staged[*place].2;
                *merged = merge(merged.clone(), row);
                continue;
            }
            let before = self.row(&key)?;
            let after = match before.clone() {
                Some(before) => merge(before, row),
                None => row,
            };
            places.insert(key.clone(), staged.len());
            staged.push((key, before, after));
        }
        staged.retain(|(_, before, after)| before.as_ref() != Some(after));
        if at.space == Space::Containers {
            let names = || staged.iter().map(|(_, _, row)| row.name());
            if let Some(logged) = self.read_syncs(at.hash, &new.record, names())? {
                self.log_syncs(at.hash, logged, names());
            }
        }
        for (key, before, after) in staged {
            if let Some(before) = &before {
                count_row(&mut new, before, -1);
            }
            count_row(&mut new, &after, 1);
            self.note_row(at, before.as_ref(), &after, new.record.policy);
            let value = row_codec::encode(&key, &after);
            self.put(Family::Rows, &key, value);
        }
        settle_stats(&mut new.record);
        let counts_changed = old.as_ref().map(|old| &old.record.stats) != Some(&new.record.stats);
        if old.as_ref() == Some(&new) {
            return Ok(RowsOutcome::Stored);
        }
        let update = counts_changed.then(|| outbox(&new.record)).flatten();
        self.replace_container(at, old, Some(new));
        if let Some(update) = update {
            self.add_to_outbox(&update);
        }
        Ok(RowsOutcome::Stored)
    }

    /// Lets deleted rows go that are still as the caller saw them (name, newest timestamp): every replica has them.
    pub(crate) fn forget_rows(
        &mut self,
        at: ContainerKey,
        rows: &[(String, Timestamp)],
    ) -> Result<usize, StorageError> {
        self.take_rows(at, rows, Row::deleted)
    }

    /// Lets rows go, living ones too, that are still as the caller saw them: they are known to be of the past.
    pub(crate) fn drop_rows(
        &mut self,
        at: ContainerKey,
        rows: &[(String, Timestamp)],
    ) -> Result<usize, StorageError> {
        self.take_rows(at, rows, |_| true)
    }

    fn take_rows(
        &mut self,
        at: ContainerKey,
        rows: &[(String, Timestamp)],
        may_go: impl Fn(&Row) -> bool,
    ) -> Result<usize, StorageError> {
        let Some(old) = self.container(at)? else {
            return Ok(0);
        };
        let mut new = old.clone();
        let mut gone = BTreeMap::new();
        for (name, newest) in rows {
            let key = keys::row(&at.bytes, name);
            match self.row(&key)? {
                Some(row) if may_go(&row) && row.newest() == *newest && !gone.contains_key(&key) => {
                    count_row(&mut new, &row, -1);
                    gone.insert(key, row);
                }
                _ => {}
            }
        }
        for (key, row) in &gone {
            self.forget_row(at, row);
            self.delete(Family::Rows, key);
        }
        settle_stats(&mut new.record);
        if !gone.is_empty() {
            self.replace_container(at, Some(old), Some(new));
        }
        Ok(gone.len())
    }
}

/// Newest wins, part by part. Rows of two kinds never share a container; if told so, the known one stays.
fn merge(known: Row, other: Row) -> Row {
    match (known, other) {
        (Row::Object(known), Row::Object(other)) => Row::Object(known.merge(other)),
        (Row::Container(known), Row::Container(other)) => Row::Container(known.merge(other)),
        (known, _) => known,
    }
}

/// Adds (or with `sign` -1 takes away) a row: its fingerprint, and what it counts for when it is not deleted.
pub(super) fn count_row(container: &mut StoredContainer, row: &Row, sign: i64) {
    fingerprint::xor(&mut container.rows_digest, &fingerprint::row(row));
    if row.deleted() {
        return;
    }
    let (policy, counts) = counts_of(row);
    let stat = container.record.stats.entry(policy).or_default();
    let add = |to: &mut i64, amount: i64| *to = to.saturating_add(amount.saturating_mul(sign));
    add(&mut stat.count, counts.count);
    add(&mut stat.bytes, counts.bytes);
    add(&mut stat.inner, counts.inner);
}

fn counts_of(row: &Row) -> (PolicyIndex, PolicyStat) {
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    match row {
        Row::Object(row) => {
            let is_version = row.is_version();
            // A version that is current has two rows: its bytes are counted by its own.
            let is_pointer = row.version.is_some() && !is_version;
            let counts = PolicyStat {
                count: i64::from(!is_version),
                bytes: if is_pointer { 0 } else { signed(row.size) },
                inner: i64::from(is_version),
            };
            (row.policy, counts)
        }
        Row::Container(row) => {
            let counts = PolicyStat {
                count: signed(row.object_count),
                bytes: signed(row.bytes_used),
                inner: 1,
            };
            (row.policy, counts)
        }
    }
}

/// A policy under which nothing is left is not listed, so that equal rows give equal records.
pub(super) fn settle_stats(record: &mut ContainerRecord) {
    record.stats.retain(|_, stat| *stat != PolicyStat::default());
}
