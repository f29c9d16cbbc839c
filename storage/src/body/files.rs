//! The body files of a device: where they lie, how they come to stay, how they go.
//!
//! A body is written as `incoming/<id>`, and synced there with its directory. The batch that names it makes it visible;
//! after that it is moved to `bodies/<last two digits>/<id>` (unsynced: a start finishes the move). A file that a batch
//! stops naming is listed as garbage in that same batch, then unlinked, and struck from the list once its folders are
//! synced (a few dozen at a time). So a start finds every file that no record names in `incoming/` or on the list, and
//! walks nothing else.

use crate::codec::hex;
use crate::codec::object::FileId;
use crate::marker::{Layout, sync_folder};
use crate::pool::Pool;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Paths and threads for body files.
pub(crate) struct Files {
    layout: Layout,
    incoming_folder: File,
    /// The threads that write, sync and remove.
    pub(crate) threads: Pool,
    /// First half of the ids of this run.
    run: u64,
    next: AtomicU64,
    /// Removed, but not yet for certain: a power loss may bring them back.
    removed: Mutex<Vec<FileId>>,
    pub(crate) open_bodies: AtomicUsize,
    pub(crate) quarantined: AtomicU64,
}

/// Why a copy was put aside; written beside it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct QuarantineNote {
    /// What the copy was: a path, or the raw key of a record that cannot be read.
    pub(crate) what: String,
    pub(crate) timestamp: String,
    pub(crate) reason: String,
}

/// What is put aside.
#[derive(Clone, Debug)]
pub(crate) enum QuarantinedBody {
    File(FileId),
    Bytes(Vec<u8>),
}

impl Files {
    /// Checks the directories of the device, makes those that are missing.
    pub(crate) fn open(layout: Layout, threads: Pool) -> io::Result<Self> {
        for folder in [&layout.bodies, &layout.incoming, &layout.quarantine] {
            fs::create_dir_all(folder)?;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let quarantined = fs::read_dir(&layout.quarantine)?
            .filter_map(Result::ok)
            .filter(|entry| {
                entry
                    .path()
                    .extension()
                    .is_some_and(|extension| extension == "json")
            })
            .count();
        Ok(Files {
            incoming_folder: File::open(&layout.incoming)?,
            layout,
            threads,
            run: now.as_nanos() as u64,
            next: AtomicU64::new(0),
            removed: Mutex::default(),
            open_bodies: AtomicUsize::new(0),
            quarantined: AtomicU64::new(quarantined as u64),
        })
    }

    /// An id that no other file of this device has or had: start of the run, then a counter.
    fn new_id(&self) -> FileId {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.run.to_be_bytes());
        id[8..].copy_from_slice(&count.to_be_bytes());
        FileId(id)
    }

    fn incoming_path(&self, id: FileId) -> PathBuf {
        self.layout.incoming.join(hex(&id.0))
    }

    fn body_path(&self, id: FileId) -> PathBuf {
        let name = hex(&id.0);
        // Every read makes one: its room is taken once, two separators and the folder's two digits with it.
        let room = self.layout.bodies.as_os_str().len() + name.len() + 4;
        let mut path = PathBuf::with_capacity(room);
        path.push(&self.layout.bodies);
        path.push(&name[30..]);
        path.push(name);
        path
    }

    /// A new, empty file in `incoming/`.
    pub(crate) fn create(&self) -> io::Result<(FileId, File)> {
        loop {
            let id = self.new_id();
            let mut how = File::options();
            match how
                .read(true)
                .write(true)
                .create_new(true)
                .open(self.incoming_path(id))
            {
                // The clock was set back to a moment of an earlier run: the counter moves on.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                opened => return Ok((id, opened?)),
            }
        }
    }

    /// Makes the name of a file in `incoming/` durable.
    pub(crate) fn sync_incoming(&self) -> io::Result<()> {
        self.incoming_folder.sync_all()
    }

