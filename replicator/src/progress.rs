//! What a device's round still has to do, exactly: what the comparison named, less what is done.

use martlet_storage::Space;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Records, and the bytes of their bodies. Containers, accounts and tombstones have none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    pub records: u64,
    pub bytes: u64,
}

impl Amount {
    /// One record.
    pub fn one(bytes: u64) -> Amount {
        Amount { records: 1, bytes }
    }

    fn less(self, other: Amount) -> Amount {
        Amount {
            records: self.records.saturating_sub(other.records),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Amount) {
        self.records += other.records;
        self.bytes += other.bytes;
    }
}

impl FromIterator<u64> for Amount {
    /// Of the bytes of each record.
    fn from_iter<I: IntoIterator<Item = u64>>(sizes: I) -> Amount {
        let mut sum = Amount::default();
        for bytes in sizes {
            sum += Amount::one(bytes);
        }
        sum
    }
}

/// What is to be done with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
    /// It is missing here, or is newer elsewhere.
    Pull,
    /// It is a handoff copy that is to go home.
    Push,
}

/// What is left to do, as operators see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remaining {
    /// Records (objects, containers, accounts) that are missing here or newer elsewhere.
    pub missing: u64,
    pub missing_bytes: u64,
    /// Handoff copies that are to go home.
    pub misplaced: u64,
    pub misplaced_bytes: u64,
}

/// The work of one device. Numbers stay after a round: what could not be done is still to do.
#[derive(Debug, Default)]
pub struct Progress(Mutex<BTreeMap<(Task, Space), Amount>>);

impl Progress {
    /// A comparison named this much.
    pub fn set(&self, task: Task, space: Space, amount: Amount) {
        self.lock().insert((task, space), amount);
    }

    /// A part of the work was looked at anew before it is done.
    pub fn correct(&self, task: Task, space: Space, was: Amount, is: Amount) {
        let mut amounts = self.lock();
        let amount = amounts.entry((task, space)).or_default();
        *amount = amount.less(was);
        *amount += is;
    }

    pub fn done(&self, task: Task, space: Space, amount: Amount) {
        self.correct(task, space, amount, Amount::default());
    }

    /// Forgets spaces that the rings no longer place, and work that is not this device's any more.
    pub fn keep(&self, is_kept: impl Fn(Task, Space) -> bool) {
        self.lock().retain(|(task, space), _| is_kept(*task, *space));
    }

    pub fn remaining(&self) -> Remaining {
        let mut sums = [Amount::default(); 2];
        for ((task, _), amount) in self.lock().iter() {
            sums[usize::from(*task == Task::Push)] += *amount;
        }
        let [missing, misplaced] = sums;
        Remaining {
            missing: missing.records,
            missing_bytes: missing.bytes,
            misplaced: misplaced.records,
            misplaced_bytes: misplaced.bytes,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Task, Space), Amount>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remaining {
    /// Sets the gauges of a device.
    pub fn publish(&self, device: &str) {
        let gauge = |name: &'static str, value: u64| {
            metrics::gauge!(name, "device" => device.to_owned()).set(value as f64);
        };
        gauge(
            "martlet_replicator_remaining_records",
            self.missing + self.misplaced,
        );
        gauge(
            "martlet_replicator_remaining_bytes",
            self.missing_bytes + self.misplaced_bytes,
        );
        gauge("martlet_replicator_missing_records", self.missing);
        gauge("martlet_replicator_missing_bytes", self.missing_bytes);
        gauge("martlet_replicator_misplaced_records", self.misplaced);
        gauge("martlet_replicator_misplaced_bytes", self.misplaced_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_protocol::policy::PolicyIndex;

    #[test]
    fn what_is_left_is_what_was_named_less_what_is_done() {
        let progress = Progress::default();
        let space = Space::Objects(PolicyIndex(0));
        progress.set(Task::Pull, space, [5, 7, 9].into_iter().collect());
        progress.set(Task::Pull, Space::Containers, Amount::one(0));
        progress.set(Task::Push, space, Amount::one(100));
        progress.done(Task::Pull, space, Amount::one(7));
        let left = |missing, missing_bytes, misplaced, misplaced_bytes| Remaining {
            missing,
            missing_bytes,
            misplaced,
            misplaced_bytes,
        };
        assert_eq!(progress.remaining(), left(3, 14, 1, 100));
        // Two of them turned out to be one larger one.
        progress.correct(Task::Pull, space, [5, 9].into_iter().collect(), Amount::one(20));
        assert_eq!(progress.remaining(), left(2, 20, 1, 100));
        progress.keep(|task, space| task == Task::Pull && space == Space::Containers);
        assert_eq!(progress.remaining(), left(1, 0, 0, 0));
    }
}
