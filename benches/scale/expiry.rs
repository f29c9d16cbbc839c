//! Many objects that are due at once.

use crate::clients::login;
use crate::finding::Finding;
use crate::loading::{self, Objects};
use crate::support::Cluster;
use std::time::{Duration, Instant};

const CONTAINER: &str = "due";
/// After this long the step gives up.
const PATIENCE: Duration = Duration::from_secs(300);
/// Long past when the cluster starts, long after the objects were written.
const DUE: u64 = 1_700_000_100;

pub async fn run(count: usize) -> Vec<Finding> {
    let mut cluster = Cluster::start();
    let objects = Objects {
        container: CONTAINER,
        count,
        delete_at: Some(DUE),
    };
    loading::filled(&mut cluster, &objects).await;
    loading::rows(&cluster, CONTAINER, count).await;
    cluster.start_again();
    let begun = Instant::now();
    let user = login(cluster.address()).await;
    let (mut unlisted, mut gone) = (None, None);
    while (unlisted.is_none() || gone.is_none()) && begun.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let now = begun.elapsed().as_secs_f64();
        if unlisted.is_none() {
            let page = user.call("GET", &format!("/{CONTAINER}?limit=1"), &[], "").await;
            unlisted = (page.status == 204).then_some(now);
        }
        if gone.is_none() {
            gone = (held(&cluster) == Some(0)).then_some(now);
        }
    }
    let patience = PATIENCE.as_secs_f64();
    let what = |place: &str| format!("{count} objects that are due are gone from {place}");
    vec![
        Finding::new(
            "expiry",
            what("the listing"),
            unlisted.unwrap_or(patience),
            "s",
            Some(60.0),
        ),
        Finding::new(
            "expiry",
            what("all disks"),
            gone.unwrap_or(patience),
            "s",
            Some(60.0),
        ),
    ]
}

/// Objects on all devices.
fn held(cluster: &Cluster) -> Option<u64> {
    let (_, text) = cluster.martlet(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(text.trim()).ok()?;
    let counts = status
        .as_array()?
        .iter()
        .map(|device| device["status"]["objects"].as_u64());
    counts.sum()
}
