//! Takes what a plan names: large objects, containers and accounts one by one, small objects by the handful.

use super::compare::Compared;
use crate::planner::Pull;
use crate::progress::{Amount, Task};
use crate::replicator::{SpaceRound, patiently};
use crate::transfer::Arrival;
use crate::wire;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use martlet_protocol::hash::PathHash;
use martlet_protocol::policy::PolicyIndex;
use martlet_storage::Space;
use std::collections::BTreeMap;

/// What is done in one turn.
enum Piece {
    One(Pull),
    /// Small objects of which nothing is here, and the place of the peer that gives them.
    Small(PolicyIndex, usize, Vec<Pull>),
}

impl SpaceRound<'_> {
    /// Takes everything of a plan; what could not be taken is counted as failed, and remains.
    pub(super) async fn take(&self, compared: &[Compared], plan: Vec<Pull>) {
        let work = self.pieces(compared, plan).into_iter().map(|piece| async move {
            match piece {
                Piece::One(pull) => self.take_one(compared, pull).await,
                Piece::Small(policy, place, pulls) => self.take_small(compared, policy, place, pulls).await,
            }
        });
        stream::iter(work)
            .buffer_unordered(self.replicator.concurrency())
            .collect::<()>()
            .await;
    }

    fn pieces(&self, compared: &[Compared], plan: Vec<Pull>) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut gathered: BTreeMap<usize, Vec<Pull>> = BTreeMap::new();
        let most = self.work.courtesy.handful(wire::MAX_PACKED);
        for pull in plan {
            let place = pull
                .offers
                .first()
                .and_then(|offer| whose_turn(&offer.peers, pull.hash).next());
            let (Space::Objects(policy), Some(place)) = (self.space, place) else {
                pieces.push(Piece::One(pull));
                continue;
            };
            let is_small = pull.is_new && pull.offers.len() == 1 && pull.bytes <= wire::MAX_PACKED_BODY;
            if !is_small || !compared[place].packs() {
                pieces.push(Piece::One(pull));
                continue;
            }
            let small = gathered.entry(place).or_default();
            small.push(pull);
            let bytes: u64 = small.iter().map(|pull| pull.bytes).sum();
            if small.len() >= most || bytes > wire::MAX_PACK_BYTES as u64 / 2 {
                pieces.push(Piece::Small(policy, place, std::mem::take(small)));
            }
        }
        if let Space::Objects(policy) = self.space {
            let rest = gathered.into_iter().filter(|(_, small)| !small.is_empty());
            pieces.extend(rest.map(|(place, small)| Piece::Small(policy, place, small)));
        }
        pieces
    }

    /// Takes each version of a record from one of those that have it.
    async fn take_one(&self, compared: &[Compared], pull: Pull) {
        if self.tally.is_full() {
            self.fail(compared, &pull);
            return;
        }
        let turn = self.work.courtesy.turn(1).await;
        let mut took = false;
        let mut failed = false;
        for offer in &pull.offers {
            let mut found = Found::Nowhere;
            for place in whose_turn(&offer.peers, pull.hash) {
                found = self.take_from(&compared[place], pull.hash, found).await;
                if let Found::Had(newer) = found {
                    took |= newer;
                    break;
                }
            }
            failed |= matches!(found, Found::Failed);
        }
        if took {
            self.tally.pulled();
        }
        match failed {
            true => self.fail(compared, &pull),
            false => self.done(&pull),
        }
        turn.end().await;
    }

    /// `so_far`: how those fared who were asked before.
    async fn take_from(&self, from: &Compared, hash: PathHash, so_far: Found) -> Found {
        if from.is_silent() {
            return Found::Failed;
        }
        let outcome = patiently(|| async {
            match self.space {
                Space::Objects(policy) => self.pull_object(&from.peer, policy, hash).await,
                Space::Containers | Space::Accounts => self.pull_container(&from.peer, hash).await,
            }
        });
        match outcome.await {
            Ok(Some(newer)) => Found::Had(newer),
            Ok(None) => so_far,
            Err(error) if error.is_silent() => {
                from.set_silent(self, &error);
                Found::Failed
            }
            Err(error) => {
                self.note_trouble(&from.peer, &error, &hash.to_string());
                Found::Failed
            }
        }
    }

    async fn take_small(&self, compared: &[Compared], policy: PolicyIndex, place: usize, pulls: Vec<Pull>) {
        let from = &compared[place];
        let mut left: BTreeMap<PathHash, Pull> = pulls.into_iter().map(|pull| (pull.hash, pull)).collect();
        if !from.is_silent() && !self.tally.is_full() {
            let turn = self.work.courtesy.turn(left.len() as u64).await;
            let hashes: Vec<PathHash> = left.keys().copied().collect();
            match patiently(|| from.peer.fetch_small(policy, &hashes)).await {
                Ok(arrivals) => {
                    let merged = arrivals
                        .into_iter()
                        .map(|arrival| self.merge_small(policy, arrival));
                    for hash in join_all(merged).await.into_iter().flatten() {
                        if let Some(pull) = left.remove(&hash) {
                            self.done(&pull);
                        }
                    }
                }
                Err(error) if error.is_silent() => from.set_silent(self, &error),
                Err(error) => self.note_trouble(&from.peer, &error, "small objects"),
            }
            turn.end().await;
        }
        // What did not come along is asked for alone, also of others; why it did not is told then.
        for pull in left.into_values() {
            self.take_one(compared, pull).await;
        }
    }

    /// The hash of what is here now. `None`: it was not stored.
    async fn merge_small(&self, policy: PolicyIndex, arrival: Arrival) -> Option<PathHash> {
        let hash = self.hash_of(&arrival.record);
        if !self.holdings.holds(&hash) {
            return None;
        }
        let known = self.device.read_object(policy, hash).await.ok()?;
        let newer = self.merge(policy, hash, known, arrival).await.ok()?;
        if newer {
            self.tally.pulled();
        }
        Some(hash)
    }

    fn done(&self, pull: &Pull) {
        let progress = &self.work.progress;
        progress.done(Task::Pull, self.space, Amount::one(pull.bytes));
    }

    fn fail(&self, compared: &[Compared], pull: &Pull) {
        self.tally.failed(1);
        let offers = pull.offers.iter().flat_map(|offer| &offer.peers);
        offers.for_each(|place| compared[*place].set_unsound());
    }
}

/// How asking for one version went.
#[derive(Clone, Copy)]
enum Found {
    /// Nobody has it any more: nothing to take now.
    Nowhere,
    Failed,
    /// It came; whether it was newer than what is here.
    Had(bool),
}

/// Those who have a version, another one first for each hash: a refill burdens all alike.
fn whose_turn(peers: &[usize], hash: PathHash) -> impl Iterator<Item = usize> + '_ {
    let first = usize::from(hash.0[15]) % peers.len().max(1);
    let (before, after) = peers.split_at(first.min(peers.len()));
    after.iter().chain(before).copied()
}
