//! What a file says of the two roles a process may have: serving devices, and serving clients.

use super::{ContainerSyncSettings, TlsFiles, WorkerSettings};
use martlet_container_server::{AccountServerConfig, ContainerServerConfig};
use martlet_object_server::ObjectServerSettings;
use martlet_proxy::ProxyConfig;
use martlet_s3_shim::S3Config;
use martlet_service::ServeOptions;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// The storage role.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorageConfig {
    /// Where all three servers and the replication listen: the address the rings name.
    pub bind: SocketAddr,
    /// Listeners of one server alone, for rings that give each kind its own port as Swift's usually do.
    pub object_bind: Option<SocketAddr>,
    pub container_bind: Option<SocketAddr>,
    pub account_bind: Option<SocketAddr>,
    /// The listener for replication and other traffic between nodes, for rings that name a replication address; requests
    /// to replicate are then refused on the others.
    pub replication_bind: Option<SocketAddr>,
    /// `/metrics` is answered without the cluster key.
    #[serde(default = "open_metrics")]
    pub open_metrics: bool,
    /// Written at start, removed at the end.
    pub pid_file: Option<PathBuf>,
    pub devices: Vec<DeviceEntry>,
    #[serde(default)]
    pub device: DeviceTuning,
    #[serde(default)]
    pub object_server: ObjectServerSettings,
    #[serde(default)]
    pub container_server: ContainerServerConfig,
    #[serde(default)]
    pub account_server: AccountServerConfig,
    #[serde(default)]
    pub workers: WorkerSettings,
    #[serde(default)]
    pub container_sync: ContainerSyncSettings,
}

pub fn open_metrics() -> bool {
    true
}

impl StorageConfig {
    /// Every address that is listened on, with the key that names it.
    pub fn binds(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let single = [
            ("bind", Some(self.bind)),
            ("object_bind", self.object_bind),
            ("container_bind", self.container_bind),
            ("account_bind", self.account_bind),
            ("replication_bind", self.replication_bind),
        ];
        single
            .into_iter()
            .filter_map(|(name, address)| Some((name, address?)))
    }
}

/// One device and where it is mounted.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceEntry {
    /// The ring's name for it.
    pub name: String,
    pub path: PathBuf,
}

/// Settings of every device of the node.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeviceTuning {
    /// Space kept free, in bytes or percent (`"1%"`), as Swift's `fallocate_reserve`.
    pub fallocate_reserve: String,
    /// Bodies up to this many bytes live in the index.
    pub inline_limit_bytes: usize,
}

impl Default for DeviceTuning {
    fn default() -> Self {
        DeviceTuning {
            fallocate_reserve: "1%".into(),
            inline_limit_bytes: 64 * 1024,
        }
    }
}

/// The proxy role.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyRoleConfig {
    pub bind: SocketAddr,
    /// Present: clients speak TLS here, and nothing else. Looked at as the rings are.
    pub tls: Option<TlsFiles>,
    /// Connections of clients at once; further ones are answered 503 and closed.
    #[serde(default = "max_connections")]
    pub max_connections: usize,
    /// Requests at work at once, each until its response has been taken whole.
    #[serde(default = "max_requests")]
    pub max_requests: usize,
    /// Requests that may wait until one of those has ended; whoever comes on top is answered 503 with `Retry-After` at once.
    #[serde(default = "max_requests")]
    pub max_waiting_requests: usize,
    /// How long a request waits at most before it is answered so, milliseconds.
    #[serde(default = "max_wait_ms")]
    pub max_wait_ms: u64,
    /// Answer `/metrics` on the clients' port as well. Off unless the port is only yours.
    #[serde(default)]
    pub expose_metrics: bool,
    #[serde(default)]
    pub pipeline: ProxyConfig,
    /// Present: S3 is spoken on the same port.
    pub s3: Option<S3Config>,
}

pub fn max_connections() -> usize {
    ServeOptions::public("proxy").max_connections
}

/// Swift's `max_clients` of one worker.
pub fn max_requests() -> usize {
    1_024
}

/// Well within what clients wait for an answer.
pub fn max_wait_ms() -> u64 {
    5_000
}
