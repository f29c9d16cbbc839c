//! Numbers the failure domains of a ring, so that the handoff walk compares numbers instead of addresses.

use crate::device::Device;
use crate::ring::Row;
use std::collections::HashMap;
use std::hash::Hash;

/// Kinds of failure domains, widest first: region, zone, server, device.
pub(crate) const LEVELS: usize = 4;

/// The failure domains of each device, and how many of each kind hold partitions.
///
/// Swift counts only devices that hold partitions, so that an empty new region does not make every handoff search walk
/// the whole table in vain; the order of handoffs depends on these totals.
#[derive(Clone, Debug)]
pub(crate) struct Tiers {
    /// By device id: its number among the domains of each level. A device without partitions has none, and is never
    /// looked up.
    domains: Vec<Option<[u32; LEVELS]>>,
    totals: [usize; LEVELS],
}

impl Tiers {
    /// Numbers the domains of all devices that `rows` name.
    pub fn new(devices: &[Option<Device>], rows: &[Row]) -> Tiers {
        let mut assigned = vec![false; devices.len()];
        for id in rows.iter().flat_map(Row::ids) {
            if let Some(mark) = assigned.get_mut(id as usize) {
                *mark = true;
            }
        }
        let mut regions = Numbers::default();
        let mut zones = Numbers::default();
        let mut servers = Numbers::default();
        let mut held = 0;
        let domains = devices
            .iter()
            .zip(assigned)
            .map(|(slot, assigned)| {
                let device = slot.as_ref().filter(|_| assigned)?;
                held += 1;
                Some([
                    regions.of(device.region),
                    zones.of((device.region, device.zone)),
                    servers.of((device.region, device.zone, device.ip.as_str())),
                    device.id,
                ])
            })
            .collect();
        let totals = [regions.count(), zones.count(), servers.count(), held];
        Tiers { domains, totals }
    }

    /// The domains of a device that holds partitions.
    pub fn of(&self, id: u32) -> Option<[u32; LEVELS]> {
        *self.domains.get(id as usize)?
    }

    /// How many domains of a level hold partitions.
    pub fn total(&self, level: usize) -> usize {
        self.totals[level]
    }
}

/// Gives out 0, 1, 2... to new keys.
struct Numbers<K>(HashMap<K, u32>);

impl<K> Default for Numbers<K> {
    fn default() -> Self {
        Numbers(HashMap::new())
    }
}

impl<K: Eq + Hash> Numbers<K> {
    fn of(&mut self, key: K) -> u32 {
        let next = self.0.len() as u32;
        *self.0.entry(key).or_insert(next)
    }

    fn count(&self) -> usize {
        self.0.len()
    }
}
