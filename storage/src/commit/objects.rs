//! Decides what becomes of an object: newest timestamp wins, for data and for metadata separately.

use super::batch::Batch;
use crate::body::writer::{Content, FinishedBody};
use crate::codec::fingerprint;
use crate::codec::keys;
use crate::codec::object::{Location, StoredObject};
use crate::container::Space;
use crate::error::StorageError;
use crate::index::Family;
use crate::object::{DeleteObject, DeleteOutcome, PostOutcome, PutObject, PutOutcome, Written};
use crate::outbox::OwedRow;
use bytes::Bytes;
use martlet_protocol::hash::PathHash;
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::record::{ObjectData, ObjectMeta, ObjectRecord};
use martlet_protocol::timestamp::Timestamp;

/// Which object an operation is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ObjectKey {
    pub(crate) policy: PolicyIndex,
    pub(crate) hash: PathHash,
}

impl ObjectKey {
    pub(crate) fn bytes(self) -> [u8; 18] {
        keys::object(self.policy, self.hash)
    }

    pub(super) fn space(self) -> Space {
        Space::Objects(self.policy)
    }
}

impl Batch<'_> {
    /// The record as this batch leaves it.
    pub(crate) fn object(&mut self, at: ObjectKey) -> Result<Option<StoredObject>, StorageError> {
        let key = at.bytes();
        match self.get(Family::Objects, &key, |value| StoredObject::decode(&key, value))? {
            None => Ok(None),
            Some(Ok(stored)) => Ok(Some(stored)),
            Some(Err(_)) => Err(self.suspect(Family::Objects, &key)),
        }
    }

    pub(crate) fn put_object(
        &mut self,
        at: ObjectKey,
        put: PutObject,
        body: FinishedBody,
        outbox: impl FnOnce(&ObjectRecord) -> Option<OwedRow>,
    ) -> Result<PutOutcome, StorageError> {
        let old = self.object(at)?;
        if let Some(old) = &old {
            let living = !old.record.is_tombstone() && !old.record.is_expired(put.timestamp);
            if put.if_none_match_star && living {
                return Ok(PutOutcome::Exists);
            }
            if old.record.timestamp >= put.timestamp {
                return Ok(PutOutcome::Conflict {
                    existing: old.record.timestamp,
                });
            }
        }
        let location = body.location();
        let mut record = ObjectRecord {
            account: put.account,
            container: put.container,
            object: put.object,
            timestamp: put.timestamp,
            data: Some(ObjectData {
                length: body.length,
                etag: put.etag,
                content_type: put.content_type,
                metadata: put.metadata,
                delete_at: put.delete_at,
                blake3: body.blake3,
            }),
            meta: None,
        };
        if let Some(old) = &old {
            // A POST that is newer than this late PUT stays in force.
            let mut merged = old.record.clone();
            merged.merge(record);
            record = merged;
        }
        let update = outbox(&record);
        self.replace_object(at, old, Some(StoredObject { record, location }), Some(body));
        Ok(PutOutcome::Stored {
            outbox: update.and_then(|row| self.owe_row(row)),
        })
    }

    pub(crate) fn post_object(
        &mut self,
        at: ObjectKey,
        meta: ObjectMeta,
        outbox: impl FnOnce(&ObjectRecord) -> Option<OwedRow>,
    ) -> Result<PostOutcome, StorageError> {
        let Some(old) = self.object(at)? else {
            return Ok(PostOutcome::NotFound { tombstone: None });
        };
        if old.record.is_tombstone() {
            return Ok(PostOutcome::NotFound {
                tombstone: Some(old.record.timestamp),
            });
        }
        let mut new = old.clone();
        if !new.record.post(meta) {
            return Ok(PostOutcome::Conflict {
                existing: old.record.newest(),
            });
        }
        let record = new.record.clone();
        let update = outbox(&record);
        self.replace_object(at, Some(old), Some(new), None);
        Ok(PostOutcome::Stored {
            record: Box::new(record),
            outbox: update.and_then(|row| self.owe_row(row)),
        })
    }

    pub(crate) fn delete_object(
        &mut self,
        at: ObjectKey,
        delete: DeleteObject,
        outbox: impl FnOnce(&ObjectRecord) -> Option<OwedRow>,
    ) -> Result<DeleteOutcome, StorageError> {
        let old = self.object(at)?;
        let tombstone = ObjectRecord {
            account: delete.account,
            container: delete.container,
            object: delete.object,
            timestamp: delete.timestamp,
            data: None,
            meta: None,
        };
        let living = old.as_ref().filter(|old| !old.record.is_tombstone());
        if let (Some(living), Some(wanted)) = (living, delete.if_delete_at)
            && living.record.delete_at() != Some(wanted)
        {
            return Ok(DeleteOutcome::DeleteAtMismatch);
        }
        if let Some(living) = living
            && living.record.timestamp >= delete.timestamp
        {
            return Ok(DeleteOutcome::Conflict {
                existing: living.record.timestamp,
            });
        }
        let previous = living.map(|living| Box::new(living.record.clone()));
        let known = old.as_ref().map(|old| old.record.timestamp);
        if previous.is_none() && (delete.if_delete_at.is_some() || known >= Some(delete.timestamp)) {
            // Nothing to expire, or a tombstone as new is there: nothing new to say.
            return Ok(DeleteOutcome::NotFound {
                tombstone: known,
                outbox: None,
            });
        }
        let update = outbox(&tombstone);
        let new = StoredObject {
            record: tombstone,
            location: Location::Nowhere,
        };
        self.replace_object(at, old, Some(new), None);
        let outbox = update.and_then(|row| self.owe_row(row));
        Ok(match previous {
            Some(previous) => DeleteOutcome::Deleted { previous, outbox },
            None => DeleteOutcome::NotFound {
                tombstone: known,
                outbox,
            },
        })
    }

    /// Takes what is newer in a replica's record. `Ok(false)`: nothing was. `is_believed`: what is here may be kept as a
    /// version when a pointer comes, for its deletion cannot have been forgotten meanwhile.
    pub(crate) fn merge_object(
        &mut self,
        at: ObjectKey,
        theirs: ObjectRecord,
        body: Option<FinishedBody>,
        is_believed: bool,
    ) -> Result<bool, StorageError> {
        let old = self.object(at)?;
        let (record, takes_data) = match &old {
            None => {
                let takes_data = theirs.data.is_some();
                (theirs, takes_data)
            }
            Some(old) => {
                let mut record = old.record.clone();
                let merged = record.merge(theirs);
                if !merged.any() {
                    return Ok(false);
                }
                let takes_data = merged.data && record.data.is_some();
                (record, takes_data)
            }
        };
        let (location, body) = match (&record.data, body) {
            (Some(data), Some(body)) if takes_data => {
                if data.length != body.length || data.blake3 != body.blake3 {
                    return Err(StorageError::Corrupt(
                        "the body is not the one of its record".into(),
                    ));
                }
                (body.location(), Some(body))
            }
            (Some(_), None) if takes_data => {
                return Err(StorageError::Io("a newer record came without its body".into()));
            }
            (Some(_), _) => (old.as_ref().map_or(Location::Nowhere, |old| old.location), None),
            (None, _) => (Location::Nowhere, None),
        };
        let old = match takes_data && is_believed && record.current_version().is_some() {
            // Those that took the write have told the container.
            true => self.keep(at, old, record.timestamp, &mut |_| None, &mut Written::nothing())?,
            false => old,
        };
        self.replace_object(at, old, Some(StoredObject { record, location }), body);
        Ok(true)
    }

    /// Lets a copy go without a tombstone, when it is still the one that was looked at.
    pub(crate) fn remove_object(&mut self, at: ObjectKey, newest: Timestamp) -> Result<bool, StorageError> {
        match self.object(at)? {
            Some(old) if old.record.newest() == newest => {
                self.replace_object(at, Some(old), None, None);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// The one place where an object's record changes: body, digest, counts, expiry and change entry go with it.
    /// `body` is what `new` is to name, when that is not what `old` named.
    pub(super) fn replace_object(
        &mut self,
        at: ObjectKey,
        old: Option<StoredObject>,
        new: Option<StoredObject>,
        body: Option<FinishedBody>,
    ) {
        let key = at.bytes();
        let kept_location = body.is_none() && new.as_ref().is_some_and(|new| new.record.data.is_some());
        if let Some(old) = &old {
            self.flip_digest(at.space(), at.hash, &fingerprint::object(&old.record));
            self.count_object(&old.record, -1);
            if old.record.is_tombstone() {
                self.level_grave(at.space(), at.hash, "", old.record.timestamp);
            }
            if let Some(secs) = old.record.delete_at() {
                self.delete(Family::Expiries, &keys::expiry(secs, at.policy, at.hash));
            }
            match old.location {
                _ if kept_location => {}
                Location::Nowhere => {}
                Location::Inline { .. } => {
                    let body_key = keys::body(at.policy, at.hash, old.record.timestamp);
                    self.delete(Family::Bodies, &body_key);
                }
                Location::File { id, .. } => self.discard_file(id),
            }
        }
        let Some(new) = new else {
            self.delete(Family::Objects, &key);
            return;
        };
        match body.map(|body| body.content) {
            None => {}
            Some(Content::Inline(bytes)) => {
                let body_key = keys::body(at.policy, at.hash, new.record.timestamp);
                self.put(Family::Bodies, &body_key, bytes);
            }
            Some(Content::File(file)) => self.effects.adopt.push(file.keep()),
        }
        self.flip_digest(at.space(), at.hash, &fingerprint::object(&new.record));
        self.count_object(&new.record, 1);
        if new.record.is_tombstone() {
            self.dig_grave(at.space(), at.hash, "", new.record.timestamp);
        }
        if let Some(secs) = new.record.delete_at() {
            let expiry = keys::expiry(secs, at.policy, at.hash);
            self.put(Family::Expiries, &expiry, Bytes::new());
            let earliest = self.effects.earliest_expiry.map_or(secs, |known| known.min(secs));
            self.effects.earliest_expiry = Some(earliest);
        }
        self.mark_changed(at.space(), at.hash);
        self.put(Family::Objects, &key, new.encode(&key));
    }

    fn count_object(&mut self, record: &ObjectRecord, sign: i64) {
        match &record.data {
            None => self.counters.tombstones += sign,
            Some(data) => {
                self.counters.objects += sign;
                let bytes = i64::try_from(data.length).unwrap_or(i64::MAX);
                self.counters.bytes = self.counters.bytes.saturating_add(bytes.saturating_mul(sign));
            }
        }
    }
}
