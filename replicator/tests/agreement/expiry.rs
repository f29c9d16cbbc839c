//! Objects leave when they are due, on every replica alike, and never when a POST took the expiry back.

use crate::cluster::{Cluster, NODES, POLICY, at};
use http::Method;

#[tokio::test(flavor = "multi_thread")]
async fn due_objects_become_equal_tombstones_and_their_rows_go() {
    let cluster = Cluster::start().await;
    let primaries = cluster.primaries(cluster.hash("due"));
    cluster
        .put_expiring(&primaries, "due", b"x", at(1), Some(at(500).secs()))
        .await;
    let primaries_of_later = cluster.primaries(cluster.hash("later"));
    cluster
        .put_expiring(
            &primaries_of_later,
            "later",
            b"x",
            at(1),
            Some(at(100_000).secs()),
        )
        .await;
    for id in 0..NODES {
        let report = cluster.nodes[id].expirer.pass().await;
        assert_eq!(
            (report.expired, report.unsynced_devices),
            (0, 1),
            "not before replication"
        );
    }
    cluster.pass_all().await;
    for id in 0..NODES {
        let report = cluster.nodes[id].expirer.pass().await;
        assert_eq!(
            (report.expired, report.failures),
            (u64::from(primaries.contains(&id)), 0)
        );
    }
    for id in &primaries {
        let record = cluster.record(*id, "due").await.unwrap();
        assert!(record.is_tombstone());
        assert_eq!(record.timestamp, at(500));

        assert!(
            cluster
                .device(*id)
                .due(at(500).secs(), 10)
                .await
                .unwrap()
                .is_empty()
        );
        assert_eq!(cluster.nodes[*id].updater.pass().await.delivered, 1);
    }
    // Three replicas, three rows, one for each replica of the container.
    let told = cluster.rows.told();
    let mut devices: Vec<&str> = told.iter().map(|(_, path, _)| &path[..3]).collect();
    devices.sort_unstable();
    devices.dedup();
    assert_eq!((told.len(), devices.len()), (3, 3), "{told:?}");
    assert!(told.iter().all(|(method, path, timestamp)| {
        *method == Method::DELETE && path.ends_with("/c/due") && *timestamp == at(500).internal()
    }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_missed_a_post_does_not_expire_what_lives_on() {
    let cluster = Cluster::start().await;
    let primaries = cluster.primaries(cluster.hash("o"));
    cluster.pass_all().await;
    cluster
        .put_expiring(&primaries, "o", b"x", at(1), Some(at(2_000).secs()))
        .await;
    cluster.post(&primaries[1..], "o", at(3), None).await;
    cluster.clock.advance_secs(5_000);
    let expirer = &cluster.nodes[primaries[0]].expirer;
    assert_eq!(
        expirer.pass().await.expired,
        0,
        "its last round was before the expiry"
    );
    cluster.pass_all().await;
    for id in 0..NODES {
        assert_eq!(cluster.nodes[id].expirer.pass().await.expired, 0);
    }
    for id in primaries {
        assert_eq!(cluster.body(id, "o").await.unwrap().unwrap(), b"x");
        assert_eq!(cluster.record(id, "o").await.unwrap().delete_at(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_due_at_once_go_in_one_pass() {
    let cluster = Cluster::start().await;
    for number in 0..2_500 {
        let name = format!("o{number}");
        cluster
            .put_expiring(&[0], &name, b"", at(1), Some(at(100 + number % 7).secs()))
            .await;
    }
    let device = cluster.device(0);
    assert!(device.set_synced(at(900), 0, device.losses()));
    assert_eq!(cluster.nodes[0].expirer.pass().await.expired, 2_500);
    assert_eq!(cluster.device(0).stats().await.unwrap().tombstones, 2_500);
    assert!(
        cluster
            .device(0)
            .read_object(POLICY, cluster.hash("o1"))
            .await
            .unwrap()
            .unwrap()
            .is_tombstone()
    );
}

/// Each replica of an object owes its row to another replica of the container: a tombstone that replication brought
/// first would leave one of them without.
#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_is_not_taken_from_a_peer_before_its_row_is_owed_here() {
    let cluster = Cluster::start().await;
    let primaries = cluster.primaries(cluster.hash("o"));
    let due = at(500).secs();
    cluster
        .put_expiring(&primaries, "o", b"x", at(1), Some(due))
        .await;
    cluster.pass_all().await;
    assert_eq!(cluster.nodes[primaries[0]].expirer.pass().await.expired, 1);
    for id in &primaries[1..] {
        let report = cluster.pass(*id).await;
        assert!(report.complete && report.pulled == 0, "{report:?}");
        assert_eq!(cluster.nodes[*id].expirer.pass().await.expired, 1);
        assert_eq!(cluster.nodes[*id].updater.pass().await.delivered, 1);
    }
    cluster.pass_all().await;
    cluster.assert_agreement().await;
    // A deletion by a client is another thing.
    let primaries = cluster.primaries(cluster.hash("p"));
    cluster
        .put_expiring(&primaries, "p", b"x", at(1), Some(at(90_000).secs()))
        .await;
    cluster.delete(&primaries[..1], "p", at(2)).await;
    cluster.pass(primaries[1]).await;
    assert!(cluster.record(primaries[1], "p").await.unwrap().is_tombstone());
}
