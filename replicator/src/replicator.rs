//! One full round on demand: every local device pulls what it missed and pushes home what it holds for others.
//!
//! The decisions are in [`crate::planner`]; here and in `pull.rs` and `push.rs` they are carried out. When a device has
//! pulled from enough of the others (see [`planner::allowed_unreachable`]) it is marked as synced at the moment the round
//! began: from then on the proxy may trust it to answer alone.

use crate::account_report::AccountReports;
use crate::clients::Clients;
use crate::courtesy::Courtesy;
use crate::peer::{Peer, PeerError};
use crate::planner::{self, Digest, Holdings, Proof};
use crate::progress::{Progress, Remaining, Task};
use crate::report::{DeviceReport, PassReport, Tally};
use arc_swap::ArcSwap;
use futures_util::future::join_all;
use martlet_node_client::{Node, NodeClient};
use martlet_protocol::hash::HashSalt;
use martlet_protocol::timestamp::Timestamp;
use martlet_ring::{Ring, RingSet};
use martlet_service::Clock;
use martlet_storage::{Device, DeviceSet, Space, StorageError, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The rings in force; a reload swaps the whole set.
pub type Rings = Arc<ArcSwap<RingSet>>;

/// What a node's replicator must know of itself, and its bounds.
#[derive(Clone, Debug)]
pub struct ReplicatorConfig {
    /// Where this node listens, as the rings write it: ring devices at these addresses are local.
    pub addresses: Vec<(String, u16)>,
    /// Pieces of work (comparing, a large object, a handful of small ones) under way at once for one device; one at a
    /// time, with rests, while clients are served (`courtesy.rs`).
    pub concurrency: usize,
    /// What is pulled to and pushed from one device at most, bytes of bodies; 0 is no limit.
    pub bytes_per_second: u64,
    /// The same in records of any kind.
    pub records_per_second: u64,
    /// Whom this node serves: replication gives way to them.
    pub clients: Clients,
    /// For one question to a peer and its answer, milliseconds. Bodies have the client's stall timeout instead.
    pub call_timeout_ms: u64,
    /// Every so many rounds all digests are compared, whatever the change logs say.
    pub full_compare_rounds: u64,
    /// Deletions are remembered for this long at least, seconds. A device that was away for longer is in doubt at first.
    pub reclaim_age_secs: u64,
    /// Entries of the change log that are kept for peers; who was away longer compares all digests.
    pub kept_changes: u64,
}

impl Default for ReplicatorConfig {
    fn default() -> Self {
        ReplicatorConfig {
            addresses: Vec::new(),
            concurrency: 4,
            bytes_per_second: 0,
            records_per_second: 0,
            clients: Clients::default(),
            call_timeout_ms: 10_000,
            full_compare_rounds: 20,
            reclaim_age_secs: 7 * 24 * 3600,
            kept_changes: 100_000,
        }
    }
}

/// Makes the copies on the local devices agree with those of all other devices. Clones share everything.
#[derive(Clone)]
pub struct Replicator(Arc<Shared>);

struct Shared {
    config: ReplicatorConfig,
    devices: DeviceSet,
    rings: Rings,
    client: NodeClient,
    clock: Clock,
    salt: HashSalt,
    memory: Mutex<Memory>,
    /// A pass on demand waits for the one under way, then makes its own.
    one_at_a_time: tokio::sync::Mutex<()>,
}

/// What one round leaves for the next.
#[derive(Default)]
struct Memory {
    round: u64,
    rings: Option<Arc<RingSet>>,
    proofs: BTreeMap<ProofKey, Proof>,
    /// [`Device::losses`] by local device. What goes into quarantine is in no change log.
    losses: BTreeMap<String, u64>,
    /// Local devices of which it is known that they missed no deletion that others have forgotten.
    undoubted: BTreeSet<String>,
    work: BTreeMap<String, Arc<Work>>,
}

/// What goes on from round to round for one local device.
pub(crate) struct Work {
    pub progress: Progress,
    pub courtesy: Courtesy,
}

/// Local device, space, peer.
type ProofKey = (String, Space, String);

/// What all local devices share in one round.
pub(crate) struct Round {
    pub number: u64,
    /// All digests are compared in this round.
    pub is_full: bool,
    pub rings: Arc<RingSet>,
    /// Of `rings`; a proxy that follows other ones does not trust a device for having finished this round.
    fingerprint: u64,
    /// Peers found silent; nobody waits for them again in this round.
    silent: Mutex<BTreeSet<String>>,
}

impl Round {
    pub fn is_silent(&self, peer: &Node) -> bool {
        self.silent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&node_name(peer))
    }
}

