//! A device that slept while others deleted and then forgot the deletions must not bring back what they deleted.
//!
//! Every device remembers up to when it has learnt of every deletion ([`Device::caught_up`]), and the newest deletion that
//! it helped to forget ([`Device::reclaimed_up_to`]). When another device has forgotten a deletion that came after all this
//! one knows, this one is in doubt: servers and other replicators find it as if it were not mounted. What it holds from
//! before that deletion, and no other primary has, was deleted: it is put aside. Then it is as good as any other.
//!
//! A whole cluster that was off for a month has forgotten nothing meanwhile, and nobody is in doubt for long.

use crate::peer::{Peer, TheirRows};
use crate::replicator::{Replicator, Round, SpaceRound, patiently, spaces};
use crate::report::Tally;
use martlet_protocol::hash::PathHash;
use martlet_protocol::header;
use martlet_protocol::timestamp::Timestamp;
use martlet_protocol::update::Update;
use martlet_storage::{Device, Row, Space, StorageError, Version};
use std::collections::BTreeSet;

const REASON: &str = "no other primary has it: it was deleted while this device was away";

impl Replicator {
    /// Shows the replicator a device before anybody may use it: one that was away for longer than deletions are kept is
    /// in doubt until a round has asked the others. A device on which nothing was ever written is not.
    pub fn admit(&self, device: &Device) {
        // What was known of it before it was away counts no more.
        self.forget_undoubted(device.name());
        let is_new = device.last_sequence(Space::Accounts) == 0;
        if is_new {
            // It holds nothing that anybody could have deleted.
            device.set_caught_up(self.now());
            return;
        }
        let known = device.caught_up().secs().max(device.reclaimed_up_to().secs());
        let limit = known.saturating_add(self.config().reclaim_age_secs);
        if limit < self.now().secs() {
            tracing::warn!(
                device = device.name(),
                "was away for long and is compared before it is used"
            );
            device.set_in_doubt(true);
        }
    }

    /// Shows all local devices at a start.
    pub fn admit_all(&self) {
        for (_, device) in self.devices().iter_all() {
            self.admit(&device);
        }
    }

    /// `false`: the device stays in doubt for now.
    pub(crate) async fn settle_doubt(
        &self,
        round: &Round,
        name: &str,
        device: &Device,
        tally: &Tally,
    ) -> Result<bool, StorageError> {
        if self.is_undoubted(name) {
            return Ok(true);
        }
        if device.spaces().await?.is_empty() {
            device.set_in_doubt(false);
            self.note_undoubted(name);
            return Ok(true);
        }
        let Some(forgotten) = self.newest_forgotten(round, name, tally).await else {
            // Too few answered to know. One that was not away for long is as good as it was.
            return Ok(!device.is_in_doubt());
        };
        if forgotten > device.caught_up().max(device.reclaimed_up_to()) {
            device.set_in_doubt(true);
            let mut settled = true;
            for (space, ring) in spaces(&round.rings) {
                let space = self.space_round(round, name, device, tally, space, ring);
                settled &= space.put_aside_the_deleted(forgotten).await?;
            }
            if !settled {
                return Ok(false);
            }
            drop_old_updates(device, forgotten).await?;
            device.set_caught_up(forgotten);
        }
        device.set_in_doubt(false);
        self.note_undoubted(name);
        Ok(true)
    }

    /// The newest deletion that any other device has forgotten. `None`: in some ring so many are silent that all
    /// primaries of a partition may be among them.
    async fn newest_forgotten(&self, round: &Round, name: &str, tally: &Tally) -> Option<Timestamp> {
        let mut newest = Timestamp::ZERO;
        let mut asked = BTreeSet::new();
        let mut away = BTreeSet::new();
        for (_, ring) in spaces(&round.rings) {
            let mut silent = 0;
            for node in ring.devices() {
                let own = node.device == name && self.is_local(node);
                let peer_name = crate::replicator::node_name(node);
                if !own && asked.insert(peer_name.clone()) {
                    match self.peer(node).ping().await {
                        Ok(forgotten) => newest = newest.max(forgotten),
                        Err(_) => {
                            tally.unreachable(peer_name.clone());
                            away.insert(peer_name.clone());
                        }
                    }
                }
                silent += usize::from(away.contains(&peer_name));
            }
            if silent > ring.replica_count() as usize / 2 {
                return None;
            }
        }
        Some(newest)
    }
}

/// Rows that are owed from before may be of objects that were deleted since.
async fn drop_old_updates(device: &Device, forgotten: Timestamp) -> Result<(), StorageError> {
    const PAGE: usize = 1_000;
    let mut after = None;
    loop {
        let page = device.outbox(after, PAGE).await?;
        for (id, update) in page.iter().filter(|(_, update)| moment(update) <= forgotten) {
            tracing::warn!(
                account = update.account,
                container = update.container,
                object = update.object,
                "an update from before this device was away is dropped"
            );
            device.outbox_ack(*id);
        }
        after = page.last().map(|(id, _)| *id);
        if page.len() < PAGE {
            return Ok(());
        }
    }
}

fn moment(update: &Update) -> Timestamp {
    let text = update
        .headers
        .iter()
        .find(|(name, _)| name == header::X_TIMESTAMP);
    let moment = text.and_then(|(_, text)| Timestamp::parse(text).ok());
    moment.unwrap_or_default()
}

/// What the other primaries of a partition hold below a prefix.
struct Others {
    answered: Vec<(Peer, Vec<Version>)>,
    silent: usize,
}

