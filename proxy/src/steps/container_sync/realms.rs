//! The realms file, read again when it has changed.

use arc_swap::ArcSwap;
use martlet_protocol::sync::{Realms, RealmsFile};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

/// Between two looks at the file, unless it says otherwise.
const CHECK_INTERVAL: Duration = Duration::from_secs(300);

/// What the file said last. A file that cannot be read leaves what was known.
#[derive(Debug)]
pub struct RealmsInUse {
    path: Option<PathBuf>,
    realms: ArcSwap<Realms>,
    checked: Mutex<Checked>,
}

#[derive(Clone, Copy, Debug)]
struct Checked {
    next: Instant,
    modified: Option<SystemTime>,
}

impl RealmsInUse {
    pub fn new(path: Option<PathBuf>) -> Self {
        let checked = Checked {
            next: Instant::now(),
            modified: None,
        };
        RealmsInUse {
            path,
            realms: ArcSwap::default(),
            checked: Mutex::new(checked),
        }
    }

    /// The realms, after a look at the file if it is time for one.
    pub async fn current(self: &Arc<Self>) -> Arc<Realms> {
        if self.path.is_some() && self.is_due() {
            let this = self.clone();
            // The file may be on a slow disk.
            let looked = tokio::task::spawn_blocking(move || this.look()).await;
            if let Err(error) = looked {
                tracing::error!(%error, "the realms file could not be looked at");
            }
        }
        self.realms.load_full()
    }

    /// Whether this caller is to look. Others go on with what is known; at the very first all look.
    fn is_due(&self) -> bool {
        let mut checked = self
            .checked
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let now = Instant::now();
        if now < checked.next {
            return false;
        }
        if checked.modified.is_some() {
            checked.next = now + CHECK_INTERVAL;
        }
        true
    }

    fn look(&self) {
        let Some(path) = &self.path else { return };
        let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified());
        let modified = match modified {
            Ok(modified) => modified,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the realms file cannot be read");
                self.done(None, SystemTime::UNIX_EPOCH);
                return;
            }
        };
        let known = self
            .checked
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .modified;
        if known == Some(modified) {
            return;
        }
        let read = std::fs::read_to_string(path)
            .map_err(|error| error.to_string())
            .and_then(|text| RealmsFile::parse(&text).map_err(|error| error.to_string()));
        match read {
            Ok(file) => {
                self.realms.store(Arc::new(file.realms));
                self.done(file.check_interval, modified);
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), error, "the realms file cannot be read");
                self.done(None, modified);
            }
        }
    }

    fn done(&self, interval: Option<f64>, modified: SystemTime) {
        let interval = interval
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .unwrap_or(CHECK_INTERVAL);
        let mut checked = self
            .checked
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        *checked = Checked {
            next: Instant::now() + interval,
            modified: Some(modified),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_changed_file_is_read_again_and_a_broken_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("container-sync-realms.conf");
        let realms = Arc::new(RealmsInUse::new(Some(path.clone())));
        let write = |text: &str, age: u64| {
            std::fs::write(&path, text).unwrap();
            let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + age);
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(modified).unwrap();
        };
        let key = |realms: Arc<Realms>| realms.get("us").and_then(|realm| realm.key.clone());
        assert_eq!(key(realms.current().await), None);
        let realms = Arc::new(RealmsInUse::new(Some(path.clone())));
        write("[DEFAULT]\nmtime_check_interval = 0\n[us]\nkey = one\n", 1);
        assert_eq!(key(realms.current().await).as_deref(), Some("one"));
        write("[DEFAULT]\nmtime_check_interval = 0\n[us]\nkey = two\n", 2);
        assert_eq!(key(realms.current().await).as_deref(), Some("two"));
        write("junk", 3);
        assert_eq!(key(realms.current().await).as_deref(), Some("two"));
        assert_eq!(key(Arc::new(RealmsInUse::new(None)).current().await), None);
    }
}
