//! Finds the devices that stand in for a partition's primaries, in the order that every Swift node finds them.
//!
//! The table is walked from a partition that only the MD5 of the partition's decimal number chooses, at most four times:
//! the first walk takes the first device of each region that has none of the copies yet, the next of each zone, then of
//! each server, then every device left. A walk ends early when no domain of its kind is left. The walk takes every
//! partition of a small ring and every n-th of one with more than 65,536 partitions.

use super::tiers::LEVELS;
use crate::device::Device;
use crate::ring::Ring;
use md5::{Digest, Md5};

/// An iterator over stand-ins; made by [`Ring::handoffs`].
///
/// The first handoffs usually cost a few steps. Asking for the very last may walk the table, so callers take as many as
/// they need.
pub struct Handoffs<'a> {
    ring: &'a Ring,
    /// Domains of each level that already hold a copy.
    used: [Marks; LEVELS],
    level: usize,
    start: u32,
    walk: Walk,
    /// The partition in hand and the next row to look at in it.
    partition: Option<u32>,
    row: usize,
}

impl<'a> Handoffs<'a> {
    pub(crate) fn new(ring: &'a Ring, partition: u32) -> Self {
        let md5 = Md5::digest(partition.to_string().as_bytes());
        let start = ring.partition_of_bits(u32::from_be_bytes([md5[0], md5[1], md5[2], md5[3]]));
        let walk = Walk::new(start, ring.partition_count());
        let mut handoffs = Handoffs {
            ring,
            used: Default::default(),
            level: 0,
            start,
            walk,
            partition: None,
            row: 0,
        };
        for device in ring.primaries(partition) {
            handoffs.mark(device.id);
        }
        handoffs
    }

    fn mark(&mut self, id: u32) {
        if let Some(domains) = self.ring.tiers().of(id) {
            for (used, domain) in self.used.iter_mut().zip(domains) {
                used.insert(domain);
            }
        }
    }

    /// The next id of the table along the walk; `None` at its end.
    fn step(&mut self) -> Option<u32> {
        loop {
            let partition = match self.partition {
                Some(partition) if self.row < self.ring.rows().len() => partition,
                _ => {
                    self.row = 0;
                    *self.partition.insert(self.walk.next()?)
                }
            };
            let row = &self.ring.rows()[self.row];
            self.row += 1;
            if let Some(id) = row.get(partition) {
                return Some(id);
            }
        }
    }

    fn next_level(&mut self) {
        self.level += 1;
        self.walk = Walk::new(self.start, self.ring.partition_count());
        self.partition = None;
        self.row = 0;
    }
}

impl<'a> Iterator for Handoffs<'a> {
    type Item = &'a Device;

    fn next(&mut self) -> Option<&'a Device> {
        while self.level < LEVELS {
            if self.used[self.level].count == self.ring.tiers().total(self.level) {
                self.next_level();
                continue;
            }
            let Some(id) = self.step() else {
                self.next_level();
                continue;
            };
            let fresh = self
                .ring
                .tiers()
                .of(id)
                .is_some_and(|domains| !self.used[self.level].contains(domains[self.level]));
            if fresh {
                self.mark(id);
                return self.ring.device(id);
            }
        }
        None
    }
}

/// The partitions of one walk: from the start to the end of the table, then from the front up to the start.
///
/// The second leg begins where the stride would land if the table were a circle, but one stride late when it would land
/// on partition 0 exactly. Swift does so, and the order has to be the same everywhere.
struct Walk {
    next: u64,
    end: u64,
    stride: u64,
    /// Where the second leg begins and ends, while it is still to come.
    second: Option<(u64, u64)>,
}

impl Walk {
    fn new(start: u32, partitions: u32) -> Walk {
        let (start, end) = (u64::from(start), u64::from(partitions));
        let stride = (end / 65_536).max(1);
        let front = stride - (end - start) % stride;
        Walk {
            next: start,
            end,
            stride,
            second: Some((front, start)),
        }
    }

    fn next(&mut self) -> Option<u32> {
        if self.next >= self.end {
            (self.next, self.end) = self.second.take()?;
            if self.next >= self.end {
                return None;
            }
        }
        let partition = self.next;
        self.next += self.stride;
        u32::try_from(partition).ok()
    }
}

/// A growing set of small numbers that knows its size.
#[derive(Default)]
struct Marks {
    bits: Vec<u64>,
    count: usize,
}

impl Marks {
    fn contains(&self, number: u32) -> bool {
        let (word, bit) = (number as usize / 64, number % 64);
        self.bits.get(word).is_some_and(|bits| bits >> bit & 1 == 1)
    }

    fn insert(&mut self, number: u32) {
        if self.contains(number) {
            return;
        }
        let (word, bit) = (number as usize / 64, number % 64);
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        self.bits[word] |= 1 << bit;
        self.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walked(start: u32, partitions: u32) -> Vec<u32> {
        let mut walk = Walk::new(start, partitions);
        std::iter::from_fn(|| walk.next()).collect()
    }

    #[test]
    fn a_small_table_is_walked_but_for_partition_zero() {
        assert_eq!(walked(2, 4), [2, 3, 1]);
        assert_eq!(walked(0, 4), [0, 1, 2, 3]);
        assert_eq!(walked(0, 1), [0]);
    }

    #[test]
    fn a_large_table_is_walked_in_strides() {
        let walk = walked(5, 1 << 18);
        assert_eq!(walk[..2], [5, 9]);
        assert_eq!(walk.len(), 65_536);
        assert_eq!(walk.last(), Some(&1));
    }
}