impl Others {
    fn has(&self, hash: &PathHash) -> bool {
        self.answered
            .iter()
            .any(|(_, versions)| find(versions, hash).is_some())
    }

    /// Whether their not having something says that it was deleted. `None`: too few answered to say. Without any other
    /// primary nobody could have deleted it.
    fn may_judge(&self) -> Option<bool> {
        match (self.answered.len(), self.silent) {
            (0, 0) => Some(false),
            (answered, silent) if answered > silent => Some(true),
            _ => None,
        }
    }
}

fn find<'a>(versions: &'a [Version], hash: &PathHash) -> Option<&'a Version> {
    let at = versions.binary_search_by_key(hash, |version| version.hash).ok()?;
    versions.get(at)
}

impl SpaceRound<'_> {
    /// `false`: not everything could be judged.
    async fn put_aside_the_deleted(&self, forgotten: Timestamp) -> Result<bool, StorageError> {
        let mut settled = true;
        for (prefix, _) in self.digests().await? {
            let versions = self.versions(prefix).await?;
            let partition = |version: &Version| self.ring.partition(&version.hash);
            for group in versions.chunk_by(|a, b| partition(a) == partition(b)) {
                let is_objects = matches!(self.space, Space::Objects(_));
                if is_objects && group.iter().all(|version| version.newest > forgotten) {
                    continue;
                }
                let others = self.ask_others(partition(&group[0]), prefix).await;
                for version in group {
                    settled &= self.judge(version, &others, forgotten).await?;
                }
            }
        }
        Ok(settled)
    }

    async fn judge(
        &self,
        version: &Version,
        others: &Others,
        forgotten: Timestamp,
    ) -> Result<bool, StorageError> {
        let hash = version.hash;
        let Some(may_judge) = others.may_judge() else {
            return Ok(false);
        };
        match self.space {
            Space::Objects(policy) => {
                if may_judge && version.newest <= forgotten && !others.has(&hash) {
                    let reason = REASON.to_owned();
                    self.device
                        .set_aside(policy, hash, version.newest, reason)
                        .await?;
                }
                Ok(true)
            }
            Space::Containers | Space::Accounts if !may_judge => Ok(true),
            Space::Containers | Space::Accounts => self.judge_rows(version, others, forgotten).await,
        }
    }

    async fn judge_rows(
        &self,
        version: &Version,
        others: &Others,
        forgotten: Timestamp,
    ) -> Result<bool, StorageError> {
        let hash = version.hash;
        let holders: Vec<&Peer> = others
            .answered
            .iter()
            .filter(|(_, versions)| {
                find(versions, &hash).is_some_and(|theirs| theirs.fingerprint != version.fingerprint)
            })
            .map(|(peer, _)| peer)
            .collect();
        if holders.is_empty() && others.has(&hash) {
            return Ok(true);
        }
        let mut after: Option<String> = None;
        let mut kept = 0;
        loop {
            let rows = self
                .device
                .rows_after(self.space, hash, after.clone(), crate::wire::MAX_ROWS)
                .await?;
            let Some(last) = rows.last().map(|row| row.name().to_owned()) else {
                break;
            };
            let mut old: BTreeSet<&str> = rows
                .iter()
                .filter(|row| row.newest() <= forgotten)
                .map(Row::name)
                .collect();
            for peer in &holders {
                if !strike_known(self.space, peer, hash, after.as_deref(), &last, &mut old).await {
                    return Ok(false);
                }
            }
            let gone: Vec<(String, Timestamp)> = rows
                .iter()
                .filter(|row| old.contains(row.name()))
                .map(|row| (row.name().to_owned(), row.newest()))
                .collect();
            kept += rows.len() - gone.len();
            if !gone.is_empty() {
                tracing::warn!(
                    device = self.device_name,
                    hash = hash.to_string(),
                    rows = gone.len(),
                    "rows that no other replica has were deleted while this device was away"
                );
                self.device.drop_rows(self.space, hash, gone).await?;
            }
            after = Some(last);
        }
        if holders.is_empty() && kept == 0 && version.newest <= forgotten {
            tracing::warn!(device = self.device_name, hash = hash.to_string(), REASON);
            self.device.remove_container(self.space, hash).await?;
        }
        Ok(true)
    }

    async fn ask_others(&self, partition: u32, prefix: u16) -> Others {
        let mut others = Others {
            answered: Vec::new(),
            silent: 0,
        };
        for node in self.ring.primaries(partition) {
            if Some(node.id) == self.id {
                continue;
            }
            let peer = self.replicator.peer(node);
            match patiently(|| peer.versions(self.space, prefix)).await {
                Ok(versions) => others.answered.push((peer, versions)),
                Err(_) => others.silent += 1,
            }
        }
        others
    }
}

/// Takes those names out that the peer has too. `false`: it did not tell.
async fn strike_known(
    space: Space,
    peer: &Peer,
    hash: PathHash,
    after: Option<&str>,
    until: &str,
    names: &mut BTreeSet<&str>,
) -> bool {
    let mut from = after.map(str::to_owned);
    while !names.is_empty() {
        let told = patiently(|| peer.rows(space, hash, from.as_deref(), Some(until), "-")).await;
        let Ok(TheirRows::Page(page)) = told else {
            return false;
        };
        for row in &page.objects {
            names.remove(row.name.as_str());
        }
        for row in &page.containers {
            names.remove(row.name.as_str());
        }
        let reached = page.last_name().map(str::to_owned);
        if !page.more || reached <= from {
            return true;
        }
        from = reached;
    }
    true
}
