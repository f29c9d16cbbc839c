//! Forgets deletions: tombstones, deleted rows, deleted containers and accounts, when all replicas have them and they are
//! old enough.
//!
//! The first primary of a partition asks every other device of the ring what it holds. When all primaries have this very
//! deletion and nobody else holds anything but it, nobody can bring back what was deleted; so the others are told to
//! forget, and the first primary forgets last. A device that does not answer stops this for the whole ring, because it
//! may hold an older copy: a dead disk is to be taken out of the ring. What a device of a ring of before can do when it
//! comes back stands in `doubt.rs`.

use crate::neighbours::Neighbours;
use crate::replicator::{Rings, spaces};
use crate::wire::{MAX_GRAVES, WireBuried};
use futures_util::future::join_all;
use martlet_node_client::Node;
use martlet_ring::Ring;
use martlet_service::Clock;
use martlet_storage::{Device, DeviceSet, Grave, Space, StorageError};
use serde::Serialize;
use std::sync::Arc;

/// Bounds of the reclaimer.
#[derive(Clone, Debug)]
pub struct ReclaimerConfig {
    /// A deletion is remembered for this long at least, seconds. Swift's `reclaim_age`.
    pub reclaim_age_secs: u64,
    /// Deletions of one device and space that a pass looks at; the next one goes on from the oldest.
    pub graves_per_pass: usize,
}

impl Default for ReclaimerConfig {
    fn default() -> Self {
        ReclaimerConfig {
            reclaim_age_secs: 7 * 24 * 3600,
            graves_per_pass: 100_000,
        }
    }
}

/// What one pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReclaimReport {
    /// Deletions that no replica remembers any more.
    pub reclaimed: u64,
    /// Deletions that are old enough but that some device lacks, or could not be asked about.
    pub waiting: u64,
    pub failures: u64,
}

impl ReclaimReport {
    fn add(&mut self, other: ReclaimReport) {
        self.reclaimed += other.reclaimed;
        self.waiting += other.waiting;
        self.failures += other.failures;
    }
}

/// Forgets deletions on the local devices and their peers. Clones share everything.
#[derive(Clone)]
pub struct Reclaimer(Arc<Shared>);

struct Shared {
    config: ReclaimerConfig,
    neighbours: Neighbours,
    devices: DeviceSet,
    rings: Rings,
    clock: Clock,
}

impl Reclaimer {
    pub fn new(
        config: ReclaimerConfig,
        neighbours: Neighbours,
        devices: DeviceSet,
        rings: Rings,
        clock: Clock,
    ) -> Self {
        Reclaimer(Arc::new(Shared {
            config,
            neighbours,
            devices,
            rings,
            clock,
        }))
    }

    /// Forgets what may be forgotten now. Rows before the containers they are in, so that these can follow.
    pub async fn pass(&self) -> ReclaimReport {
        let local: Vec<(String, Device)> = self.0.devices.iter().collect();
        let work = local.iter().map(|(name, device)| async move {
            let mut sum = ReclaimReport::default();
            let rings = self.0.rings.load_full();
            for (space, ring) in spaces(&rings) {
                match self.space_pass(name, device, space, ring).await {
                    Ok(report) => sum.add(report),
                    Err(error) => {
                        tracing::error!(device = name, %error, "deletions cannot be read");
                        sum.failures += 1;
                    }
                }
            }
            metrics::gauge!("martlet_reclaimer_waiting", "device" => name.clone()).set(sum.waiting as f64);
            sum
        });
        let mut sum = ReclaimReport::default();
        for report in join_all(work).await {
            sum.add(report);
        }
        metrics::counter!("martlet_reclaimer_reclaimed_total").increment(sum.reclaimed);
        sum
    }

