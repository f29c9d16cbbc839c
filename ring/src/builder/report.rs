//! How good a table is: balance and dispersion, counted as `swift-ring-builder` counts them.

use super::dispersion::count;
use super::plan::required_overload;
use super::tree::Tree;
use super::{Builder, BuilderError};

/// What a rebalance did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RebalanceReport {
    /// Replicas of partitions that have another device now, the newly assigned ones included.
    pub moved_replicas: u64,
    /// Devices that left the list.
    pub removed_devices: usize,
    pub imbalance: Imbalance,
}

/// How far a table is from perfect; 0 and 0 is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Imbalance {
    /// The largest difference of a device's partitions from the share of its weight, in percent of that share;
    /// 999.99 when a device without weight has partitions.
    pub balance_percent: f64,
    /// Replicas that stand closer to others of their partition than they would have to, in percent of all.
    pub dispersion_percent: f64,
}

/// What Swift shows for "infinitely out of balance".
pub const MAX_BALANCE_PERCENT: f64 = 999.99;

impl Builder {
    /// Partition replicas on a device.
    pub fn partitions_on(&self, id: u32) -> usize {
        self.rows.iter().flatten().filter(|held| **held == id).count()
    }

    /// Partition replicas by device id.
    pub fn partitions_by_device(&self) -> Vec<u32> {
        let mut held = vec![0; self.devices.len()];
        for id in self.rows.iter().flatten() {
            if let Some(count) = held.get_mut(*id as usize) {
                *count += 1;
            }
        }
        held
    }

    /// Balance and dispersion of the table as it is; perfect before the first rebalance.
    pub fn imbalance(&self) -> Imbalance {
        let tree = Tree::new(&self.devices);
        let balance = self.balance().ok().filter(|_| self.is_rebalanced());
        Imbalance {
            balance_percent: balance.unwrap_or(0.0),
            dispersion_percent: count(self, &tree).percent,
        }
    }

    /// The largest difference of a device's partitions from the share of its weight, in percent of that share. Fails
    /// when no device has a weight.
    pub fn balance(&self) -> Result<f64, BuilderError> {
        let by_device = self.balance_by_device()?;
        Ok(by_device.into_iter().map(f64::abs).fold(0.0, f64::max))
    }

    /// By device id, the difference of its partitions from the share of its weight, in percent of that share; 0 for
    /// holes, [`MAX_BALANCE_PERCENT`] for a device without weight that still has partitions.
    pub fn balance_by_device(&self) -> Result<Vec<f64>, BuilderError> {
        let weights: f64 = self.devices().map(|device| device.weight).sum();
        if weights <= 0.0 {
            return Err(BuilderError::Empty);
        }
        let by_weight = self.partitions() as f64 * self.replicas / weights;
        let balance = |(slot, held): (&Option<crate::Device>, u32)| {
            let weight = slot.as_ref().map_or(0.0, |device| device.weight);
            if weight > 0.0 {
                100.0 * f64::from(held) / (weight * by_weight) - 100.0
            } else if held > 0 {
                MAX_BALANCE_PERCENT
            } else {
                0.0
            }
        };
        let held = self.partitions_by_device();
        Ok(self.devices.iter().zip(held).map(balance).collect())
    }

    /// The least overload with which replicas lie as far apart as they can; 0.1 means 10 %.
    pub fn required_overload(&self) -> Result<f64, BuilderError> {
        self.balance_by_device()?;
        let tree = Tree::new(&self.devices);
        let total = self.row_lengths().iter().sum();
        Ok(required_overload(&tree, &self.devices, self.partitions(), total))
    }
}
