//! Keeps the free-space reserve: new bodies are refused before a byte of them is taken.

use crate::config::Reserve;
use crate::error::StorageError;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How old a reading of the file system may be.
const STALE_AFTER: Duration = Duration::from_secs(1);

/// Bytes of a file system.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SpaceLeft {
    pub(super) free: u64,
    pub(super) total: u64,
}

pub(super) struct SpaceGuard {
    path: PathBuf,
    reserve: Reserve,
    known: Mutex<Option<(Instant, SpaceLeft)>>,
}

impl SpaceGuard {
    pub(super) fn new(path: PathBuf, reserve: Reserve) -> Self {
        SpaceGuard {
            path,
            reserve,
            known: Mutex::new(None),
        }
    }

    /// A recent reading, if there is one. Never blocks on the disk.
    pub(super) fn recent(&self) -> Option<SpaceLeft> {
        let known = self
            .known
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        known
            .filter(|(at, _)| at.elapsed() < STALE_AFTER)
            .map(|(_, left)| left)
    }

    /// Asks the file system. Blocks.
    pub(super) fn read(&self) -> Result<SpaceLeft, StorageError> {
        let stat = rustix::fs::statvfs(&self.path).map_err(std::io::Error::from)?;
        let left = SpaceLeft {
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
        };
        *self
            .known
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Some((Instant::now(), left));
        Ok(left)
    }

    /// Room for so many bytes beside the reserve; counts them as used until the next reading.
    pub(super) fn claim(&self, left: SpaceLeft, bytes: u64) -> Result<(), StorageError> {
        let reserve = match self.reserve {
            Reserve::Bytes(bytes) => bytes,
            Reserve::Percent(percent) => (left.total as f64 * percent / 100.0) as u64,
        };
        if left.free < reserve.saturating_add(bytes) {
            return Err(StorageError::Full);
        }
        let mut known = self
            .known
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, left)) = known.as_mut() {
            left.free = left.free.saturating_sub(bytes);
        }
        Ok(())
    }
}
