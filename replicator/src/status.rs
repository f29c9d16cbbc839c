//! The devices of a node in numbers, for operators and for Prometheus.

use crate::ledger::{LastPass, Ledger};
use crate::progress::Remaining;
use crate::replicator::Replicator;
use martlet_protocol::timestamp::Timestamp;
use martlet_service::{Skews, wall_micros};
use martlet_storage::{Device, DeviceSet, StorageError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One device. Numbers are 0 when it is not there.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DeviceStatus {
    pub device: String,
    pub path: String,
    /// `ok`, `in doubt` (it was away while deletions were forgotten) or `unavailable`.
    pub state: String,
    /// Why it is not `ok`; empty otherwise.
    pub reason: String,
    pub objects: u64,
    pub tombstones: u64,
    /// Bytes of object bodies.
    pub bytes: u64,
    pub free_bytes: u64,
    pub total_bytes: u64,
    /// Rows that are owed to container and account servers.
    pub outbox: u64,
    /// Copies in quarantine.
    pub quarantined: u64,
    /// Objects under a wrong policy of which this device knows.
    pub strays: u64,
    /// Rows that other clusters, which mirror containers of this one, are still to be sent.
    #[serde(default)]
    pub unsent: u64,
    /// What the replicator still has to do here, as far as it has compared.
    #[serde(default)]
    pub remaining: Remaining,
    /// Seconds since the device had everything; -1: not since its start.
    pub lag_seconds: f64,
    /// The moment up to which it has learnt of every deletion.
    pub caught_up: String,
}

/// A node: its devices, and what its workers did last.
#[derive(Clone, Debug, Serialize)]
pub struct NodeStatus {
    pub devices: Vec<DeviceStatus>,
    pub workers: BTreeMap<&'static str, LastPass>,
    pub clock: ClockStatus,
}

/// What a node knows of clocks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ClockStatus {
    /// Its own, microseconds since 1970.
    pub now_micros: u64,
    /// More than this is too much, seconds.
    pub limit_seconds: f64,
    /// Machines that it spoke with lately, and by how many seconds their clocks are ahead of its own.
    pub skews: BTreeMap<String, f64>,
}

impl ClockStatus {
    pub fn of(skews: &Skews) -> Self {
        ClockStatus {
            now_micros: wall_micros(),
            limit_seconds: skews.limit_seconds(),
            skews: skews.all(),
        }
    }
}

/// Strays are counted up to here.
const MAX_COUNTED_STRAYS: usize = 10_000;
/// So are rows for other clusters.
const MAX_COUNTED_UNSENT: u64 = 100_000;

/// Looks at every device.
pub async fn look(
    devices: &DeviceSet,
    replicator: &Replicator,
    ledger: &Ledger,
    now: Timestamp,
) -> NodeStatus {
    let mut all = Vec::new();
    for (name, path, state) in devices.states() {
        let status = DeviceStatus {
            remaining: replicator.remaining(&name),
            device: name,
            path: path.display().to_string(),
            lag_seconds: -1.0,
            ..DeviceStatus::default()
        };
        all.push(match state {
            Ok(device) => numbers(status, &device, now).await,
            Err(reason) => DeviceStatus {
                state: "unavailable".into(),
                reason,
                ..status
            },
        });
    }
    NodeStatus {
        devices: all,
        workers: ledger.all(),
        clock: ClockStatus::default(),
    }
}

async fn numbers(mut status: DeviceStatus, device: &Device, now: Timestamp) -> DeviceStatus {
    let counted = async {
        let stats = device.stats().await?;
        let strays = device.strays(None, MAX_COUNTED_STRAYS).await?.len();
        let unsent = device.unsent(MAX_COUNTED_UNSENT).await?;
        Ok::<_, StorageError>((stats, strays, unsent))
    };
    let (stats, strays, unsent) = match counted.await {
        Ok(counted) => counted,
        Err(error) => {
            status.state = "unavailable".into();
            status.reason = error.to_string();
            return status;
        }
    };
    if device.is_in_doubt() {
        status.state = "in doubt".into();
        status.reason = "it was away while deletions were forgotten, and is being compared".into();
    } else {
        status.state = "ok".into();
    }
    let synced = device.synced_at();
    if !synced.is_zero() {
        let units = now.raw().saturating_sub(synced.raw());
        status.lag_seconds = units as f64 / martlet_protocol::timestamp::UNITS_PER_SECOND as f64;
    }
    DeviceStatus {
        objects: stats.objects,
        tombstones: stats.tombstones,
        bytes: stats.bytes,
        free_bytes: stats.free_bytes,
        total_bytes: stats.total_bytes,
        outbox: stats.outbox,
        quarantined: stats.quarantined,
        strays: strays as u64,
        unsent,
        caught_up: device.caught_up().normal(),
        ..status
    }
}

/// Sets the gauges of every device.
pub fn publish(status: &NodeStatus) {
    for device in &status.devices {
        let gauge = |name: &'static str, value: f64| {
            metrics::gauge!(name, "device" => device.device.clone()).set(value);
        };
        gauge("martlet_device_up", f64::from(u8::from(device.state == "ok")));
        gauge(
            "martlet_device_in_doubt",
            f64::from(u8::from(device.state == "in doubt")),
        );
        gauge("martlet_device_objects", device.objects as f64);
        gauge("martlet_device_tombstones", device.tombstones as f64);
        gauge("martlet_device_body_bytes", device.bytes as f64);
        gauge("martlet_device_free_bytes", device.free_bytes as f64);
        gauge("martlet_device_total_bytes", device.total_bytes as f64);
        gauge("martlet_device_outbox", device.outbox as f64);
        gauge("martlet_device_quarantined", device.quarantined as f64);
        gauge("martlet_device_strays", device.strays as f64);
        gauge("martlet_device_unsent", device.unsent as f64);
        gauge("martlet_device_lag_seconds", device.lag_seconds);
        device.remaining.publish(&device.device);
    }
}
