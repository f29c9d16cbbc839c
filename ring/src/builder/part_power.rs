//! The change of the partition power: prepared, done, finished, or given up.
//!
//! Doubling gives each partition's two halves the devices of the whole, so no record changes its device; Martlet orders
//! records by their whole hash and has nothing to move or link within a device either. The steps are those that a
//! cluster with Swift's nodes needs (<https://docs.openstack.org/swift/latest/ring_partpower.html>).

use super::{Builder, BuilderError, MAX_BUILDER_PART_POWER};

impl Builder {
    /// Announces the next partition power. `false` when it is announced already.
    pub fn prepare_increase_partition_power(&mut self) -> Result<bool, BuilderError> {
        if self.next_part_power.is_some() {
            return Ok(false);
        }
        let next = self.part_power + 1;
        if next > MAX_BUILDER_PART_POWER {
            return Err(BuilderError::PartPower(next));
        }
        self.next_part_power = Some(next);
        self.version += 1;
        Ok(true)
    }

    /// Doubles the number of partitions. `false` when that was not prepared, or is done already.
    pub fn increase_partition_power(&mut self, now_secs: u64) -> bool {
        if !self.is_prepared() {
            return false;
        }
        for row in &mut self.rows {
            *row = row.iter().flat_map(|id| [*id, *id]).collect();
        }
        self.hours_since_move = self
            .hours_since_move
            .iter()
            .flat_map(|hours| [*hours, *hours])
            .collect();
        self.part_power += 1;
        self.version += 1;
        self.count_hours(now_secs);
        true
    }

    /// Gives up a change that was prepared only; it has to be finished, too. `false` when nothing was prepared.
    pub fn cancel_increase_partition_power(&mut self) -> bool {
        if !self.is_prepared() {
            return false;
        }
        self.next_part_power = Some(self.part_power);
        self.version += 1;
        true
    }

    /// Ends a change that was done or given up. `false` when there is none, or it is only prepared.
    pub fn finish_increase_partition_power(&mut self) -> bool {
        if self.next_part_power != Some(self.part_power) {
            return false;
        }
        self.next_part_power = None;
        self.version += 1;
        true
    }

    fn is_prepared(&self) -> bool {
        self.next_part_power == Some(self.part_power + 1)
    }
}
