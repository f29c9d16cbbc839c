//! What a pass did, for operators and tests.

use crate::progress::Remaining;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// One full round of the replicator over the local devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PassReport {
    /// When it began; what was acknowledged before is on every device that is `complete`.
    pub started: String,
    /// Milliseconds.
    pub took_ms: u64,
    /// Every local device is complete.
    pub complete: bool,
    /// Devices of this and other nodes that did not answer, as `device@ip:port`.
    pub unreachable: BTreeSet<String>,
    pub devices: BTreeMap<String, DeviceReport>,
}

/// What a round did for one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeviceReport {
    /// Records (with their bodies), containers and accounts taken from others because they were newer there.
    pub pulled: u64,
    /// Handoff copies given to a primary that lacked them.
    pub pushed: u64,
    /// Handoff copies let go because every primary has them.
    pub removed: u64,
    /// Things that were to be pulled or pushed and could not be.
    pub failures: u64,
    /// Records known to be still to do: those that could not be pulled, and handoff copies that must stay for now.
    pub remaining: u64,
    /// Bytes of their bodies.
    pub remaining_bytes: u64,
    /// The device has all that was acknowledged before the round began.
    pub complete: bool,
    /// It may hold what others have deleted and forgotten, and is out of use until it was compared.
    pub in_doubt: bool,
    /// Devices that did not answer in this round.
    pub unreachable: BTreeSet<String>,
}

/// Counters of a round under way, filled by many tasks at once.
#[derive(Debug, Default)]
pub struct Tally {
    pulled: AtomicU64,
    pushed: AtomicU64,
    removed: AtomicU64,
    failures: AtomicU64,
    full: AtomicBool,
    unreachable: Mutex<BTreeSet<String>>,
}

impl Tally {
    pub fn pulled(&self) {
        self.pulled.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("martlet_replicator_pulled_total").increment(1);
    }

    pub fn pushed(&self) {
        self.pushed.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("martlet_replicator_pushed_total").increment(1);
    }

    pub fn removed(&self) {
        self.removed.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("martlet_replicator_removed_total").increment(1);
    }

    /// So many things could not be done.
    pub fn failed(&self, count: u64) {
        self.failures.fetch_add(count, Ordering::Relaxed);
        metrics::counter!("martlet_replicator_failures_total").increment(count);
    }

    /// The local disk took no more.
    pub fn note_full(&self) {
        self.full.store(true, Ordering::Relaxed);
    }

    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub fn unreachable(&self, peer: String) {
        self.unreachable
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .insert(peer);
    }

    pub fn report(self, complete: bool, remaining: Remaining) -> DeviceReport {
        DeviceReport {
            pulled: self.pulled.into_inner(),
            pushed: self.pushed.into_inner(),
            removed: self.removed.into_inner(),
            failures: self.failures.into_inner(),
            remaining: remaining.missing + remaining.misplaced,
            remaining_bytes: remaining.missing_bytes + remaining.misplaced_bytes,
            complete,
            in_doubt: false,
            unreachable: self
                .unreachable
                .into_inner()
                .unwrap_or_else(|poisoned| poisoned.into_inner()),
        }
    }
}
