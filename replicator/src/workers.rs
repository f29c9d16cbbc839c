//! Runs the workers in the background, each at its own pace, and any or all of them on demand.

use crate::auditor::Auditor;
use crate::container_sync::{ContainerSync, ContainerSyncReport};
use crate::expirer::{ExpireReport, Expirer};
use crate::ledger::{LastPass, Ledger};
use crate::missed::Missed;
use crate::reaper::{ReapReport, Reaper};
use crate::reclaimer::{ReclaimReport, Reclaimer};
use crate::reconciler::{ReconcileReport, Reconciler};
use crate::replicator::Replicator;
use crate::report::PassReport;
use crate::status::{self, ClockStatus, NodeStatus};
use crate::updater::{UpdateReport, Updater};
use http::{Method, StatusCode};
use martlet_protocol::timestamp::Timestamp;
use martlet_service::{BoxFuture, Clock, Handler, Request, Response, Shutdown, Skews, Tasks, respond};
use martlet_storage::DeviceSet;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How old the gauges of a device may be. Its outbox is counted for them.
const GAUGE_INTERVAL: Duration = Duration::from_secs(30);

/// A proxy that speaks of writes further in the future is not listened to.
const MAX_AHEAD_SECS: u64 = 60;

/// How often the workers work, milliseconds.
#[derive(Clone, Debug)]
pub struct WorkersConfig {
    /// Between two rounds of the replicator; the first begins at once.
    pub replicate_interval_ms: u64,
    /// Between two looks into the outboxes.
    pub update_interval_ms: u64,
    /// Between two looks for what is due.
    pub expire_interval_ms: u64,
    /// Between two looks for deletions that may be forgotten.
    pub reclaim_interval_ms: u64,
    /// Between two looks for deleted accounts. Swift's `interval` of the account reaper.
    pub reap_interval_ms: u64,
    /// Between two looks for objects under a wrong policy. Swift's `interval` of the container reconciler.
    pub reconcile_interval_ms: u64,
    /// Between two rounds over the containers that other clusters mirror. Swift's `interval` of container-sync.
    pub container_sync_interval_ms: u64,
    /// Between two rounds of the auditor. Swift's `interval`.
    pub audit_interval_ms: u64,
    /// Between two questions to a device that did not answer; when it does, a round begins. So it does when copies
    /// were put aside here since the last one.
    pub probe_interval_ms: u64,
}

impl Default for WorkersConfig {
    fn default() -> Self {
        WorkersConfig {
            replicate_interval_ms: 30_000,
            update_interval_ms: 1_000,
            expire_interval_ms: 5_000,
            reclaim_interval_ms: 3_600_000,
            reap_interval_ms: 3_600_000,
            reconcile_interval_ms: 30_000,
            container_sync_interval_ms: 300_000,
            audit_interval_ms: 1_800_000,
            probe_interval_ms: 2_000,
        }
    }
}

/// Every worker of a node.
#[derive(Clone)]
pub struct WorkerSet {
    pub replicator: Replicator,
    pub updater: Updater,
    pub expirer: Expirer,
    pub reclaimer: Reclaimer,
    pub auditor: Auditor,
    pub reaper: Reaper,
    pub reconciler: Reconciler,
    pub container_sync: ContainerSync,
}

/// The workers of one node.
pub struct Workers {
    config: WorkersConfig,
    devices: DeviceSet,
    set: WorkerSet,
    clock: Clock,
    ledger: Ledger,
    /// One round of the replicator at a time: one on demand waits for the one under way.
    running: tokio::sync::Mutex<()>,
    replicate_now: Notify,
    update_now: Notify,
    missed: Mutex<Missed>,
    /// Something new was said to have been missed.
    missed_more: Notify,
    unreachable: Mutex<BTreeSet<String>>,
}

/// What a pass on demand did.
#[derive(Clone, Debug, Serialize)]
pub struct FullReport {
    /// All local devices have all that was acknowledged before, and nothing is owed or left to do.
    pub complete: bool,
    pub replication: PassReport,
    pub expired: ExpireReport,
    pub reconciled: ReconcileReport,
    pub reaped: ReapReport,
    pub reclaimed: ReclaimReport,
    pub updates_before: UpdateReport,
    pub updates_after: UpdateReport,
    pub mirrored: ContainerSyncReport,
}

