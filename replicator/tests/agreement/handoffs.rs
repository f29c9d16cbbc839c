//! Copies that lie on a device that is no primary go home, and go only when they are safe there.

use crate::cluster::{Cluster, NODES, at, ring_set};
use martlet_protocol::timestamp::Timestamp;

#[tokio::test(flavor = "multi_thread")]
async fn a_handoff_copy_goes_home_and_is_then_let_go() {
    let cluster = Cluster::start().await;
    for (name, large) in [("small", false), ("large", true), ("deleted", false)] {
        let hash = cluster.hash(name);
        let (primaries, handoff) = (cluster.primaries(hash), cluster.handoff(hash));
        let body = vec![7; if large { 200_000 } else { 10 }];
        cluster.put(&[primaries[0], handoff], name, &body, at(1)).await;
        if name == "deleted" {
            cluster.delete(&[primaries[1], handoff], name, at(2)).await;
        }
        let report = cluster.pass(handoff).await;
        assert!(report.complete && report.removed == 1, "{name}: {report:?}");
        assert_eq!(cluster.record(handoff, name).await, None);
        for id in primaries {
            let expected = (name != "deleted").then(|| body.clone());
            assert_eq!(cluster.body(id, name).await.unwrap(), expected, "{name} on {id}");
        }
    }
    cluster.assert_agreement().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handoff_copy_stays_until_every_primary_has_it() {
    let cluster = Cluster::start().await;
    let hash = cluster.hash("o");
    let (primaries, handoff) = (cluster.primaries(hash), cluster.handoff(hash));
    cluster.put(&[handoff], "o", b"precious", at(1)).await;
    cluster.down(primaries[2]);
    for _ in 0..2 {
        let report = cluster.pass(handoff).await;
        assert_eq!((report.removed, report.remaining), (0, 1), "{report:?}");
        assert_eq!(cluster.body(handoff, "o").await.unwrap().unwrap(), b"precious");
    }
    // Two primaries have it by now; the third only once it is back.
    assert_eq!(
        cluster.body(primaries[0], "o").await.unwrap().unwrap(),
        b"precious"
    );
    cluster.up(primaries[2]);
    let report = cluster.pass(handoff).await;
    assert_eq!(
        (report.pushed, report.removed, report.remaining),
        (1, 1, 0),
        "{report:?}"
    );
    cluster.assert_agreement().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_was_away_takes_what_only_a_handoff_has() {
    let cluster = Cluster::start().await;
    let hash = cluster.hash("o");
    let (primaries, handoff) = (cluster.primaries(hash), cluster.handoff(hash));
    cluster
        .put(&[primaries[1], handoff], "o", b"acknowledged", at(1))
        .await;
    cluster.down(primaries[1]);
    let report = cluster.pass(primaries[0]).await;
    assert_eq!(report.pulled, 1, "{report:?}");
    assert_eq!(
        cluster.body(primaries[0], "o").await.unwrap().unwrap(),
        b"acknowledged"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_handoff_copy_does_not_overwrite() {
    let cluster = Cluster::start().await;
    let hash = cluster.hash("o");
    let (primaries, handoff) = (cluster.primaries(hash), cluster.handoff(hash));
    cluster.put(&primaries, "o", b"new", at(5)).await;
    cluster.put(&[handoff], "o", b"old", at(1)).await;
    assert_eq!(cluster.pass(handoff).await.removed, 1);
    cluster.pass_all().await;
    cluster.assert_agreement().await;
    for id in primaries {
        assert_eq!(cluster.body(id, "o").await.unwrap().unwrap(), b"new");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_change_of_the_ring_everything_moves_and_nothing_is_trusted_before() {
    let cluster = Cluster::start().await;
    for number in 0..60u8 {
        let name = format!("o{number}");
        cluster
            .put(
                &cluster.primaries(cluster.hash(&name)),
                &name,
                &[number; 50],
                at(1),
            )
            .await;
    }
    cluster.pass_all().await;
    let synced = cluster.device(0).synced_at();
    cluster.rings.store(ring_set(&cluster.ports(), 1).into());
    cluster.down(1);
    cluster.down(2);
    cluster.pass(0).await;
    assert_eq!(cluster.device(0).synced_at(), Timestamp::ZERO, "was {synced}");
    cluster.up(1);
    cluster.up(2);
    for _ in 0..2 {
        for id in 0..NODES {
            cluster.pass(id).await;
        }
    }
    cluster.assert_agreement().await;
    for number in 0..60u8 {
        let name = format!("o{number}");
        for id in cluster.primaries(cluster.hash(&name)) {
            assert_eq!(cluster.body(id, &name).await.unwrap().unwrap(), [number; 50]);
        }
    }
}
