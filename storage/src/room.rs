//! Free space on the device's file system, and the reserve that new bodies leave alone.

use crate::config::Reserve;
use crate::error::StorageError;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How old a measurement may be.
const FRESH: Duration = Duration::from_secs(1);

/// What a file system said of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Space {
    pub(crate) free_bytes: u64,
    pub(crate) total_bytes: u64,
}

/// The room on a device.
#[derive(Debug)]
pub(crate) struct Room {
    path: PathBuf,
    reserve: Reserve,
    last: Mutex<Option<(Instant, Space)>>,
}

impl Room {
    pub(crate) fn new(path: &Path, reserve: Reserve) -> Self {
        Room {
            path: path.to_owned(),
            reserve,
            last: Mutex::new(None),
        }
    }

    /// The last measurement, when it is fresh enough.
    pub(crate) fn recent(&self) -> Option<Space> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.filter(|(at, _)| at.elapsed() < FRESH).map(|(_, space)| space)
    }

    /// Asks the file system; may block.
    pub(crate) fn measure(&self) -> Result<Space, StorageError> {
        let told = rustix::fs::statvfs(&self.path).map_err(std::io::Error::from)?;
        let space = Space {
            free_bytes: told.f_bavail.saturating_mul(told.f_frsize),
            total_bytes: told.f_blocks.saturating_mul(told.f_frsize),
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), space));
        Ok(space)
    }

    /// `Full` when `bytes` more would use the reserve.
    pub(crate) fn check(&self, space: Space, bytes: u64) -> Result<(), StorageError> {
        let reserved = match self.reserve {
            Reserve::Bytes(bytes) => bytes,
            Reserve::Percent(percent) => (space.total_bytes as f64 * percent / 100.0) as u64,
        };
        if space.free_bytes.saturating_sub(bytes) < reserved || space.free_bytes < bytes {
            return Err(StorageError::Full);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_left_alone() {
        let space = Space {
            free_bytes: 100,
            total_bytes: 1000,
        };
        let full = |reserve, bytes| {
            let room = Room::new(Path::new("/"), reserve);
            room.check(space, bytes).is_err()
        };
        for (reserve, bytes, expected) in [
            (Reserve::Bytes(0), 100, false),
            (Reserve::Bytes(0), 101, true),
            (Reserve::Bytes(50), 50, false),
            (Reserve::Bytes(50), 51, true),
            (Reserve::Percent(10.0), 0, false),
            (Reserve::Percent(10.0), 1, true),
            (Reserve::Percent(100.0), 0, true),
        ] {
            assert_eq!(full(reserve, bytes), expected, "{reserve:?} {bytes}");
        }
    }
}
