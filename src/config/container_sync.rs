//! `[storage.container_sync]`: how the node sends containers to the clusters that mirror them.

use super::ConfigError;
use martlet_node_client::HttpProxy;
use martlet_replicator::{ContainerSyncConfig, WorkersConfig};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Swift's options of `[container-sync]`, under their names.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContainerSyncSettings {
    /// `container-sync-realms.conf`; the proxies read the same.
    pub realms_conf: Option<PathBuf>,
    /// Hosts that containers may name by a whole address.
    pub allowed_sync_hosts: Vec<String>,
    /// HTTP proxies through which the other clusters are reached, by turns.
    pub sync_proxy: Vec<String>,
    /// Between two rounds, seconds.
    pub interval: u64,
    /// Spent on one container in one round, seconds.
    pub container_time: u64,
    /// Rows of one container under way at once.
    pub sync_row_concurrency: usize,
    /// For a connection to another cluster, seconds.
    pub conn_timeout: u64,
}

impl Default for ContainerSyncSettings {
    fn default() -> Self {
        let worker = ContainerSyncConfig::default();
        ContainerSyncSettings {
            realms_conf: None,
            allowed_sync_hosts: worker.allowed_sync_hosts,
            sync_proxy: Vec::new(),
            interval: WorkersConfig::default().container_sync_interval_ms / 1_000,
            container_time: worker.container_time_secs,
            sync_row_concurrency: worker.concurrency,
            conn_timeout: worker.connect_timeout_ms / 1_000,
        }
    }
}

impl ContainerSyncSettings {
    /// At least a second, so that a node without work does not run wild.
    pub fn interval_ms(&self) -> u64 {
        self.interval.max(1).saturating_mul(1_000)
    }

    /// The addresses in `sync_proxy`.
    ///
    /// # Errors
    /// When one of them is none.
    pub fn proxies(&self) -> Result<Vec<HttpProxy>, ConfigError> {
        let proxies = self.sync_proxy.iter().map(|address| address.parse());
        let proxies: Result<Vec<HttpProxy>, String> = proxies.collect();
        proxies.map_err(|problem| ConfigError::new(format!("sync_proxy: {problem}")))
    }

    pub fn worker(&self) -> ContainerSyncConfig {
        ContainerSyncConfig {
            realms_conf: self.realms_conf.clone(),
            allowed_sync_hosts: self.allowed_sync_hosts.clone(),
            // Checked when the file was read.
            sync_proxy: self.proxies().unwrap_or_default(),
            container_time_secs: self.container_time,
            concurrency: self.sync_row_concurrency,
            connect_timeout_ms: self.conn_timeout.saturating_mul(1_000),
            first_pause_ms: self.interval_ms(),
            ..ContainerSyncConfig::default()
        }
    }
}
