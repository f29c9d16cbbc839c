//! Which prefixes differ on a peer, and what it has below them.

use crate::peer::{Peer, PeerError};
use crate::planner::{self, Proof, Scope, Since};
use crate::replicator::{SpaceRound, patiently};
use crate::wire;
use martlet_storage::{Change, Version};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

/// Pages of a change log that are read before comparing all digests is cheaper.
const MAX_CHANGE_PAGES: usize = 4;

/// What comparing with a peer is based on.
struct Basis {
    scope: Scope,
    /// Where both change logs stood; `None` until the digests were read.
    reached: Option<Proof>,
}

/// A peer that has something which may be missing here.
pub(super) struct Compared {
    pub peer: Peer,
    /// Ascending.
    prefixes: Vec<u16>,
    reached: Proof,
    /// Something that it has could not be taken.
    is_unsound: AtomicBool,
    is_silent: AtomicBool,
    /// It gives several objects in one answer.
    packs: AtomicBool,
}

impl Compared {
    pub fn prefixes(&self) -> impl Iterator<Item = u16> + '_ {
        self.prefixes.iter().copied()
    }

    pub fn is_silent(&self) -> bool {
        self.is_silent.load(Ordering::Relaxed)
    }

    pub fn packs(&self) -> bool {
        self.packs.load(Ordering::Relaxed)
    }

    pub fn set_unsound(&self) {
        self.is_unsound.store(true, Ordering::Relaxed);
    }

    /// It stopped answering: it is left out for the rest of the round.
    pub fn set_silent(&self, round: &SpaceRound<'_>, error: &PeerError) {
        self.is_silent.store(true, Ordering::Relaxed);
        round.note_silent(&self.peer, error);
    }

    /// That everything it had is here, if so.
    pub fn into_proof(self) -> Option<Proof> {
        let is_proved = !self.is_silent() && !self.is_unsound.load(Ordering::Relaxed);
        Some(self.reached).filter(|_| is_proved)
    }

    /// What it has below those of the given prefixes that differ. `None`: nothing, or it did not say.
    pub async fn versions(&self, round: &SpaceRound<'_>, prefixes: &[u16]) -> Option<Vec<Version>> {
        let differs = |prefix: &u16| self.prefixes.binary_search(prefix).is_ok();
        let wanted: Vec<u16> = prefixes.iter().copied().filter(differs).collect();
        if wanted.is_empty() || self.is_silent() {
            return None;
        }
        match patiently(|| self.peer.versions_of(round.space, &wanted)).await {
            Ok(told) => {
                self.packs.store(told.packs, Ordering::Relaxed);
                Some(told.versions)
            }
            Err(error) if error.is_silent() => {
                self.set_silent(round, &error);
                None
            }
            Err(error) => {
                self.set_unsound();
                round.note_failure(&self.peer, &error, "comparing versions");
                None
            }
        }
    }
}

impl SpaceRound<'_> {
    /// `None`: everything that the peer has is here.
    pub(super) async fn compare(&self, peer: &Peer) -> Result<Option<Compared>, PeerError> {
        let Basis { scope, reached } = self.basis(peer).await?;
        if scope == Scope::Only(BTreeSet::new()) {
            // Not even our own digests need reading: this is what an idle round costs.
            self.replicator.set_proof(self.proof_key(peer), reached);
            return Ok(None);
        }
        let only = match &scope {
            Scope::All => None,
            Scope::Only(prefixes) => Some(prefixes),
        };
        let mine_reached = self.device.last_sequence(self.space);
        let theirs = patiently(|| peer.digests(self.space, only)).await?;
        let mine = self.digests().await?;
        Ok(Some(Compared {
            peer: peer.clone(),
            prefixes: planner::mismatched(&mine, &theirs.digests, &scope, &self.holdings),
            reached: reached.unwrap_or(Proof {
                instance: theirs.instance,
                theirs: theirs.sequence,
                mine: mine_reached,
            }),
            is_unsound: AtomicBool::new(false),
            is_silent: AtomicBool::new(false),
            packs: AtomicBool::new(false),
        }))
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
}

fn prefix(change: &Change) -> u16 {
    change.hash.prefix()
}
