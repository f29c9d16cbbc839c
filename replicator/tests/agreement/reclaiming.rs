//! Deletions are forgotten only when all have them and they are old; nobody brings back what was deleted.

use crate::cluster::{ACCOUNT, Cluster, NODES, OBJECTS, POLICY, RECLAIM_AGE, at, ring_set, ring_set_without};
use crate::containers::{create, object_row};
use martlet_replicator::ReclaimReport;
use martlet_storage::Space;

async fn reclaim(cluster: &Cluster) -> ReclaimReport {
    let mut sum = ReclaimReport::default();
    for node in &cluster.nodes {
        let report = node.reclaimer.pass().await;
        sum.reclaimed += report.reclaimed;
        sum.waiting += report.waiting;
        sum.failures += report.failures;
    }
    sum
}

async fn tombstones(cluster: &Cluster) -> u64 {
    let mut sum = 0;
    for id in 0..NODES {
        sum += cluster.device(id).stats().await.unwrap().tombstones;
    }
    sum
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tombstone_goes_when_it_is_old_and_everywhere() {
    let cluster = Cluster::start().await;
    let primaries = cluster.primaries(cluster.hash("o"));
    cluster.put(&primaries, "o", b"x", at(1)).await;
    cluster.delete(&primaries[..2], "o", at(2)).await;
    assert_eq!(reclaim(&cluster).await, ReclaimReport::default(), "too young");
    cluster.clock.advance_secs(RECLAIM_AGE);
    let report = reclaim(&cluster).await;
    assert_eq!((report.reclaimed, report.waiting), (0, 1), "one replica has data");
    cluster.pass_all().await;
    cluster.down(primaries[1]);
    let report = reclaim(&cluster).await;
    assert_eq!((report.reclaimed, report.waiting), (0, 1), "one replica is away");
    assert_eq!(tombstones(&cluster).await, 3);
    cluster.up(primaries[1]);
    let report = reclaim(&cluster).await;
    assert_eq!((report.reclaimed, report.waiting), (1, 0));
    assert_eq!(tombstones(&cluster).await, 0);
    for id in &primaries {
        assert_eq!(cluster.record(*id, "o").await, None);
        assert_eq!(cluster.device(*id).reclaimed_up_to(), at(2));
    }
    cluster.pass_all().await;
    cluster.assert_agreement().await;
    assert_eq!(tombstones(&cluster).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_handoff_copy_keeps_the_tombstone() {
    let cluster = Cluster::start().await;
    let hash = cluster.hash("o");
    let (primaries, handoff) = (cluster.primaries(hash), cluster.handoff(hash));
    cluster.put(&[handoff], "o", b"x", at(1)).await;
    cluster.delete(&primaries, "o", at(2)).await;
    cluster.clock.advance_secs(RECLAIM_AGE);
    assert_eq!(reclaim(&cluster).await.waiting, 1);
    cluster.pass_all().await;
    assert_eq!(reclaim(&cluster).await.reclaimed, 1);
    cluster.pass_all().await;
    for id in 0..NODES {
        assert_eq!(cluster.record(id, "o").await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_rows_and_then_deleted_containers_go() {
    let cluster = Cluster::start().await;
    let hash = cluster.container_hash("c");
    let primaries = cluster.primaries(hash);
    create(&cluster, &primaries, Space::Containers, "c", at(1)).await;
    let rows = vec![
        object_row("deleted", at(2), 0, true),
        object_row("also", at(3), 0, true),
    ];
    for id in &primaries {
        let device = cluster.device(*id);
        let stored = device.put_rows(Space::Containers, hash, rows.clone(), None, |_| None);
        stored.await.unwrap();
        device
            .delete_container(Space::Containers, hash, at(4), |_| None)
            .await
            .unwrap();
    }
    cluster.clock.advance_secs(RECLAIM_AGE);
    let first = reclaim(&cluster).await;
    let second = reclaim(&cluster).await;
    assert_eq!(first.reclaimed + second.reclaimed, 3, "{first:?} {second:?}");
    for id in 0..NODES {
        assert_eq!(
            cluster
                .device(id)
                .container(Space::Containers, hash)
                .await
                .unwrap(),
            None
        );
    }
    cluster.pass_all().await;
    cluster.assert_agreement().await;
}

/// A disk leaves the ring, things are deleted and the deletions forgotten, the disk comes back with everything on it.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_was_away_does_not_bring_back_what_was_deleted() {
    let cluster = Cluster::start().await;
    let hash = cluster.hash("o");
    let away = cluster.primaries(hash)[1];
    let container = cluster.container_hash("c");
    let holders = cluster.primaries(container);
    let row_holder = holders.contains(&away);
    cluster.put(&cluster.primaries(hash), "o", b"old", at(1)).await;
    cluster
        .put(&cluster.primaries(cluster.hash("living")), "living", b"x", at(1))
        .await;
    create(&cluster, &holders, Space::Containers, "c", at(1)).await;
    for id in &holders {
        let rows = vec![
            object_row("o", at(1), 3, false),
            object_row("living", at(1), 1, false),
        ];
        let device = cluster.device(*id);
        let stored = device.put_rows(Space::Containers, container, rows, None, |_| None);
        stored.await.unwrap();
    }
    cluster.pass_all().await;
    let caught_up = cluster.device(away).caught_up();
    assert!(caught_up > at(1));

    cluster
        .rings
        .store(ring_set_without(&cluster.ports(), away).into());
    let others: Vec<usize> = (0..NODES).filter(|id| *id != away).collect();
    for id in others.iter().chain(&others) {
        cluster.pass(*id).await;
    }
    cluster.clock.advance_secs(10_000);
    cluster.delete(&others, "o", at(9_000)).await;
    for id in &others {
        let rows = vec![object_row("o", at(9_000), 0, true)];
        let device = cluster.device(*id);
        let stored = device.put_rows(Space::Containers, container, rows, None, |_| None);
        stored.await.unwrap();
    }
    cluster.clock.advance_secs(RECLAIM_AGE);
    for id in &others {
        cluster.nodes[*id].reclaimer.pass().await;
        assert_eq!(cluster.record(*id, "o").await, None, "the tombstone is forgotten");
    }

    cluster.rings.store(ring_set(&cluster.ports(), 0).into());
    // Shown to the replicator as at a start: nobody may use it before it was compared.
    cluster.nodes[away].replicator.admit_all();
    assert!(
        cluster.nodes[away]
            .devices
            .get(&cluster.nodes[away].name)
            .is_err()
    );
    for id in &others {
        cluster.pass(*id).await;
        assert_eq!(cluster.record(*id, "o").await, None, "nobody believes it");
    }
    let report = cluster.pass(away).await;
    assert!(report.complete && !report.in_doubt, "{report:?}");
    assert_eq!(cluster.record(away, "o").await, None);
    // Nothing is destroyed.
    cluster.assert_quarantined(away, 1).await;
    for _ in 0..2 {
        for id in 0..NODES {
            cluster.pass(id).await;
        }
    }
    cluster.assert_agreement().await;
    for id in cluster.primaries(hash) {
        assert_eq!(cluster.record(id, "o").await, None, "on {id}");
    }
    for id in cluster.primaries(cluster.hash("living")) {
        assert!(cluster.record(id, "living").await.is_some(), "on {id}");
    }
    for id in cluster.primaries(container) {
        let record = cluster.device(id).container(Space::Containers, container).await;
        assert_eq!(
            record.unwrap().unwrap().object_count(),
            1,
            "on {id}, the disk had rows: {row_holder}"
        );
    }
    assert_eq!(cluster.salt.hash(ACCOUNT, Some("c"), None), container);
}

/// The whole cluster was off for long: nothing was forgotten meanwhile, so all are believed after one round.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_was_off_for_long_believes_itself() {
    let cluster = Cluster::start().await;
    let primaries = cluster.primaries(cluster.hash("o"));
    cluster.put(&primaries, "o", b"x", at(1)).await;
    cluster.pass_all().await;
    cluster.clock.advance_secs(10 * RECLAIM_AGE);
    for node in &cluster.nodes {
        node.replicator.admit_all();
    }
    let in_doubt = |id: usize| cluster.nodes[id].devices.get(&cluster.nodes[id].name).is_err();
    assert!(primaries.iter().all(|id| in_doubt(*id)));
    // Its rings were read anew, as at a start.
    cluster.rings.store(ring_set(&cluster.ports(), 0).into());
    for _ in 0..2 {
        for id in 0..NODES {
            cluster.pass(id).await;
        }
    }
    cluster.pass_all().await;
    for id in primaries {
        assert!(!in_doubt(id));
        let found = cluster
            .device(id)
            .versions(OBJECTS, cluster.hash("o").prefix(), None, 10)
            .await;
        assert_eq!(found.unwrap().len(), 1);
        assert!(
            cluster
                .device(id)
                .read_object(POLICY, cluster.hash("o"))
                .await
                .unwrap()
                .is_some()
        );
    }
}
