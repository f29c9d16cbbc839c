//! Brings the table into line with the devices, by as few moves as that takes.
//!
//! Replicas lose their device for three reasons, in this order: the device leaves; the replica stands closer to another
//! than the plan allows; the device holds more than planned and some other wants it. The first kind moves always, the
//! others only when the partition has rested for `min_part_hours`, and then one replica of it.

use super::plan::Plan;
use super::random::Random;
use super::report::{Imbalance, RebalanceReport};
use super::table::{Choice, Table};
use super::tree::Tree;
use super::{Builder, BuilderError, LONG_AGO_HOURS, UNASSIGNED};

/// Walks over the table in search of replicas that can go straight to a device that wants them. A walk finds all there
/// are at its time; later ones only find what earlier moves made possible.
const MAX_BALANCE_WALKS: usize = 8;

/// Walks over the table in search of moves by way of a third device.
const MAX_CHAIN_WALKS: usize = 8;

/// Shakes of a table that would not settle.
const MAX_SHAKES: usize = 4;

/// Replicas of each device that one such walk considers to pass on.
const MAX_GIFTS_PER_DEVICE: usize = 16;

impl Builder {
    /// Assigns every replica of every partition, moves what has to move, and lets removed devices go.
    ///
    /// The same builder, seed and time give the same table. `now_secs` is Unix time, by which `min_part_hours` is
    /// counted. Fails, and changes nothing, when there are fewer devices with a weight than replicas.
    pub fn rebalance(&mut self, seed: u64, now_secs: u64) -> Result<RebalanceReport, BuilderError> {
        if self.next_part_power.is_some() {
            return Err(BuilderError::PartPowerChanging);
        }
        let weighted_devices = self.devices().filter(|device| device.weight > 0.0).count();
        let lengths = self.row_lengths();
        if weighted_devices < lengths.len() {
            return Err(BuilderError::TooFewDevices {
                replicas: self.replicas,
                weighted_devices,
            });
        }
        let before = self.rows.clone();
        self.resize_rows(&lengths);
        self.count_hours(now_secs);
        let resting = self.resting();
        let tree = Tree::new(&self.devices);
        let total = lengths.iter().sum();
        let plan = Plan::new(&tree, &self.devices, self.partitions(), total, self.overload);
        let rows = std::mem::take(&mut self.rows);
        let mut table = Table::new(tree, plan, rows, resting, Random::new(seed));

        take_from_removed(&mut table, &self.removed);
        take_too_close(&mut table);
        place_unassigned(&mut table);
        balance(&mut table);
        self.rows = table.into_rows();

        let moved_replicas = self.note_moves(&before);
        let removed_devices = self.drop_removed();
        self.fit_id_bytes();
        self.changed = false;
        self.recalculate_dispersion();
        Ok(RebalanceReport {
            moved_replicas,
            removed_devices,
            imbalance: Imbalance {
                balance_percent: self.balance()?,
                dispersion_percent: self.dispersion.unwrap_or(0.0),
            },
        })
    }

    fn resize_rows(&mut self, lengths: &[usize]) {
        self.rows.resize_with(lengths.len(), Vec::new);
        for (row, length) in self.rows.iter_mut().zip(lengths) {
            row.resize(*length, UNASSIGNED);
        }
    }

    /// By partition: whether it moved less than `min_part_hours` ago.
    fn resting(&self) -> Vec<bool> {
        let hours = self.min_part_hours.min(u32::from(LONG_AGO_HOURS));
        self.hours_since_move
            .iter()
            .map(|since| u32::from(*since) < hours)
            .collect()
    }

    /// Starts the rest of each partition of which a replica has another device than before; counts these replicas.
    fn note_moves(&mut self, before: &[Vec<u32>]) -> u64 {
        let mut moved = 0;
        for (replica, row) in self.rows.iter().enumerate() {
            let old_row = before.get(replica).map_or(&[][..], Vec::as_slice);
            for (partition, id) in row.iter().enumerate() {
                if old_row.get(partition) != Some(id) {
                    self.hours_since_move[partition] = 0;
                    moved += 1;
                }
            }
        }
        moved
    }

