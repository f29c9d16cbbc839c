//! The index of a device: families, reads by tier, scans, and the one write.

mod options;

use crate::error::StorageError;
use rocksdb::{
    ColumnFamily, DB, DBPinnableSlice, DBRawIterator, DBRecoveryMode, ErrorKind, FlushOptions, ReadOptions,
    ReadTier, WriteBatch, WriteOptions,
};
use std::path::Path;

/// The families of design section 4; `Meta` is RocksDB's default family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Family {
    Meta,
    Objects,
    Bodies,
    Rows,
    Containers,
    Outbox,
    Changes,
    Digests,
    Expiries,
    Graves,
    Strays,
    Syncs,
}

impl Family {
    pub(crate) const ALL: [Family; 12] = [
        Family::Meta,
        Family::Objects,
        Family::Bodies,
        Family::Rows,
        Family::Containers,
        Family::Outbox,
        Family::Changes,
        Family::Digests,
        Family::Expiries,
        Family::Graves,
        Family::Strays,
        Family::Syncs,
    ];

    fn name(self) -> &'static str {
        match self {
            Family::Meta => "default",
            Family::Objects => "objects",
            Family::Bodies => "bodies",
            Family::Rows => "rows",
            Family::Containers => "containers",
            Family::Outbox => "outbox",
            Family::Changes => "changes",
            Family::Digests => "digests",
            Family::Expiries => "expiries",
            Family::Graves => "graves",
            Family::Strays => "strays",
            Family::Syncs => "syncs",
        }
    }
}

/// How far a read may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    /// Memory only: never blocks, answers [`ReadFailure::NotCached`] when the disk would be needed.
    Memory,
    Disk,
}

/// Why a read has no answer.
#[derive(Debug)]
pub(crate) enum ReadFailure {
    NotCached,
    /// The value under this key is not what was written.
    Damaged(Family, Vec<u8>),
    Failed(StorageError),
}

impl From<rocksdb::Error> for ReadFailure {
    fn from(error: rocksdb::Error) -> Self {
        match error.kind() {
            ErrorKind::Incomplete => ReadFailure::NotCached,
            _ => ReadFailure::Failed(error.into()),
        }
    }
}

impl From<StorageError> for ReadFailure {
    fn from(error: StorageError) -> Self {
        ReadFailure::Failed(error)
    }
}

/// A read that was allowed to go to disk failed for good.
impl From<ReadFailure> for StorageError {
    fn from(failure: ReadFailure) -> Self {
        match failure {
            ReadFailure::Failed(error) => error,
            ReadFailure::NotCached => {
                StorageError::Io("a read without cache was answered as uncached".into())
            }
            ReadFailure::Damaged(_, key) => {
                StorageError::Corrupt(format!("record {} cannot be read", crate::codec::hex(&key)))
            }
        }
    }
}

/// The RocksDB of a device.
pub(crate) struct Index {
    db: DB,
    memory_only: ReadOptions,
    any_tier: ReadOptions,
    synced: WriteOptions,
    unsynced: WriteOptions,
}

impl Index {
    /// Opens, or creates when `path` is empty. `true`: the log was damaged before its tail, what could be read of it
    /// was taken, and everything derived must be summed anew. The error is RocksDB's text.
    pub(crate) fn open(path: &Path) -> Result<(Self, bool), String> {
        match Self::open_with(path, DBRecoveryMode::TolerateCorruptedTailRecords) {
            Ok(index) => Ok((index, false)),
            Err(error) if error.starts_with("Corruption") => {
                tracing::error!(path = %path.display(), error, "the index's log is damaged; taking what is whole");
                let index = Self::open_with(path, DBRecoveryMode::SkipAnyCorruptedRecord)?;
                Ok((index, true))
            }
            Err(error) => Err(error),
        }
    }

    fn open_with(path: &Path, recovery: DBRecoveryMode) -> Result<Self, String> {
        let db = DB::open_cf_descriptors(&options::database(recovery), path, options::families())
            .map_err(rocksdb::Error::into_string)?;
        let mut memory_only = ReadOptions::default();
        memory_only.set_read_tier(ReadTier::BlockCache);
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        Ok(Index {
            db,
            memory_only,
            any_tier: ReadOptions::default(),
            synced,
            unsynced: WriteOptions::default(),
        })
    }

    fn family(&self, family: Family) -> &ColumnFamily {
        // All families are opened in `open_with`, so that one that is missing is a fault of this file.
        self.db
            .cf_handle(family.name())
            .expect("every family is opened with the index")
    }

    pub(crate) fn get(
        &self,
        tier: Tier,
        family: Family,
        key: &[u8],
    ) -> Result<Option<DBPinnableSlice<'_>>, ReadFailure> {
        let options = match tier {
            Tier::Memory => &self.memory_only,
            Tier::Disk => &self.any_tier,
        };
        Ok(self.db.get_pinned_cf_opt(self.family(family), key, options)?)
    }

    /// Stands nowhere; sees keys from `lower` up to but not including `upper`, as of now.
    pub(crate) fn scan(&self, family: Family, lower: &[u8], upper: Option<&[u8]>) -> DBRawIterator<'_> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(lower);
        if let Some(upper) = upper {
            options.set_iterate_upper_bound(upper);
        }
        self.db.raw_iterator_cf_opt(self.family(family), options)
    }

    pub(crate) fn batch_put(&self, batch: &mut WriteBatch, family: Family, key: &[u8], value: &[u8]) {
        batch.put_cf(self.family(family), key, value);
    }

    pub(crate) fn batch_delete(&self, batch: &mut WriteBatch, family: Family, key: &[u8]) {
        batch.delete_cf(self.family(family), key);
    }

    pub(crate) fn batch_delete_range(&self, batch: &mut WriteBatch, family: Family, from: &[u8], to: &[u8]) {
        batch.delete_range_cf(self.family(family), from, to);
    }

    /// Applies the batch; when `sync`, it and all before it are on disk on return.
    pub(crate) fn write(&self, batch: WriteBatch, sync: bool) -> Result<(), StorageError> {
        let options = if sync { &self.synced } else { &self.unsynced };
        Ok(self.db.write_opt(batch, options)?)
    }

    /// Moves everything from memory and log into tables: the next start has nothing to replay.
    pub(crate) fn flush(&self) -> Result<(), StorageError> {
        self.db.flush_wal(true)?;
        let mut options = FlushOptions::default();
        options.set_wait(true);
        for family in Family::ALL {
            self.db.flush_cf_opt(self.family(family), &options)?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("path", &self.db.path()).finish()
    }
}

/// Calls `each` with every key and value of a range in order, until it answers `false`.
pub(crate) fn for_each(
    index: &Index,
    family: Family,
    lower: &[u8],
    upper: Option<&[u8]>,
    mut each: impl FnMut(&[u8], &[u8]) -> Result<bool, StorageError>,
) -> Result<(), StorageError> {
    let mut rows = index.scan(family, lower, upper);
    rows.seek_to_first();
    while let Some((key, value)) = rows.item() {
        if !each(key, value)? {
            return Ok(());
        }
        rows.next();
    }
    Ok(rows.status()?)
}
