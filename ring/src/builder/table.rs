//! The table while it is rebalanced: who holds what, who wants how much more, and what may still move.
//!
//! Invariants, kept by [`Table::take`] and [`Table::put`], the only ways to change an entry:
//! - `wants` of a device is its planned partitions minus those it holds;
//! - `room` of a tier is the sum of the positive wishes of its devices.

use super::UNASSIGNED;
use super::plan::Plan;
use super::random::Random;
use super::tree::{ROOT, Tree};

/// How strictly a place is chosen. No choice ever gives a device two replicas of a partition.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// On a device that wants more, where the plan's maximum of each tier is kept.
    Wanted,
    /// Where the plan's maximum of each tier is kept, the emptiest device.
    Planned,
    /// On any device with a weight.
    Any,
}

#[derive(Clone)]
pub(super) struct Table {
    pub tree: Tree,
    plan: Plan,
    rows: Vec<Vec<u32>>,
    /// By device id; negative when it holds more than planned.
    wants: Vec<i64>,
    room: Vec<i64>,
    /// Replicas, by tier, of the partition that [`Table::look_at`] chose.
    held: Vec<u32>,
    /// Tiers whose count in `held` may not be 0: what the next look has to clear.
    counted: Vec<usize>,
    /// Partitions that no replica may leave yet.
    resting: Vec<bool>,
    /// Replicas already on the move, by row and partition: they may move again at no cost.
    moving: Vec<Vec<bool>>,
    pub random: Random,
}

impl Table {
    /// `resting` says by partition whether it moved too lately to move again.
    pub fn new(tree: Tree, plan: Plan, rows: Vec<Vec<u32>>, resting: Vec<bool>, random: Random) -> Self {
        let mut wants = vec![0; tree.paths.len()];
        for (id, path) in tree.paths.iter().enumerate() {
            if let Some([.., device]) = path {
                wants[id] = plan.partitions[*device];
            }
        }
        for id in rows.iter().flatten().filter(|id| **id != UNASSIGNED) {
            wants[*id as usize] -= 1;
        }
        let mut room = vec![0; tree.tiers.len()];
        for (id, want) in (0u32..).zip(&wants) {
            for tier in tree.path(id) {
                room[*tier] += (*want).max(0);
            }
        }
        Table {
            held: vec![0; tree.tiers.len()],
            counted: Vec::new(),
            moving: rows.iter().map(|row| vec![false; row.len()]).collect(),
            tree,
            plan,
            rows,
            wants,
            room,
            resting,
            random,
        }
    }

    /// The table as it is now.
    pub fn into_rows(self) -> Vec<Vec<u32>> {
        self.rows
    }

    pub fn partitions(&self) -> usize {
        self.resting.len()
    }

    /// The device of a replica; `None` when it is unassigned or the row is too short.
    pub fn device(&self, replica: usize, partition: usize) -> Option<u32> {
        let id = *self.rows[replica].get(partition)?;
        (id != UNASSIGNED).then_some(id)
    }