impl Workers {
    /// Starts the workers as tasks that end when asked to; a round under way is dropped between two commits.
    pub fn spawn(
        config: WorkersConfig,
        devices: DeviceSet,
        set: WorkerSet,
        clock: Clock,
        tasks: &Tasks,
        shutdown: Shutdown,
    ) -> Arc<Workers> {
        set.replicator.admit_all();
        let interval = Duration::from_millis(config.replicate_interval_ms);
        let workers = Arc::new(Workers {
            config,
            devices,
            set,
            clock,
            ledger: Ledger::default(),
            running: tokio::sync::Mutex::new(()),
            replicate_now: Notify::new(),
            update_now: Notify::new(),
            missed: Mutex::new(Missed::new(interval)),
            missed_more: Notify::new(),
            unreachable: Mutex::default(),
        });
        let run = |name: &str, work: BoxFuture<'static, ()>| {
            let shutdown = shutdown.clone();
            tasks.spawn(name, async move {
                tokio::select! {
                    () = shutdown.requested() => {}
                    () = work => {}
                }
            });
        };
        run("replicator", Box::pin(workers.clone().replicate()));
        run("replicator probe", Box::pin(workers.clone().probe()));
        run("updater", Box::pin(workers.clone().update()));
        run("expirer", Box::pin(workers.clone().expire()));
        run("reclaimer", Box::pin(workers.clone().reclaim()));
        run("reaper", Box::pin(workers.clone().reap()));
        run("reconciler", Box::pin(workers.clone().reconcile()));
        run("device gauges", Box::pin(workers.clone().gauges()));
        run("container sync", Box::pin(workers.clone().container_sync()));
        run("auditor", Box::pin(workers.clone().audit()));
        workers
    }

    /// One full round of everything, now.
    pub async fn pass(&self) -> FullReport {
        let set = &self.set;
        let updates_before = self.noted("updater", set.updater.pass()).await;
        let replication = self.replicate_once().await;
        let expired = self.noted("expirer", set.expirer.pass()).await;
        let reconciled = self.noted("reconciler", set.reconciler.pass()).await;
        let reaped = self.noted("reaper", set.reaper.pass()).await;
        let reclaimed = self.noted("reclaimer", set.reclaimer.pass()).await;
        let updates_after = self.noted("updater", set.updater.pass()).await;
        let mirrored = self.noted("container-sync", set.container_sync.pass()).await;
        let remaining: u64 = replication.devices.values().map(|device| device.remaining).sum();
        FullReport {
            complete: replication.complete && remaining == 0 && updates_after.waiting == 0,
            replication,
            expired,
            reconciled,
            reaped,
            reclaimed,
            updates_before,
            updates_after,
            mirrored,
        }
    }

    /// One full round of one worker, now; its report. `None`: there is no such worker.
    pub async fn pass_of(&self, worker: &str) -> Option<serde_json::Value> {
        let set = &self.set;
        let report = match worker {
            "replicator" => serde_json::to_value(self.replicate_once().await),
            "updater" => serde_json::to_value(self.noted("updater", set.updater.pass()).await),
            "expirer" => serde_json::to_value(self.noted("expirer", set.expirer.pass()).await),
            "reclaimer" => serde_json::to_value(self.noted("reclaimer", set.reclaimer.pass()).await),
            "reaper" => serde_json::to_value(self.noted("reaper", set.reaper.pass()).await),
            "reconciler" => serde_json::to_value(self.noted("reconciler", set.reconciler.pass()).await),
            "container-sync" => {
                serde_json::to_value(self.noted("container-sync", set.container_sync.pass()).await)
            }
            "auditor" => {
                let report = self.noted("auditor", set.auditor.pass()).await;
                if report.damaged > report.repaired {
                    self.replicate_soon();
                }
                serde_json::to_value(report)
            }
            _ => return None,
        };
        report.ok()
    }

    /// The devices in numbers, and what each worker did last.
    pub async fn status(&self) -> NodeStatus {
        status::look(
            &self.devices,
            &self.set.replicator,
            &self.ledger,
            self.clock.now(),
        )
        .await
    }

    /// What each worker did last.
    pub fn last_passes(&self) -> BTreeMap<&'static str, LastPass> {
        self.ledger.all()
    }

    /// Runs a pass and writes down how it went.
    async fn noted<T: Serialize>(&self, worker: &'static str, pass: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let report = pass.await;
        self.ledger
            .note(worker, self.clock.now(), begun.elapsed(), &report);
        report
    }

    /// A round of the replicator soon: after a reload of the rings, for example.
    pub fn replicate_soon(&self) {
        self.replicate_now.notify_one();
    }

    /// A proxy says that a write of this moment did not reach a device of this node. A round begins at once, unless one
    /// began after that moment, or the last one is too fresh: proxies say so with each request.
    pub fn missed(&self, device: &str, moment: Timestamp) {
        let is_here = self
            .devices
            .get(device)
            .is_ok_and(|device| device.synced_at() > moment);
        // A proxy whose clock is far ahead could not be satisfied by any round.
        let is_sane = moment.secs() <= self.clock.now().secs() + MAX_AHEAD_SECS;
        if is_sane && !is_here && self.lock_missed().note(moment) {
            self.missed_more.notify_one();
        }
    }

    fn lock_missed(&self) -> MutexGuard<'_, Missed> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when a round is due because of what proxies said.
    async fn missed_is_due(&self) {
        loop {
            let due = self.lock_missed().due(Instant::now());
            let time = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = time => return,
                () = self.missed_more.notified() => {}
            }
        }
    }

    /// A look into the outboxes soon.
    pub fn update_soon(&self) {
        self.update_now.notify_one();
    }

    async fn replicate_once(&self) -> PassReport {
        let _alone = self.running.lock().await;
        let (devices, replicator) = (self.devices.clone(), self.set.replicator.clone());
        // A disk that was mounted meanwhile takes part again.
        if tokio::task::spawn_blocking(move || devices.reopen_missing(|device| replicator.admit(device)))
            .await
            .is_err()
        {
            tracing::error!("looking for mounted devices failed");
        }
        self.lock_missed().began(self.clock.now(), Instant::now());
        let report = self.noted("replicator", self.set.replicator.pass()).await;
        self.lock_missed().ended(report.complete);
        self.unreachable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(&report.unreachable);
        report
    }

    async fn replicate(self: Arc<Self>) {
        loop {
            self.replicate_once().await;
            let pause = Duration::from_millis(self.config.replicate_interval_ms);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.replicate_now.notified() => {}
                () = self.missed_is_due() => {}
            }
        }
    }

    /// What a device missed while it was away it should have soon after it is back, and so should we; and what was
    /// damaged here should be whole again soon.
    async fn probe(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_millis(self.config.probe_interval_ms)).await;
            if self.set.replicator.has_losses() {
                self.replicate_soon();
            }
            let silent = self
                .unreachable
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            for name in silent {
                if self.set.replicator.answers(&name).await {
                    self.unreachable
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .remove(&name);
                    self.replicate_now.notify_one();
                }
            }
        }
    }

    async fn update(self: Arc<Self>) {
        loop {
            let pause = Duration::from_millis(self.config.update_interval_ms);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.update_now.notified() => {}
            }
            self.noted("updater", self.set.updater.tick()).await;
        }
    }

    async fn expire(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_millis(self.config.expire_interval_ms)).await;
            let report = self.noted("expirer", self.set.expirer.pass()).await;
            if report.expired > 0 {
                self.update_now.notify_one();
            }
        }
    }

    async fn reclaim(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_millis(self.config.reclaim_interval_ms)).await;
            self.noted("reclaimer", self.set.reclaimer.pass()).await;
        }
    }

    async fn gauges(self: Arc<Self>) {
        loop {
            status::publish(&self.status().await);
            tokio::time::sleep(GAUGE_INTERVAL).await;
        }
    }

    async fn reap(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_millis(self.config.reap_interval_ms)).await;
            self.noted("reaper", self.set.reaper.pass()).await;
        }
    }

    async fn reconcile(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_millis(self.config.reconcile_interval_ms)).await;
            let report = self.noted("reconciler", self.set.reconciler.pass()).await;
            if report.moved > 0 {
                self.update_soon();
            }
        }
    }

    async fn container_sync(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_millis(self.config.container_sync_interval_ms)).await;
            self.noted("container-sync", self.set.container_sync.paced_pass())
                .await;
        }
    }

    /// A round that a restart cut off goes on where it was.
    async fn audit(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_millis(self.config.audit_interval_ms)).await;
            let report = self.noted("auditor", self.set.auditor.paced_pass()).await;
            if report.damaged > report.repaired {
                self.replicate_soon();
            }
        }
    }
}

