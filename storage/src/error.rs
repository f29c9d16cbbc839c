//! What can go wrong on a device, from opening it to using it. No HTTP here: servers map each variant to a status.

use std::fmt;
use std::path::PathBuf;

/// Why an operation on an open device failed. Nothing was changed, except that `Io` after a commit was queued leaves
/// open whether the batch reached the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageError {
    /// The free-space reserve is reached (or the file system is full): no new bytes; deletes and metadata still work.
    Full,
    /// A bounded queue of the device is full; try another device or try later.
    Busy,
    /// The device is not there, or is not the one that was expected.
    Unavailable(Unavailable),
    /// The copy is damaged (and now quarantined), or the bytes given are not those their record promises.
    Corrupt(String),
    /// The disk or the index failed.
    Io(String),
    /// The device is closing.
    Closed,
}

/// A device that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    pub device: String,
    pub reason: String,
}

/// Why a device directory was not opened or formatted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// No directory or no marker file in it: not mounted, or never formatted.
    Missing(PathBuf),
    /// The marker names another cluster or device.
    Foreign {
        path: PathBuf,
        found: String,
        expected: String,
    },
    /// The marker cannot be read, or the format is newer than this program.
    Marker { path: PathBuf, reason: String },
    /// Another process has the device open.
    Locked(PathBuf),
    /// The index does not open.
    Index { path: PathBuf, reason: String },
    /// Any other failure of the file system.
    Io { path: PathBuf, reason: String },
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorageError::Full => f.write_str("the device is full"),
            StorageError::Busy => f.write_str("the device's queue is full"),
            StorageError::Unavailable(unavailable) => unavailable.fmt(f),
            StorageError::Corrupt(what) => write!(f, "corrupt: {what}"),
            StorageError::Io(what) => write!(f, "input or output failed: {what}"),
            StorageError::Closed => f.write_str("the device is closed"),
        }
    }
}

impl std::error::Error for StorageError {}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "device {} is unavailable: {}", self.device, self.reason)
    }
}

impl std::error::Error for Unavailable {}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Missing(path) => write!(f, "{} is not a mounted, formatted device", path.display()),
            OpenError::Foreign {
                path,
                found,
                expected,
            } => {
                write!(f, "{} belongs to {found}, not to {expected}", path.display())
            }
            OpenError::Marker { path, reason } => write!(f, "marker {}: {reason}", path.display()),
            OpenError::Locked(path) => write!(f, "{} is in use by another process", path.display()),
            OpenError::Index { path, reason } => write!(f, "index {}: {reason}", path.display()),
            OpenError::Io { path, reason } => write!(f, "{}: {reason}", path.display()),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<std::io::Error> for StorageError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => StorageError::Full,
            _ => StorageError::Io(error.to_string()),
        }
    }
}

impl From<rocksdb::Error> for StorageError {
    fn from(error: rocksdb::Error) -> Self {
        let kind = error.kind();
        let text = error.into_string();
        match kind {
            rocksdb::ErrorKind::Corruption => StorageError::Corrupt(text),
            rocksdb::ErrorKind::ShutdownInProgress => StorageError::Closed,
            _ if text.contains("No space left on device") => StorageError::Full,
            _ => StorageError::Io(text),
        }
    }
}
