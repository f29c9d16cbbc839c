//! The workers run by themselves, on demand, and end when asked to.

use crate::cluster::{Cluster, at};
use http::{Method, StatusCode};
use martlet_protocol::timestamp::Timestamp;
use martlet_replicator::{PassEndpoint, Workers, WorkersConfig};
use martlet_service::{Body, Handler, Request, Shutdown, Tasks, collect};
use std::sync::Arc;
use std::time::Duration;

fn spawn(
    cluster: &Cluster,
    id: usize,
    config: WorkersConfig,
    tasks: &Tasks,
    shutdown: Shutdown,
) -> Arc<Workers> {
    let node = &cluster.nodes[id];
    Workers::spawn(
        config,
        node.devices.clone(),
        node.set(),
        cluster.clock.clone(),
        tasks,
        shutdown,
    )
}

async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let reached = async {
        while !holds().await {
            tick.tick().await;
        }
    };
    let reached = tokio::time::timeout(Duration::from_secs(20), reached).await;
    assert!(reached.is_ok(), "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_runs_at_start_and_again_when_a_silent_device_is_back() {
    let cluster = Cluster::start().await;
    let hash = cluster.hash("o");
    let primaries = cluster.primaries(hash);
    let (tasks, (trigger, shutdown)) = (Tasks::new(), Shutdown::new());
    cluster.put(&primaries[2..], "o", b"x", at(1)).await;
    cluster.down(primaries[1]);
    cluster.down(primaries[2]);
    let config = WorkersConfig {
        replicate_interval_ms: 3_600_000,
        probe_interval_ms: 20,
        ..WorkersConfig::default()
    };
    let workers = spawn(&cluster, primaries[0], config, &tasks, shutdown);
    let device = cluster.device(primaries[0]);
    // The first round is incomplete; the pass on demand waits for it and is so too.
    let report = workers.pass().await;
    assert!(!report.complete && report.replication.unreachable.len() == 2);
    assert_eq!(device.synced_at(), Timestamp::ZERO);
    cluster.up(primaries[1]);
    cluster.up(primaries[2]);
    until("the copy comes back by itself", async || {
        cluster.record(primaries[0], "o").await.is_some()
    })
    .await;
    until("the device is synced", async || {
        device.synced_at() > Timestamp::ZERO
    })
    .await;
    trigger.trigger();
    tasks.join_all(Duration::from_secs(5)).await;
    assert_eq!(tasks.running(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_on_demand_answers_with_its_report() {
    let cluster = Cluster::start().await;
    let hash = cluster.hash("o");
    let primaries = cluster.primaries(hash);
    cluster
        .put_expiring(&primaries[1..], "o", b"x", at(1), Some(at(5).secs()))
        .await;
    let (tasks, (_trigger, shutdown)) = (Tasks::new(), Shutdown::new());
    let config = WorkersConfig {
        expire_interval_ms: 3_600_000,
        ..WorkersConfig::default()
    };
    let endpoint = PassEndpoint(spawn(&cluster, primaries[0], config, &tasks, shutdown));
    let request = |method| {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        *request.uri_mut() = "/martlet/pass".parse().unwrap();
        request
    };
    assert_eq!(
        endpoint.call(request(Method::GET)).await.status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
    let response = endpoint.call(request(Method::POST)).await;
    assert_eq!(response.status(), StatusCode::OK);
    let bytes = collect(response.into_body(), 1 << 20).await.unwrap();
    let report: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let device = format!("d{}", primaries[0]);
    assert_eq!(report["complete"], true, "{report}");
    assert_eq!(
        report["replication"]["devices"][&device]["complete"], true,
        "{report}"
    );
    assert_eq!(report["expired"]["expired"], 1, "{report}");
    assert_eq!(report["updates_after"]["delivered"], 1, "{report}");
    assert!(cluster.record(primaries[0], "o").await.unwrap().is_tombstone());
}