/// `POST /martlet/pass`: one full round of everything, or of `?worker=NAME`, answered with its report as JSON.
pub struct PassEndpoint(pub Arc<Workers>);

impl Handler for PassEndpoint {
    fn call(&self, request: Request) -> BoxFuture<'_, Response> {
        Box::pin(async move {
            if request.method() != Method::POST {
                return respond::empty(StatusCode::METHOD_NOT_ALLOWED);
            }
            let workers = self.0.clone();
            let worker = request
                .uri()
                .query()
                .and_then(|query| query.strip_prefix("worker="))
                .map(str::to_owned);
            // In its own task: a caller that leaves does not stop a round midway.
            let report = tokio::spawn(async move {
                match worker {
                    Some(worker) => workers.pass_of(&worker).await,
                    None => serde_json::to_value(workers.pass().await).ok(),
                }
            });
            match report.await {
                Ok(Some(report)) => respond::json(StatusCode::OK, &report),
                Ok(None) => respond::text(StatusCode::BAD_REQUEST, "no such worker"),
                Err(_) => respond::empty(StatusCode::INTERNAL_SERVER_ERROR),
            }
        })
    }
}

/// `GET /martlet/status`: the devices in numbers, the last passes and what is known of clocks, as JSON.
pub struct StatusEndpoint {
    workers: Arc<Workers>,
    skews: Skews,
}

impl StatusEndpoint {
    pub fn new(workers: Arc<Workers>, skews: Skews) -> Self {
        StatusEndpoint { workers, skews }
    }
}

impl Handler for StatusEndpoint {
    fn call(&self, request: Request) -> BoxFuture<'_, Response> {
        Box::pin(async move {
            if request.method() != Method::GET {
                return respond::empty(StatusCode::METHOD_NOT_ALLOWED);
            }
            let status = self.workers.status().await;
            let status = NodeStatus {
                clock: ClockStatus::of(&self.skews),
                ..status
            };
            respond::json(StatusCode::OK, &status)
        })
    }
}
