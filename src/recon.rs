//! `/recon/*`: what `swift-recon` asks a storage node, in the words of Swift's recon middleware.

use crate::config::NodeConfig;
use http::{Method, StatusCode};
use martlet_replicator::{LastPass, Workers};
use martlet_service::{BoxFuture, Handler, Request, Response, Skews, respond};
use martlet_storage::DeviceSet;
use md5::{Digest, Md5};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes of a page of memory, in which the kernel counts socket buffers.
const PAGE_BYTES: u64 = 4096;

/// Answers for one node.
pub struct Recon {
    rings: Vec<PathBuf>,
    /// Stands where Swift has swift.conf: what all nodes must agree on.
    config: Vec<u8>,
    devices: DeviceSet,
    workers: Arc<Workers>,
    skews: Skews,
}

impl Recon {
    pub fn new(config: &NodeConfig, devices: DeviceSet, workers: Arc<Workers>, skews: Skews) -> Self {
        let folder = &config.cluster.rings;
        let mut rings = vec![folder.join("account.ring.gz"), folder.join("container.ring.gz")];
        for policy in config.policies().iter() {
            rings.push(match policy.index.0 {
                0 => folder.join("object.ring.gz"),
                index => folder.join(format!("object-{index}.ring.gz")),
            });
        }
        let cluster = &config.cluster;
        let shared = (
            &cluster.name,
            &cluster.hash_path_prefix,
            &cluster.hash_path_suffix,
            &cluster.policies,
        );
        Recon {
            rings,
            config: serde_json::to_vec(&shared).unwrap_or_default(),
            devices,
            workers,
            skews,
        }
    }

    /// `None`: not a question.
    async fn answer(&self, check: &str) -> Option<Value> {
        Some(match check {
            "version" => json!({ "version": env!("CARGO_PKG_VERSION") }),
            "time" => json!(seconds_now()),
            // Ours: Swift's own answer is one number, which `swift-recon --time` compares.
            "skew" => json!({ "limit": self.skews.limit_seconds(), "seconds_ahead": self.skews.all() }),
            "mem" => memory(&read("/proc/meminfo")),
            "load" => load(&read("/proc/loadavg")),
            "sockstat" => sockets(&read("/proc/net/sockstat"), &read("/proc/net/sockstat6")),
            "mounted" => mounts(&read("/proc/mounts")),
            "swiftconfmd5" => json!({ "/etc/swift/swift.conf": hex(&Md5::digest(&self.config)) }),
            "ringmd5" => self.ring_sums().await,
            "devices" => self.device_names(),
            "diskusage" => self.disk_usage().await,
            "unmounted" => self.unmounted(),
            "quarantined" => self.quarantined(),
            "driveaudit" => json!({ "drive_audit_errors": Value::Null }),
            "sharding" => {
                json!({ "sharding_stats": Value::Null, "sharding_time": Value::Null, "sharding_last": Value::Null })
            }
            "relinker" => json!({ "devices": Value::Null, "workers": Value::Null }),
            "reconstruction/object" => {
                json!({ "object_reconstruction_last": Value::Null, "object_reconstruction_time": Value::Null })
            }
            "async" => self.owed().await,
            "replication" | "replication/object" => self.replication(true).await,
            "replication/container" | "replication/account" => self.replication(false).await,
            "updater/container" => {
                let took = self.last("updater").await.map(|last| last.took_seconds);
                json!({ "container_updater_sweep": took })
            }
            "updater/object" => {
                let last = self.last("updater").await;
                json!({
                    "object_updater_sweep": last.as_ref().map(|last| last.took_seconds),
                    "object_updater_stats": last.as_ref().map(|last| last.report.clone()),
                    "object_updater_last": last.map(|last| last.ended),
                })
            }
            "expirer/object" => {
                let last = self.last("expirer").await;
                json!({
                    "object_expiration_pass": last.as_ref().map(|last| last.took_seconds),
                    "expired_last_pass": last.map(|last| last.report["expired"].clone()),
                })
            }
            // Swift has no word for it.
            "container-sync" => json!(self.last("container-sync").await),
            "auditor/object" => self.audit_of_objects().await,
            "auditor/account" => self.audit_of("account").await,
            "auditor/container" => self.audit_of("container").await,
            _ => return None,
        })
    }

    async fn last(&self, worker: &str) -> Option<LastPass> {
        self.workers.last_passes().get(worker).cloned()
    }

