//! Keeps the list of what was deleted, by moment, and forgets what all have forgotten.
//!
//! Every tombstone, deleted row and deleted container has one grave, in the batch that makes it; so what is old enough to
//! be forgotten is found by a range scan.

use super::batch::Batch;
use super::containers::ContainerKey;
use super::objects::ObjectKey;
use crate::codec::container::StoredContainer;
use crate::codec::keys;
use crate::container::{Row, Space};
use crate::error::StorageError;
use crate::graves::{Buried, Grave};
use crate::index::Family;
use bytes::Bytes;
use martlet_protocol::hash::PathHash;
use martlet_protocol::timestamp::Timestamp;

impl Batch<'_> {
    pub(super) fn dig_grave(&mut self, space: Space, hash: PathHash, name: &str, at: Timestamp) {
        let key = keys::grave(keys::space(space), at.secs(), hash, name);
        self.put(Family::Graves, &key, Bytes::new());
    }

    pub(super) fn level_grave(&mut self, space: Space, hash: PathHash, name: &str, at: Timestamp) {
        let key = keys::grave(keys::space(space), at.secs(), hash, name);
        self.delete(Family::Graves, &key);
    }

    /// Forgets the deletions that are still the ones named: the caller knows that every replica has them. How many
    /// went.
    pub(crate) fn reclaim(&mut self, graves: Vec<Grave>) -> Result<usize, StorageError> {
        let mut gone = 0;
        let mut newest = Timestamp::ZERO;
        for run in graves.chunk_by(|a, b| a.is_row() && b.is_row() && (a.space, a.hash) == (b.space, b.hash))
        {
            let before = gone;
            let first = &run[0];
            match (first.space, &first.name) {
                (Space::Objects(policy), _) => {
                    let at = ObjectKey {
                        policy,
                        hash: first.hash,
                    };
                    if let Some(old) = self.object(at)?
                        && old.record.is_tombstone()
                        && old.record.timestamp == first.newest
                    {
                        self.replace_object(at, Some(old), None, None);
                        gone += 1;
                    }
                }
                (space, None) => {
                    let at = ContainerKey::new(space, first.hash)?;
                    if let Some(old) = self.container(at)?
                        && buried_container(&old, first.newest) == Buried::Same
                    {
                        self.replace_container(at, Some(old), None);
                        gone += 1;
                    }
                }
                (space, Some(_)) => {
                    let at = ContainerKey::new(space, first.hash)?;
                    let rows: Vec<(String, Timestamp)> = run
                        .iter()
                        .filter_map(|grave| Some((grave.name.clone()?, grave.newest)))
                        .collect();
                    gone += self.forget_rows(at, &rows)?;
                }
            }
            if gone > before {
                newest = run.iter().map(|grave| grave.newest).fold(newest, Timestamp::max);
            }
        }
        let known = self.get(Family::Meta, keys::RECLAIMED, read_moment)?;
        if gone > 0 && known.unwrap_or_default() < newest {
            let moment = newest.raw().to_be_bytes().to_vec();
            self.put(Family::Meta, keys::RECLAIMED, moment);
            self.effects.reclaimed = Some(newest);
        }
        Ok(gone)
    }

    /// Strikes out a grave in which nothing lies.
    pub(crate) fn close_grave(&mut self, key: &[u8]) -> Result<(), StorageError> {
        let Some((space, secs, hash, name)) = keys::read_grave(key) else {
            self.delete(Family::Graves, key);
            return Ok(());
        };
        let lies = match (space, name) {
            (Space::Objects(policy), _) => self
                .object(ObjectKey { policy, hash })?
                .filter(|stored| stored.record.is_tombstone())
                .map(|stored| stored.record.timestamp),
            (space, "") => self
                .container(ContainerKey::new(space, hash)?)?
                .filter(|stored| stored.record.is_deleted())
                .map(|stored| stored.record.delete_timestamp),
            (space, name) => self
                .row(&keys::row(&ContainerKey::new(space, hash)?.bytes, name))?
                .filter(Row::deleted)
                .map(|row| row.newest()),
        };
        if lies.map(Timestamp::secs) != Some(secs) {
            self.delete(Family::Graves, key);
        }
        Ok(())
    }
}

/// Whether a container is the deleted one of that moment, with no row left that somebody might have to learn of.
pub(crate) fn buried_container(stored: &StoredContainer, newest: Timestamp) -> Buried {
    let record = &stored.record;
    let is_same = record.is_deleted()
        && record.delete_timestamp == newest
        && stored.rows_digest == <[u8; 16]>::default();
    if is_same { Buried::Same } else { Buried::Other }
}

pub(crate) fn read_moment(value: &[u8]) -> Timestamp {
    Timestamp::from_raw(<[u8; 8]>::try_from(value).map_or(0, u64::from_be_bytes))
}
