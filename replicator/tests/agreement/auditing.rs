//! The auditor finds damage that nobody has met yet, and repairs it at once.

use crate::cluster::{Cluster, GRACE_AGE, NODES, at};
use crate::containers::{create, object_row};
use martlet_storage::Space;

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
    cluster.assert_quarantined(id, 1).await;
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

/// Objects of which no replica of the container has a living row leave, for good and everywhere, once they are old.
#[tokio::test(flavor = "multi_thread")]
async fn dark_data_is_put_aside_and_does_not_return() {
    let cluster = Cluster::start().await;
    let container = cluster.container_hash("c");
    let holders = cluster.primaries(container);
    create(&cluster, &holders, Space::Containers, "c", at(1)).await;
    for name in ["listed", "dark", "deleted row"] {
        let primaries = cluster.primaries(cluster.hash(name));
        cluster.put(&primaries, name, b"body", at(1)).await;
    }
    // One replica alone has the row of the first.
    let rows = vec![
        object_row("listed", at(1), 4, false),
        object_row("deleted row", at(2), 0, true),
    ];
    let device = cluster.device(holders[2]);
    let stored = device.put_rows(Space::Containers, container, rows, None, |_| None);
    stored.await.unwrap();
    let dark = async || {
        let mut sum = 0;
        for node in &cluster.nodes {
            sum += node.auditor.pass().await.dark;
        }
        sum
    };
    assert_eq!(dark().await, 0, "too young");
    cluster.clock.advance_secs(GRACE_AGE);
    cluster.down(holders[0]);
    assert_eq!(dark().await, 0, "one replica of the container was not asked");
    cluster.up(holders[0]);
    assert_eq!(dark().await, 6, "three copies of two objects");
    assert_eq!(dark().await, 0);
    cluster.pass_all().await;
    cluster.assert_agreement().await;
    for id in 0..NODES {
        assert!(cluster.body(id, "dark").await.unwrap().is_none());
        assert!(cluster.body(id, "deleted row").await.unwrap().is_none());
    }
    for id in cluster.primaries(cluster.hash("listed")) {
        assert_eq!(cluster.body(id, "listed").await.unwrap().unwrap(), b"body");
    }
    for id in 0..NODES {
        let is_here = |name: &&str| cluster.primaries(cluster.hash(name)).contains(&id);
        let here = ["dark", "deleted row"].into_iter().filter(is_here).count();
        cluster.assert_quarantined(id, here as u64).await;
    }
}