    /// Replicas of a partition that have a device, with the device.
    pub fn assigned(&self, partition: usize) -> impl Iterator<Item = (usize, u32)> + '_ {
        (0..self.rows.len()).filter_map(move |replica| Some((replica, self.device(replica, partition)?)))
    }

    /// Replicas of a partition that need a device.
    pub fn unassigned(&self, partition: usize) -> Vec<usize> {
        (0..self.rows.len())
            .filter(|replica| self.rows[*replica].get(partition) == Some(&UNASSIGNED))
            .collect()
    }

    /// Negative when the device holds more than planned.
    pub fn wants(&self, id: u32) -> i64 {
        self.wants[id as usize]
    }

    /// As [`Table::wants`], by device id.
    pub fn all_wants(&self) -> &[i64] {
        &self.wants
    }

    /// Partition replicas that devices want and do not have.
    pub fn room_left(&self) -> i64 {
        self.room[ROOT]
    }

    /// Whether a replica may leave its device: it is on the move already, or nothing of its partition is and the
    /// partition has rested.
    pub fn may_move(&self, replica: usize, partition: usize) -> bool {
        self.moving[replica][partition] || !self.resting[partition]
    }

    /// Counts the partition's replicas in each tier, as the base of the choices that follow.
    pub fn look_at(&mut self, partition: usize) {
        for tier in self.counted.drain(..) {
            self.held[tier] = 0;
        }
        for replica in 0..self.rows.len() {
            if let Some(id) = self.device(replica, partition) {
                self.count(id, 1);
            }
        }
    }

    /// Replicas of the partition looked at within a tier.
    pub fn held(&self, tier: usize) -> u32 {
        self.held[tier]
    }

    /// Whether a tier that contains the device holds more replicas of the partition looked at than planned.
    pub fn is_too_close(&self, id: u32) -> bool {
        self.tree
            .path(id)
            .iter()
            .any(|tier| self.held[*tier] > self.plan.max[*tier])
    }

    /// Takes a replica of the partition looked at from its device. From now on the other replicas rest.
    pub fn take(&mut self, replica: usize, partition: usize) {
        let id = std::mem::replace(&mut self.rows[replica][partition], UNASSIGNED);
        if id != UNASSIGNED {
            self.wish(id, 1);
            self.count(id, -1);
        }
        self.moving[replica][partition] = true;
        self.resting[partition] = true;
    }

    /// Gives an unassigned replica of the partition looked at to a device.
    pub fn put(&mut self, replica: usize, partition: usize, id: u32) {
        self.rows[replica][partition] = id;
        self.moving[replica][partition] = true;
        self.resting[partition] = true;
        self.wish(id, -1);
        self.count(id, 1);
    }

    /// Finds a device for one more replica of the partition looked at.
    ///
    /// From the cluster down, the roomiest tier is entered first; those with fewer replicas than the plan's minimum come
    /// before all others, equal ones in random order. Taking the roomiest each time keeps the room of all even, and a
    /// device is in need only when its room exceeds the number of partitions still to come; so nearly all wishes are met.
    pub fn choose(&mut self, choice: Choice) -> Option<u32> {
        self.choose_within(ROOT, choice)
    }

    /// Another device that could have the replica of the partition looked at that `from` has.
    pub fn choose_instead_of(&mut self, from: u32, choice: Choice) -> Option<u32> {
        self.count(from, -1);
        let found = self.choose(choice);
        self.count(from, 1);
        found.filter(|id| *id != from)
    }

    /// Whether `to` could have the replica of the partition looked at that `from` has, without regard to wishes.
    pub fn fits_instead_of(&mut self, from: u32, to: u32) -> bool {
        self.count(from, -1);
        let fits = self
            .tree
            .path(to)
            .iter()
            .all(|tier| self.is_open(*tier, Choice::Planned));
        self.count(from, 1);
        fits && from != to
    }

    fn choose_within(&mut self, tier: usize, choice: Choice) -> Option<u32> {
        if let Some(id) = self.tree.tiers[tier].device {
            return Some(id);
        }
        let mut ranked = Vec::with_capacity(self.tree.tiers[tier].children.len());
        for index in 0..self.tree.tiers[tier].children.len() {
            let child = self.tree.tiers[tier].children[index];
            if self.is_open(child, choice) {
                let wanting = self.held[child] < self.plan.min[child];
                let room = match self.tree.tiers[child].device {
                    Some(id) => self.wants(id),
                    None => self.room[child],
                };
                ranked.push(((wanting, room, self.random.next()), child));
            }
        }
        // Nearly always the first is good, so the list is not sorted.
        while let Some(best) = (0..ranked.len()).max_by_key(|index| ranked[*index].0) {
            let (_, child) = ranked.swap_remove(best);
            let found = self.choose_within(child, choice);
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn is_open(&self, tier: usize, choice: Choice) -> bool {
        let Some(one) = self.tree.tiers.get(tier) else {
            return false;
        };
        let usable = one.weighted_devices > 0 && (one.device.is_none() || self.held[tier] == 0);
        usable
            && match choice {
                Choice::Wanted => self.room[tier] > 0 && self.held[tier] < self.plan.max[tier],
                Choice::Planned => self.held[tier] < self.plan.max[tier],
                Choice::Any => true,
            }
    }

    fn wish(&mut self, id: u32, change: i64) {
        let want = &mut self.wants[id as usize];
        let before = (*want).max(0);
        *want += change;
        let difference = (*want).max(0) - before;
        if difference != 0 {
            for tier in self.tree.path(id) {
                self.room[*tier] += difference;
            }
        }
    }

    fn count(&mut self, id: u32, change: i32) {
        for tier in self.tree.path(id) {
            if self.held[*tier] == 0 {
                self.counted.push(*tier);
            }
            self.held[*tier] = self.held[*tier].saturating_add_signed(change);
        }
    }
}
