//! How far apart the replicas of partitions lie, counted for each failure domain.

use super::tree::{DEPTH, ROOT, Tree};
use super::{Builder, UNASSIGNED};
use std::collections::BTreeMap;
use std::fmt;

/// A failure domain by what makes it: a region; with a zone; with a server's address; with a device id.
///
/// The order is that of Swift's reports: a domain stands before those within it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TierName {
    pub region: u32,
    pub zone: Option<u32>,
    pub ip: Option<String>,
    pub id: Option<u32>,
}

/// By failure domain: how many partitions have 0, 1, 2... replicas within it. Domains without any do not appear.
pub type DispersionGraph = BTreeMap<TierName, Vec<u32>>;

/// One failure domain in a report of dispersion.
#[derive(Clone, Debug, PartialEq)]
pub struct TierReport {
    /// `r1`, `r1z2`, `r1z2-10.0.0.1` or `r1z2-10.0.0.1/sdb`.
    pub name: String,
    /// Replicas within the domain.
    pub placed: u64,
    /// Replicas above `max`, in percent of all within.
    pub dispersion_percent: f64,
    /// The most replicas of a partition that an even split gives the domain.
    pub max: u32,
    /// Partitions with 0, 1, 2... replicas within.
    pub counts: Vec<u32>,
}

impl fmt::Display for TierName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.region)?;
        if let Some(zone) = self.zone {
            write!(f, "z{zone}")?;
        }
        if let Some(ip) = &self.ip {
            write!(f, "-{ip}")?;
        }
        match self.id {
            Some(id) => write!(f, "/IDd{id}"),
            None => Ok(()),
        }
    }
}

impl Builder {
    /// Percent of replicas that stood too close when they were last counted; `None` for a builder without a count.
    pub fn dispersion(&self) -> Option<f64> {
        self.dispersion
    }

    /// Whether [`Builder::recalculate_dispersion`] has found anything yet.
    pub fn has_dispersion_graph(&self) -> bool {
        !self.dispersion_graph.is_empty()
    }

    /// The result of the last count.
    pub fn dispersion_graph(&self) -> &DispersionGraph {
        &self.dispersion_graph
    }

    /// Counts anew. The result is part of the builder, so the version goes up.
    pub fn recalculate_dispersion(&mut self) {
        let tree = Tree::new(&self.devices);
        let count = count(self, &tree);
        self.dispersion = Some(count.percent);
        self.dispersion_graph = named(self, &tree, count.by_tier);
        self.version += 1;
    }

    /// The counted domains in order, judged by what an even split over today's devices gives.
    pub fn dispersion_report(&self) -> Vec<TierReport> {
        let tree = Tree::new(&self.devices);
        let most = even_split(&tree, self.replicas);
        let mut most_by_name = BTreeMap::new();
        for device in self.devices() {
            for (tier, name) in tree.path(device.id).iter().skip(1).zip(names(self, device.id)) {
                most_by_name.insert(name, most[*tier]);
            }
        }
        let report = |(name, counts): (&TierName, &Vec<u32>)| {
            let max = most_by_name.get(name).copied().unwrap_or(0);
            let by_replicas = || counts.iter().map(|count| u64::from(*count)).zip(0u64..);
            let placed: u64 = by_replicas().map(|(count, replicas)| count * replicas).sum();
            let excess: u64 = by_replicas()
                .map(|(count, replicas)| count * replicas.saturating_sub(u64::from(max)))
                .sum();
            TierReport {
                name: self.name_of(name),
                placed,
                dispersion_percent: 100.0 * excess as f64 / placed.max(1) as f64,
                max,
                counts: counts.clone(),
            }
        };
        self.dispersion_graph.iter().map(report).collect()
    }

    /// A device is shown by its mount point.
    fn name_of(&self, tier: &TierName) -> String {
        let device = tier.id.and_then(|id| self.device(id));
        match (device, &tier.zone, &tier.ip) {
            (Some(device), Some(zone), Some(ip)) => {
                format!("r{}z{zone}-{ip}/{}", tier.region, device.device)
            }
            _ => tier.to_string(),
        }
    }
}

/// What a walk over the table finds.
pub(super) struct Count {
    pub percent: f64,
    /// By tier: partitions with 0, 1, 2... replicas within.
    by_tier: Vec<Vec<u32>>,
}

/// For each partition and each kind of domain, the replicas above what an even split over the domains gives; the worst
/// kind counts.
pub(super) fn count(builder: &Builder, tree: &Tree) -> Count {
    let most = even_split(tree, builder.replicas);
    let rows = &builder.rows;
    let partitions = builder.partitions();
    let mut by_tier: Vec<Vec<u32>> = vec![Vec::new(); tree.tiers.len()];
    let mut held = vec![0u32; tree.tiers.len()];
    let mut excess = 0u64;
    for partition in 0..partitions {
        let ids = || {
            let assigned = rows.iter().filter_map(|row| row.get(partition));
            assigned.copied().filter(|id| *id != UNASSIGNED)
        };
        for tier in ids().flat_map(|id| tree.path(id)) {
            held[*tier] += 1;
        }
        let mut by_level = [0u32; DEPTH];
        for id in ids() {
            for (level, tier) in tree.path(id).iter().enumerate() {
                let replicas = std::mem::take(&mut held[*tier]);
                if replicas == 0 {
                    continue;
                }
                by_level[level] += replicas.saturating_sub(most[*tier]);
                let counts = &mut by_tier[*tier];
                if counts.is_empty() {
                    counts.resize(rows.len() + 1, 0);
                    counts[0] = partitions as u32;
                }
                counts[0] -= 1;
                counts[replicas as usize] += 1;
            }
        }
        excess += u64::from(by_level.into_iter().max().unwrap_or(0));
    }
    let replicas: usize = rows.iter().map(Vec::len).sum();
    Count {
        percent: 100.0 * excess as f64 / replicas.max(1) as f64,
        by_tier,
    }
}

fn named(builder: &Builder, tree: &Tree, by_tier: Vec<Vec<u32>>) -> DispersionGraph {
    let mut graph = DispersionGraph::new();
    for device in builder.devices() {
        for (tier, name) in tree.path(device.id).iter().skip(1).zip(names(builder, device.id)) {
            if !by_tier[*tier].is_empty() {
                graph.entry(name).or_insert_with(|| by_tier[*tier].clone());
            }
        }
    }
    graph
}

/// The domains of a device from the region down.
fn names(builder: &Builder, id: u32) -> Vec<TierName> {
    let Some(device) = builder.device(id) else {
        return Vec::new();
    };
    let region = TierName {
        region: device.region,
        zone: None,
        ip: None,
        id: None,
    };
    let zone = TierName {
        zone: Some(device.zone),
        ..region.clone()
    };
    let server = TierName {
        ip: Some(device.ip.clone()),
        ..zone.clone()
    };
    let disk = TierName {
        id: Some(id),
        ..server.clone()
    };
    vec![region, zone, server, disk]
}

/// The most replicas of a partition in each tier when each divides its replicas evenly among its children.
fn even_split(tree: &Tree, replicas: f64) -> Vec<u32> {
    let mut most = vec![0u32; tree.tiers.len()];
    most[ROOT] = replicas.ceil() as u32;
    for tier in 0..tree.tiers.len() {
        let children: Vec<usize> = tree.weighted_children(tier).collect();
        for child in &children {
            let even = most[tier].div_ceil(children.len() as u32);
            // Two replicas on one device are never well placed.
            let is_device = tree.tiers[*child].device.is_some();
            most[*child] = if is_device { even.min(1) } else { even };
        }
    }
    most
}