    /// Leaves holes where removed devices stood, none at the end of the list.
    fn drop_removed(&mut self) -> usize {
        let removed = std::mem::take(&mut self.removed);
        for id in &removed {
            self.devices[*id as usize] = None;
        }
        while let Some(None) = self.devices.last() {
            self.devices.pop();
        }
        removed.len()
    }
}

fn take_from_removed(table: &mut Table, removed: &[u32]) {
    if removed.is_empty() {
        return;
    }
    let mut leaves = vec![false; table.tree.paths.len()];
    for id in removed {
        leaves[*id as usize] = true;
    }
    for partition in 0..table.partitions() {
        let leaving: Vec<usize> = table
            .assigned(partition)
            .filter(|(_, id)| leaves[*id as usize])
            .map(|(replica, _)| replica)
            .collect();
        if leaving.is_empty() {
            continue;
        }
        table.look_at(partition);
        for replica in leaving {
            table.take(replica, partition);
        }
    }
}

/// Takes replicas that stand closer to another one than planned, those of the fullest devices first.
fn take_too_close(table: &mut Table) {
    for partition in 0..table.partitions() {
        table.look_at(partition);
        let mut close: Vec<(i64, usize, u32)> = table
            .assigned(partition)
            .filter(|(_, id)| table.is_too_close(*id))
            .map(|(replica, id)| (table.wants(id), replica, id))
            .collect();
        close.sort_unstable();
        for (_, replica, id) in close {
            // A second replica on the same device is no replica at all; it moves at any time.
            let doubled = table
                .tree
                .path(id)
                .last()
                .is_some_and(|device| table.held(*device) > 1);
            if table.is_too_close(id) && (doubled || table.may_move(replica, partition)) {
                table.take(replica, partition);
            }
        }
    }
}

fn place_unassigned(table: &mut Table) {
    let mut partitions: Vec<(usize, Vec<usize>)> = (0..table.partitions())
        .map(|partition| (partition, table.unassigned(partition)))
        .filter(|(_, replicas)| !replicas.is_empty())
        .collect();
    table.random.shuffle(&mut partitions);
    for (partition, replicas) in partitions {
        table.look_at(partition);
        for replica in replicas {
            let found = [Choice::Wanted, Choice::Planned, Choice::Any]
                .into_iter()
                .find_map(|choice| table.choose(choice));
            let id = found.expect("there are at least as many devices with a weight as replicas");
            table.put(replica, partition, id);
        }
    }
}

/// Moves replicas from devices with too many to devices that want more.
///
/// What moves straight or by way of a third device cannot solve is shaken: the full devices pass their surplus to any
/// device that may have it, and the search goes on from there. A shake that leads nowhere is taken back.
fn balance(table: &mut Table) {
    let mut order: Vec<usize> = (0..table.partitions()).collect();
    table.random.shuffle(&mut order);
    settle(table, &order);
    for _ in 0..MAX_SHAKES {
        if table.room_left() == 0 {
            return;
        }
        let mut shaken = table.clone();
        shake(&mut shaken, &order);
        settle(&mut shaken, &order);
        if shaken.room_left() < table.room_left() {
            *table = shaken;
        } else {
            // The next shake should take other ways.
            table.random = shaken.random;
        }
    }
}

/// Makes all moves that lessen the surplus of a device.
fn settle(table: &mut Table, order: &[usize]) {
    for _ in 0..MAX_BALANCE_WALKS {
        if table.room_left() == 0 {
            return;
        }
        let mut moved = false;
        for partition in order {
            moved |= move_one(table, *partition);
        }
        if !moved {
            break;
        }
    }
    chain(table, order);
}

