//! Devices of a million objects: a round of replication when nothing has changed, and a change of the partition power.

use crate::clients::{Readers, login};
use crate::finding::{Finding, quantile};
use crate::loading::{self, Objects, objects_for};
use crate::support::{Cluster, NODES};
use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

const CONTAINER: &str = "million";
/// Rounds that are timed; the middle one counts.
const ROUNDS: usize = 5;
/// Bodies above the inline limit: files, which must not move.
const LARGE: usize = 50;

/// A running cluster with that many objects on each device.
pub struct Million {
    cluster: Cluster,
    count: usize,
    on_a_device: usize,
}

impl Million {
    pub async fn load(on_a_device: usize) -> Million {
        let mut cluster = Cluster::start();
        let user = login(cluster.address()).await;
        for container in [CONTAINER, "large"] {
            let made = user.call("PUT", &format!("/{container}"), &[], "").await;
            assert_eq!(made.status, 201, "{}", made.text());
        }
        for number in 0..LARGE {
            let put = user
                .call(
                    "PUT",
                    &format!("/large/{number}"),
                    &[],
                    vec![number as u8; 200_000],
                )
                .await;
            assert_eq!(put.status, 201, "{}", put.text());
        }
        cluster.stop();
        let count = objects_for(on_a_device);
        let objects = Objects {
            container: CONTAINER,
            count,
            delete_at: None,
        };
        loading::objects(&cluster, &objects).await;
        let begun = Instant::now();
        cluster.start_again();
        println!("started in {:.1} s", begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        cluster.pass_of("replicator");
        println!(
            "first round of all nodes in {:.1} s",
            begun.elapsed().as_secs_f64()
        );
        Million {
            cluster,
            count,
            on_a_device,
        }
    }

    /// One node's round, as its operator asks for it, start of the command included.
    pub async fn idle(&self) -> Vec<Finding> {
        let mut seconds = Vec::new();
        let mut kib = Vec::new();
        for round in 0..ROUNDS {
            let node = self.cluster.node_folder(round % NODES + 1).join("node.toml");
            let (read, begun) = (bytes_read(self.cluster.pid()), Instant::now());
            let output = Command::new(env!("CARGO_BIN_EXE_martlet"))
                .args(["pass", "--worker", "replicator", "--config"])
                .arg(node)
                .output()
                .expect("the binary starts");
            seconds.push(begun.elapsed().as_secs_f64());
            kib.push((bytes_read(self.cluster.pid()) - read) as f64 / 1024.0);
            assert!(output.status.success(), "{output:?}");
        }
        let bodies_kib = (self.on_a_device * loading::BODY.len()) as f64 / 1024.0;
        let what = format!("idle round, device of {} objects", self.on_a_device);
        vec![
            Finding::new("idle", what, quantile(&mut seconds, 0.5), "s", Some(1.0)),
            Finding::new(
                "idle",
                format!("read by the whole process meanwhile (bodies are {bodies_kib:.0} KiB)"),
                quantile(&mut kib, 0.5),
                "KiB",
                Some(bodies_kib / 20.0),
            ),
        ]
    }

    /// Prepare, increase, finish; each step counts until all four nodes and the proxy follow it.
    pub async fn power(&self) -> Vec<Finding> {
        let user = login(self.cluster.address()).await;
        let files = self.files();
        let readers = Readers::start(&user, CONTAINER, self.count);
        let begun = Instant::now();
        self.ring(&["object.ring.gz", "write_builder", "0"]);
        for step in [
            "prepare_increase_partition_power",
            "increase_partition_power",
            "finish_increase_partition_power",
        ] {
            let loads = self.loads();
            self.ring(&["object.builder", step]);
            self.ring(&["object.builder", "write_ring"]);
            while self.loads() == loads {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            self.cluster.pass_of("replicator");
        }
        let seconds = begun.elapsed().as_secs_f64();
        let seen = readers.end().await;
        let after = self.files();
        let moved = files.difference(&after).count() as f64;
        vec![
            Finding::new(
                "power",
                format!(
                    "partition power + 1 on devices of {} objects, rounds of all nodes included",
                    self.on_a_device
                ),
                seconds,
                "s",
                Some(60.0),
            ),
            Finding::new(
                "power",
                format!("body files moved, of {}", files.len()),
                moved,
                "",
                Some(0.0),
            ),
            Finding::new(
                "power",
                format!("requests that failed meanwhile, of {}", seen.latencies_ms.len()),
                seen.failed as f64,
                "",
                Some(0.0),
            ),
        ]
    }

    fn ring(&self, arguments: &[&str]) {
        let output = Command::new(env!("CARGO_BIN_EXE_martlet"))
            .arg("ring")
            .args(arguments)
            .current_dir(self.cluster.data().join("rings"))
            .output()
            .expect("the binary starts");
        // 1 is a warning, as in Swift's tool.
        assert!(
            matches!(output.status.code(), Some(0 | 1)),
            "{arguments:?}: {output:?}"
        );
    }

    /// How often the log says that new rings are in force: all nodes are one process here, and share one set.
    fn loads(&self) -> usize {
        self.cluster.logs().matches("changed rings are in force").count()
    }

    fn files(&self) -> BTreeSet<std::path::PathBuf> {
        let folders = (1..=NODES).map(|number| self.cluster.node_folder(number).join("disk/bodies"));
        let parts = folders.flat_map(|folder| std::fs::read_dir(folder).expect("a folder"));
        let files =
            parts.flat_map(|part| std::fs::read_dir(part.expect("an entry").path()).expect("a folder"));
        files.map(|file| file.expect("an entry").path()).collect()
    }
}

/// Bytes that a process has read by system calls, from disk, cache or sockets.
fn bytes_read(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/io")).expect("the process runs");
    let line = text.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.and_then(|number| number.parse().ok()).expect("a number")
}
