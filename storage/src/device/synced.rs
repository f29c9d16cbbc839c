//! Up to when a device has all that was acknowledged. A copy that is found damaged ends that at once: until a replication
//! pass begun after it, the device must not say of an object that it never was.

use crate::device::Device;
use martlet_protocol::timestamp::Timestamp;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Read without a lock by every answer; changed under one.
#[derive(Debug, Default)]
pub(crate) struct Synced {
    /// Raw form of the moment; 0 when the device may lack something.
    at: AtomicU64,
    /// The fingerprint of the rings that the pass followed.
    rings: AtomicU64,
    /// Goes up when damaged copies begin to leave the index, and again when they are gone. Odd: between the two.
    losses: Mutex<u64>,
}

impl Synced {
    /// Damaged copies are about to leave the index, or have just left it.
    pub(crate) fn lose(&self) {
        let mut losses = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        *losses += 1;
        self.at.store(0, Ordering::Release);
    }

    fn losses(&self) -> u64 {
        *self.losses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, at: Timestamp, rings: u64, losses: u64) -> bool {
        let now = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        if *now != losses || losses % 2 == 1 {
            return false;
        }
        self.rings.store(rings, Ordering::Release);
        self.at.store(at.raw(), Ordering::Release);
        true
    }
}

impl Device {
    /// The start of the last replication pass after which this device had all that was acknowledged before; `ZERO`
    /// since the process started until there was one, and since a copy was found damaged. Kept in memory only.
    pub fn synced_at(&self) -> Timestamp {
        Timestamp::from_raw(self.shared.synced.at.load(Ordering::Acquire))
    }

    /// The fingerprint of the rings that the pass of [`Device::synced_at`] followed; 0 until there was one.
    pub fn synced_rings(&self) -> u64 {
        self.shared.synced.rings.load(Ordering::Acquire)
    }

    /// Counts what was found damaged since the device was opened. A pass asks before it looks at anything, and hands the
    /// number to [`Device::set_synced`]. Not the number of copies: only whether it changed means something.
    pub fn losses(&self) -> u64 {
        self.shared.synced.losses()
    }

    /// Tells the device that a replication pass over these rings, begun at this moment, was complete. `false`: copies
    /// were lost since [`Device::losses`] told that number, and the pass may not have brought them back.
    pub fn set_synced(&self, at: Timestamp, rings: u64, losses: u64) -> bool {
        let held = self.shared.synced.set(at, rings, losses);
        if held {
            self.set_caught_up(at);
        }
        held
    }

    /// The device may lack something, until the next pass: the rings have changed.
    pub fn set_unsynced(&self) {
        self.shared.synced.at.store(0, Ordering::Release);
    }
}
