//! Containers, accounts and their rows, and the outbox.

use super::{Device, Shared};
use crate::codec::container::StoredContainer;
use crate::codec::{keys, row as row_codec, update as update_codec};
use crate::commit::Kind;
use crate::commit::batch::Batch;
use crate::commit::containers::ContainerKey;
use crate::container::{
    ContainerMetadata, DeleteContainerOutcome, PutContainer, PutContainerOutcome, Row, RowsOutcome, Space,
};
use crate::error::StorageError;
use crate::index::{Family, ReadFailure, Tier};
use crate::outbox::OutboxId;
use martlet_protocol::hash::PathHash;
use martlet_protocol::record::ContainerRecord;
use martlet_protocol::timestamp::Timestamp;
use martlet_protocol::update::Update;

impl Device {
    /// The record of a container or account, deleted ones included.
    pub async fn container(
        &self,
        space: Space,
        hash: PathHash,
    ) -> Result<Option<ContainerRecord>, StorageError> {
        let at = ContainerKey::new(space, hash)?;
        let read = match self.shared.stored_container(Tier::Memory, at) {
            Err(ReadFailure::NotCached) => {
                let shared = self.shared.clone();
                self.shared
                    .readers
                    .run(move || Ok(shared.stored_container(Tier::Disk, at)))
                    .await?
            }
            read => read,
        };
        let stored = read.map_err(|failure| self.shared.seen(failure))?;
        Ok(stored.map(|stored| stored.record))
    }

    /// Creates a container or account, or updates the one that is there.
    pub async fn put_container(
        &self,
        space: Space,
        hash: PathHash,
        put: PutContainer,
        outbox: impl FnOnce(&ContainerRecord) -> Option<Update> + Send + 'static,
    ) -> Result<PutContainerOutcome, StorageError> {
        let at = ContainerKey::new(space, hash)?;
        self.commit(move |batch| batch.put_container(at, put, outbox))
            .await
    }

    /// Sets metadata; `None` when there is no such container.
    pub async fn post_container(
        &self,
        space: Space,
        hash: PathHash,
        timestamp: Timestamp,
        metadata: ContainerMetadata,
    ) -> Result<Option<ContainerRecord>, StorageError> {
        let at = ContainerKey::new(space, hash)?;
        self.commit(move |batch| batch.post_container(at, timestamp, metadata))
            .await
    }

    /// Deletes an empty container, or an account.
    pub async fn delete_container(
        &self,
        space: Space,
        hash: PathHash,
        timestamp: Timestamp,
        outbox: impl FnOnce(&ContainerRecord) -> Option<Update> + Send + 'static,
    ) -> Result<DeleteContainerOutcome, StorageError> {
        let at = ContainerKey::new(space, hash)?;
        self.commit(move |batch| batch.delete_container(at, timestamp, outbox))
            .await
    }

    /// Merges rows, newest part by part, and keeps the counts exact. `outbox` is asked when counts have changed.
    pub async fn put_rows(
        &self,
        space: Space,
        hash: PathHash,
        rows: Vec<Row>,
        create: Option<PutContainer>,
        outbox: impl FnOnce(&ContainerRecord) -> Option<Update> + Send + 'static,
    ) -> Result<RowsOutcome, StorageError> {
        let at = ContainerKey::new(space, hash)?;
        self.commit(move |batch| batch.put_rows(at, rows, create, outbox))
            .await
    }

    /// Lets deleted rows go that every replica has; each only while its newest change is still the one given. Answers
    /// how many went.
    pub async fn forget_rows(
        &self,
        space: Space,
        hash: PathHash,
        rows: Vec<(String, Timestamp)>,
    ) -> Result<usize, StorageError> {
        let at = ContainerKey::new(space, hash)?;
        self.commit(move |batch| batch.forget_rows(at, &rows)).await
    }