    async fn space_pass(
        &self,
        name: &str,
        device: &Device,
        space: Space,
        ring: &Ring,
    ) -> Result<ReclaimReport, StorageError> {
        let mut sum = ReclaimReport::default();
        let Some(own) = self.0.neighbours.own(ring, name) else {
            return Ok(sum);
        };
        let now = self.0.clock.now().secs();
        let Some(until) = now.checked_sub(self.0.config.reclaim_age_secs) else {
            return Ok(sum);
        };
        let mut after = None;
        for _ in 0..self.0.config.graves_per_pass.div_ceil(MAX_GRAVES) {
            let page = device.graves(space, until, after, MAX_GRAVES).await?;
            let mine: Vec<Grave> = page
                .graves
                .into_iter()
                .filter(|grave| {
                    let primaries = ring.primaries(ring.partition(&grave.hash));
                    primaries.first().is_some_and(|first| first.id == own.id)
                })
                .collect();
            if !mine.is_empty() {
                let all = mine.len();
                match self.forget(device, space, ring, own, mine).await? {
                    Some(reclaimed) => {
                        sum.reclaimed += reclaimed as u64;
                        sum.waiting += (all - reclaimed) as u64;
                    }
                    None => {
                        // Somebody is away: asking about more would end in the same.
                        sum.waiting += all as u64;
                        return Ok(sum);
                    }
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(sum)
    }

    /// How many of the graves everybody has forgotten now; `None`: some device did not answer.
    async fn forget(
        &self,
        device: &Device,
        space: Space,
        ring: &Ring,
        own: &Node,
        graves: Vec<Grave>,
    ) -> Result<Option<usize>, StorageError> {
        let others: Vec<&Node> = ring.devices().filter(|node| node.id != own.id).collect();
        let asked = join_all(others.iter().map(|node| {
            let (peer, graves) = (self.0.neighbours.peer(node), &graves);
            async move { peer.buried(space, graves).await }
        }))
        .await;
        let mut told = Vec::with_capacity(asked.len());
        for (node, answer) in others.iter().zip(asked) {
            match answer {
                Ok(answer) => told.push(answer),
                Err(error) => {
                    let peer = crate::replicator::node_name(node);
                    tracing::info!(peer, %error, "deletions are kept: a device could not be asked");
                    return Ok(None);
                }
            }
        }
        let agreed: Vec<bool> = graves
            .iter()
            .enumerate()
            .map(|(at, grave)| {
                let primaries = ring.primaries(ring.partition(&grave.hash));
                let says = |node: &Node, told: WireBuried| {
                    let is_primary = primaries.iter().any(|primary| primary.id == node.id);
                    may_forget(is_primary, told)
                };
                others.iter().zip(&told).all(|(node, told)| says(node, told[at]))
            })
            .collect();
        let mut graves: Vec<(usize, Grave)> = graves
            .into_iter()
            .enumerate()
            .filter(|(at, _)| agreed[*at])
            .collect();
        for (node, told) in others.iter().zip(&told) {
            let theirs: Vec<Grave> = graves
                .iter()
                .filter(|(at, _)| told[*at] == WireBuried::Same)
                .map(|(_, grave)| grave.clone())
                .collect();
            if theirs.is_empty() {
                continue;
            }
            if let Err(error) = self.0.neighbours.peer(node).reclaim(space, &theirs).await {
                let peer = crate::replicator::node_name(node);
                tracing::info!(peer, %error, "deletions are kept: a device did not forget them");
                // Others that have forgotten take them back from here, and a later pass begins anew.
                graves.retain(|(at, _)| told[*at] != WireBuried::Same);
            }
        }
        let graves = graves.into_iter().map(|(_, grave)| grave).collect();
        device.reclaim(graves).await.map(Some)
    }
}

/// Whether what a device holds lets the others forget a deletion.
fn may_forget(is_primary: bool, told: WireBuried) -> bool {
    match told {
        WireBuried::Same => true,
        WireBuried::Nothing => !is_primary,
        WireBuried::Other => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_is_forgotten_only_when_it_is_everywhere_and_nothing_else_is() {
        for (is_primary, told, expected) in [
            (true, WireBuried::Same, true),
            (true, WireBuried::Nothing, false),
            (true, WireBuried::Other, false),
            (false, WireBuried::Same, true),
            (false, WireBuried::Nothing, true),
            (false, WireBuried::Other, false),
        ] {
            assert_eq!(may_forget(is_primary, told), expected, "{is_primary} {told:?}");
        }
    }
}
