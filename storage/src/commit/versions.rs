//! Versions of objects: a write of a version, and of what stands under the object's own name, in one batch.
//!
//! Every version is a record of its own beside its object; under the object's name stands a pointer to the one that is
//! current (`martlet_protocol::version`). So every record goes by the one rule that the newest wins, and replicas agree
//! on versions as on all else. What a pointer or a delete marker takes the place of is never lost: data that was written
//! while versions were not kept moves to the name that its moment gives it, without being copied.

use super::batch::Batch;
use super::objects::ObjectKey;
use crate::body::writer::{Content, FinishedBody};
use crate::codec::keys;
use crate::codec::object::{Location, StoredObject};
use crate::error::StorageError;
use crate::index::Family;
use crate::object::{DeleteObject, DeleteOutcome, PostOutcome, PutObject, PutOutcome, Written};
use crate::outbox::OwedRow;
use bytes::Bytes;
use martlet_protocol::record::{ObjectData, ObjectMeta, ObjectRecord};
use martlet_protocol::timestamp::Timestamp;
use martlet_protocol::version::{
    BLAKE3_OF_NOTHING, DELETE_MARKER, MD5_OF_NOTHING, VersionId, pointer_to, version_name,
};

impl ObjectKey {
    pub(crate) fn version(self, id: VersionId) -> Self {
        ObjectKey {
            hash: self.hash.version(id),
            ..self
        }
    }
}

fn empty_body() -> FinishedBody {
    FinishedBody {
        length: 0,
        blake3: BLAKE3_OF_NOTHING,
        content: Content::Inline(Bytes::new()),
    }
}