    /// Moves a file that a durable batch names to its place. Already moved or gone: nothing to do.
    pub(crate) fn adopt(&self, id: FileId) -> io::Result<()> {
        let place = self.body_path(id);
        match fs::rename(self.incoming_path(id), &place) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let Some(folder) = place.parent().filter(|folder| !folder.is_dir()) else {
                    return Ok(());
                };
                fs::create_dir_all(folder)?;
                match fs::rename(self.incoming_path(id), &place) {
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                    moved => moved,
                }
            }
            moved => moved,
        }
    }

    /// Opens a body for reading, wherever it stands. `None`: there is no such file.
    pub(crate) fn open_body(&self, id: FileId) -> io::Result<Option<File>> {
        // It may move from the second place to the first between two looks.
        for path in [self.body_path(id), self.incoming_path(id), self.body_path(id)] {
            match File::open(path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                opened => return opened.map(Some),
            }
        }
        Ok(None)
    }

    /// Removes a body. A reader that has it open reads on. Gone already: fine.
    pub(crate) fn unlink(&self, id: FileId) -> io::Result<()> {
        // In this order: it only ever moves from the first place to the second.
        for path in [self.incoming_path(id), self.body_path(id)] {
            match fs::remove_file(path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                removed => return removed,
            }
        }
        Ok(())
    }

    /// Notes that a body was unlinked. Every `at_once` of them are made certain together, and answered: they may be
    /// struck from the list of garbage. A start sees to those that are left.
    pub(crate) fn removed(&self, id: FileId, at_once: usize) -> io::Result<Vec<FileId>> {
        let mut removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        removed.push(id);
        if removed.len() < at_once {
            return Ok(Vec::new());
        }
        let certain = std::mem::take(&mut *removed);
        drop(removed);
        self.sync_removals(&certain)?;
        Ok(certain)
    }

    /// Makes it durable that these bodies are gone, wherever they stood.
    pub(crate) fn sync_removals(&self, ids: &[FileId]) -> io::Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let places: BTreeSet<PathBuf> = ids
            .iter()
            .filter_map(|id| self.body_path(*id).parent().map(PathBuf::from))
            .collect();
        for folder in places {
            match sync_folder(&folder) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                synced => synced?,
            }
        }
        self.sync_incoming()
    }

    /// Puts a damaged copy aside with a note. The index no longer names it.
    pub(crate) fn quarantine(&self, body: &QuarantinedBody, note: &QuarantineNote) -> io::Result<()> {
        let name = hex(&self.new_id().0);
        let place = self.layout.quarantine.join(format!("{name}.body"));
        match body {
            QuarantinedBody::Bytes(bytes) => fs::write(&place, bytes)?,
            QuarantinedBody::File(id) => {
                for path in [self.incoming_path(*id), self.body_path(*id)] {
                    match fs::rename(path, &place) {
                        Err(error) if error.kind() == ErrorKind::NotFound => {}
                        moved => {
                            moved?;
                            break;
                        }
                    }
                }
            }
        }
        let mut file = File::create(self.layout.quarantine.join(format!("{name}.json")))?;
        file.write_all(&serde_json::to_vec_pretty(note)?)?;
        self.quarantined.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The files in `bodies/`. Walks them all: only after damage.
    pub(crate) fn adopted(&self) -> io::Result<Vec<FileId>> {
        let mut found = Vec::new();
        for folder in fs::read_dir(&self.layout.bodies)? {
            let folder = folder?;
            if !folder.file_type()?.is_dir() {
                continue;
            }
            for entry in fs::read_dir(folder.path())? {
                found.extend(entry?.file_name().to_str().and_then(parse_id));
            }
        }
        Ok(found)
    }

    /// The files in `incoming/`: all that an earlier run was still writing or had not yet moved. Names that are no ids
    /// are not ours and are left alone.
    pub(crate) fn incoming(&self) -> io::Result<Vec<FileId>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.layout.incoming)? {
            let name = entry?.file_name();
            match name.to_str().and_then(parse_id) {
                Some(id) => found.push(id),
                None => tracing::warn!(?name, "a file in incoming/ is not a body"),
            }
        }
        Ok(found)
    }
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files")
            .field("bodies", &self.layout.bodies)
            .finish()
    }
}

fn parse_id(name: &str) -> Option<FileId> {
    let lower = name.len() == 32 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let id = lower.then(|| u128::from_str_radix(name, 16).ok()).flatten()?;
    Some(FileId(id.to_be_bytes()))
}
