//! Objects: reads that verify, and changes that go through the commit queue.

use super::{Device, Shared};
use crate::body::BodyReader;
use crate::body::file::Blocks;
use crate::body::reader::{FirstPieces, OpenFile};
use crate::body::writer::{BodyWriter, FinishedBody, Finishing};
use crate::codec::keys;
use crate::codec::object::{FileId, Location, StoredObject};
use crate::commit::objects::ObjectKey;
use crate::commit::quarantine::DamagedBody;
use crate::commit::{Kind, Slot};
use crate::error::StorageError;
use crate::index::{Family, ReadFailure, Tier};
use crate::object::{DeleteObject, DeleteOutcome, OpenObject, PostOutcome, PutObject, PutOutcome};
use crate::outbox::OwedRow;
use crate::pool;
use bytes::Bytes;
use martlet_protocol::hash::PathHash;
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::record::{ObjectMeta, ObjectRecord};
use martlet_protocol::timestamp::Timestamp;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How often a read begins again because the object was replaced under it.
const READ_AGAIN: usize = 8;

/// What a read of an object found.
enum Found {
    Nothing,
    Tombstone(ObjectRecord),
    Inline(ObjectRecord, Bytes),
    /// To be opened where blocking is allowed.
    File(ObjectRecord, FileId, u32),
    /// The body is not what the record promises.
    Damaged(StoredObject, Vec<u8>, String),
}

impl Device {
    /// The record, tombstones included.
    pub async fn read_object(
        &self,
        policy: PolicyIndex,
        hash: PathHash,
    ) -> Result<Option<ObjectRecord>, StorageError> {
        let at = ObjectKey { policy, hash };
        let read = match self.shared.stored_object(Tier::Memory, at) {
            Err(ReadFailure::NotCached) => {
                let shared = self.shared.clone();
                self.shared
                    .readers
                    .run(move || Ok(shared.stored_object(Tier::Disk, at)))
                    .await?
            }
            read => read,
        };
        let stored = read.map_err(|failure| self.shared.seen(failure))?;
        Ok(stored.map(|stored| stored.record))
    }

    /// The record and its body, ready to be read.
    pub async fn open_object(
        &self,
        policy: PolicyIndex,
        hash: PathHash,
    ) -> Result<Option<OpenObject>, StorageError> {
        self.open_object_at(policy, hash, |_| None).await
    }

    /// The same for who knows by the record which bytes are read first (`start..end` of the body, may reach past it):
    /// they are read in the errand that opens the file. Damage to them shows when they are read.
    pub async fn open_object_at(
        &self,
        policy: PolicyIndex,
        hash: PathHash,
        first: impl Fn(&ObjectRecord) -> Option<(u64, u64)> + Send,
    ) -> Result<Option<OpenObject>, StorageError> {
        let at = ObjectKey { policy, hash };
        for _ in 0..READ_AGAIN {
            let read = match self.shared.find_object(Tier::Memory, at) {
                Err(ReadFailure::NotCached) => {
                    let shared = self.shared.clone();
                    self.shared
                        .readers
                        .run(move || Ok(shared.find_object(Tier::Disk, at)))
                        .await?
                }
                read => read,
            };
            let empty = || BodyReader::memory(Bytes::new());
            match read.map_err(|failure| self.shared.seen(failure))? {
                Found::Nothing => return Ok(None),
                Found::Tombstone(record) => {
                    return Ok(Some(OpenObject {
                        record,
                        body: empty(),
                    }));
                }
                Found::Inline(record, bytes) => {
                    return Ok(Some(OpenObject {
                        record,
                        body: BodyReader::memory(bytes),
                    }));
                }
                Found::File(record, id, block_bytes) => {
                    let length = record.data.as_ref().map_or(0, |data| data.length);
                    let blocks = Blocks {
                        length,
                        block_bytes: u64::from(block_bytes),
                    };
                    let files = self.shared.files.clone();
                    let chunk_bytes = self.shared.config.read_chunk_bytes;
                    let wanted = first(&record);
                    let open = move || {
                        let Some(file) = files.open_body(id)? else {
                            return Ok(None);
                        };
                        let first = match wanted {
                            Some(range) => FirstPieces::read(&file, blocks, id, chunk_bytes, range)?,
                            None => FirstPieces::default(),
                        };
                        Ok(Some((file, first)))
                    };
                    if let Some((file, first)) = self.shared.readers.run(open).await? {
                        let shared = self.shared.clone();
                        let open = OpenFile {
                            shared,
                            policy,
                            hash,
                            id,
                            file,
                            blocks,
                        };
                        return Ok(Some(OpenObject {
                            record,
                            body: BodyReader::file(open, first),
                        }));
                    }
                    // Replaced meanwhile, or lost: quarantine finds out which.
                    let reason = "the body file is gone".to_owned();
                    if self
                        .shared
                        .quarantine_body(at, DamagedBody::File(id), reason.clone())
                        .await
                    {
                        return Err(StorageError::Corrupt(reason));
                    }
                }
                Found::Damaged(stored, bytes, reason) => {
                    let damaged = DamagedBody::Inline {
                        timestamp: stored.record.timestamp,
                        bytes,
                    };
                    if self.shared.quarantine_body(at, damaged, reason.clone()).await {
                        return Err(StorageError::Corrupt(reason));
                    }
                }
            }
        }
        Err(StorageError::Busy)
    }

