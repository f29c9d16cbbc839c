//! Fetches one damaged or missing object from another primary, without waiting for a round.

use crate::replicator::{Replicator, node_name, patiently};
use crate::report::Tally;
use martlet_protocol::hash::PathHash;
use martlet_protocol::policy::PolicyIndex;
use martlet_storage::{Device, Space};

impl Replicator {
    /// Fetches an object that is damaged or gone here from another primary, at once. `false`: nobody could give it; the
    /// next round looks further.
    pub async fn repair(&self, name: &str, device: &Device, policy: PolicyIndex, hash: PathHash) -> bool {
        let round = self.single_round();
        let Some(ring) = round.rings.object(policy) else {
            return false;
        };
        let tally = Tally::default();
        let space = Space::Objects(policy);
        let space = self.space_round(&round, name, device, &tally, space, ring);
        if !space.holdings.holds(&hash) {
            return false;
        }
        for node in ring.primaries(ring.partition(&hash)) {
            if Some(node.id) == space.id {
                continue;
            }
            let peer = self.peer(node);
            match patiently(|| space.pull_object(&peer, policy, hash)).await {
                Ok(Some(true)) => return true,
                Ok(_) => {}
                Err(error) => {
                    let peer = node_name(node);
                    tracing::info!(device = name, peer, %error, "a damaged copy was not fetched from here");
                }
            }
        }
        false
    }
}
