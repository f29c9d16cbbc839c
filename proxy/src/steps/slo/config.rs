//! What an operator may set about static large objects, and what `/info` tells of it.

use crate::steps::segments::RateLimit;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SloConfig {
    /// Segments of a new manifest that are objects; data segments do not count.
    pub max_manifest_segments: usize,
    /// Bytes of JSON.
    pub max_manifest_size: usize,
    /// Segments looked at together while a manifest is checked.
    pub concurrency: usize,
    /// Segments deleted together; as `concurrency` when left out.
    pub delete_concurrency: Option<usize>,
    /// Segments opened ahead of the one being sent. Each holds at most what its connection buffers.
    pub read_ahead: usize,
    /// Objects below this many bytes are slowed down when there are many of them.
    pub rate_limit_under_size: u64,
    /// So many of them come at full speed.
    pub rate_limit_after_segment: u64,
    /// The others at this rate; 0: at full speed too.
    pub rate_limit_segments_per_sec: u32,
    /// Seconds between heartbeats.
    pub yield_frequency: u64,
    pub allow_async_delete: bool,
    /// Seconds one GET may take.
    pub max_get_time: u64,
}

impl Default for SloConfig {
    fn default() -> Self {
        SloConfig {
            max_manifest_segments: 1_000,
            max_manifest_size: 8 << 20,
            concurrency: 2,
            delete_concurrency: None,
            read_ahead: 4,
            rate_limit_under_size: 1 << 20,
            rate_limit_after_segment: 10,
            rate_limit_segments_per_sec: 1,
            yield_frequency: 10,
            allow_async_delete: true,
            max_get_time: 86_400,
        }
    }
}

impl SloConfig {
    pub fn deletions_at_once(&self) -> usize {
        self.delete_concurrency.unwrap_or(self.concurrency).max(1)
    }

    pub fn heartbeat_every(&self) -> Duration {
        Duration::from_secs(self.yield_frequency.max(1))
    }

    pub fn rate_limit(&self) -> RateLimit {
        RateLimit {
            under_size: Some(self.rate_limit_under_size),
            after_segment: self.rate_limit_after_segment,
            segments_per_sec: self.rate_limit_segments_per_sec,
        }
    }
}

/// The section `slo` of `/info`.
pub fn info(config: &SloConfig) -> Value {
    json!({
        "max_manifest_segments": config.max_manifest_segments,
        "max_manifest_size": config.max_manifest_size,
        "yield_frequency": config.yield_frequency,
        // It could once be set; clients may still ask.
        "min_segment_size": 1,
        "allow_async_delete": config.allow_async_delete,
    })
}
