//! Takes handoff copies home: gives them to every primary that lacks them, and lets go only what all of them have.

use crate::peer::{Peer, PeerError};
use crate::planner::{self, Push};
use crate::progress::{Amount, Task};
use crate::replicator::{SpaceRound, patiently};
use crate::server::rows_page;
use futures_util::stream::{self, StreamExt};
use martlet_protocol::hash::PathHash;
use martlet_protocol::policy::PolicyIndex;
use martlet_storage::{Space, StorageError, Version};

/// What the primaries of one partition hold below a prefix; `None`: not known.
struct Primaries {
    peers: Vec<Peer>,
    told: Vec<Option<Vec<Version>>>,
}

impl SpaceRound<'_> {
    /// Pushes everything of this space that this device holds without being a primary for it.
    ///
    /// # Errors
    /// Only when the local device fails.
    pub async fn push_home(&self) -> Result<(), StorageError> {
        let digests = self.digests().await?;
        let prefixes = planner::misplaced(&digests, &self.holdings);
        let mut amount = Amount::default();
        for prefix in &prefixes {
            let strange = self.misplaced(*prefix).await?;
            amount += strange.iter().map(|version| version.bytes).collect();
        }
        self.work.progress.set(Task::Push, self.space, amount);
        self.publish_progress();
        let work = prefixes.into_iter().map(|prefix| self.push_prefix(prefix));
        let mut work = stream::iter(work).buffer_unordered(self.replicator.concurrency());
        while let Some(outcome) = work.next().await {
            outcome?;
            self.publish_progress();
        }
        Ok(())
    }

    /// What is here below a prefix and belongs elsewhere.
    async fn misplaced(&self, prefix: u16) -> Result<Vec<Version>, StorageError> {
        let mut versions = self.versions(prefix).await?;
        versions.retain(|version| !self.holdings.holds(&version.hash));
        Ok(versions)
    }

    async fn push_prefix(&self, prefix: u16) -> Result<(), StorageError> {
        let versions = self.misplaced(prefix).await?;
        let same_partition =
            |a: &Version, b: &Version| self.ring.partition(&a.hash) == self.ring.partition(&b.hash);
        for group in versions.chunk_by(same_partition) {
            let primaries = self
                .ask_primaries(self.ring.partition(&group[0].hash), prefix)
                .await;
            let told: Vec<_> = primaries.told.iter().map(Option::as_deref).collect();
            for push in planner::pushes(group, &told) {
                let sends = push.lacking.len() as u64;
                let turn = self.work.courtesy.turn(sends).await;
                if self.push_one(&push, group, &primaries).await? {
                    let amount = Amount::one(push.bytes);
                    self.work.progress.done(Task::Push, self.space, amount);
                }
                turn.end().await;
            }
        }
        Ok(())
    }

    async fn ask_primaries(&self, partition: u32, prefix: u16) -> Primaries {
        let mut primaries = Primaries {
            peers: Vec::new(),
            told: Vec::new(),
        };
        for node in self.ring.primaries(partition) {
            let peer = self.replicator.peer(node);
            let told = if self.round.is_silent(node) {
                None
            } else {
                match patiently(|| peer.versions(self.space, prefix)).await {
                    Ok(versions) => Some(versions),
                    Err(error) => {
                        self.note(&peer, &error, "asking a primary");
                        None
                    }
                }
            };
            primaries.peers.push(peer);
            primaries.told.push(told);
        }
        primaries
    }

    /// `true` when the copy is no longer here.
    async fn push_one(
        &self,
        push: &Push,
        group: &[Version],
        primaries: &Primaries,
    ) -> Result<bool, StorageError> {
        let all = primaries.peers.len();
        let mut confirmed = all - push.lacking.len() - push.silent;
        for place in &push.lacking {
            let peer = &primaries.peers[*place];
            let told = primaries.told[*place].as_deref().unwrap_or_default();
            let has_another = told
                .binary_search_by_key(&push.hash, |version| version.hash)
                .is_ok();
            let sent = patiently(|| async {
                match self.space {
                    Space::Objects(policy) => self.push_object(peer, policy, push.hash, has_another).await,
                    Space::Containers | Space::Accounts => self.push_container(peer, push.hash).await,
                }
            });
            match sent.await {
                Ok(true) => {
                    self.tally.pushed();
                    confirmed += 1;
                }
                // Gone from here meanwhile: nothing to push, nothing to let go.
                Ok(false) => return Ok(true),
                Err(error) => self.note(peer, &error, &push.hash.to_string()),
            }
        }
        if !planner::may_let_go(all, confirmed) {
            return Ok(false);
        }
        let gone = match self.space {
            Space::Objects(policy) => self.device.remove_object(policy, push.hash, push.newest).await?,
            Space::Containers | Space::Accounts => {
                let pushed = group.iter().find(|version| version.hash == push.hash);
                let fingerprint = pushed.map_or([0; 16], |version| version.fingerprint);
                self.device
                    .remove_container_if(self.space, push.hash, fingerprint)
                    .await?
            }
        };
        if gone {
            self.tally.removed();
        }
        Ok(gone)
    }

    /// `false`: the copy is no longer here. Data that the peer may already have is not sent before it asks for it.
    async fn push_object(
        &self,
        peer: &Peer,
        policy: PolicyIndex,
        hash: PathHash,
        has_another: bool,
    ) -> Result<bool, PeerError> {
        let Some(record) = self.device.read_object(policy, hash).await? else {
            return Ok(false);
        };
        if (has_another || record.is_tombstone()) && peer.push_record(policy, hash, &record).await? {
            return Ok(true);
        }
        let Some(open) = self.device.open_object(policy, hash).await? else {
            return Ok(false);
        };
        if open.record.is_tombstone() {
            return peer.push_record(policy, hash, &open.record).await;
        }
        let budget = Some(&self.work.courtesy);
        peer.push_object(policy, hash, &open.record, open.body, budget)
            .await?;
        Ok(true)
    }

    async fn push_container(&self, peer: &Peer, hash: PathHash) -> Result<bool, PeerError> {
        let Some(record) = self.device.container(self.space, hash).await? else {
            return Ok(false);
        };
        peer.push_container(self.space, hash, &record).await?;
        let mut after: Option<String> = None;
        loop {
            let page = rows_page(self.device, self.space, hash, after, None).await?;
            if !page.is_empty() {
                peer.push_rows(self.space, hash, &page).await?;
            }
            after = page.last_name().filter(|_| page.more).map(str::to_owned);
            if after.is_none() {
                return Ok(true);
            }
        }
    }

    fn note(&self, peer: &Peer, error: &PeerError, what: &str) {
        if error.is_silent() {
            self.note_silent(peer, error);
        } else {
            self.note_failure(peer, error, what);
        }
    }
}
