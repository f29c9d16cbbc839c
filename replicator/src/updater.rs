//! Delivers rows that servers still owe: from the outboxes of the local devices to container and account servers.
//!
//! A server sends a row at once; what was not acknowledged stays in its device's outbox until the updater has brought it
//! to every target. A container whose server refuses is tried less and less often; the others do not wait for it. Counts
//! of containers (coalesced entries) are sent only from here.

use crate::account_report;
use crate::backoff::Backoff;
use crate::replicator::Rings;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use http::StatusCode;
use martlet_node_client::{NodeClient, send_update};
use martlet_protocol::hash::HashSalt;
use martlet_protocol::header;
use martlet_protocol::timestamp::Timestamp;
use martlet_protocol::update::{Update, UpdateTarget};
use martlet_service::Clock;
use martlet_storage::{Device, DeviceSet, OutboxId, StorageError};
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bounds of the updater.
#[derive(Clone, Debug)]
pub struct UpdaterConfig {
    /// Updates of one device under way at once.
    pub concurrency: usize,
    /// For one update to be acknowledged, milliseconds.
    pub timeout_ms: u64,
    /// Entries that one tick looks at; the next tick goes on where this one stopped.
    pub entries_per_tick: usize,
    /// After the first refusal of a container, milliseconds; doubles each time.
    pub first_pause_ms: u64,
    /// The longest pause between two tries of a container, milliseconds.
    pub longest_pause_ms: u64,
    /// A row that is refused (no such container) for longer than this is given up, seconds. Swift's `reclaim_age`.
    pub reclaim_age_secs: u64,
}

impl Default for UpdaterConfig {
    fn default() -> Self {
        UpdaterConfig {
            concurrency: 32,
            timeout_ms: 5_000,
            entries_per_tick: 20_000,
            first_pause_ms: 1_000,
            longest_pause_ms: 60_000,
            reclaim_age_secs: 7 * 24 * 3600,
        }
    }
}

/// What one pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UpdateReport {
    /// Entries that all their targets have acknowledged.
    pub delivered: u64,
    /// Entries that still wait for some target.
    pub waiting: u64,
    /// Entries given up because they were refused for too long.
    pub given_up: u64,
}

/// Drains outboxes. Clones share everything.
#[derive(Clone)]
pub struct Updater(Arc<Shared>);

struct Shared {
    config: UpdaterConfig,
    devices: DeviceSet,
    rings: Rings,
    client: NodeClient,
    clock: Clock,
    salt: HashSalt,
    backoff: Mutex<Backoff<Key>>,
    places: Mutex<HashMap<String, Place>>,
}

/// One container or account at one of its servers.
type Key = (UpdateTarget, String);

/// The key under which an update pauses: all rows of a container do so together.
fn key(update: &Update, target: &UpdateTarget) -> Key {
    let path = match update.object {
        Some(_) => format!("{}/{}", update.account, update.container),
        None => update.account.clone(),
    };
    (target.clone(), path)
}

/// Where the ticks are in one outbox.
#[derive(Clone, Debug, Default)]
struct Place {
    /// Everything queued up to here is gone. Reading starts after it, past the graves of what was delivered.
    floor: Option<OutboxId>,
    /// The last tick stopped here, before the end.
    resume: Option<OutboxId>,
    /// Queued entries that the last tick saw, ascending. What it did not see yet is left to the server that wrote it.
    seen: Vec<OutboxId>,
}

impl Place {
    /// Takes in what a reading from the floor found queued.
    fn advance(&mut self, queued: &[OutboxId]) {
        let first = queued.first();
        let gone = self
            .seen
            .iter()
            .rev()
            .find(|id| first.is_none_or(|first| *id < first));
        self.floor = gone.copied().max(self.floor);
        self.seen = queued.to_vec();
    }
}

#[derive(Default)]
struct Tally {
    delivered: AtomicU64,
    waiting: AtomicU64,
    given_up: AtomicU64,
}