    /// Rows as they are, deleted ones too, in order of names, after a name: for replicas.
    pub async fn rows_after(
        &self,
        space: Space,
        hash: PathHash,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<Row>, StorageError> {
        let at = ContainerKey::new(space, hash)?;
        let shared = self.shared.clone();
        self.shared
            .readers
            .run(move || {
                let upper = keys::after(&at.bytes);
                let mut rows = shared.index.scan(Family::Rows, &at.bytes, upper.as_deref());
                match &after {
                    // The first key past a name is the name with the smallest byte behind it.
                    Some(after) => rows.seek([keys::row(&at.bytes, after).as_slice(), b"\0"].concat()),
                    None => rows.seek(at.bytes),
                }
                let mut found = Vec::new();
                while let Some((key, value)) = rows.item() {
                    if found.len() == limit {
                        break;
                    }
                    match row_codec::decode(key, value) {
                        Ok(row) => found.push(row),
                        Err(_) => return Err(shared.seen(ReadFailure::Damaged(Family::Rows, key.to_vec()))),
                    }
                    rows.next();
                }
                rows.status()?;
                Ok(found)
            })
            .await
    }

    /// Takes what is newer in a replica's record; rows come through [`Device::put_rows`]. `true`: something changed.
    pub async fn merge_container(
        &self,
        space: Space,
        hash: PathHash,
        record: ContainerRecord,
    ) -> Result<bool, StorageError> {
        let at = ContainerKey::new(space, hash)?;
        self.commit(move |batch| batch.merge_container(at, record)).await
    }

    /// Lets a copy go with all its rows.
    pub async fn remove_container(&self, space: Space, hash: PathHash) -> Result<bool, StorageError> {
        let at = ContainerKey::new(space, hash)?;
        self.commit(move |batch| batch.remove_container(at, None)).await
    }

    /// The same, only while its fingerprint (see [`crate::Version`]) is still this one.
    pub async fn remove_container_if(
        &self,
        space: Space,
        hash: PathHash,
        fingerprint: [u8; 16],
    ) -> Result<bool, StorageError> {
        let at = ContainerKey::new(space, hash)?;
        self.commit(move |batch| batch.remove_container(at, Some(fingerprint)))
            .await
    }

    /// An update was acknowledged by all its targets. Not synced: an entry that comes back is only sent again.
    pub fn outbox_ack(&self, id: OutboxId) {
        self.shared.commits.submit_lazy(move |batch| batch.ack_outbox(id));
    }

    /// Some targets have acknowledged: this is what is still owed. An entry acknowledged meanwhile stays gone.
    pub async fn outbox_replace(&self, id: OutboxId, update: Update) -> Result<(), StorageError> {
        self.commit(move |batch| batch.replace_in_outbox(id, &update))
            .await
    }

    /// What is owed, oldest first, after an entry.
    pub async fn outbox(
        &self,
        after: Option<OutboxId>,
        limit: usize,
    ) -> Result<Vec<(OutboxId, Update)>, StorageError> {
        let shared = self.shared.clone();
        self.shared
            .readers
            .run(move || {
                let mut rows = shared.index.scan(Family::Outbox, &[], None);
                match after {
                    Some(after) => rows.seek([after.index_key().as_slice(), b"\0"].concat()),
                    None => rows.seek_to_first(),
                }
                let mut found = Vec::new();
                while let Some((key, value)) = rows.item() {
                    if found.len() == limit {
                        break;
                    }
                    let place = key
                        .split_first()
                        .and_then(|(kind, key)| Some((*kind, key.try_into().ok()?)));
                    match (place, update_codec::decode(key, value)) {
                        (Some((kind, key)), Ok((version, update))) => {
                            found.push((
                                OutboxId {
                                    coalesced: kind == 1,
                                    key,
                                    version,
                                },
                                update,
                            ));
                        }
                        // Put aside; the object's record still says what its row must be.
                        _ => drop(shared.seen(ReadFailure::Damaged(Family::Outbox, key.to_vec()))),
                    }
                    rows.next();
                }
                rows.status()?;
                Ok(found)
            })
            .await
    }

    /// Queues a change and waits until it is durable.
    pub(super) async fn commit<T: Send + 'static>(
        &self,
        decide: impl FnOnce(&mut Batch<'_>) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let slot = self.shared.commits.reserve()?;
        self.shared
            .commits
            .submit(slot, Kind::Shared, decide)
            .wait()
            .await
    }
}

impl Shared {
    fn stored_container(&self, tier: Tier, at: ContainerKey) -> Result<Option<StoredContainer>, ReadFailure> {
        let Some(value) = self.index.get(tier, Family::Containers, &at.bytes)? else {
            return Ok(None);
        };
        match StoredContainer::decode(&at.bytes, &value) {
            Ok(stored) => Ok(Some(stored)),
            Err(_) => Err(ReadFailure::Damaged(Family::Containers, at.bytes.to_vec())),
        }
    }
}
