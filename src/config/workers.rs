//! What a file says of the background workers.

use martlet_replicator::{
    AuditorConfig, Clients, DarkDataAction, ExpirerConfig, ReaperConfig, ReclaimerConfig, ReplicatorConfig,
    UpdaterConfig, WorkersConfig,
};
use serde::{Deserialize, Serialize};

/// How often and how hard the background workers work.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkerSettings {
    /// Between two rounds of the replicator; the first begins at once.
    pub replicate_interval_ms: u64,
    /// Between two looks into the outboxes.
    pub update_interval_ms: u64,
    /// Between two looks for what is due.
    pub expire_interval_ms: u64,
    /// Pieces of work of the replicator that are under way at once for one device; one while clients are served.
    pub replicate_concurrency: usize,
    /// Bytes of bodies that the replicator carries to and from one device at most; 0 is no limit.
    pub replicate_bytes_per_second: u64,
    /// Records of any kind that it carries to and from one device at most; 0 is no limit.
    pub replicate_records_per_second: u64,
    /// Updates of one device under way at once.
    pub update_concurrency: usize,
    /// Deletions are remembered for this long, seconds. Swift's `reclaim_age`.
    pub reclaim_age: u64,
    /// Between two looks for deletions that may be forgotten.
    pub reclaim_interval_ms: u64,
    /// What the auditor does with objects that no container lists: off, log, quarantine or delete. Swift's `action`.
    pub dark_data_action: DarkDataAction,
    /// How old such objects must be, seconds. Swift's `grace_age`.
    pub dark_data_grace_age: u64,
    /// A deleted account is left alone for so long, seconds. Swift's option.
    pub delay_reaping: u64,
    /// A deleted account that is not empty after so long is warned of, seconds. Swift's option.
    pub reap_warn_after: u64,
    /// Between two looks for deleted accounts.
    pub reap_interval_ms: u64,
    /// Between two looks for objects under a wrong policy.
    pub reconcile_interval_ms: u64,
    /// Between two rounds of the auditor.
    pub audit_interval_ms: u64,
    /// What the auditor reads of one device at most; 0 is no limit. Swift's option.
    pub bytes_per_second: u64,
    /// Records of any kind that the auditor reads of one device at most; 0 is no limit.
    pub records_per_second: u64,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        let workers = WorkersConfig::default();
        WorkerSettings {
            replicate_interval_ms: workers.replicate_interval_ms,
            update_interval_ms: workers.update_interval_ms,
            expire_interval_ms: workers.expire_interval_ms,
            replicate_concurrency: ReplicatorConfig::default().concurrency,
            replicate_bytes_per_second: ReplicatorConfig::default().bytes_per_second,
            replicate_records_per_second: ReplicatorConfig::default().records_per_second,
            update_concurrency: UpdaterConfig::default().concurrency,
            reclaim_age: ReclaimerConfig::default().reclaim_age_secs,
            reclaim_interval_ms: workers.reclaim_interval_ms,
            dark_data_action: DarkDataAction::Off,
            dark_data_grace_age: 604_800,
            delay_reaping: ReaperConfig::default().delay_reaping_secs,
            reap_warn_after: ReaperConfig::default().reap_warn_after_secs,
            reap_interval_ms: workers.reap_interval_ms,
            reconcile_interval_ms: workers.reconcile_interval_ms,
            audit_interval_ms: workers.audit_interval_ms,
            bytes_per_second: AuditorConfig::default().bytes_per_second,
            records_per_second: AuditorConfig::default().records_per_second,
        }
    }
}

impl WorkerSettings {
    pub fn workers(&self) -> WorkersConfig {
        WorkersConfig {
            replicate_interval_ms: self.replicate_interval_ms,
            update_interval_ms: self.update_interval_ms,
            expire_interval_ms: self.expire_interval_ms,
            reclaim_interval_ms: self.reclaim_interval_ms,
            reap_interval_ms: self.reap_interval_ms,
            reconcile_interval_ms: self.reconcile_interval_ms,
            audit_interval_ms: self.audit_interval_ms,
            ..WorkersConfig::default()
        }
    }

    /// `addresses`: where this node listens, as the rings write it. Replication gives way to `clients`.
    pub fn replicator(&self, addresses: Vec<(String, u16)>, clients: Clients) -> ReplicatorConfig {
        ReplicatorConfig {
            addresses,
            concurrency: self.replicate_concurrency,
            bytes_per_second: self.replicate_bytes_per_second,
            records_per_second: self.replicate_records_per_second,
            clients,
            reclaim_age_secs: self.reclaim_age,
            ..ReplicatorConfig::default()
        }
    }

    pub fn updater(&self) -> UpdaterConfig {
        UpdaterConfig {
            concurrency: self.update_concurrency,
            reclaim_age_secs: self.reclaim_age,
            ..UpdaterConfig::default()
        }
    }

    pub fn reaper(&self) -> ReaperConfig {
        ReaperConfig {
            delay_reaping_secs: self.delay_reaping,
            reap_warn_after_secs: self.reap_warn_after,
            ..ReaperConfig::default()
        }
    }

    pub fn reclaimer(&self) -> ReclaimerConfig {
        ReclaimerConfig {
            reclaim_age_secs: self.reclaim_age,
            ..ReclaimerConfig::default()
        }
    }

    pub fn auditor(&self) -> AuditorConfig {
        AuditorConfig {
            bytes_per_second: self.bytes_per_second,
            records_per_second: self.records_per_second,
        }
    }

    /// `addresses`: where this node listens, as the rings write it.
    pub fn expirer(&self, addresses: Vec<(String, u16)>) -> ExpirerConfig {
        ExpirerConfig {
            addresses,
            ..ExpirerConfig::default()
        }
    }
}
