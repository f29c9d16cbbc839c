//! A device: the API of this room.
use crate::*;
use martlet_protocol::{hash::PathHash, listing::ListingQuery, policy::PolicyIndex, record::*, row::ListingEntry, timestamp::Timestamp, update::Update};
use std::path::Path;
#[derive(Clone, Debug)]
pub struct Device {}
type None3<T> = Result<T, StorageError>;
impl Device {
    pub fn format(_path: &Path, _identity: &DeviceIdentity) -> Result<(), OpenError> { Ok(()) }
    pub fn open(_config: DeviceConfig) -> Result<Device, OpenError> { Ok(Device {}) }
    pub async fn close(&self) {}
    pub fn name(&self) -> &str { "" }
    pub async fn read_object(&self, _policy: PolicyIndex, _hash: PathHash) -> None3<Option<ObjectRecord>> { Err(StorageError::Closed) }
    pub async fn open_object(&self, _policy: PolicyIndex, _hash: PathHash) -> None3<Option<OpenObject>> { Err(StorageError::Closed) }
    pub async fn begin_body(&self, _expected: Option<u64>) -> None3<BodyWriter> { Err(StorageError::Closed) }
    pub async fn put_object(&self, _policy: PolicyIndex, _hash: PathHash, _put: PutObject, _body: BodyWriter, _outbox: impl FnOnce(&ObjectRecord) -> Option<Update> + Send + 'static) -> None3<PutOutcome> { Err(StorageError::Closed) }
    pub async fn post_object(&self, _policy: PolicyIndex, _hash: PathHash, _meta: ObjectMeta, _outbox: impl FnOnce(&ObjectRecord) -> Option<Update> + Send + 'static) -> None3<PostOutcome> { Err(StorageError::Closed) }
    pub async fn delete_object(&self, _policy: PolicyIndex, _hash: PathHash, _delete: DeleteObject, _outbox: impl FnOnce(&ObjectRecord) -> Option<Update> + Send + 'static) -> None3<DeleteOutcome> { Err(StorageError::Closed) }
    pub async fn merge_object(&self, _policy: PolicyIndex, _hash: PathHash, _record: ObjectRecord, _body: Option<BodyWriter>) -> None3<bool> { Err(StorageError::Closed) }
    pub async fn remove_object(&self, _policy: PolicyIndex, _hash: PathHash, _newest: Timestamp) -> None3<bool> { Err(StorageError::Closed) }
    pub async fn due(&self, _now_secs: u64, _limit: usize) -> None3<Vec<(PolicyIndex, PathHash, u64)>> { Err(StorageError::Closed) }
    pub async fn container(&self, _space: Space, _hash: PathHash) -> None3<Option<ContainerRecord>> { Err(StorageError::Closed) }
    pub async fn put_container(&self, _space: Space, _hash: PathHash, _put: PutContainer, _outbox: impl FnOnce(&ContainerRecord) -> Option<Update> + Send + 'static) -> None3<PutContainerOutcome> { Err(StorageError::Closed) }
    pub async fn post_container(&self, _space: Space, _hash: PathHash, _timestamp: Timestamp, _metadata: ContainerMetadata) -> None3<Option<ContainerRecord>> { Err(StorageError::Closed) }
    pub async fn delete_container(&self, _space: Space, _hash: PathHash, _timestamp: Timestamp, _outbox: impl FnOnce(&ContainerRecord) -> Option<Update> + Send + 'static) -> None3<DeleteContainerOutcome> { Err(StorageError::Closed) }
    pub async fn put_rows(&self, _space: Space, _hash: PathHash, _rows: Vec<Row>, _create: Option<PutContainer>, _outbox: impl FnOnce(&ContainerRecord) -> Option<Update> + Send + 'static) -> None3<RowsOutcome> { Err(StorageError::Closed) }
    pub async fn forget_rows(&self, _space: Space, _hash: PathHash, _rows: Vec<(String, Timestamp)>) -> None3<usize> { Err(StorageError::Closed) }
    pub async fn list(&self, _space: Space, _hash: PathHash, _query: &ListingQuery, _with_deleted: bool) -> None3<Vec<ListingEntry<Row>>> { Err(StorageError::Closed) }
    pub async fn rows_after(&self, _space: Space, _hash: PathHash, _after: Option<String>, _limit: usize) -> None3<Vec<Row>> { Err(StorageError::Closed) }
    pub async fn merge_container(&self, _space: Space, _hash: PathHash, _record: ContainerRecord) -> None3<bool> { Err(StorageError::Closed) }
    pub async fn remove_container(&self, _space: Space, _hash: PathHash) -> None3<bool> { Err(StorageError::Closed) }
    pub async fn remove_container_if(&self, _space: Space, _hash: PathHash, _fingerprint: [u8; 16]) -> None3<bool> { Err(StorageError::Closed) }
    pub fn outbox_ack(&self, _id: OutboxId) {}
    pub async fn outbox_replace(&self, _id: OutboxId, _update: Update) -> None3<()> { Err(StorageError::Closed) }
    pub async fn outbox(&self, _after: Option<OutboxId>, _limit: usize) -> None3<Vec<(OutboxId, Update)>> { Err(StorageError::Closed) }
    pub async fn digests(&self, _space: Space) -> None3<Vec<(u16, [u8; 16])>> { Err(StorageError::Closed) }
    pub async fn versions(&self, _space: Space, _prefix: u16, _after: Option<PathHash>, _limit: usize) -> None3<Vec<Version>> { Err(StorageError::Closed) }
    pub async fn changes(&self, _space: Space, _since: u64, _limit: usize) -> None3<ChangesPage> { Err(StorageError::Closed) }
    pub fn last_sequence(&self, _space: Space) -> u64 { 0 }
    pub async fn trim_changes(&self, _space: Space, _before: u64) -> None3<()> { Err(StorageError::Closed) }
    pub fn synced_at(&self) -> Timestamp { Timestamp::ZERO }
    pub fn set_synced_at(&self, _at: Timestamp) {}
    pub async fn stats(&self) -> None3<DeviceStats> { Err(StorageError::Closed) }
    pub async fn spaces(&self) -> None3<Vec<Space>> { Err(StorageError::Closed) }
}
