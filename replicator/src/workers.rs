//! Runs the replicator, the updater and the expirer in the background, and all of them at once on demand.

use crate::expirer::{ExpireReport, Expirer};
use crate::replicator::Replicator;
use crate::report::PassReport;
use crate::updater::{UpdateReport, Updater};
use http::{Method, StatusCode};
use martlet_service::{BoxFuture, Handler, Request, Response, Shutdown, Tasks, respond};
use martlet_storage::DeviceSet;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How often the workers work, milliseconds.
#[derive(Clone, Debug)]
pub struct WorkersConfig {
    /// Between two rounds of the replicator; the first begins at once.
    pub replicate_interval_ms: u64,
    /// Between two looks into the outboxes.
    pub update_interval_ms: u64,
    /// Between two looks for what is due.
    pub expire_interval_ms: u64,
    /// Between two questions to a device that did not answer; when it does, a round begins.
    pub probe_interval_ms: u64,
}

impl Default for WorkersConfig {
    fn default() -> Self {
        WorkersConfig {
            replicate_interval_ms: 30_000,
            update_interval_ms: 1_000,
            expire_interval_ms: 5_000,
            probe_interval_ms: 2_000,
        }
    }
}

/// The workers of one node.
pub struct Workers {
    config: WorkersConfig,
    devices: DeviceSet,
    replicator: Replicator,
    updater: Updater,
    expirer: Expirer,
    /// A pass on demand waits for the round under way, and the background waits for it.
    running: tokio::sync::Mutex<()>,
    replicate_now: Notify,
    update_now: Notify,
    unreachable: Mutex<BTreeSet<String>>,
}

/// What a pass on demand did.
#[derive(Clone, Debug, Serialize)]
pub struct FullReport {
    /// All local devices have all that was acknowledged before, and nothing is owed or left to do.
    pub complete: bool,
    pub replication: PassReport,
    pub expired: ExpireReport,
    pub updates_before: UpdateReport,
    pub updates_after: UpdateReport,
}

impl Workers {
    /// Starts the workers as tasks that end when asked to; a round under way is dropped between two commits.
    pub fn spawn(
        config: WorkersConfig,
        devices: DeviceSet,
        replicator: Replicator,
        updater: Updater,
        expirer: Expirer,
        tasks: &Tasks,
        shutdown: Shutdown,
    ) -> Arc<Workers> {
        let workers = Arc::new(Workers {
            config,
            devices,
            replicator,
            updater,
            expirer,
            running: tokio::sync::Mutex::new(()),
            replicate_now: Notify::new(),
            update_now: Notify::new(),
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
        workers
    }

    /// One full round of everything, now.
    pub async fn pass(&self) -> FullReport {
        let _alone = self.running.lock().await;
        let updates_before = self.updater.pass().await;
        let replication = self.replicate_once().await;
        let expired = self.expirer.pass().await;
        let updates_after = self.updater.pass().await;
        let remaining: u64 = replication.devices.values().map(|device| device.remaining).sum();
        FullReport {
            complete: replication.complete && remaining == 0 && updates_after.waiting == 0,
            replication,
            expired,
            updates_before,
            updates_after,
        }
    }

    /// A round of the replicator soon: after a reload of the rings, for example.
    pub fn replicate_soon(&self) {
        self.replicate_now.notify_one();
    }

    /// A look into the outboxes soon.
    pub fn update_soon(&self) {
        self.update_now.notify_one();
    }

    async fn replicate_once(&self) -> PassReport {
        let devices = self.devices.clone();
        // A disk that was mounted meanwhile takes part again.
        if tokio::task::spawn_blocking(move || devices.reopen_missing())
            .await
            .is_err()
        {
            tracing::error!("looking for mounted devices failed");
        }
        let report = self.replicator.pass().await;
        self.unreachable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(&report.unreachable);
        report
    }

    async fn replicate(self: Arc<Self>) {
        loop {
            {
                let _alone = self.running.lock().await;
                self.replicate_once().await;
            }
            let pause = Duration::from_millis(self.config.replicate_interval_ms);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.replicate_now.notified() => {}
            }
        }
    }

    /// What a device missed while it was away it should have soon after it is back, and so should we.
    async fn probe(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_millis(self.config.probe_interval_ms)).await;
            let silent = self
                .unreachable
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            for name in silent {
                if self.replicator.answers(&name).await {
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
            self.updater.tick().await;
        }
    }

    async fn expire(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_millis(self.config.expire_interval_ms)).await;
            if self.expirer.pass().await.expired > 0 {
                self.update_now.notify_one();
            }
        }
    }
}

/// `POST /martlet/pass`: one full round of everything, answered with its report as JSON.
pub struct PassEndpoint(pub Arc<Workers>);

impl Handler for PassEndpoint {
    fn call(&self, request: Request) -> BoxFuture<'_, Response> {
        Box::pin(async move {
            if request.method() != Method::POST {
                return respond::empty(StatusCode::METHOD_NOT_ALLOWED);
            }
            let workers = self.0.clone();
            // In its own task: a caller that leaves does not stop a round midway.
            match tokio::spawn(async move { workers.pass().await }).await {
                Ok(report) => respond::json(StatusCode::OK, &report),
                Err(_) => respond::empty(StatusCode::INTERNAL_SERVER_ERROR),
            }
        })
    }
}