/// A device's round over one space.
pub(crate) struct SpaceRound<'a> {
    pub replicator: &'a Replicator,
    pub round: &'a Round,
    pub device_name: &'a str,
    pub device: &'a Device,
    pub space: Space,
    pub ring: &'a Ring,
    /// The device's id in this ring, when it has one.
    pub id: Option<u32>,
    pub holdings: Holdings,
    pub tally: &'a Tally,
    pub work: Arc<Work>,
}

/// `device@ip:port`.
pub fn node_name(node: &Node) -> String {
    format!("{}@{}:{}", node.device, node.ip, node.port)
}

impl Replicator {
    pub fn new(
        config: ReplicatorConfig,
        devices: DeviceSet,
        rings: Rings,
        client: NodeClient,
        clock: Clock,
        salt: HashSalt,
    ) -> Self {
        Replicator(Arc::new(Shared {
            config,
            devices,
            rings,
            client,
            clock,
            salt,
            memory: Mutex::default(),
            one_at_a_time: tokio::sync::Mutex::new(()),
        }))
    }

    /// One full round over all local devices, objects of every policy, containers and accounts.
    pub async fn pass(&self) -> PassReport {
        let _alone = self.0.one_at_a_time.lock().await;
        let clock_started = Instant::now();
        let round = self.begin_round();
        let started = self.0.clock.now();
        let local: Vec<(String, Device)> = self.0.devices.iter_all().collect();
        let work = local
            .iter()
            .map(|(name, device)| self.device_round(&round, name, device, started));
        let mut devices: BTreeMap<String, DeviceReport> = BTreeMap::new();
        for (report, (name, _)) in join_all(work).await.into_iter().zip(&local) {
            devices.insert(name.clone(), report);
        }
        for name in self.0.devices.names() {
            // Not mounted: nothing can be said of it, and nothing was done for it.
            devices.entry(name).or_default();
        }
        let took = clock_started.elapsed();
        metrics::histogram!("martlet_replicator_pass_seconds").record(took.as_secs_f64());
        PassReport {
            started: started.normal(),
            took_ms: took.as_millis() as u64,
            complete: devices.values().all(|device| device.complete),
            unreachable: devices
                .values()
                .flat_map(|device| device.unreachable.iter().cloned())
                .collect(),
            devices,
        }
    }

    /// Whether a device, as [`PassReport::unreachable`] names it, answers now.
    pub async fn answers(&self, name: &str) -> bool {
        let rings = self.0.rings.load_full();
        let found = spaces(&rings)
            .into_iter()
            .find_map(|(_, ring)| ring.devices().find(|node| node_name(node) == name));
        match found {
            Some(node) => self.peer(node).ping().await.is_ok(),
            // The ring no longer has it: nobody waits for it.
            None => true,
        }
    }

    /// Starts a round. After a change of the rings nothing that was proved before counts: a device that has become
    /// primary for a partition has none of its data yet.
    fn begin_round(&self) -> Round {
        let rings = self.0.rings.load_full();
        let mut memory = self.0.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.round += 1;
        let is_changed = memory
            .rings
            .as_ref()
            .is_some_and(|known| !Arc::ptr_eq(known, &rings));
        memory.rings = Some(rings.clone());
        if is_changed {
            memory.proofs.clear();
            memory.undoubted.clear();
            for (_, device) in self.0.devices.iter_all() {
                device.set_unsynced();
            }
        }
        Round {
            number: memory.round,
            is_full: memory
                .round
                .is_multiple_of(self.0.config.full_compare_rounds.max(1)),
            fingerprint: rings.fingerprint(),
            rings,
            silent: Mutex::default(),
        }
    }

    /// A round in which one thing is fetched.
    pub(crate) fn single_round(&self) -> Round {
        let rings = self.0.rings.load_full();
        Round {
            number: 0,
            is_full: false,
            fingerprint: rings.fingerprint(),
            rings,
            silent: Mutex::default(),
        }
    }

    async fn device_round(
        &self,
        round: &Round,
        name: &str,
        device: &Device,
        started: Timestamp,
    ) -> DeviceReport {
        let tally = Tally::default();
        let losses = device.losses();
        self.note_losses(name, losses);
        let complete = match self.all_spaces(round, name, device, &tally).await {
            Ok(complete) => complete,
            Err(error) => {
                tracing::error!(device = name, %error, "the device failed in a replication round");
                tally.failed(1);
                false
            }
        };
        // What was put aside meanwhile is for the next round, which begins soon.
        let complete = complete && device.set_synced(started, round.fingerprint, losses);
        let remaining = self.remaining(name);
        remaining.publish(name);
        let mut report = tally.report(complete, remaining);
        report.in_doubt = device.is_in_doubt();
        if report.pulled + report.pushed + report.removed + report.failures > 0 {
            tracing::info!(device = name, ?report, "replication round");
        }
        report
    }

