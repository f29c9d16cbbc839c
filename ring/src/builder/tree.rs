//! The devices of a builder as a tree of failure domains.

use crate::device::Device;

/// The whole cluster, which contains every other tier.
pub(super) const ROOT: usize = 0;

/// Tiers on the way from the cluster to a device: cluster, region, zone, server, device.
pub(super) const DEPTH: usize = 5;

/// A failure domain.
#[derive(Clone)]
pub(super) struct Tier {
    /// Tiers within, in the order of region, zone, address and device id.
    pub children: Vec<usize>,
    /// The id, when this tier is a single device.
    pub device: Option<u32>,
    /// Devices within that have a weight.
    pub weighted_devices: usize,
}

/// All tiers; a tier is named by its index.
#[derive(Clone)]
pub(super) struct Tree {
    pub tiers: Vec<Tier>,
    /// By device id: the tiers from the cluster down to the device.
    pub paths: Vec<Option<[usize; DEPTH]>>,
}

impl Tree {
    pub fn new(devices: &[Option<Device>]) -> Tree {
        let mut sorted: Vec<(u32, &Device)> = (0u32..)
            .zip(devices)
            .filter_map(|(id, slot)| slot.as_ref().map(|device| (id, device)))
            .collect();
        sorted.sort_by(|(_, a), (_, b)| {
            let key = |device: &Device| (device.region, device.zone);
            (key(a), &a.ip, a.id).cmp(&(key(b), &b.ip, b.id))
        });
        let mut tree = Tree {
            tiers: vec![Tier::new(None)],
            paths: vec![None; devices.len()],
        };
        let mut previous: Option<(&Device, [usize; DEPTH])> = None;
        for (id, device) in sorted {
            // Neighbours in this order share the tiers down to the first one in which they differ.
            let mut path = [ROOT; DEPTH];
            let mut shared = 1;
            if let Some((other, other_path)) = &previous {
                let same = [
                    other.region == device.region,
                    other.zone == device.zone,
                    other.ip == device.ip,
                ];
                shared += same.iter().take_while(|same| **same).count();
                path[..shared].copy_from_slice(&other_path[..shared]);
            }
            for level in shared..DEPTH {
                path[level] = tree.tiers.len();
                tree.tiers.push(Tier::new((level == DEPTH - 1).then_some(id)));
                tree.tiers[path[level - 1]].children.push(path[level]);
            }
            if device.weight > 0.0 {
                for tier in path {
                    tree.tiers[tier].weighted_devices += 1;
                }
            }
            tree.paths[id as usize] = Some(path);
            previous = Some((device, path));
        }
        tree
    }

    /// The tiers within that have a device with a weight.
    pub fn weighted_children(&self, tier: usize) -> impl Iterator<Item = usize> + '_ {
        let children = self.tiers[tier].children.iter().copied();
        children.filter(|child| self.tiers[*child].weighted_devices > 0)
    }

    /// The tiers that contain a device, from the cluster down; none for a hole.
    pub fn path(&self, id: u32) -> &[usize] {
        match self.paths.get(id as usize) {
            Some(Some(path)) => path,
            _ => &[],
        }
    }
}

impl Tier {
    fn new(device: Option<u32>) -> Tier {
        Tier {
            children: Vec::new(),
            device,
            weighted_devices: 0,
        }
    }
}
