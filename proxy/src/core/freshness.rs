//! What this proxy knows of each device: whether it has missed a write, and whether it answers at all.
//!
//! A device is *fresh* when it began a full replication pass after the last write this proxy could not deliver to it,
//! and after this proxy began (what was missed before then, nobody here knows). It says when that pass began with every
//! answer, so a device that was restarted unseen gives itself away in the very answer it would be believed for.

use martlet_protocol::timestamp::Timestamp;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// One device's record with this proxy. All of it is advice, so relaxed order is enough: belief is decided from the
/// answer itself ([`Freshness::is_proved_by`]), and a write marks a miss before its client hears of success.
#[derive(Debug)]
pub struct Freshness {
    /// Pass start that the device last told, in timestamp units; 0 when none.
    synced: AtomicU64,
    /// The later of this proxy's start and the last write that did not reach the device.
    missed: AtomicU64,
    /// The same for writes that reached fewer primaries than a majority, this device not among them.
    missed_thin: AtomicU64,
    /// When the device may be asked next although others are read from; milliseconds since the proxy began.
    next_nudge_ms: AtomicU64,
}

/// Between two questions to a device that is not fresh, while others of its partitions are.
const NUDGE_PAUSE_MS: u64 = 1_000;

impl Freshness {
    pub fn new(proxy_start: Timestamp) -> Self {
        Freshness {
            synced: AtomicU64::new(0),
            missed: AtomicU64::new(proxy_start.raw()),
            missed_thin: AtomicU64::new(proxy_start.raw()),
            next_nudge_ms: AtomicU64::new(0),
        }
    }

    /// A write of this moment did not reach the device.
    pub fn miss(&self, now: Timestamp) {
        self.missed.fetch_max(now.raw(), Ordering::AcqRel);
    }

    /// A write of this moment did not reach the device, nor a majority of its primaries: it counts on handoffs.
    pub fn miss_thin(&self, now: Timestamp) {
        self.miss(now);
        self.missed_thin.fetch_max(now.raw(), Ordering::AcqRel);
    }

    /// Whether the device may lack a write that a majority of primaries lacks too.
    pub fn may_lack_thin(&self) -> bool {
        self.synced.load(Ordering::Acquire) <= self.missed_thin.load(Ordering::Acquire)
    }

    /// The device says its last full pass began then (`None`: it did not say, or had none since it started). The
    /// newest word counts, not the highest: after a restart the device begins at nothing again.
    pub fn saw(&self, synced: Option<Timestamp>) {
        self.synced
            .store(synced.map_or(0, Timestamp::raw), Ordering::Release);
    }

    /// Whether an answer that carries this pass start comes from a device that has missed nothing.
    pub fn is_proved_by(&self, synced: Option<Timestamp>) -> bool {
        synced.is_some_and(|synced| synced.raw() > self.missed.load(Ordering::Acquire))
    }

    /// Up to when writes may have been missed, as long as the device has not told that it began a full pass since.
    pub fn missed(&self) -> Option<Timestamp> {
        let missed = self.missed.load(Ordering::Acquire);
        (self.synced.load(Ordering::Acquire) <= missed).then(|| Timestamp::from_raw(missed))
    }

    /// Whether it is time to ask a device that is not read from how it is. Of several who ask this at once one is told so.
    pub fn may_nudge(&self, now_ms: u64) -> bool {
        let next = self.next_nudge_ms.load(Ordering::Relaxed);
        let order = Ordering::Relaxed;
        next <= now_ms
            && self
                .next_nudge_ms
                .compare_exchange(next, now_ms + NUDGE_PAUSE_MS, order, order)
                .is_ok()
    }

    /// Whether the device's next answer is likely to prove it fresh.
    pub fn is_hoped(&self) -> bool {
        self.synced.load(Ordering::Acquire) > self.missed.load(Ordering::Acquire)
    }
}

/// When a device is left alone for a while.
#[derive(Clone, Copy, Debug)]
pub struct Suppression {
    /// After so many faults in a row.
    pub limit: u32,
    /// For so long, milliseconds.
    pub interval_ms: u64,
}