/// Passes the surplus of each full device to devices that want nothing.
fn shake(table: &mut Table, order: &[usize]) {
    let mut surplus: Vec<i64> = table.all_wants().iter().map(|want| -want).collect();
    for partition in order.iter().copied() {
        let shedding = full_holders(table, partition)
            .into_iter()
            .find(|(_, _, id)| surplus[*id as usize] > 0);
        let Some((_, replica, from)) = shedding else {
            continue;
        };
        table.look_at(partition);
        if let Some(to) = table.choose_instead_of(from, Choice::Planned) {
            surplus[from as usize] -= 1;
            table.take(replica, partition);
            table.put(replica, partition, to);
        }
    }
}

/// Moves at most one replica of a partition from a device with too many, the fullest first, to one that wants it.
/// Nothing changes when there is no such pair.
fn move_one(table: &mut Table, partition: usize) -> bool {
    let mut losing = full_holders(table, partition);
    if losing.is_empty() {
        return false;
    }
    losing.sort_unstable();
    table.look_at(partition);
    losing
        .into_iter()
        .any(|(_, replica, id)| try_move(table, replica, partition, id))
}

/// The wishes (all negative), replicas and ids of devices that have too much and may lose a replica of the partition.
fn full_holders(table: &Table, partition: usize) -> Vec<(i64, usize, u32)> {
    table
        .assigned(partition)
        .filter(|(replica, id)| table.wants(*id) < 0 && table.may_move(*replica, partition))
        .map(|(replica, id)| (table.wants(id), replica, id))
        .collect()
}

/// Moves a replica of the partition looked at to another device that wants it.
fn try_move(table: &mut Table, replica: usize, partition: usize, from: u32) -> bool {
    let Some(to) = table.choose_instead_of(from, Choice::Wanted) else {
        return false;
    };
    table.take(replica, partition);
    table.put(replica, partition, to);
    true
}

/// A replica that its device, which has no more than it should, could pass on to a device that wants it.
struct Gift {
    replica: usize,
    partition: usize,
    from: u32,
}

/// Where no replica of a full device may go straight to a device that wants one, a third device passes one of its own on
/// and takes one of the full device's instead.
fn chain(table: &mut Table, order: &[usize]) {
    for _ in 0..MAX_CHAIN_WALKS {
        if table.room_left() == 0 {
            return;
        }
        let mut gifts = gifts(table, order);
        let mut moved = false;
        for partition in order {
            moved |= pass_on(table, *partition, &mut gifts);
        }
        if !moved {
            return;
        }
    }
}

/// A few replicas of each device that could go to devices that want more.
fn gifts(table: &mut Table, order: &[usize]) -> Vec<Gift> {
    let mut gifts = Vec::new();
    let mut given = vec![0usize; table.tree.paths.len()];
    for partition in order.iter().copied() {
        let movable: Vec<(usize, u32)> = table
            .assigned(partition)
            .filter(|(replica, id)| {
                table.may_move(*replica, partition) && given[*id as usize] < MAX_GIFTS_PER_DEVICE
            })
            .collect();
        if movable.is_empty() {
            continue;
        }
        table.look_at(partition);
        for (replica, from) in movable {
            if table.choose_instead_of(from, Choice::Wanted).is_some() {
                given[from as usize] += 1;
                gifts.push(Gift {
                    replica,
                    partition,
                    from,
                });
            }
        }
    }
    gifts
}

/// Lets a device give one of `gifts` away and take a replica of this partition from a full device.
fn pass_on(table: &mut Table, partition: usize, gifts: &mut Vec<Gift>) -> bool {
    let Some((_, replica, from)) = full_holders(table, partition).into_iter().min() else {
        return false;
    };
    table.look_at(partition);
    let Some(index) = gifts
        .iter()
        .position(|gift| gift.partition != partition && table.fits_instead_of(from, gift.from))
    else {
        return false;
    };
    let gift = gifts.swap_remove(index);
    // Other moves since the gift was found may have taken its place.
    let still_there = table.device(gift.replica, gift.partition) == Some(gift.from);
    if !still_there || !table.may_move(gift.replica, gift.partition) {
        return false;
    }
    table.look_at(gift.partition);
    if !try_move(table, gift.replica, gift.partition, gift.from) {
        return false;
    }
    table.look_at(partition);
    table.take(replica, partition);
    table.put(replica, partition, gift.from);
    true
}
