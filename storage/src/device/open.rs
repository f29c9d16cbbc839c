//! Opening a device: marker, index, what an earlier run left half done, threads.

use super::expiry::ExpiryFloor;
use super::space_guard::SpaceGuard;
use super::synced::Synced;
use super::{Shared, Threads};
use crate::body::file::Footer;
use crate::body::files::Files;
use crate::codec::keys;
use crate::codec::object::{FileId, Location, StoredObject};
use crate::commit::batch::Counters;
use crate::commit::graves::read_moment;
use crate::commit::{self, CommitQueue, recount};
use crate::config::DeviceConfig;
use crate::error::{OpenError, StorageError};
use crate::index::{Family, Index, Tier, for_each};
use crate::marker::{self, Layout};
use crate::pool::Pool;
use martlet_protocol::timestamp::Timestamp;
use rocksdb::WriteBatch;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(super) fn open(config: DeviceConfig) -> Result<Arc<Shared>, OpenError> {
    marker::check(&config.path, &config.identity)?;
    let path = config.path.clone();
    let layout = Layout::of(&path);
    let index_path = layout.index.clone();
    let in_index = |error: StorageError| OpenError::Index {
        path: index_path.clone(),
        reason: error.to_string(),
    };
    let (index, damaged) = Index::open(&layout.index).map_err(|reason| match reason.contains("lock") {
        true => OpenError::Locked(path.clone()),
        false => OpenError::Index {
            path: layout.index.clone(),
            reason,
        },
    })?;
    let io = |error: std::io::Error| marker::io_error(&path, &error);
    let name = config.identity.device.clone();
    let (writers, mut workers) =
        Pool::start(&format!("{name}-write"), config.write_threads, config.queue_depth).map_err(io)?;
    let (readers, reading) =
        Pool::start(&format!("{name}-read"), config.read_threads, config.queue_depth).map_err(io)?;
    workers.extend(reading);
    let files = Files::open(layout, writers).map_err(io)?;

    let wanted = index
        .get(Tier::Disk, Family::Meta, recount::WANTED)
        .map_err(|error| in_index(error.into()))?
        .is_some();
    let moment = |key: &[u8]| -> Result<Timestamp, OpenError> {
        let value = index.get(Tier::Disk, Family::Meta, key);
        let value = value.map_err(|error| in_index(error.into()))?;
        Ok(value.map(|value| read_moment(&value)).unwrap_or_default())
    };
    let (reclaimed, caught_up) = (moment(keys::RECLAIMED)?, moment(keys::CAUGHT_UP)?);
    let stored = index
        .get(Tier::Disk, Family::Meta, keys::COUNTERS)
        .map_err(|error| in_index(error.into()))?
        .and_then(|value| Counters::decode(&value));
    let listed = index
        .get(Tier::Disk, Family::Meta, recount::LISTED)
        .map_err(|error| in_index(error.into()))?
        .is_some();
    let counters = match stored {
        Some(counters) if listed && !damaged && !wanted => counters,
        None if !damaged && !wanted => {
            // Nothing was ever written here: there is nothing to list.
            let mut batch = WriteBatch::new();
            index.batch_put(&mut batch, Family::Meta, recount::LISTED, &[]);
            index.write(batch, false).map_err(in_index)?;
            Counters::default()
        }
        _ => {
            tracing::warn!(device = name, "sums and lists are taken anew");
            recount::everything(&index).map_err(in_index)?
        }
    };
    tidy_bodies(&name, &index, &files, damaged || wanted).map_err(in_index)?;
    recount::finished(&index).map_err(in_index)?;

    let commits = CommitQueue::new(config.queue_depth, Duration::from_millis(config.lazy_flush_ms));
    let shared = Arc::new(Shared {
        space: SpaceGuard::new(config.path.clone(), config.reserve),
        config,
        index,
        files: Arc::new(files),
        readers,
        commits,
        sequence: AtomicU64::new(counters.sequence),
        objects: AtomicI64::new(counters.objects),
        tombstones: AtomicI64::new(counters.tombstones),
        bytes: AtomicI64::new(counters.bytes),
        expiry_floor: ExpiryFloor::new(),
        synced: Synced::default(),
        reclaimed: AtomicU64::new(reclaimed.raw()),
        caught_up: AtomicU64::new(caught_up.raw()),
        in_doubt: AtomicBool::new(false),
        threads: Mutex::new(None),
    });
    let of_committer = shared.clone();
    let committer = std::thread::Builder::new()
        .name(format!("{name}-commit"))
        .spawn(move || commit::run(&of_committer, counters))
        .map_err(io)?;
    let threads = Threads { committer, workers };
    *shared
        .threads
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(threads);
    Ok(shared)
}

/// Finishes what an earlier run began: bodies that a record names move to their place, all others go. Looks only where
/// such bodies can be: in `incoming/` and on the list of garbage; after damage also among all others, because a lost
/// record leaves its body behind.
fn tidy_bodies(name: &str, index: &Index, files: &Files, damaged: bool) -> Result<(), StorageError> {
    let mut orphans = 0;
    for id in files.incoming()? {
        if is_named(index, files, id)? {
            files.adopt(id)?;
        } else {
            files.unlink(id)?;
            orphans += 1;
        }
    }
    let mut garbage = Vec::new();
    let lower = b"g".as_slice();
    for_each(index, Family::Meta, lower, Some(b"h"), |key, _| {
        if let Some(id) = key.get(1..).and_then(|id| <[u8; 16]>::try_from(id).ok()) {
            garbage.push(FileId(id));
        }
        Ok(true)
    })?;
    let mut batch = WriteBatch::new();
    for id in &garbage {
        if !is_named(index, files, *id)? {
            files.unlink(*id)?;
            orphans += 1;
        }
        index.batch_delete(&mut batch, Family::Meta, &keys::garbage(id.0));
    }
    files.sync_removals(&garbage)?;
    index.write(batch, false)?;
    if damaged {
        for id in files.adopted()? {
            if !is_named(index, files, id)? {
                files.unlink(id)?;
                orphans += 1;
            }
        }
    }
    if orphans > 0 {
        tracing::info!(device = name, orphans, "bodies that no record names were removed");
    }
    Ok(())
}

/// Whether the record that the file's footer speaks of names this file, or a version beside it: what was written while
/// versions were not kept becomes one where it is.
fn is_named(index: &Index, files: &Files, id: FileId) -> Result<bool, StorageError> {
    let Some(file) = files.open_body(id)? else {
        return Ok(false);
    };
    // A file without a footer was never finished, and nothing names an unfinished file.
    let Some(footer) = Footer::read(&file)? else {
        return Ok(false);
    };
    let names_it = |key: &[u8], value: &[u8]| {
        let stored = StoredObject::decode(key, value);
        stored.is_ok_and(|stored| matches!(stored.location, Location::File { id: named, .. } if named == id))
    };
    if let Some(value) = index.get(Tier::Disk, Family::Objects, &footer.key)?
        && names_it(&footer.key, &value)
    {
        return Ok(true);
    }
    let mut is_named = false;
    let beside = keys::beside(&footer.key);
    for_each(
        index,
        Family::Objects,
        beside,
        keys::after(beside).as_deref(),
        |key, value| {
            is_named = names_it(key, value);
            Ok(!is_named)
        },
    )?;
    Ok(is_named)
}