    async fn ring_sums(&self) -> Value {
        let rings = self.rings.clone();
        let sums = tokio::task::spawn_blocking(move || {
            let sum = |path: &PathBuf| {
                let bytes = std::fs::read(path).ok()?;
                Some((path.display().to_string(), json!(hex(&Md5::digest(bytes)))))
            };
            rings.iter().filter_map(sum).collect::<Map<_, _>>()
        });
        Value::Object(sums.await.unwrap_or_default())
    }

    fn device_names(&self) -> Value {
        let mut folders: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, path, _) in self.devices.states() {
            folders.entry(folder_of(&path)).or_default().push(name);
        }
        json!(folders)
    }

    async fn disk_usage(&self) -> Value {
        let status = self.workers.status().await;
        let devices = status
            .devices
            .into_iter()
            .map(|device| match device.state.as_str() {
                "unavailable" => json!({
                    "device": device.device, "mounted": false, "size": "", "used": "", "avail": "",
                }),
                _ => json!({
                    "device": device.device,
                    "mounted": true,
                    "size": device.total_bytes,
                    "used": device.total_bytes.saturating_sub(device.free_bytes),
                    "avail": device.free_bytes,
                }),
            });
        devices.collect()
    }

    fn unmounted(&self) -> Value {
        let missing = self
            .devices
            .states()
            .into_iter()
            .filter(|(_, _, state)| state.is_err());
        missing
            .map(|(name, _, _)| json!({ "device": name, "mounted": false }))
            .collect()
    }

    fn quarantined(&self) -> Value {
        // A device keeps one folder for all that it put aside.
        let objects: u64 = self
            .devices
            .iter_all()
            .map(|(_, device)| device.quarantined())
            .sum();
        json!({ "objects": objects, "containers": 0, "accounts": 0, "policies": { "0": { "objects": objects } } })
    }

    async fn owed(&self) -> Value {
        let status = self.workers.status().await;
        let owed: u64 = status.devices.iter().map(|device| device.outbox).sum();
        let last = self.last("updater").await.map(|last| last.ended);
        json!({ "async_pending": owed, "async_pending_last": last })
    }

    async fn replication(&self, is_object: bool) -> Value {
        let last = self.last("replicator").await;
        let took = last.as_ref().map(|last| last.took_seconds);
        let ended = last.as_ref().map(|last| last.ended);
        let stats = last.map(|last| replication_stats(&last.report));
        let status = self.workers.status().await;
        let remaining = status
            .devices
            .into_iter()
            .map(|device| (device.device, json!(device.remaining)));
        let mut answer = json!({
            "replication_time": took, "replication_stats": stats, "replication_last": ended,
            // Ours: what a round under way, or else the last one, still has to do.
            "replication_remaining": remaining.collect::<Map<_, _>>(),
        });
        if is_object {
            // Swift counts this one in minutes.
            answer["object_replication_time"] = json!(took.map(|took| took / 60.0));
            answer["object_replication_last"] = json!(ended);
        }
        answer
    }

    async fn audit_of_objects(&self) -> Value {
        let last = self.last("auditor").await;
        let all = last.map(|last| {
            json!({
                "audit_time": last.took_seconds,
                "bytes_processed": last.report["bytes"],
                "errors": last.report["failures"],
                "passes": last.report["records"],
                "quarantined": last.report["damaged"],
                "start_time": last.ended - last.took_seconds,
            })
        });
        json!({ "object_auditor_stats_ALL": all, "object_auditor_stats_ZBF": Value::Null })
    }

    async fn audit_of(&self, kind: &str) -> Value {
        let last = self.last("auditor").await;
        json!({
            format!("{kind}_audits_passed"): last.as_ref().map(|last| last.report["records"].clone()),
            format!("{kind}_auditor_pass_completed"): last.as_ref().map(|last| last.took_seconds),
            format!("{kind}_audits_since"): last.as_ref().map(|last| last.ended - last.took_seconds),
            format!("{kind}_audits_failed"): last.map(|last| last.report["damaged"].clone()),
        })
    }
}

impl Handler for Recon {
    fn call(&self, request: Request) -> BoxFuture<'_, Response> {
        Box::pin(async move {
            if request.method() != Method::GET {
                return respond::empty(StatusCode::METHOD_NOT_ALLOWED);
            }
            let path = request.uri().path();
            match self.answer(path.trim_start_matches("/recon/")).await {
                Some(answer) => respond::json(StatusCode::OK, &answer),
                None => respond::text(StatusCode::NOT_FOUND, format!("Invalid path: {path}")),
            }
        })
    }
}