impl Batch<'_> {
    /// Stores what is put as a version, and makes it current unless something newer is.
    pub(crate) fn put_version(
        &mut self,
        at: ObjectKey,
        put: PutObject,
        body: FinishedBody,
        mut row: impl FnMut(&ObjectRecord) -> Option<OwedRow>,
    ) -> Result<Written<PutOutcome>, StorageError> {
        let id = VersionId::of(put.timestamp);
        let old = self.object(at)?;
        if put.if_none_match_star && old.as_ref().is_some_and(|old| is_living(old, put.timestamp)) {
            return Ok(PutOutcome::Exists.into());
        }
        let known = self.object(at.version(id))?;
        if let Some(existing) = as_new(&known, put.timestamp) {
            return Ok(PutOutcome::Conflict { existing }.into());
        }
        let data = ObjectData {
            length: body.length,
            etag: put.etag,
            content_type: put.content_type,
            metadata: put.metadata,
            delete_at: None,
            blake3: body.blake3,
        };
        let pointer = ObjectRecord {
            account: put.account,
            container: put.container,
            object: put.object,
            timestamp: put.timestamp,
            data: Some(pointer_to(&data, id, put.delete_at)),
            meta: None,
        };
        let mut written = Written::from(PutOutcome::Stored { outbox: None });
        let version = version_of(&pointer, id, Some(data));
        self.place(at.version(id), known, version, Some(body), &mut row, &mut written);
        if old
            .as_ref()
            .is_none_or(|old| old.record.timestamp < put.timestamp)
        {
            let old = self.keep(at, old, put.timestamp, &mut row, &mut written)?;
            self.place(at, old, pointer, Some(empty_body()), &mut row, &mut written);
        }
        Ok(written)
    }

    /// Makes a version current that is there already. What is put is the pointer, and has no bytes.
    pub(crate) fn put_pointer(
        &mut self,
        at: ObjectKey,
        id: VersionId,
        put: PutObject,
        mut row: impl FnMut(&ObjectRecord) -> Option<OwedRow>,
    ) -> Result<Written<PutOutcome>, StorageError> {
        let old = self.object(at)?;
        if let Some(old) = &old
            && old.record.timestamp >= put.timestamp
        {
            let existing = old.record.timestamp;
            return Ok(PutOutcome::Conflict { existing }.into());
        }
        // Deleted since the caller looked. What is not here at all is with others.
        if let Some(version) = self.object(at.version(id))?
            && version.record.is_tombstone()
        {
            let existing = version.record.timestamp;
            return Ok(PutOutcome::Conflict { existing }.into());
        }
        let pointer = ObjectRecord {
            account: put.account,
            container: put.container,
            object: put.object,
            timestamp: put.timestamp,
            data: Some(ObjectData {
                length: 0,
                etag: put.etag,
                content_type: put.content_type,
                metadata: put.metadata,
                delete_at: put.delete_at,
                blake3: BLAKE3_OF_NOTHING,
            }),
            meta: None,
        };
        let mut written = Written::from(PutOutcome::Stored { outbox: None });
        let old = self.keep(at, old, put.timestamp, &mut row, &mut written)?;
        self.place(at, old, pointer, Some(empty_body()), &mut row, &mut written);
        Ok(written)
    }

    /// Puts a delete marker beside the versions, and a tombstone in the object's place.
    pub(crate) fn mark_deleted(
        &mut self,
        at: ObjectKey,
        delete: DeleteObject,
        mut row: impl FnMut(&ObjectRecord) -> Option<OwedRow>,
    ) -> Result<Written<DeleteOutcome>, StorageError> {
        let id = VersionId::of(delete.timestamp);
        let old = self.object(at)?;
        let living = old.as_ref().filter(|old| !old.record.is_tombstone());
        if let Some(living) = living
            && living.record.timestamp >= delete.timestamp
        {
            let existing = living.record.timestamp;
            return Ok(DeleteOutcome::Conflict { existing }.into());
        }
        let version = self.object(at.version(id))?;
        if let Some(existing) = as_new(&version, delete.timestamp) {
            return Ok(DeleteOutcome::Conflict { existing }.into());
        }
        let previous = living.map(|living| Box::new(living.record.clone()));
        let known = old.as_ref().map(|old| old.record.timestamp);
        let tombstone = tombstone_of(&delete, delete.timestamp);
        let marker = ObjectData {
            length: 0,
            etag: MD5_OF_NOTHING.to_owned(),
            content_type: DELETE_MARKER.to_owned(),
            metadata: Vec::new(),
            delete_at: None,
            blake3: BLAKE3_OF_NOTHING,
        };
        let mut written = Written::from(match previous {
            Some(previous) => DeleteOutcome::Deleted {
                previous,
                outbox: None,
            },
            None => DeleteOutcome::NotFound {
                tombstone: known,
                outbox: None,
            },
        });
        let marker = version_of(&tombstone, id, Some(marker));
        self.place(
            at.version(id),
            version,
            marker,
            Some(empty_body()),
            &mut row,
            &mut written,
        );
        if known < Some(delete.timestamp) {
            let old = self.keep(at, old, delete.timestamp, &mut row, &mut written)?;
            self.place(at, old, tombstone, None, &mut row, &mut written);
        }
        Ok(written)
    }

    /// Deletes a version for good. When it is the current one, the object goes with it: also where the replica has not
    /// heard of it yet, if the caller knows (`is_current`).
    pub(crate) fn delete_version(
        &mut self,
        at: ObjectKey,
        id: VersionId,
        is_current: bool,
        delete: DeleteObject,
        mut row: impl FnMut(&ObjectRecord) -> Option<OwedRow>,
    ) -> Result<Written<DeleteOutcome>, StorageError> {
        let old = self.object(at)?;
        let of_version = DeleteObject {
            object: version_name(&delete.object, id),
            ..delete.clone()
        };
        let outcome = self.delete_object(at.version(id), of_version, &mut row)?;
        let mut written = Written::from(outcome);
        let is_gone = matches!(
            written.outcome,
            DeleteOutcome::Deleted { .. } | DeleteOutcome::NotFound { .. }
        );
        if !is_gone {
            return Ok(written);
        }
        let known = old.as_ref().map(|old| old.record.timestamp);
        let points_here = old
            .as_ref()
            .is_some_and(|old| old.record.current_version() == Some(id));
        if points_here || (is_current && known < Some(delete.timestamp)) {
            // At one moment a tombstone is newer than data.
            let moment = known.map_or(delete.timestamp, |known| known.max(delete.timestamp));
            let old = self.keep(at, old, moment, &mut row, &mut written)?;
            self.place(
                at,
                old,
                tombstone_of(&delete, moment),
                None,
                &mut row,
                &mut written,
            );
        }
        Ok(written)
    }

    /// Lays a POST over this version, which is the current one. It is the pointer that expires.
    pub(crate) fn post_version(
        &mut self,
        at: ObjectKey,
        id: VersionId,
        meta: ObjectMeta,
        mut row: impl FnMut(&ObjectRecord) -> Option<OwedRow>,
    ) -> Result<Written<PostOutcome>, StorageError> {
        let old = self.object(at)?;
        let old = old.filter(|old| old.record.current_version() == Some(id));
        let of_version = ObjectMeta {
            delete_at: None,
            ..meta.clone()
        };
        let there = at.version(id);
        if self.object(there)?.is_none() {
            // It is on its way here: the caller knows from others that it is current, so that this is no "not found".
            return Err(StorageError::Busy);
        }
        let mut written = Written::from(self.post_object(there, of_version, &mut row)?);
        if let (PostOutcome::Stored { .. }, Some(old)) = (&written.outcome, old) {
            let of_pointer = ObjectMeta {
                metadata: Vec::new(),
                ..meta
            };
            let mut new = old.clone();
            if new.record.post(of_pointer) {
                let owed = row(&new.record);
                self.replace_object(at, Some(old), Some(new), None);
                written.owed.extend(owed.and_then(|row| self.owe_row(row)));
            }
        }
        Ok(written)
    }

    /// Moves data that is no version to the name it has as one, since something is to take its place at `now`. Gives what
    /// is left to be replaced.
    pub(super) fn keep(
        &mut self,
        at: ObjectKey,
        old: Option<StoredObject>,
        now: Timestamp,
        row: &mut impl FnMut(&ObjectRecord) -> Option<OwedRow>,
        written: &mut Written<impl Sized>,
    ) -> Result<Option<StoredObject>, StorageError> {
        let Some(mut old) = old else {
            return Ok(None);
        };
        let Some((id, version)) = old.record.as_version(now) else {
            return Ok(Some(old));
        };
        let there = at.version(id);
        let known = self.object(there)?;
        if known
            .as_ref()
            .is_some_and(|known| known.record.timestamp >= version.timestamp)
        {
            return Ok(Some(old));
        }
        match old.location {
            Location::Nowhere => return Ok(Some(old)),
            Location::File { .. } => {}
            Location::Inline { .. } => {
                let from = keys::body(at.policy, at.hash, old.record.timestamp);
                let Some(bytes) = self.get(Family::Bodies, &from, Bytes::copy_from_slice)? else {
                    // Lost here, as whoever reads it finds out: others have it.
                    return Ok(Some(old));
                };
                let to = keys::body(at.policy, there.hash, version.timestamp);
                self.put(Family::Bodies, &to, bytes);
            }
        }
        let owed = row(&version);
        let moved = StoredObject {
            record: version,
            location: old.location,
        };
        self.replace_object(there, known, Some(moved), None);
        written.owed.extend(owed.and_then(|row| self.owe_row(row)));
        if matches!(old.location, Location::File { .. }) {
            old.location = Location::Nowhere;
        }
        Ok(Some(old))
    }

    /// Puts a record in its place, and owes its row.
    fn place(
        &mut self,
        at: ObjectKey,
        old: Option<StoredObject>,
        record: ObjectRecord,
        body: Option<FinishedBody>,
        row: &mut impl FnMut(&ObjectRecord) -> Option<OwedRow>,
        written: &mut Written<impl Sized>,
    ) {
        let owed = row(&record);
        let location = body.as_ref().map_or(Location::Nowhere, FinishedBody::location);
        self.replace_object(at, old, Some(StoredObject { record, location }), body);
        written.owed.extend(owed.and_then(|row| self.owe_row(row)));
    }
}

/// The moment of a record, when it is as new as `moment`.
fn as_new(known: &Option<StoredObject>, moment: Timestamp) -> Option<Timestamp> {
    let known = known.as_ref().map(|known| known.record.timestamp);
    known.filter(|known| *known >= moment)
}

fn is_living(stored: &StoredObject, now: Timestamp) -> bool {
    !stored.record.is_tombstone() && !stored.record.is_expired(now)
}

/// A version of the object that `own` is the record of.
fn version_of(own: &ObjectRecord, id: VersionId, data: Option<ObjectData>) -> ObjectRecord {
    ObjectRecord {
        account: own.account.clone(),
        container: own.container.clone(),
        object: version_name(&own.object, id),
        timestamp: own.timestamp,
        data,
        meta: None,
    }
}

fn tombstone_of(delete: &DeleteObject, moment: Timestamp) -> ObjectRecord {
    ObjectRecord {
        account: delete.account.clone(),
        container: delete.container.clone(),
        object: delete.object.clone(),
        timestamp: moment,
        data: None,
        meta: None,
    }
}