/// One pass over one outbox.
struct Sweep<'a> {
    updater: &'a Shared,
    device: &'a Device,
    /// Nothing waits for a pause to end or for its writer.
    is_urgent: bool,
    tally: &'a Tally,
    /// Targets found silent in this pass.
    silent: &'a Mutex<HashSet<UpdateTarget>>,
}

/// What a target said to a row.
enum Said {
    Taken,
    Refused(StatusCode),
    Nothing,
}

impl Updater {
    pub fn new(
        config: UpdaterConfig,
        devices: DeviceSet,
        rings: Rings,
        client: NodeClient,
        clock: Clock,
        salt: HashSalt,
    ) -> Self {
        let backoff = Mutex::new(Backoff::new(
            Duration::from_millis(config.first_pause_ms),
            Duration::from_millis(config.longest_pause_ms),
        ));
        let places = Mutex::default();
        Updater(Arc::new(Shared {
            config,
            devices,
            rings,
            client,
            clock,
            salt,
            backoff,
            places,
        }))
    }

    /// Tries everything that is owed, now.
    pub async fn pass(&self) -> UpdateReport {
        self.run(true).await
    }

    /// What the worker does each second: leaves alone what pauses, and rows their writers are still sending.
    pub async fn tick(&self) -> UpdateReport {
        self.run(false).await
    }

    async fn run(&self, is_urgent: bool) -> UpdateReport {
        let tally = Tally::default();
        let silent = Mutex::default();
        let local: Vec<(String, Device)> = self.0.devices.iter().collect();
        let sweeps = local.iter().map(|(name, device)| {
            let sweep = Sweep {
                updater: &self.0,
                device,
                is_urgent,
                tally: &tally,
                silent: &silent,
            };
            async move {
                if let Err(error) = sweep.outbox(name).await {
                    tracing::error!(device = name, %error, "the outbox cannot be read");
                }
            }
        });
        join_all(sweeps).await;
        UpdateReport {
            delivered: tally.delivered.into_inner(),
            waiting: tally.waiting.into_inner(),
            given_up: tally.given_up.into_inner(),
        }
    }
}

