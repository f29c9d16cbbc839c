//! An empty disk in the place of a full one, under requests.

use crate::clients::{Readers, login};
use crate::finding::Finding;
use crate::loading::{self, Objects, objects_for};
use crate::support::Cluster;
use std::time::{Duration, Instant};

const CONTAINER: &str = "refill";
/// How long requests are measured with nothing else going on.
const QUIET: Duration = Duration::from_secs(20);
const WIPED: usize = 4;
/// After this long the step gives up.
const PATIENCE: Duration = Duration::from_secs(600);

pub async fn run(on_a_device: usize) -> Vec<Finding> {
    let mut cluster = Cluster::start_processes();
    let objects = Objects {
        container: CONTAINER,
        count: objects_for(on_a_device),
        delete_at: None,
    };
    loading::filled(&mut cluster, &objects).await;
    cluster.start_again();
    cluster.pass();
    let user = login(cluster.address()).await;
    let full = held(&cluster).expect("the device is up");
    let readers = Readers::start(&user, CONTAINER, objects.count);
    tokio::time::sleep(QUIET).await;
    let mut quiet = readers.end().await;

    cluster.kill_node(WIPED);
    cluster.replace_disk(WIPED);
    let readers = Readers::start(&user, CONTAINER, objects.count);
    let begun = Instant::now();
    let _node = cluster.restart_node(WIPED);
    while held(&cluster).is_none_or(|now| now < full) && begun.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let mut busy = readers.end().await;
    let missing = full.saturating_sub(held(&cluster).unwrap_or(0));
    let (quiet_ms, busy_ms) = (quiet.p99(), busy.p99());
    vec![
        Finding::new(
            "refill",
            format!("a wiped device of {full} objects is full again"),
            seconds,
            "s",
            None,
        ),
        Finding::new("refill", "objects still missing", missing as f64, "", Some(0.0)),
        Finding::new("refill", "GET, 99 of 100 are faster, quiet", quiet_ms, "ms", None),
        Finding::new(
            "refill",
            "GET, 99 of 100 are faster, while it fills",
            busy_ms,
            "ms",
            None,
        ),
        Finding::new("refill", "ratio of both", busy_ms / quiet_ms, "x", Some(2.0)),
        Finding::new(
            "refill",
            format!(
                "requests that failed, of {}",
                quiet.latencies_ms.len() + busy.latencies_ms.len()
            ),
            (quiet.failed + busy.failed) as f64,
            "",
            Some(0.0),
        ),
    ]
}

/// Objects on the wiped device, as `martlet status` tells it. `None`: it does not answer yet.
fn held(cluster: &Cluster) -> Option<u64> {
    let (_, text) = cluster.martlet(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(text.trim()).ok()?;
    let name = format!("d{WIPED}");
    let found = status
        .as_array()?
        .iter()
        .find(|device| device["status"]["device"] == name.as_str())?;
    found["status"]["objects"].as_u64()
}