    /// First everything is pulled, in every space: what is missing here is the least replicated. Then copies go home.
    async fn all_spaces(
        &self,
        round: &Round,
        name: &str,
        device: &Device,
        tally: &Tally,
    ) -> Result<bool, StorageError> {
        let holds_anything = !device.spaces().await?.is_empty();
        if !self.settle_doubt(round, name, device, tally).await? {
            return Ok(false);
        }
        let spaces: Vec<SpaceRound<'_>> = spaces(&round.rings)
            .into_iter()
            .map(|(space, ring)| self.space_round(round, name, device, tally, space, ring))
            .collect();
        let is_work = |task, space| {
            let placed = spaces.iter().find(|placed| placed.space == space);
            placed.is_some_and(|placed| task == Task::Push || placed.holdings.any())
        };
        self.work(name).progress.keep(is_work);
        let mut complete = true;
        for space in spaces.iter().filter(|space| space.holdings.any()) {
            let silent = space.pull().await?;
            let replicas = space.ring.replica_count() as usize;
            complete &= silent <= planner::allowed_unreachable(replicas, holds_anything);
        }
        complete &= tally.failures() == 0;
        for space in &spaces {
            space.push_home().await?;
            let last = device.last_sequence(space.space);
            device
                .trim_changes(space.space, last.saturating_sub(self.0.config.kept_changes))
                .await?;
        }
        Ok(complete)
    }

    pub(crate) fn space_round<'a>(
        &'a self,
        round: &'a Round,
        name: &'a str,
        device: &'a Device,
        tally: &'a Tally,
        space: Space,
        ring: &'a Ring,
    ) -> SpaceRound<'a> {
        let id = ring
            .devices()
            .find(|node| node.device == name && self.is_local(node))
            .map(|node| node.id);
        let holdings = match id {
            Some(id) => holdings(ring, id),
            None => Holdings::none(ring.part_power()),
        };
        SpaceRound {
            replicator: self,
            round,
            device_name: name,
            device,
            space,
            ring,
            id,
            holdings,
            tally,
            work: self.work(name),
        }
    }

    pub(crate) fn is_local(&self, node: &Node) -> bool {
        self.0
            .config
            .addresses
            .iter()
            .any(|(ip, port)| *ip == node.ip && *port == node.port)
    }

    /// A copy that was put aside must come back: what was proved about the device no longer counts.
    fn note_losses(&self, name: &str, losses: u64) {
        let mut memory = self.0.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.losses.insert(name.to_owned(), losses) != Some(losses) {
            memory.proofs.retain(|(device, _, _), _| device != name);
        }
    }

    /// Whether a local device lost copies to quarantine since the last round looked at it.
    pub fn has_losses(&self) -> bool {
        let memory = self.0.memory.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.devices.iter_all().any(|(name, device)| {
            memory
                .losses
                .get(&name)
                .is_some_and(|known| *known != device.losses())
        })
    }

    pub(crate) fn peer(&self, node: &Node) -> Peer {
        let deadline = Duration::from_millis(self.0.config.call_timeout_ms);
        let clients = self.0.config.clients.clone();
        Peer::new(self.0.client.clone(), node.clone(), deadline, clients)
    }

    fn work(&self, device: &str) -> Arc<Work> {
        let config = &self.0.config;
        let mut memory = self.0.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let work = memory.work.entry(device.to_owned()).or_insert_with(|| {
            Arc::new(Work {
                progress: Progress::default(),
                courtesy: Courtesy::new(
                    config.clients.clone(),
                    config.concurrency,
                    config.bytes_per_second,
                    config.records_per_second,
                ),
            })
        });
        work.clone()
    }

    /// What is still to do for a local device, as far as comparisons have named it.
    pub fn remaining(&self, device: &str) -> Remaining {
        self.work(device).progress.remaining()
    }

    pub(crate) fn config(&self) -> &ReplicatorConfig {
        &self.0.config
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    pub(crate) fn devices(&self) -> &DeviceSet {
        &self.0.devices
    }

    /// Whether this device was found to have missed no forgotten deletion since the rings last changed.
    pub(crate) fn is_undoubted(&self, name: &str) -> bool {
        let memory = self.0.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.undoubted.contains(name)
    }

    pub(crate) fn forget_undoubted(&self, name: &str) {
        let mut memory = self.0.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.undoubted.remove(name);
    }

    pub(crate) fn note_undoubted(&self, name: &str) {
        let mut memory = self.0.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.undoubted.insert(name.to_owned());
    }

    pub(crate) fn concurrency(&self) -> usize {
        self.0.config.concurrency.max(1)
    }

    pub(crate) fn salt(&self) -> &HashSalt {
        &self.0.salt
    }

    pub(crate) fn reports(&self) -> AccountReports {
        AccountReports::new(self.0.rings.clone(), self.0.salt.clone(), self.0.clock.clone())
    }

    pub(crate) fn proof(&self, key: &ProofKey) -> Option<Proof> {
        self.0
            .memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .proofs
            .get(key)
            .cloned()
    }

    /// Keeps a proof, or with `None` forgets the one that was there.
    pub(crate) fn set_proof(&self, key: ProofKey, proof: Option<Proof>) {
        let mut memory = self.0.memory.lock().unwrap_or_else(PoisonError::into_inner);
        match proof {
            Some(proof) => memory.proofs.insert(key, proof),
            None => memory.proofs.remove(&key),
        };
    }
}

