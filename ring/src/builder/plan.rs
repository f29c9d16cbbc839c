//! Decides how many replicas each failure domain should hold.
//!
//! Two wishes conflict: a device's share should follow its weight, and the replicas of a partition should lie as far
//! apart as possible. Weight alone gives each device `weight / all weights * replicas` replicas of an average partition,
//! at most 1. Dispersion alone spreads a tier's replicas over its children evenly, by weight only within one replica
//! more or less. The plan lies as far from the first towards the second as the builder's overload allows; where both
//! agree it is both.

use super::tree::{ROOT, Tree};
use crate::device::Device;

/// Smaller differences of average replicas are rounding.
const EPSILON: f64 = 1e-9;

/// What each tier should hold.
#[derive(Clone)]
pub(super) struct Plan {
    /// Replicas of one partition, at least when all go well.
    pub min: Vec<u32>,
    /// Replicas of one partition, at most.
    pub max: Vec<u32>,
    /// Partition replicas in all.
    pub partitions: Vec<i64>,
}

impl Plan {
    /// Plans for `total` partition replicas of `partitions` partitions. At least `total / partitions` devices must have
    /// a weight.
    pub fn new(
        tree: &Tree,
        devices: &[Option<Device>],
        partitions: usize,
        total: usize,
        overload: f64,
    ) -> Plan {
        let replicas = total as f64 / partitions as f64;
        let weighted = by_weight(tree, devices, replicas);
        let dispersed = by_dispersion(tree, &weighted, replicas);
        let target = compromise(tree, &weighted, &dispersed, overload);
        Plan {
            min: target
                .iter()
                .map(|replicas| (replicas + EPSILON) as u32)
                .collect(),
            max: target
                .iter()
                .map(|replicas| (replicas - EPSILON).ceil() as u32)
                .collect(),
            partitions: whole_partitions(tree, &target, partitions, total),
        }
    }
}

/// Average replicas by tier when only weights count.
fn by_weight(tree: &Tree, devices: &[Option<Device>], replicas: f64) -> Vec<f64> {
    let weighted: Vec<(u32, f64)> = (0u32..)
        .zip(devices)
        .filter_map(|(id, slot)| slot.as_ref().map(|device| (id, device.weight)))
        .filter(|(_, weight)| *weight > 0.0)
        .collect();
    let shares: Vec<Share> = weighted
        .iter()
        .map(|(_, weight)| Share {
            weight: *weight,
            min: 0.0,
            max: 1.0,
        })
        .collect();
    let mut by_tier = vec![0.0; tree.tiers.len()];
    for ((id, _), amount) in weighted.iter().zip(spread(replicas, &shares)) {
        for tier in tree.path(*id) {
            by_tier[*tier] += amount;
        }
    }
    by_tier
}

/// Average replicas by tier when replicas lie as far apart as they can.
///
/// Of `r` replicas in a tier of `n` children, a child gets at least `floor(floor(r) / n)` and at most
/// `ceil(ceil(r) / n)`: a partition has `floor(r)` or `ceil(r)` of its replicas here, and dealing these out evenly gives
/// each child such a number. A child never gets more than it has devices; when that leaves some over, children with
/// devices to spare take them.
fn by_dispersion(tree: &Tree, weighted: &[f64], replicas: f64) -> Vec<f64> {
    let mut by_tier = vec![0.0; tree.tiers.len()];
    by_tier[ROOT] = replicas;
    // A child's index is larger than its parent's, so that parents are dealt out first.
    for tier in 0..tree.tiers.len() {
        let children: Vec<usize> = tree.weighted_children(tier).collect();
        if children.is_empty() {
            continue;
        }
        let amount = by_tier[tier];
        let count = children.len() as f64;
        let min = ((amount + EPSILON).floor() / count).floor();
        let max = ((amount - EPSILON).ceil() / count).ceil();
        let devices = |child: &usize| tree.tiers[*child].weighted_devices as f64;
        let room: f64 = children.iter().map(|child| devices(child).min(max)).sum();
        let limited_by_devices = room < amount - EPSILON;
        let shares: Vec<Share> = children
            .iter()
            .map(|child| Share {
                weight: weighted[*child],
                min: min.min(devices(child)),
                max: if limited_by_devices {
                    devices(child)
                } else {
                    max.min(devices(child))
                },
            })
            .collect();
        for (child, amount) in children.iter().zip(spread(amount, &shares)) {
            by_tier[*child] = amount;
        }
    }
    by_tier
}

