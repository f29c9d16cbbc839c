//! Opens a device: checks whose it is, opens the index, puts right what a crash left, starts the threads.

use super::Shared;
use super::shared::Floor;
use crate::body::file::Footer;
use crate::body::files::Files;
use crate::codec::keys;
use crate::codec::object::{FileId, Location, StoredObject};
use crate::commit::batch::Counters;
use crate::commit::{self, CommitQueue, recount};
use crate::config::DeviceConfig;
use crate::error::{OpenError, StorageError};
use crate::index::{Family, Index, Tier, for_each};
use crate::marker::{self, Layout, io_error};
use crate::pool::Pool;
use crate::room::Room;
use martlet_protocol::timestamp::Timestamp;
use rocksdb::WriteBatch;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

type Opened = (Arc<Shared>, JoinHandle<()>, Vec<JoinHandle<()>>);

pub(super) fn open(config: DeviceConfig) -> Result<Opened, OpenError> {
    let path = config.path.clone();
    marker::check(&path, &config.identity)?;
    let io = |error: std::io::Error| io_error(&path, &error);
    let layout = Layout::of(&path);
    let (index, damaged) = Index::open(&layout.index).map_err(|reason| {
        if reason.contains("lock") || reason.contains("LOCK") {
            OpenError::Locked(path.clone())
        } else {
            OpenError::Index {
                path: layout.index.clone(),
                reason,
            }
        }
    })?;
    let failed = |error: StorageError| OpenError::Index {
        path: path.join("index"),
        reason: error.to_string(),
    };
    let name = config.identity.device.clone();
    let (writers, mut workers) =
        Pool::start(&format!("{name}-write"), config.write_threads, usize::MAX).map_err(io)?;
    let (readers, reading) =
        Pool::start(&format!("{name}-read"), config.read_threads, config.queue_depth).map_err(io)?;
    workers.extend(reading);
    let opened = Files::open(layout, writers.clone()).map_err(io).and_then(|files| {
        let counters = recover(&index, &files, damaged).map_err(failed)?;
        Ok((files, counters))
    });
    let (files, counters) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            writers.close();
            readers.close();
            return Err(error);
        }
    };
    let shared = Arc::new(Shared {
        commits: CommitQueue::new(config.queue_depth, Duration::from_millis(config.lazy_flush_ms)),
        room: Room::new(&path, config.reserve),
        index,
        readers,
        files: Arc::new(files),
        sequence: AtomicU64::new(counters.sequence),
        objects: AtomicI64::new(counters.objects),
        tombstones: AtomicI64::new(counters.tombstones),
        bytes: AtomicI64::new(counters.bytes),
        outbox_floor: AtomicU64::new(0),
        expiry_floor: Floor::default(),
        synced_at: Mutex::new(Timestamp::ZERO),
        config,
    });
    let own = shared.clone();
    let thread = std::thread::Builder::new().name(format!("{name}-commit"));
    match thread.spawn(move || {
        commit::run(&own, counters);
        // Bodies that are still to be moved or removed come before this.
        own.files.threads.close();
    }) {
        Ok(committer) => Ok((shared, committer, workers)),
        Err(error) => {
            shared.files.threads.close();
            shared.readers.close();
            Err(io(error))
        }
    }
}

/// Leaves the index exact and every body file either named by a record, or gone.
fn recover(index: &Index, files: &Files, damaged: bool) -> Result<Counters, StorageError> {
    let wanted = damaged || index.get(Tier::Disk, Family::Meta, recount::WANTED)?.is_some();
    let counters = if wanted {
        tracing::warn!("digests and counts of a device are summed anew");
        recount::everything(index)?
    } else {
        let stored = index.get(Tier::Disk, Family::Meta, keys::COUNTERS)?;
        stored.and_then(|value| Counters::decode(&value)).unwrap_or_default()
    };
    let mut struck = WriteBatch::new();
    for_each(index, Family::Meta, b"g", Some(b"h"), |key, _| {
        if let Some(id) = key.get(1..).and_then(|id| id.try_into().ok()) {
            files.unlink(FileId(id))?;
            index.batch_delete(&mut struck, Family::Meta, key);
        }
        Ok(true)
    })?;
    index.write(struck, false)?;
    for id in files.incoming()? {
        if is_named(index, files, id)? {
            files.adopt(id)?;
        } else {
            files.unlink(id)?;
        }
    }
    if wanted {
        // The only time anything is found by walking: damage may have taken the list of garbage.
        for id in files.adopted()? {
            if !is_named(index, files, id)? {
                files.unlink(id)?;
            }
        }
    }
    Ok(counters)
}

/// A record names this file: the one whose key stands in its footer.
fn is_named(index: &Index, files: &Files, id: FileId) -> Result<bool, StorageError> {
    let Some(file) = files.open_body(id)? else {
        return Ok(false);
    };
    let Some(footer) = Footer::read(&file)? else {
        // Never finished: a file is synced with its footer before anything names it.
        return Ok(false);
    };
    let value = index.get(Tier::Disk, Family::Objects, &footer.key)?;
    let stored = value.and_then(|value| StoredObject::decode(&footer.key, &value).ok());
    Ok(stored.is_some_and(|stored| matches!(stored.location, Location::File { id: named, .. } if named == id)))
}