/// Swift's names for the sums over the devices of one pass.
fn replication_stats(report: &Value) -> Value {
    let devices = report["devices"].as_object();
    let sum = |field: &str| -> u64 {
        let devices = devices.iter().flat_map(|devices| devices.values());
        devices.filter_map(|device| device[field].as_u64()).sum()
    };
    let (failures, done) = (sum("failures"), sum("pulled") + sum("pushed"));
    json!({
        "attempted": done + failures,
        "success": done,
        "failure": failures,
        "remove": sum("removed"),
        "remaining": sum("remaining"),
        "remaining_bytes": sum("remaining_bytes"),
        "complete": report["complete"],
    })
}

fn folder_of(path: &Path) -> String {
    path.parent()
        .map(|parent| parent.display().to_string())
        .unwrap_or_default()
}

/// The kernel's files are read at once and never wait for a disk.
fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn seconds_now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn memory(text: &str) -> Value {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs
        .map(|(name, value)| (name.to_owned(), json!(value.trim())))
        .collect::<Map<_, _>>()
        .into()
}

fn load(text: &str) -> Value {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [one, five, fifteen, tasks, processes] = words[..] else {
        return Value::Null;
    };
    let number = |text: &str| text.parse::<f64>().unwrap_or_default();
    json!({
        "1m": number(one), "5m": number(five), "15m": number(fifteen),
        "tasks": tasks, "processes": processes.parse::<u64>().unwrap_or_default(),
    })
}

fn mounts(text: &str) -> Value {
    let mount = |line: &str| {
        let mut words = line.split_whitespace();
        Some(json!({ "device": words.next()?, "path": words.next()? }))
    };
    text.lines().filter_map(mount).collect()
}

fn sockets(four: &str, six: &str) -> Value {
    let words = |text: &str, head: &str| -> Vec<String> {
        let line = text
            .lines()
            .find(|line| line.starts_with(head))
            .unwrap_or_default();
        line.split_whitespace().map(str::to_owned).collect()
    };
    let number = |words: &[String], name: &str| -> u64 {
        let place = words.iter().position(|word| word == name);
        place
            .and_then(|place| words.get(place + 1)?.parse().ok())
            .unwrap_or_default()
    };
    let tcp = words(four, "TCP:");
    json!({
        "tcp_in_use": number(&tcp, "inuse"),
        "orphan": number(&tcp, "orphan"),
        "time_wait": number(&tcp, "tw"),
        "tcp_mem_allocated_bytes": number(&tcp, "mem") * PAGE_BYTES,
        "tcp6_in_use": number(&words(six, "TCP6:"), "inuse"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read_as_swift_reads_them() {
        assert_eq!(
            load("0.52 0.58 0.59 1/467 3102\n"),
            json!({ "1m": 0.52, "5m": 0.58, "15m": 0.59, "tasks": "1/467", "processes": 3102 })
        );
        assert_eq!(load("nonsense"), Value::Null);
        assert_eq!(memory("MemTotal:  16 kB\nbad\n"), json!({ "MemTotal": "16 kB" }));
        assert_eq!(
            mounts("/dev/sda1 / ext4 rw 0 0\n"),
            json!([{ "device": "/dev/sda1", "path": "/" }])
        );
        let four = "sockets: used 9\nTCP: inuse 5 orphan 1 tw 2 alloc 7 mem 3\nUDP: inuse 1 mem 1\n";
        assert_eq!(
            sockets(four, "TCP6: inuse 4\n"),
            json!({
                "tcp_in_use": 5, "orphan": 1, "time_wait": 2, "tcp_mem_allocated_bytes": 12288, "tcp6_in_use": 4,
            })
        );
    }

    #[test]
    fn a_pass_is_summed_over_its_devices() {
        let report = json!({
            "complete": true,
            "devices": {
                "d1": { "pulled": 2, "pushed": 1, "removed": 1, "failures": 0, "remaining": 0 },
                "d2": { "pulled": 3, "pushed": 0, "removed": 0, "failures": 1, "remaining": 4, "remaining_bytes": 4096 },
            },
        });
        let stats = replication_stats(&report);
        assert_eq!((&stats["success"], &stats["failure"]), (&json!(6), &json!(1)));
        assert_eq!((&stats["remove"], &stats["remaining"]), (&json!(1), &json!(4)));
        assert_eq!(stats["remaining_bytes"], 4096);
    }
}