/// The largest share by which a device has to be overloaded for the best dispersion.
pub(super) fn required_overload(
    tree: &Tree,
    devices: &[Option<Device>],
    partitions: usize,
    total: usize,
) -> f64 {
    let replicas = total as f64 / partitions as f64;
    let weighted = by_weight(tree, devices, replicas);
    let dispersed = by_dispersion(tree, &weighted, replicas);
    needed_overload(tree, &weighted, &dispersed)
}

fn needed_overload(tree: &Tree, weighted: &[f64], dispersed: &[f64]) -> f64 {
    tree.tiers
        .iter()
        .zip(weighted.iter().zip(dispersed))
        .filter(|(tier, (weighted, _))| tier.device.is_some() && **weighted > 0.0)
        .map(|(_, (weighted, dispersed))| (dispersed - weighted) / weighted)
        .fold(0.0, f64::max)
}

/// As far from `weighted` towards `dispersed` as no device is overloaded by more than `overload`.
fn compromise(tree: &Tree, weighted: &[f64], dispersed: &[f64], overload: f64) -> Vec<f64> {
    let needed = needed_overload(tree, weighted, dispersed);
    let way = if needed <= EPSILON {
        1.0
    } else {
        (overload / needed).min(1.0)
    };
    weighted
        .iter()
        .zip(dispersed)
        .map(|(weighted, dispersed)| weighted + (dispersed - weighted) * way)
        .collect()
}

/// Deals `total` partition replicas out to the tiers in whole numbers, each within one of its average.
fn whole_partitions(tree: &Tree, target: &[f64], partitions: usize, total: usize) -> Vec<i64> {
    let mut by_tier = vec![0i64; tree.tiers.len()];
    by_tier[ROOT] = total as i64;
    for tier in 0..tree.tiers.len() {
        let mut remainders = Vec::new();
        let mut left = by_tier[tier];
        for child in tree.weighted_children(tier) {
            let exact = target[child] * partitions as f64;
            let whole = (exact + 1e-6).floor();
            by_tier[child] = (whole as i64).min(left);
            left -= by_tier[child];
            remainders.push((exact - whole, child));
        }
        remainders.sort_by(|(a, first), (b, second)| b.total_cmp(a).then(first.cmp(second)));
        for (_, child) in remainders.iter().cycle().take(left.max(0) as usize) {
            by_tier[*child] += 1;
        }
    }
    by_tier
}

/// What one receiver of [`spread`] wants: an amount in proportion to its weight, within bounds.
struct Share {
    weight: f64,
    min: f64,
    max: f64,
}

/// Divides an amount by weight, but within bounds. The amount must lie between the sums of the bounds.
///
/// With a factor `f`, each gets `weight * f` held within its bounds. The sum of that grows with `f` from the sum of `min`
/// to the sum of `max`, so the right factor is found by halving.
fn spread(amount: f64, shares: &[Share]) -> Vec<f64> {
    let deal = |factor: f64| {
        shares
            .iter()
            .map(move |share| (share.weight * factor).min(share.max).max(share.min))
    };
    let (mut low, mut high) = (0.0, 1.0);
    let fills = |share: &Share| share.max / share.weight;
    for factor in shares.iter().map(fills).filter(|factor| factor.is_finite()) {
        high = f64::max(high, factor);
    }
    // Each round halves the distance between neighbours of 53 bits and an exponent of at most some 60 bits.
    for _ in 0..200 {
        let middle = low + (high - low) / 2.0;
        if deal(middle).sum::<f64>() < amount {
            low = middle;
        } else {
            high = middle;
        }
    }
    deal(high).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(list: &[(f64, f64, f64)]) -> Vec<Share> {
        let share = |&(weight, min, max): &(f64, f64, f64)| Share { weight, min, max };
        list.iter().map(share).collect()
    }

    #[test]
    fn an_amount_is_divided_by_weight_within_bounds() {
        let close = |list: &[(f64, f64, f64)], amount: f64, expected: &[f64]| {
            let dealt = spread(amount, &shares(list));
            for (got, expected) in dealt.iter().zip(expected) {
                assert!((got - expected).abs() < 1e-9, "{dealt:?} is not {expected:?}");
            }
        };
        close(&[(1.0, 0.0, 9.0), (2.0, 0.0, 9.0)], 3.0, &[1.0, 2.0]);
        close(
            &[(1.0, 0.0, 1.0), (9.0, 0.0, 1.0), (1.0, 0.0, 1.0)],
            2.0,
            &[0.5, 1.0, 0.5],
        );
        close(&[(1.0, 1.0, 2.0), (99.0, 1.0, 2.0)], 3.0, &[1.0, 2.0]);
        close(&[(1e-12, 0.0, 1.0), (1e12, 0.0, 1.0)], 2.0, &[1.0, 1.0]);
    }
}