    /// Makes ready to take a body. `expected_len` in bytes, when it is known.
    ///
    /// # Errors
    /// `Full` when the reserve would be touched, `Busy` when too many bodies are being written.
    pub async fn begin_body(&self, expected_len: Option<u64>) -> Result<BodyWriter, StorageError> {
        let shared = &self.shared;
        if shared.files.open_bodies.load(Ordering::Relaxed) >= shared.config.max_open_bodies {
            return Err(StorageError::Busy);
        }
        let left = match shared.space.recent() {
            Some(left) => left,
            None => {
                let asking = shared.clone();
                shared.readers.run(move || asking.space.read()).await?
            }
        };
        shared.space.claim(left, expected_len.unwrap_or(0))?;
        let config = &shared.config;
        Ok(BodyWriter::new(
            shared.files.clone(),
            config.inline_limit_bytes,
            config.block_bytes,
            expected_len,
        ))
    }

    /// Stores an object. `outbox` composes what is owed to the container from the record as it will stand; both become
    /// durable in one batch, and with them the row itself where the container is here.
    pub async fn put_object(
        &self,
        policy: PolicyIndex,
        hash: PathHash,
        put: PutObject,
        body: BodyWriter,
        outbox: impl FnOnce(&ObjectRecord) -> Option<OwedRow> + Send + 'static,
    ) -> Result<PutOutcome, StorageError> {
        let at = ObjectKey { policy, hash };
        let (slot, body) = self.finish_body(at, body).await?;
        let commits = &self.shared.commits;
        commits
            .submit(slot, Kind::Shared, move |batch| {
                batch.put_object(at, put, body, outbox)
            })
            .wait()
            .await
    }

    /// Replaces the metadata of an object.
    pub async fn post_object(
        &self,
        policy: PolicyIndex,
        hash: PathHash,
        meta: ObjectMeta,
        outbox: impl FnOnce(&ObjectRecord) -> Option<OwedRow> + Send + 'static,
    ) -> Result<PostOutcome, StorageError> {
        let at = ObjectKey { policy, hash };
        self.commit(move |batch| batch.post_object(at, meta, outbox))
            .await
    }

    /// Puts a tombstone in an object's place.
    pub async fn delete_object(
        &self,
        policy: PolicyIndex,
        hash: PathHash,
        delete: DeleteObject,
        outbox: impl FnOnce(&ObjectRecord) -> Option<OwedRow> + Send + 'static,
    ) -> Result<DeleteOutcome, StorageError> {
        let at = ObjectKey { policy, hash };
        self.commit(move |batch| batch.delete_object(at, delete, outbox))
            .await
    }

    /// Takes what is newer in a replica's record. A body that does not match the record is `Corrupt`, nothing changes.
    /// `true`: something changed.
    pub async fn merge_object(
        &self,
        policy: PolicyIndex,
        hash: PathHash,
        record: ObjectRecord,
        body: Option<BodyWriter>,
    ) -> Result<bool, StorageError> {
        let at = ObjectKey { policy, hash };
        let (slot, body) = match body {
            Some(body) => {
                let (slot, body) = self.finish_body(at, body).await?;
                let promised = record.data.as_ref().map(|data| (data.length, data.blake3));
                if promised != Some((body.length, body.blake3)) {
                    return Err(StorageError::Corrupt(
                        "a replica's body is not the one its record names".into(),
                    ));
                }
                (slot, Some(body))
            }
            None => (self.shared.commits.reserve()?, None),
        };
        let is_believed = !self.is_in_doubt();
        let commits = &self.shared.commits;
        commits
            .submit(slot, Kind::Shared, move |batch| {
                batch.merge_object(at, record, body, is_believed)
            })
            .wait()
            .await
    }

