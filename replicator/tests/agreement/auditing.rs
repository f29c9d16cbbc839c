//! The auditor finds damage that nobody has met yet, and repairs it at once.

use crate::cluster::{Cluster, at};

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_body_is_found_and_fetched_anew() {
    let cluster = Cluster::start().await;
    let hash = cluster.hash("large");
    let primaries = cluster.primaries(hash);
    let body = vec![7; 300_000];
    cluster.put(&primaries, "large", &body, at(1)).await;
    cluster
        .put(&cluster.primaries(cluster.hash("small")), "small", b"x", at(1))
        .await;
    let id = primaries[1];
    let sound = cluster.nodes[id].auditor.pass().await;
    assert_eq!((sound.damaged, sound.failures), (0, 0));
    assert!(sound.bytes >= 300_000 && sound.records >= 1, "{sound:?}");
    assert_eq!(cluster.damage_body_files(id), 1);
    let report = cluster.nodes[id].auditor.pass().await;
    assert_eq!((report.damaged, report.repaired), (1, 1), "{report:?}");
    assert_eq!(cluster.body(id, "large").await.unwrap().unwrap(), body);
    assert_eq!(cluster.device(id).quarantined(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_that_nobody_can_repair_is_reported() {
    let cluster = Cluster::start().await;
    let primaries = cluster.primaries(cluster.hash("large"));
    cluster.put(&primaries[..1], "large", &[7; 300_000], at(1)).await;
    assert_eq!(cluster.damage_body_files(primaries[0]), 1);
    let report = cluster.nodes[primaries[0]].auditor.paced_pass().await;
    assert_eq!((report.damaged, report.repaired), (1, 0), "{report:?}");
    assert_eq!(
        cluster.record(primaries[0], "large").await,
        None,
        "it is never served"
    );
}