impl Sweep<'_> {
    async fn outbox(&self, name: &str) -> Result<(), StorageError> {
        const PAGE: usize = 1_000;
        let mut place = {
            let places = self.updater.places.lock().unwrap_or_else(PoisonError::into_inner);
            places.get(name).cloned().unwrap_or_default()
        };
        // An urgent pass reads all; a tick reads its share.
        let most = if self.is_urgent {
            usize::MAX
        } else {
            self.updater.config.entries_per_tick
        };
        let from_floor = self.is_urgent || place.resume.is_none();
        let known = place.seen.last().copied();
        let mut after = if from_floor { place.floor } else { place.resume };
        let mut queued = Vec::new();
        let mut read = 0;
        let reached_end = loop {
            let page = self.device.outbox(after, PAGE).await?;
            let full = page.len() == PAGE;
            read += page.len();
            after = page.last().map(|(id, _)| *id).or(after);
            queued.extend(
                page.iter()
                    .filter(|(_, update)| !update.coalesce)
                    .map(|(id, _)| *id),
            );
            let ready = page.into_iter().filter(|(id, update)| {
                // A queued row that is new is being sent by the server that wrote it.
                self.is_urgent || update.coalesce || known.is_some_and(|known| *id <= known)
            });
            let work = ready.map(|(id, update)| self.deliver(id, update));
            let mut work = stream::iter(work).buffer_unordered(self.updater.config.concurrency.max(1));
            while let Some(outcome) = work.next().await {
                outcome?;
            }
            if !full {
                break true;
            }
            if read >= most {
                break false;
            }
        };
        if from_floor {
            // Bounded by `entries_per_tick` on a tick; an urgent pass keeps no more than that either.
            queued.truncate(self.updater.config.entries_per_tick);
            place.advance(&queued);
        } else {
            place.seen.extend(queued);
            place.seen.sort_unstable();
            place.seen.dedup();
            let surplus = place
                .seen
                .len()
                .saturating_sub(2 * self.updater.config.entries_per_tick);
            place.seen.drain(..surplus);
        }
        place.resume = if reached_end { None } else { after };
        self.updater
            .places
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), place);
        Ok(())
    }

    async fn deliver(&self, id: OutboxId, mut update: Update) -> Result<(), StorageError> {
        let before = update.targets.clone();
        update.targets = self.updater.current_targets(&update);
        let said = join_all(update.targets.iter().map(|target| self.send(&update, target))).await;
        let is_refused = said.iter().any(|said| matches!(said, Said::Refused(_)));
        let mut taken = said.iter().map(|said| matches!(said, Said::Taken));
        update.targets.retain(|_| !taken.next().unwrap_or(false));
        if update.targets.is_empty() {
            self.device.outbox_ack(id);
            self.tally.delivered.fetch_add(1, Ordering::Relaxed);
            metrics::counter!("martlet_updater_delivered_total").increment(1);
        } else if is_refused && self.updater.is_too_old(&update) {
            tracing::warn!(
                account = update.account,
                container = update.container,
                object = update.object,
                "an update was refused for longer than the reclaim age and is given up"
            );
            self.device.outbox_ack(id);
            self.tally.given_up.fetch_add(1, Ordering::Relaxed);
        } else {
            self.tally.waiting.fetch_add(1, Ordering::Relaxed);
            if update.targets != before {
                self.device.outbox_replace(id, update).await?;
            }
        }
        Ok(())
    }

    async fn send(&self, update: &Update, target: &UpdateTarget) -> Said {
        if self
            .silent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(target)
        {
            return Said::Nothing;
        }
        let key = key(update, target);
        let backoff = || {
            self.updater
                .backoff
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if !self.is_urgent && !backoff().may_try(&key, Instant::now()) {
            return Said::Nothing;
        }
        let limit = Duration::from_millis(self.updater.config.timeout_ms);
        let call = send_update(&self.updater.client, update, target, "updater");
        let (said, reason) = match tokio::time::timeout(limit, call).await {
            Ok(Ok(response)) if response.status().is_success() => {
                backoff().succeeded(&key);
                return Said::Taken;
            }
            Ok(Ok(response)) => (Said::Refused(response.status()), response.status().to_string()),
            Ok(Err(error)) => (Said::Nothing, error.to_string()),
            Err(_) => (Said::Nothing, "no answer in time".to_owned()),
        };
        let is_away = match &said {
            Said::Nothing => true,
            // Its device is not mounted.
            Said::Refused(status) => *status == StatusCode::INSUFFICIENT_STORAGE,
            Said::Taken => false,
        };
        if is_away {
            self.silent
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(target.clone());
        }
        backoff().failed(key, Instant::now());
        metrics::counter!("martlet_updater_failures_total").increment(1);
        tracing::debug!(
            node = format!("{}:{}", target.ip, target.port),
            device = target.device,
            reason,
            "an update was not taken; it is tried again"
        );
        said
    }
}

impl Shared {
    /// Where a row must go by today's ring: a target that is no longer a primary is replaced by all of them.
    fn current_targets(&self, update: &Update) -> Vec<UpdateTarget> {
        let rings = self.rings.load();
        let (ring, container) = match &update.object {
            Some(_) => (&rings.container, Some(update.container.as_str())),
            None => (&rings.account, None),
        };
        let partition = ring.partition(&self.salt.hash(&update.account, container, None));
        let primaries = account_report::targets(ring, partition);
        if primaries.is_empty() || update.targets.iter().all(|target| primaries.contains(target)) {
            return update.targets.clone();
        }
        primaries
    }

    fn is_too_old(&self, update: &Update) -> bool {
        let written = update
            .headers
            .iter()
            .find(|(name, _)| name == header::X_TIMESTAMP);
        let written = written.and_then(|(_, text)| Timestamp::parse(text).ok());
        let now = self.clock.now().secs();
        written.is_some_and(|at| at.secs().saturating_add(self.config.reclaim_age_secs) < now)
    }
}