    /// Lets a copy go without a tombstone, if its newest change is still this one: others have it.
    pub async fn remove_object(
        &self,
        policy: PolicyIndex,
        hash: PathHash,
        newest: Timestamp,
    ) -> Result<bool, StorageError> {
        let at = ObjectKey { policy, hash };
        self.commit(move |batch| batch.remove_object(at, newest)).await
    }

    /// A place in the queue, and the body complete and durable.
    pub(super) async fn finish_body(
        &self,
        at: ObjectKey,
        body: BodyWriter,
    ) -> Result<(Slot, FinishedBody), StorageError> {
        let slot = self.shared.commits.reserve()?;
        let body = match body.finish().await? {
            Finishing::Done(body) => body,
            Finishing::OnThread(unsynced) => {
                let key = at.bytes();
                pool::finish(
                    self.shared
                        .files
                        .threads
                        .start_job(move || unsynced.finish(key))?,
                )
                .await?
            }
        };
        Ok((slot, body))
    }
}

impl Shared {
    fn stored_object(&self, tier: Tier, at: ObjectKey) -> Result<Option<StoredObject>, ReadFailure> {
        let key = at.bytes();
        let Some(value) = self.index.get(tier, Family::Objects, &key)? else {
            return Ok(None);
        };
        match StoredObject::decode(&key, &value) {
            Ok(stored) => Ok(Some(stored)),
            Err(_) => Err(ReadFailure::Damaged(Family::Objects, key.to_vec())),
        }
    }

    fn find_object(&self, tier: Tier, at: ObjectKey) -> Result<Found, ReadFailure> {
        let Some(stored) = self.stored_object(tier, at)? else {
            return Ok(Found::Nothing);
        };
        let crc = match stored.location {
            Location::Nowhere => return Ok(Found::Tombstone(stored.record)),
            Location::File { id, block_bytes } => return Ok(Found::File(stored.record, id, block_bytes)),
            Location::Inline { crc } => crc,
        };
        let key = keys::body(at.policy, at.hash, stored.record.timestamp);
        let value = match self.index.get(tier, Family::Bodies, &key) {
            Ok(value) => value,
            // RocksDB's own checksum of the block or blob failed first.
            Err(ReadFailure::Failed(StorageError::Corrupt(reason))) => {
                return Ok(Found::Damaged(stored, Vec::new(), reason));
            }
            Err(failure) => return Err(failure),
        };
        // An empty body may be kept as no body at all.
        let Some(value) = value else {
            return Ok(Found::Damaged(
                stored,
                Vec::new(),
                "the small body is gone".into(),
            ));
        };
        let length = stored.record.data.as_ref().map_or(0, |data| data.length);
        if value.len() as u64 != length || crc32fast::hash(&value) != crc {
            return Ok(Found::Damaged(
                stored,
                value.to_vec(),
                "a small body fails its CRC".into(),
            ));
        }
        Ok(Found::Inline(stored.record, Bytes::copy_from_slice(&value)))
    }

    /// What a failed read means to the caller; damage is put aside on the way.
    pub(super) fn seen(self: &Arc<Self>, failure: ReadFailure) -> StorageError {
        if let ReadFailure::Damaged(family, key) = &failure {
            self.quarantine_record(*family, key.clone());
        }
        failure.into()
    }

    /// Takes a value that cannot be decoded out of the index, soon. A full queue leaves it for the next who meets it.
    pub(crate) fn quarantine_record(&self, family: Family, key: Vec<u8>) {
        if let Ok(slot) = self.commits.reserve() {
            // Nobody waits for this one.
            drop(self.commits.submit(slot, Kind::Alone, move |batch| {
                batch.quarantine_record(family, &key)
            }));
        }
    }

    /// Takes a damaged copy out of the index. `false`: it was replaced meanwhile, or could not be taken out now.
    async fn quarantine_body(&self, at: ObjectKey, body: DamagedBody, reason: String) -> bool {
        let Ok(slot) = self.commits.reserve() else {
            return true;
        };
        let submitted = self.commits.submit(slot, Kind::Shared, move |batch| {
            batch.quarantine_body(at, body, reason)
        });
        submitted.wait().await.unwrap_or(true)
    }

    pub(crate) async fn quarantine_file(
        &self,
        policy: PolicyIndex,
        hash: PathHash,
        id: FileId,
        reason: String,
    ) {
        self.quarantine_body(ObjectKey { policy, hash }, DamagedBody::File(id), reason)
            .await;
    }
}
