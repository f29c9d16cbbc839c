//! A file that is read again when it has changed: what others maintain and a running server is to follow.

use arc_swap::ArcSwap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What changes of a file with its content: when it was written, to the nanosecond, its length, and which file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    modified: (i64, i64),
    length: u64,
    inode: u64,
}

impl FileStamp {
    /// Of the file as it is now.
    pub fn of(path: &Path) -> std::io::Result<Self> {
        let file = std::fs::metadata(path)?;
        Ok(FileStamp {
            modified: (file.mtime(), file.mtime_nsec()),
            length: file.size(),
            inode: file.ino(),
        })
    }
}

/// What a file says, and how long that may be believed without another look; `None`: as long as the caller chose.
pub type Parsed<T> = Result<(T, Option<Duration>), String>;

/// What a file said last. One that cannot be read leaves what was known.
#[derive(Debug)]
pub struct WatchedFile<T> {
    path: Option<PathBuf>,
    parse: fn(&str) -> Parsed<T>,
    /// Between two looks, unless the file says otherwise.
    interval: Duration,
    known: ArcSwap<T>,
    checked: Mutex<Checked>,
}

#[derive(Clone, Copy, Debug)]
struct Checked {
    next: Instant,
    /// Of the file that was looked at last; `None` inside: it was not there.
    seen: Option<Option<FileStamp>>,
    /// What the file said last of how long it may be believed, or the caller's choice.
    interval: Duration,
}

impl<T: Default + Send + Sync + 'static> WatchedFile<T> {
    /// Without a path the value stays the default one.
    pub fn new(path: Option<PathBuf>, interval: Duration, parse: fn(&str) -> Parsed<T>) -> Self {
        let checked = Checked {
            next: Instant::now(),
            seen: None,
            interval,
        };
        WatchedFile {
            path,
            parse,
            interval,
            known: ArcSwap::default(),
            checked: Mutex::new(checked),
        }
    }

    /// What the file says, after a look at it if it is time for one.
    pub async fn current(self: &Arc<Self>) -> Arc<T> {
        if self.path.is_some() && self.is_due() {
            let this = self.clone();
            // The file may be on a slow disk.
            let looked = tokio::task::spawn_blocking(move || this.look()).await;
            if let Err(error) = looked {
                tracing::error!(%error, "a file could not be looked at");
            }
        }
        self.known.load_full()
    }

    /// Whether this caller is to look. Others go on with what is known; at the very first all look.
    fn is_due(&self) -> bool {
        let mut checked = self.checked();
        let now = Instant::now();
        if now < checked.next {
            return false;
        }
        if checked.seen.is_some() {
            checked.next = now + checked.interval;
        }
        true
    }

    fn look(&self) {
        let Some(path) = &self.path else { return };
        if let Err(error) = self.read(path) {
            tracing::warn!(path = %path.display(), error, "a file cannot be read; what it said before holds");
        }
    }

    fn read(&self, path: &Path) -> Result<(), String> {
        let stamp = FileStamp::of(path).map_err(|error| {
            self.done(None, None);
            error.to_string()
        })?;
        if self.checked().seen == Some(Some(stamp)) {
            return Ok(());
        }
        let read = std::fs::read_to_string(path)
            .map_err(|error| error.to_string())
            .and_then(|text| (self.parse)(&text));
        match read {
            Ok((value, interval)) => {
                self.known.store(Arc::new(value));
                self.done(interval, Some(stamp));
                Ok(())
            }
            Err(error) => {
                self.done(None, Some(stamp));
                Err(error)
            }
        }
    }

    fn done(&self, interval: Option<Duration>, stamp: Option<FileStamp>) {
        let interval = interval.unwrap_or(self.interval);
        *self.checked() = Checked {
            next: Instant::now() + interval,
            seen: Some(stamp),
            interval,
        };
    }

    fn checked(&self) -> MutexGuard<'_, Checked> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[tokio::test]
    async fn a_changed_file_is_read_again_and_a_broken_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        fn parse(text: &str) -> Parsed<u32> {
            let number = text.parse::<u32>().map_err(|error| error.to_string())?;
            Ok((number, Some(Duration::ZERO)))
        }
        let hour = Duration::from_secs(3_600);
        let watched = |path: Option<&PathBuf>| Arc::new(WatchedFile::new(path.cloned(), hour, parse));
        let write = |text: &str, age: u64| {
            std::fs::write(&path, text).unwrap();
            let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + age);
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(modified).unwrap();
        };
        assert_eq!(*watched(Some(&path)).current().await, 0);
        let number = watched(Some(&path));
        write("1", 1);
        assert_eq!(*number.current().await, 1);
        // A look that finds nothing new does not make the next one late.
        assert_eq!(*number.current().await, 1);
        write("2", 2);
        assert_eq!(*number.current().await, 2);
        // In the very moment of the one before, but longer.
        write("22", 2);
        assert_eq!(*number.current().await, 22);
        write("junk", 3);
        assert_eq!(*number.current().await, 22);
        assert_eq!(*watched(None).current().await, 0);
    }
}
