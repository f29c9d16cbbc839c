//! Takes from other devices what is newer there: digests, then versions, then records and bodies.
//!
//! First every peer is compared with (`pull/compare.rs`), then it is counted what there is to take, then it is taken, part
//! by part of the hashes, each record from one of those that have it.

mod compare;
mod take;

use crate::peer::Peer;
use crate::peer::{PeerError, TheirRows};
use crate::planner::{self, Pull};
use crate::progress::{Amount, Task};
use crate::replicator::{SpaceRound, node_name, patiently};
use crate::server::{needs_body, rows_page};
use crate::transfer::Arrival;
use crate::wire;
use compare::Compared;
use futures_util::stream::{self, StreamExt};
use martlet_node_client::Node;
use martlet_protocol::hash::PathHash;
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::record::ObjectRecord;
use martlet_protocol::timestamp::Timestamp;
use martlet_storage::{RowsOutcome, Space, StorageError};
use std::collections::BTreeSet;

/// Prefixes that are looked at together. A device has 65,536, so that a large one has some thousand records below them.
const PART: usize = 64;
/// What is named in the count is kept until it is taken, up to so many records; the rest is asked for again.
const KEPT_PULLS: usize = 50_000;

/// So much is taken before the next parts are looked at: enough that small objects fill what they travel in.
const TOGETHER: usize = 1_000;

/// Some prefixes, and what there is to take below them.
struct Part {
    prefixes: Vec<u16>,
    amount: Amount,
    plan: Option<Vec<Pull>>,
}