/// Every space that the rings place, accounts and containers first: they are small, and listings need them.
pub(crate) fn spaces(rings: &RingSet) -> Vec<(Space, &Ring)> {
    let objects = rings
        .objects
        .iter()
        .map(|(policy, ring)| (Space::Objects(*policy), ring));
    [
        (Space::Accounts, &rings.account),
        (Space::Containers, &rings.container),
    ]
    .into_iter()
    .chain(objects)
    .collect()
}

fn holdings(ring: &Ring, id: u32) -> Holdings {
    let mut primary = vec![false; ring.partition_count() as usize];
    for row in ring.rows() {
        for (held, owner) in primary.iter_mut().zip(row.ids()) {
            *held |= owner == id;
        }
    }
    Holdings::new(ring.part_power(), primary)
}

impl SpaceRound<'_> {
    pub fn proof_key(&self, peer: &Peer) -> ProofKey {
        (self.device_name.to_owned(), self.space, node_name(peer.node()))
    }

    pub async fn digests(&self) -> Result<Vec<Digest>, StorageError> {
        let mut digests = self.device.digests(self.space).await?;
        crate::wire::settle(&mut digests);
        Ok(digests)
    }

    /// All versions below a prefix here, ascending.
    pub async fn versions(&self, prefix: u16) -> Result<Vec<Version>, StorageError> {
        self.versions_of(&[prefix]).await
    }

    /// All versions below some prefixes here, in their order.
    pub async fn versions_of(&self, prefixes: &[u16]) -> Result<Vec<Version>, StorageError> {
        let mut versions: Vec<Version> = Vec::new();
        for prefix in prefixes {
            let mut after = None;
            loop {
                let page = self
                    .device
                    .versions(self.space, *prefix, after, crate::wire::MAX_VERSIONS)
                    .await?;
                let is_full = page.len() >= crate::wire::MAX_VERSIONS;
                after = page.last().map(|last| last.hash);
                versions.extend(page);
                if !is_full {
                    break;
                }
            }
        }
        Ok(versions)
    }

    /// Shows what is left to do now.
    pub fn publish_progress(&self) {
        self.work.progress.remaining().publish(self.device_name);
    }

    /// A peer does not answer: it is left out for the rest of the round.
    pub fn note_silent(&self, peer: &Peer, error: &PeerError) {
        let name = node_name(peer.node());
        let mut silent = self.round.silent.lock().unwrap_or_else(PoisonError::into_inner);
        if silent.insert(name.clone()) {
            tracing::info!(peer = name, %error, "a device does not answer the replicator");
        }
        self.tally.unreachable(name);
    }

    /// One thing could not be pulled or pushed; the next round tries again.
    pub fn note_failure(&self, peer: &Peer, error: &PeerError, what: &str) {
        self.tally.failed(1);
        self.note_trouble(peer, error, what);
    }

    /// Something did not work with this peer; another one may do.
    pub fn note_trouble(&self, peer: &Peer, error: &PeerError, what: &str) {
        if error.local() == Some(&StorageError::Full) {
            self.tally.note_full();
        }
        tracing::info!(
            device = self.device_name,
            peer = node_name(peer.node()),
            space = crate::wire::space_name(self.space),
            %error,
            what,
            "replication failed for now"
        );
    }
}

/// Tries again when a device, here or there, has too much to do for the moment.
pub(crate) async fn patiently<T, F>(mut work: impl FnMut() -> F) -> Result<T, PeerError>
where
    F: Future<Output = Result<T, PeerError>>,
{
    for pause_ms in [10, 50, 250, 1_000] {
        match work().await {
            Err(error) if error.is_busy() => tokio::time::sleep(Duration::from_millis(pause_ms)).await,
            other => return other,
        }
    }
    work().await
}
