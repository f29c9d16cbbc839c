//! Takes from other devices what is newer there: digests, then versions, then records and bodies.

use crate::peer::{Peer, PeerError, TheirRows};
use crate::planner::{self, Proof, Scope, Since};
use crate::replicator::{SpaceRound, patiently};
use crate::server::{needs_body, rows_page};
use crate::wire;
use futures_util::stream::{self, StreamExt};
use martlet_node_client::Node;
use martlet_protocol::hash::PathHash;
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::record::ObjectRecord;
use martlet_protocol::timestamp::Timestamp;
use martlet_storage::{Change, RowsOutcome, Space, StorageError};
use std::collections::BTreeSet;

/// Pages of a change log that are read before comparing all digests is cheaper.
const MAX_CHANGE_PAGES: usize = 4;

/// What comparing with a peer is based on.
struct Basis {
    scope: Scope,
    /// Where both change logs stood; `None` until the digests were read.
    reached: Option<Proof>,
}

impl SpaceRound<'_> {
    /// Pulls from every other device of the ring, one after another, so that nothing is fetched twice. Returns how many
    /// did not answer.
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
        for node in others {
            let peer = self.replicator.peer(node);
            if self.round.is_silent(node) {
                self.tally.unreachable(crate::replicator::node_name(node));
                silent += 1;
                continue;
            }
            match self.pull_from(&peer).await {
                Ok(()) => {}
                Err(error) if error.is_silent() => {
                    self.note_silent(&peer, &error);
                    silent += 1;
                }
                Err(error) => match error.local() {
                    Some(local @ (StorageError::Closed | StorageError::Unavailable(_))) => {
                        return Err(local.clone());
                    }
                    _ => self.note_failure(&peer, &error, "comparing"),
                },
            }
        }
        Ok(silent)
    }

    async fn pull_from(&self, peer: &Peer) -> Result<(), PeerError> {
        let Basis { scope, reached } = self.basis(peer).await?;
        if scope == Scope::Only(BTreeSet::new()) {
            // Not even our own digests need reading: this is what an idle round costs.
            self.replicator.set_proof(self.proof_key(peer), reached);
            return Ok(());
        }
        let only = match &scope {
            Scope::All => None,
            Scope::Only(prefixes) => Some(prefixes),
        };
        let mine_reached = self.device.last_sequence(self.space);
        let theirs = patiently(|| peer.digests(self.space, only)).await?;
        let mine = self.digests().await?;
        let reached = reached.unwrap_or(Proof {
            instance: theirs.instance,
            theirs: theirs.sequence,
            mine: mine_reached,
        });
        let prefixes = planner::mismatched(&mine, &theirs.digests, &scope, &self.holdings);
        let failures_before = self.tally.failures();
        let total = prefixes.len();
        let work = prefixes.into_iter().map(|prefix| self.pull_prefix(peer, prefix));
        let mut work = stream::iter(work)
            .buffer_unordered(self.replicator.concurrency())
            .enumerate();
        while let Some((done, outcome)) = work.next().await {
            match outcome {
                Ok(()) => {}
                Err(error) if error.is_silent() => {
                    self.replicator.set_proof(self.proof_key(peer), None);
                    self.tally.kept((total - done) as u64);
                    return Err(error);
                }
                Err(error) => self.note_failure(peer, &error, "comparing versions"),
            }
        }
        let is_proved = self.tally.failures() == failures_before;
        self.replicator
            .set_proof(self.proof_key(peer), Some(reached).filter(|_| is_proved));
        Ok(())
    }

    /// Since the last proof, only what either change log names needs comparing.
    async fn basis(&self, peer: &Peer) -> Result<Basis, PeerError> {
        let all = Basis {
            scope: Scope::All,
            reached: None,
        };
        let Some(proof) = self
            .replicator
            .proof(&self.proof_key(peer))
            .filter(|_| !self.round.is_full)
        else {
            // Also tells whether the peer is there before anything is read here.
            return Ok(all);
        };
        let mut reached = proof.clone();
        let mut theirs = BTreeSet::new();
        let mut theirs_since = Since::Unknown;
        for _ in 0..MAX_CHANGE_PAGES {
            let page = patiently(|| peer.changes(self.space, reached.theirs)).await?;
            if page.instance != proof.instance
                || page.trimmed_before > reached.theirs
                || page.next < reached.theirs
            {
                return Ok(all);
            }
            reached.theirs = page.next;
            theirs.extend(page.entries.iter().map(prefix));
            if page.entries.len() < wire::MAX_CHANGES {
                theirs_since = Since::Touched(std::mem::take(&mut theirs));
                break;
            }
        }
        let mut mine = BTreeSet::new();
        let mut mine_since = Since::Unknown;
        for _ in 0..MAX_CHANGE_PAGES {
            let page = self
                .device
                .changes(self.space, reached.mine, wire::MAX_CHANGES)
                .await?;
            if page.trimmed_before > reached.mine {
                return Ok(all);
            }
            reached.mine = page.next;
            mine.extend(page.entries.iter().map(prefix));
            if page.entries.len() < wire::MAX_CHANGES {
                mine_since = Since::Touched(std::mem::take(&mut mine));
                break;
            }
        }
        match planner::scope(mine_since, theirs_since) {
            Scope::All => Ok(all),
            scope => Ok(Basis {
                scope,
                reached: Some(reached),
            }),
        }
    }

    async fn pull_prefix(&self, peer: &Peer, prefix: u16) -> Result<(), PeerError> {
        let theirs = patiently(|| peer.versions(self.space, prefix)).await?;
        let mine = self.versions(prefix).await?;
        for hash in planner::pulls(&mine, &theirs, &self.holdings) {
            if self.tally.is_full() {
                self.tally.failed(1);
                continue;
            }
            let outcome = patiently(|| async {
                match self.space {
                    Space::Objects(policy) => self.pull_object(peer, policy, hash).await,
                    Space::Containers | Space::Accounts => self.pull_container(peer, hash).await,
                }
            });
            match outcome.await {
                Ok(true) => self.tally.pulled(),
                Ok(false) => {}
                Err(error) if error.is_silent() => return Err(error),
                Err(error) => self.note_failure(peer, &error, &hash.to_string()),
            }
        }
        Ok(())
    }

    /// `true` when something newer was taken. The body comes along only when the data there is newer.
    pub async fn pull_object(
        &self,
        peer: &Peer,
        policy: PolicyIndex,
        hash: PathHash,
    ) -> Result<bool, PeerError> {
        let known = self.device.read_object(policy, hash).await?;
        let have = known.as_ref().map(|record| record.timestamp);
        let Some(arrival) = peer.fetch(policy, hash, have).await? else {
            // It went home from there, or into quarantine: nothing to take now.
            return Ok(false);
        };
        let record = arrival.record;
        if self
            .replicator
            .salt()
            .hash(&record.account, Some(&record.container), Some(&record.object))
            != hash
        {
            return Err(PeerError::Malformed("a record under another's hash".into()));
        }
        if known.as_ref().is_some_and(|known| is_expiry_of(known, &record)) {
            // The expirer here is about to write the very same tombstone, and owes the container a row with it.
            return Ok(false);
        }
        let writer = match (needs_body(known.as_ref(), &record), arrival.body) {
            (true, Some(body)) => Some(body.store(self.device).await?),
            (true, None) => return Err(PeerError::Malformed("newer data came without its body".into())),
            (false, _) => None,
        };
        Ok(self.device.merge_object(policy, hash, record, writer).await?)
    }

    /// The record first, then pages of rows; only pages that differ travel.
    async fn pull_container(&self, peer: &Peer, hash: PathHash) -> Result<bool, PeerError> {
        let Some(record) = peer.container(self.space, hash).await? else {
            return Ok(false);
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
                TheirRows::NoContainer => return Ok(changed),
                TheirRows::Equal => {
                    after = until;
                    if after.is_none() {
                        return Ok(changed);
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
                return Ok(changed);
            }
        }
    }
}

/// Whether a peer's tombstone is nothing but the expiry of what is here.
fn is_expiry_of(known: &ObjectRecord, theirs: &ObjectRecord) -> bool {
    let due = known.delete_at().map(Timestamp::from_secs);
    theirs.is_tombstone() && !known.is_tombstone() && due == Some(theirs.timestamp)
}

fn prefix(change: &Change) -> u16 {
    change.hash.prefix()
}
