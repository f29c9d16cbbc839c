//! What each worker did last, for operators: kept in memory, asked by `/recon` and `martlet status`.

use martlet_protocol::timestamp::Timestamp;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The last finished pass of one worker.
#[derive(Clone, Debug, Serialize)]
pub struct LastPass {
    /// Seconds since 1970, when it ended.
    pub ended: f64,
    pub took_seconds: f64,
    pub report: Value,
}

/// The last passes by worker.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<BTreeMap<&'static str, LastPass>>);

impl Ledger {
    /// Writes down a pass that ended now.
    pub fn note(&self, worker: &'static str, now: Timestamp, took: Duration, report: &impl Serialize) {
        let report = serde_json::to_value(report).unwrap_or_default();
        let ended = now.raw() as f64 / martlet_protocol::timestamp::UNITS_PER_SECOND as f64;
        metrics::gauge!("martlet_worker_last_pass_timestamp_seconds", "worker" => worker).set(ended);
        metrics::gauge!("martlet_worker_last_pass_duration_seconds", "worker" => worker)
            .set(took.as_secs_f64());
        let pass = LastPass {
            ended,
            took_seconds: took.as_secs_f64(),
            report,
        };
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(worker, pass);
    }

    pub fn all(&self) -> BTreeMap<&'static str, LastPass> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
