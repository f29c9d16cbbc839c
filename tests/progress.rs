//! An operator sees what a refill still has to do, in records and bytes, while a budget keeps it slow.

mod support;

use serde_json::Value;
use std::time::Instant;
use support::http::{Swift, request};
use support::{Cluster, PATIENCE};

const OBJECTS: usize = 80;
const BODY_BYTES: u64 = 1_000;
const WIPED: usize = 4;
/// Records a second, of one device: some 60 objects take some seconds.
const BUDGET: i64 = 10;

/// What `martlet status` says of the wiped device; `None` while it is not up.
fn told(cluster: &Cluster) -> Option<Value> {
    let (_, text) = cluster.martlet(&["status", "--json"]);
    let end = text.rfind(']').map_or(text.len(), |end| end + 1);
    let devices: Vec<Value> = serde_json::from_str(&text[..end]).ok()?;
    let name = format!("d{WIPED}");
    let mut found = devices.iter().map(|device| &device["status"]);
    let found = found.find(|status| status["device"] == name.as_str())?;
    (found["state"] == "ok").then(|| found.clone())
}

fn number(status: &Value, field: &str) -> u64 {
    let value = status.pointer(field).and_then(Value::as_u64);
    value.unwrap_or_else(|| panic!("{field} in {status}"))
}

async fn ask(cluster: &Cluster, path: &str) -> String {
    let answer = request(&cluster.node_address(WIPED), "GET", path, &[], "").await;
    answer.expect("the node answers").text()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refill_is_seen_to_have_less_and_less_to_do() {
    let cluster = Cluster::start_processes();
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    assert_eq!(user.call("PUT", "/box", &[], "").await.status, 201);
    for object in 0..OBJECTS {
        let body = vec![b'x'; BODY_BYTES as usize];
        let answer = user.call("PUT", &format!("/box/{object}"), &[], body).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    cluster.pass();
    let full = number(&told(&cluster).expect("it is up"), "/objects");
    cluster.set_worker("replicate_records_per_second", BUDGET.into());
    cluster.kill_node(WIPED);
    cluster.replace_disk(WIPED);
    let _node = cluster.restart_node(WIPED);

    // Records that were seen to be missing, each number once.
    let mut seen: Vec<u64> = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "it does not fill: {seen:?}");
        let Some(status) = told(&cluster) else { continue };
        let (records, bytes) = (
            number(&status, "/remaining/missing"),
            number(&status, "/remaining/missing_bytes"),
        );
        if seen.is_empty() && bytes == 0 {
            // Not compared yet, or the account and the container are on their way.
            assert!(
                number(&status, "/objects") < full,
                "it was not seen to fill: {status}"
            );
            continue;
        }
        assert_eq!(bytes, records * BODY_BYTES, "{status}");
        if seen.is_empty() {
            everywhere(&cluster).await;
        }
        if seen.last() != Some(&records) {
            seen.push(records);
        }
        if records == 0 {
            break;
        }
    }
    assert!(seen[0] <= full && seen.len() > 3, "{seen:?} of {full}");
    assert!(seen.is_sorted_by(|before, after| before > after), "{seen:?}");
    for report in cluster.pass_of("replicator") {
        let devices = report["devices"].as_object().expect("devices").values();
        for device in devices {
            assert_eq!(
                (&device["remaining"], &device["remaining_bytes"]),
                (&0.into(), &0.into())
            );
        }
    }
    let status = told(&cluster).expect("it is up");
    assert_eq!(number(&status, "/objects"), full);
    assert_eq!(number(&status, "/remaining/missing"), 0);
}

/// All places where an operator looks say that there is something to do.
async fn everywhere(cluster: &Cluster) {
    let recon: Value = serde_json::from_str(&ask(cluster, "/recon/replication/object").await).expect("JSON");
    let field = format!("/replication_remaining/d{WIPED}/missing_bytes");
    assert!(number(&recon, &field) > 0, "{recon}");
    let (_, table) = cluster.martlet(&["status"]);
    let line = table.lines().find(|line| line.starts_with(&format!("d{WIPED} ")));
    assert!(line.is_some_and(|line| line.contains("000 B)")), "{table}");
    let metrics = ask(cluster, "/metrics").await;
    for name in [
        "missing_records",
        "missing_bytes",
        "remaining_records",
        "remaining_bytes",
    ] {
        let name = format!("martlet_replicator_{name}{{device=\"d{WIPED}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(name.as_str()));
        assert!(line.is_some_and(|value| value != "0"), "{name}: {line:?}");
    }
}