/// Whether a device answers. After some faults in a row (refused, timed out, far behind its peers) writes go to a handoff
/// at once and reads ask it last, for a while; then one more fault suspends it again, one good answer clears it. Times
/// are milliseconds since the proxy began.
#[derive(Debug, Default)]
pub struct Health {
    strikes: AtomicU32,
    suspended_until_ms: AtomicU64,
}

impl Health {
    pub fn good(&self) {
        // Reads far outnumber changes: look before writing to a shared line.
        if self.strikes.load(Ordering::Relaxed) != 0 {
            self.strikes.store(0, Ordering::Relaxed);
            self.suspended_until_ms.store(0, Ordering::Relaxed);
        }
    }

    pub fn fault(&self, now_ms: u64, rule: Suppression) {
        let strikes = self.strikes.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if strikes >= rule.limit {
            self.strikes.store(rule.limit, Ordering::Relaxed);
            self.suspended_until_ms
                .store(now_ms + rule.interval_ms, Ordering::Relaxed);
        }
    }

    pub fn is_suspended(&self, now_ms: u64) -> bool {
        self.suspended_until_ms.load(Ordering::Relaxed) > now_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pass_after_the_last_miss_proves_a_device() {
        let at = Timestamp::from_secs;
        let device = Freshness::new(at(100));
        assert!(!device.is_hoped());
        assert!(!device.is_proved_by(None));
        assert!(
            !device.is_proved_by(Some(at(100))),
            "began with the proxy, not after it"
        );
        device.saw(Some(at(101)));
        assert!(device.is_hoped() && device.is_proved_by(Some(at(101))));
        assert_eq!(device.missed(), None);
        device.miss(at(105));
        assert!(!device.is_hoped() && !device.is_proved_by(Some(at(105))));
        assert_eq!(device.missed(), Some(at(105)));
        device.miss(at(103));
        assert!(
            !device.is_proved_by(Some(at(104))),
            "an older miss does not undo a newer one"
        );
        device.saw(Some(at(106)));
        assert!(device.is_hoped());
        device.saw(None);
        assert!(!device.is_hoped(), "a restarted device starts from nothing");
    }

    #[test]
    fn a_device_is_nudged_now_and_then() {
        let device = Freshness::new(Timestamp::from_secs(100));
        let told: Vec<bool> = [5, 6, 1_004, 1_005, 1_006].map(|at| device.may_nudge(at)).into();
        assert_eq!(told, [true, false, false, true, false]);
    }

    #[test]
    fn a_thin_write_is_remembered_until_a_later_pass() {
        let at = Timestamp::from_secs;
        let device = Freshness::new(at(100));
        assert!(
            device.may_lack_thin(),
            "what was written before this proxy began?"
        );
        device.saw(Some(at(101)));
        assert!(!device.may_lack_thin());
        device.miss(at(102));
        assert!(!device.may_lack_thin(), "a majority has that one");
        device.miss_thin(at(103));
        device.saw(Some(at(102)));
        assert!(device.may_lack_thin() && !device.is_hoped());
        device.saw(Some(at(104)));
        assert!(!device.may_lack_thin() && device.is_hoped());
    }

    #[test]
    fn three_faults_in_a_row_suspend_and_one_answer_clears() {
        let device = Health::default();
        let rule = Suppression {
            limit: 3,
            interval_ms: 5_000,
        };
        device.fault(0, rule);
        device.fault(0, rule);
        assert!(!device.is_suspended(0));
        device.good();
        device.fault(0, rule);
        device.fault(0, rule);
        assert!(!device.is_suspended(0));
        device.fault(10, rule);
        assert!(device.is_suspended(10) && device.is_suspended(5_009) && !device.is_suspended(5_010));
        device.fault(6_000, rule);
        assert!(
            device.is_suspended(6_001),
            "still bad: suspended by a single fault"
        );
        device.good();
        assert!(!device.is_suspended(6_002));
    }
}
