//! Brings what changes in containers of this cluster to the containers of others that mirror them.
//!
//! Swift's container-sync daemon; see "Container to Container Synchronization" in its documentation. A container whose
//! owner has set `X-Container-Sync-To` and `-Key` keeps a log of its rows (`martlet-storage`), one on each replica. A new
//! row is first sent by the one replica whose share it is; in the next pass every replica makes sure of those that are
//! still in its own log, mostly with a HEAD, and strikes them. So the replicas share the work, and a row is missed only if
//! all of them are lost. What fails stays in the log.

mod destination;
mod row;
mod sweep;

use crate::backoff::Backoff;
use crate::neighbours::Neighbours;
use crate::replicator::Rings;
use crate::sweep::{Tally, over_devices};
use martlet_node_client::{HttpProxy, RemoteClient};
use martlet_protocol::hash::{HashSalt, PathHash};
use martlet_protocol::sync::{Realms, RealmsFile};
use martlet_service::WatchedFile;
use martlet_storage::DeviceSet;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use sweep::Round;

/// Between two looks at the realms file, unless it says otherwise.
const REALMS_CHECK_INTERVAL: Duration = Duration::from_secs(300);

/// Whom this node sends to, and how hard it tries.
#[derive(Clone, Debug)]
pub struct ContainerSyncConfig {
    /// Swift's `container-sync-realms.conf`.
    pub realms_conf: Option<PathBuf>,
    /// Hosts that containers may name by a whole address. Swift's option.
    pub allowed_sync_hosts: Vec<String>,
    /// HTTP proxies through which the other clusters are reached, by turns; straight without any. Swift's option.
    pub sync_proxy: Vec<HttpProxy>,
    /// Spent on one container in one pass, seconds; the rest waits for the next. Swift's `container_time`.
    pub container_time_secs: u64,
    /// Rows of one container under way at once. Swift's `sync_row_concurrency`.
    pub concurrency: usize,
    /// For a connection to the other cluster, milliseconds. Swift's `conn_timeout`.
    pub connect_timeout_ms: u64,
    /// How long a request may go without a byte moving, milliseconds.
    pub stall_timeout_ms: u64,
    /// After the first pass in which nothing of a container could be sent, milliseconds; doubles each time.
    pub first_pause_ms: u64,
    pub longest_pause_ms: u64,
}

impl Default for ContainerSyncConfig {
    fn default() -> Self {
        ContainerSyncConfig {
            realms_conf: None,
            allowed_sync_hosts: vec!["127.0.0.1".into()],
            sync_proxy: Vec::new(),
            container_time_secs: 60,
            concurrency: 8,
            connect_timeout_ms: 5_000,
            stall_timeout_ms: 60_000,
            first_pause_ms: 300_000,
            longest_pause_ms: 3_600_000,
        }
    }
}

/// What one pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ContainerSyncReport {
    /// Containers that were gone through.
    pub containers: u64,
    /// Objects sent.
    pub puts: u64,
    /// Deletions sent.
    pub deletes: u64,
    /// Of the objects sent.
    pub bytes: u64,
    /// Rows that the other cluster had already.
    pub present: u64,
    /// Containers and objects that are not sent at all: those with versions, and uploads in parts of the S3 API.
    pub skipped: u64,
    /// Containers that are left out for a while because their other end did not take anything.
    pub paused: u64,
    /// Rows and containers that a later pass tries again.
    pub failures: u64,
}

impl Tally for ContainerSyncReport {
    fn add(&mut self, other: &Self) {
        self.containers += other.containers;
        self.puts += other.puts;
        self.deletes += other.deletes;
        self.bytes += other.bytes;
        self.present += other.present;
        self.skipped += other.skipped;
        self.paused += other.paused;
        self.failures += other.failures;
    }

    fn fail(&mut self) {
        self.failures += 1;
    }
}

/// Sends to other clusters. Clones share everything.
#[derive(Clone)]
pub struct ContainerSync(Arc<Shared>);

struct Shared {
    config: ContainerSyncConfig,
    neighbours: Neighbours,
    devices: DeviceSet,
    rings: Rings,
    salt: HashSalt,
    remote: RemoteClient,
    realms: Arc<WatchedFile<Realms>>,
    backoff: Mutex<Backoff<(String, PathHash)>>,
}

impl ContainerSync {
    pub fn new(
        config: ContainerSyncConfig,
        neighbours: Neighbours,
        devices: DeviceSet,
        rings: Rings,
        salt: HashSalt,
    ) -> Self {
        let realms = WatchedFile::new(
            config.realms_conf.clone(),
            REALMS_CHECK_INTERVAL,
            RealmsFile::parsed,
        );
        let pause = Duration::from_millis;
        ContainerSync(Arc::new(Shared {
            remote: RemoteClient::new(
                config.connect_timeout_ms,
                config.stall_timeout_ms,
                config.sync_proxy.clone(),
            ),
            backoff: Mutex::new(Backoff::new(
                pause(config.first_pause_ms),
                pause(config.longest_pause_ms),
            )),
            realms: Arc::new(realms),
            config,
            neighbours,
            devices,
            rings,
            salt,
        }))
    }

    /// Goes through every container of this node, paused ones too: somebody asked for it.
    pub async fn pass(&self) -> ContainerSyncReport {
        self.sweeps(true).await
    }

    /// The same without the containers that are in pause.
    pub async fn paced_pass(&self) -> ContainerSyncReport {
        self.sweeps(false).await
    }

    async fn sweeps(&self, is_urgent: bool) -> ContainerSyncReport {
        let round = Round {
            shared: &self.0,
            realms: self.0.realms.current().await,
            is_urgent,
        };
        let sum = over_devices(&self.0.devices, &round).await;
        for (name, count) in [
            ("martlet_container_sync_syncs_total", sum.containers),
            ("martlet_container_sync_puts_total", sum.puts),
            ("martlet_container_sync_deletes_total", sum.deletes),
            ("martlet_container_sync_bytes_total", sum.bytes),
            ("martlet_container_sync_skips_total", sum.skipped),
            ("martlet_container_sync_failures_total", sum.failures),
        ] {
            metrics::counter!(name).increment(count);
        }
        sum
    }
}

impl Shared {
    fn backoff(&self) -> MutexGuard<'_, Backoff<(String, PathHash)>> {
        self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
