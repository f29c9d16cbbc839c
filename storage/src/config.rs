//! How a device is opened: where it is, whose it is, and its bounds.

use std::path::PathBuf;

/// Whose device a directory is; written in its marker file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceIdentity {
    pub cluster: String,
    pub device: String,
}

/// Free space that new bodies may not use (`fallocate_reserve`), so that deletes and the index always have room.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reserve {
    Bytes(u64),
    /// Of the file system's size.
    Percent(f64),
}

/// Where a device is and how it is bounded. `DeviceConfig::new` fills in the tunables.
#[derive(Clone, Debug)]
pub struct DeviceConfig {
    pub path: PathBuf,
    pub identity: DeviceIdentity,
    /// Bodies up to this many bytes live in the index.
    pub inline_limit_bytes: usize,
    /// Bytes that one CRC covers in body files written from now on.
    pub block_bytes: usize,
    pub reserve: Reserve,
    /// Threads that read the index and bodies when the cache has no answer.
    pub read_threads: usize,
    /// Threads that write and sync body files, and remove them.
    pub write_threads: usize,
    /// Commits that may wait, and reads that may wait; when full the answer is `Busy`.
    pub queue_depth: usize,
    /// Bodies that may be written at once; when reached `begin_body` answers `Busy`.
    pub max_open_bodies: usize,
    /// Operations in one batch at most.
    pub batch_operations: usize,
    /// How long an operation that needs no sync waits for a synced batch to ride with.
    pub lazy_flush_ms: u64,
    /// Body files that are removed before their folders are synced and they are struck off the list of garbage.
    pub removals_per_sync: usize,
    /// Bytes that one read of a body file returns at most.
    pub read_chunk_bytes: usize,
}

impl DeviceConfig {
    /// A device with the usual bounds.
    pub fn new(path: impl Into<PathBuf>, identity: DeviceIdentity) -> Self {
        DeviceConfig {
            path: path.into(),
            identity,
            ..Self::default()
        }
    }
}

impl Default for DeviceConfig {
    fn default() -> Self {
        DeviceConfig {
            path: PathBuf::new(),
            identity: DeviceIdentity {
                cluster: String::new(),
                device: String::new(),
            },
            inline_limit_bytes: 64 * 1024,
            block_bytes: 64 * 1024,
            reserve: Reserve::Percent(1.0),
            read_threads: 4,
            write_threads: 2,
            queue_depth: 4096,
            max_open_bodies: 1024,
            batch_operations: 512,
            lazy_flush_ms: 100,
            removals_per_sync: 64,
            read_chunk_bytes: 512 * 1024,
        }
    }
}
