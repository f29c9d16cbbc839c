//! How good a table is: balance and dispersion, counted as `swift-ring-builder` counts them.

use super::tree::{DEPTH, ROOT, Tree};
use super::{Builder, UNASSIGNED};

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
const MAX_BALANCE_PERCENT: f64 = 999.99;

impl Builder {
    /// Partition replicas on a device.
    pub fn partitions_on(&self, id: u32) -> usize {
        let assigned = self.rows.iter().flatten();
        assigned.filter(|held| u32::from(**held) == id).count()
    }

    /// Balance and dispersion of the table as it is; perfect before the first rebalance.
    pub fn imbalance(&self) -> Imbalance {
        Imbalance {
            balance_percent: self.balance_percent(),
            dispersion_percent: self.dispersion_percent(),
        }
    }

    fn balance_percent(&self) -> f64 {
        let mut held = vec![0usize; self.devices.len()];
        for id in self.rows.iter().flatten() {
            if let Some(count) = held.get_mut(usize::from(*id)) {
                *count += 1;
            }
        }
        let total: usize = held.iter().sum();
        let weights: f64 = self.devices().map(|device| device.weight).sum();
        self.devices()
            .map(|device| {
                let held = held[device.id as usize] as f64;
                match (device.weight > 0.0, held > 0.0) {
                    (true, _) if total > 0 => {
                        let share = total as f64 * (device.weight / weights);
                        (100.0 * held / share - 100.0).abs()
                    }
                    (false, true) => MAX_BALANCE_PERCENT,
                    _ => 0.0,
                }
            })
            .fold(0.0, f64::max)
    }

    /// For each partition and each kind of domain, the replicas above what an even split over the domains gives; the worst
    /// kind counts.
    fn dispersion_percent(&self) -> f64 {
        let tree = Tree::new(&self.devices);
        let most = even_split(&tree, self.replicas);
        let mut held = vec![0u32; tree.tiers.len()];
        let mut excess = 0;
        for partition in 0..self.partitions() {
            let ids = || {
                let assigned = self.rows.iter().filter_map(|row| row.get(partition));
                assigned.filter(|id| **id != UNASSIGNED)
            };
            for tier in ids().flat_map(|id| tree.path(*id)) {
                held[*tier] += 1;
            }
            let mut by_level = [0u32; DEPTH];
            for id in ids() {
                for (level, tier) in tree.path(*id).iter().enumerate() {
                    by_level[level] += held[*tier].saturating_sub(most[*tier]);
                    held[*tier] = 0;
                }
            }
            excess += by_level.into_iter().max().unwrap_or(0);
        }
        let replicas: usize = self.rows.iter().map(Vec::len).sum();
        100.0 * f64::from(excess) / replicas.max(1) as f64
    }
}

/// The most replicas of a partition in each tier when each divides its replicas evenly among its children.
fn even_split(tree: &Tree, replicas: f64) -> Vec<u32> {
    let mut most = vec![0u32; tree.tiers.len()];
    most[ROOT] = replicas.ceil() as u32;
    for tier in 0..tree.tiers.len() {
        let children: Vec<usize> = tree.weighted_children(tier).collect();
        for child in &children {
            most[*child] = most[tier].div_ceil(children.len() as u32);
        }
    }
    most
}