impl SpaceRound<'_> {
    /// Pulls from all other devices of the ring what is newer there. Returns how many did not answer.
    ///
    /// # Errors
    /// Only when the local device fails.
    pub async fn pull(&self) -> Result<usize, StorageError> {
        let mut others: Vec<&Node> = self
            .ring
            .devices()
            .filter(|node| Some(node.id) != self.id)
            .collect();
        if !others.is_empty() {
            // A refill does not burden the same peer first in every round.
            let turn = (self.round.number as usize + self.id.unwrap_or(0) as usize) % others.len();
            others.rotate_left(turn);
        }
        let mut silent = 0;
        let mut compared = Vec::new();
        for node in others {
            let peer = self.replicator.peer(node);
            if self.round.is_silent(node) {
                self.tally.unreachable(node_name(node));
                silent += 1;
                continue;
            }
            match self.compare(&peer).await {
                Ok(found) => compared.extend(found),
                Err(error) if error.is_silent() => {
                    self.note_silent(&peer, &error);
                    silent += 1;
                }
                Err(error) => match fatal(&error) {
                    Some(local) => return Err(local),
                    None => self.note_failure(&peer, &error, "comparing"),
                },
            }
        }
        self.pull_all(&compared).await?;
        for peer in compared {
            silent += usize::from(peer.is_silent());
            self.replicator
                .set_proof(self.proof_key(&peer.peer), peer.into_proof());
        }
        Ok(silent)
    }

    async fn pull_all(&self, compared: &[Compared]) -> Result<(), StorageError> {
        let progress = &self.work.progress;
        let prefixes: BTreeSet<u16> = compared.iter().flat_map(|peer| peer.prefixes()).collect();
        let prefixes: Vec<u16> = prefixes.into_iter().collect();
        let mut parts = Vec::new();
        let mut total = Amount::default();
        let mut kept = 0;
        for prefixes in prefixes.chunks(PART) {
            let plan = self.plan(compared, prefixes).await?;
            let amount: Amount = plan.iter().map(|pull| pull.bytes).collect();
            total += amount;
            kept += plan.len();
            parts.push(Part {
                prefixes: prefixes.to_vec(),
                amount,
                plan: Some(plan).filter(|_| kept <= KEPT_PULLS),
            });
        }
        progress.set(Task::Pull, self.space, total);
        self.publish_progress();
        let mut gathered = Vec::new();
        for part in parts {
            let plan = match part.plan {
                Some(plan) => plan,
                None => {
                    let plan = self.plan(compared, &part.prefixes).await?;
                    let amount = plan.iter().map(|pull| pull.bytes).collect();
                    progress.correct(Task::Pull, self.space, part.amount, amount);
                    plan
                }
            };
            gathered.extend(plan);
            if gathered.len() >= TOGETHER {
                self.take(compared, std::mem::take(&mut gathered)).await;
                self.publish_progress();
            }
        }
        self.take(compared, gathered).await;
        self.publish_progress();
        Ok(())
    }

    /// What there is to take below some prefixes (ascending).
    async fn plan(&self, compared: &[Compared], prefixes: &[u16]) -> Result<Vec<Pull>, StorageError> {
        let turn = self.work.courtesy.turn(0).await;
        let mine = match patiently(|| async { Ok(self.versions_of(prefixes).await?) }).await {
            Ok(mine) => mine,
            Err(error) => {
                if let Some(local) = fatal(&error) {
                    return Err(local);
                }
                compared.iter().for_each(Compared::set_unsound);
                self.tally.failed(1);
                tracing::info!(device = self.device_name, %error, "the own versions could not be read for now");
                return Ok(Vec::new());
            }
        };
        let asked: Vec<_> = compared
            .iter()
            .map(|peer| peer.versions(self, prefixes))
            .collect();
        let told: Vec<_> = stream::iter(asked)
            .buffered(self.replicator.concurrency())
            .collect()
            .await;
        turn.end().await;
        let told: Vec<_> = told.iter().map(Option::as_deref).collect();
        Ok(planner::pulls(&mine, &told, &self.holdings))
    }

    /// `true` when something newer was taken; `None` when it is no longer there: it went home, or into quarantine. The
    /// body comes along only when the data there is newer.
    pub async fn pull_object(
        &self,
        peer: &Peer,
        policy: PolicyIndex,
        hash: PathHash,
    ) -> Result<Option<bool>, PeerError> {
        let known = self.device.read_object(policy, hash).await?;
        let have = known.as_ref().map(|record| record.timestamp);
        let Some(arrival) = peer.fetch(policy, hash, have).await? else {
            return Ok(None);
        };
        if self.hash_of(&arrival.record) != hash {
            return Err(PeerError::Malformed("a record under another's hash".into()));
        }
        self.merge(policy, hash, known, arrival).await.map(Some)
    }

    fn hash_of(&self, record: &ObjectRecord) -> PathHash {
        let salt = self.replicator.salt();
        salt.hash(&record.account, Some(&record.container), Some(&record.object))
    }

    /// Stores what arrived where it is newer than what is known here.
    async fn merge(
        &self,
        policy: PolicyIndex,
        hash: PathHash,
        known: Option<ObjectRecord>,
        arrival: Arrival,
    ) -> Result<bool, PeerError> {
        let record = arrival.record;
        if known.as_ref().is_some_and(|known| is_expiry_of(known, &record)) {
            // The expirer here is about to write the very same tombstone, and owes the container a row with it.
            return Ok(false);
        }
        let writer = match (needs_body(known.as_ref(), &record), arrival.body) {
            (true, Some(body)) => Some(body.store(self.device, Some(&self.work.courtesy)).await?),
            (true, None) => return Err(PeerError::Malformed("newer data came without its body".into())),
            (false, _) => None,
        };
        Ok(self.device.merge_object(policy, hash, record, writer).await?)
    }

    /// The record first, then pages of rows; only pages that differ travel.
    async fn pull_container(&self, peer: &Peer, hash: PathHash) -> Result<Option<bool>, PeerError> {
        let Some(record) = peer.container(self.space, hash).await? else {
            return Ok(None);
        };
        let container = Some(record.container.as_str()).filter(|_| self.space == Space::Containers);
        if self.replicator.salt().hash(&record.account, container, None) != hash {
            return Err(PeerError::Malformed("a record under another's hash".into()));
        }
        let mut changed = self.device.merge_container(self.space, hash, record).await?;
        let mut after: Option<String> = None;
        loop {
            let mine = rows_page(self.device, self.space, hash, after.clone(), None).await?;
            let until = mine.last_name().filter(|_| mine.more).map(str::to_owned);
            let answer = peer
                .rows(
                    self.space,
                    hash,
                    after.as_deref(),
                    until.as_deref(),
                    &mine.digest(),
                )
                .await?;
            let page = match answer {
                TheirRows::NoContainer => return Ok(Some(changed)),
                TheirRows::Equal => {
                    after = until;
                    if after.is_none() {
                        return Ok(Some(changed));
                    }
                    continue;
                }
                TheirRows::Page(page) => page,
            };
            if page.len() > wire::MAX_ROWS || !page.fits(self.space) || (page.more && page.is_empty()) {
                return Err(PeerError::Malformed("rows".into()));
            }
            let reached = page.last_name().filter(|_| page.more).map(str::to_owned);
            if reached.is_some() && reached <= after {
                return Err(PeerError::Malformed("rows out of order".into()));
            }
            if !page.is_empty() {
                let report = self.replicator.reports().composer(self.space);
                match self
                    .device
                    .put_rows(self.space, hash, page.rows(), None, report)
                    .await?
                {
                    RowsOutcome::Stored => changed = true,
                    RowsOutcome::NoContainer => {
                        return Err(PeerError::Malformed("rows without a container".into()));
                    }
                }
            }
            after = reached.or(until);
            if after.is_none() {
                return Ok(Some(changed));
            }
        }
    }
}

/// Whether a peer's tombstone is nothing but the expiry of what is here.
fn is_expiry_of(known: &ObjectRecord, theirs: &ObjectRecord) -> bool {
    let due = known.delete_at().map(Timestamp::from_secs);
    theirs.is_tombstone() && !known.is_tombstone() && due == Some(theirs.timestamp)
}

/// What the local device said, when it can do no more.
fn fatal(error: &PeerError) -> Option<StorageError> {
    let local = error.local();
    local
        .filter(|local| matches!(local, StorageError::Closed | StorageError::Unavailable(_)))
        .cloned()
}
