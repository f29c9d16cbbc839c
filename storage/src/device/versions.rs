//! Objects that have versions: each change of an object and its versions is one commit.

use super::Device;
use crate::body::writer::BodyWriter;
use crate::commit::Kind;
use crate::commit::objects::ObjectKey;
use crate::error::StorageError;
use crate::object::{DeleteObject, DeleteOutcome, PostOutcome, PutObject, PutOutcome, Written};
use crate::outbox::OwedRow;
use martlet_protocol::hash::PathHash;
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::record::{ObjectMeta, ObjectRecord};
use martlet_protocol::version::VersionId;

impl Device {
    /// Stores what is put as a version of its own, and makes it the current one. `hash` and `put` name the object; `row`
    /// composes what is owed to the container for each record that changes.
    pub async fn put_version(
        &self,
        policy: PolicyIndex,
        hash: PathHash,
        put: PutObject,
        body: BodyWriter,
        row: impl FnMut(&ObjectRecord) -> Option<OwedRow> + Send + 'static,
    ) -> Result<Written<PutOutcome>, StorageError> {
        let at = ObjectKey { policy, hash };
        let id = VersionId::of(put.timestamp);
        let (slot, body) = self.finish_body(at.version(id), body).await?;
        let commits = &self.shared.commits;
        commits
            .submit(slot, Kind::Shared, move |batch| {
                batch.put_version(at, put, body, row)
            })
            .wait()
            .await
    }

    /// Makes a version current again. What is put is a pointer to it (`martlet_protocol::version::pointer_to`).
    /// `Conflict`: something newer is there, or the version was deleted.
    pub async fn put_pointer(
        &self,
        policy: PolicyIndex,
        hash: PathHash,
        id: VersionId,
        put: PutObject,
        row: impl FnMut(&ObjectRecord) -> Option<OwedRow> + Send + 'static,
    ) -> Result<Written<PutOutcome>, StorageError> {
        let at = ObjectKey { policy, hash };
        self.commit(move |batch| batch.put_pointer(at, id, put, row))
            .await
    }

    /// Puts a delete marker among the versions and a tombstone in the object's place.
    pub async fn mark_deleted(
        &self,
        policy: PolicyIndex,
        hash: PathHash,
        delete: DeleteObject,
        row: impl FnMut(&ObjectRecord) -> Option<OwedRow> + Send + 'static,
    ) -> Result<Written<DeleteOutcome>, StorageError> {
        let at = ObjectKey { policy, hash };
        self.commit(move |batch| batch.mark_deleted(at, delete, row))
            .await
    }

    /// Deletes a version for good, and the object if it is the current one: `is_current` if the caller knows that it is,
    /// for this replica may not have heard of it yet. `hash` and `delete` name the object.
    pub async fn delete_version(
        &self,
        policy: PolicyIndex,
        hash: PathHash,
        id: VersionId,
        is_current: bool,
        delete: DeleteObject,
        row: impl FnMut(&ObjectRecord) -> Option<OwedRow> + Send + 'static,
    ) -> Result<Written<DeleteOutcome>, StorageError> {
        let at = ObjectKey { policy, hash };
        self.commit(move |batch| batch.delete_version(at, id, is_current, delete, row))
            .await
    }

    /// Replaces the metadata of the version that is current, as the caller knows: a replica may be behind.
    ///
    /// # Errors
    /// `Busy` while the version has not come here yet.
    pub async fn post_version(
        &self,
        policy: PolicyIndex,
        hash: PathHash,
        id: VersionId,
        meta: ObjectMeta,
        row: impl FnMut(&ObjectRecord) -> Option<OwedRow> + Send + 'static,
    ) -> Result<Written<PostOutcome>, StorageError> {
        let at = ObjectKey { policy, hash };
        self.commit(move |batch| batch.post_version(at, id, meta, row))
            .await
    }
}
