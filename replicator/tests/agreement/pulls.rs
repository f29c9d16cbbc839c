//! What a device missed comes back to it.

use crate::cluster::{Cluster, NODES, at};
use martlet_protocol::timestamp::Timestamp;
use martlet_storage::StorageError;

/// Larger than what storage keeps in its index.
fn large(seed: u8) -> Vec<u8> {
    (0..300_000u32).map(|at| (at % 251) as u8 ^ seed).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missed_put_overwrite_post_and_delete_come_back() {
    let cluster = Cluster::start().await;
    let away = 0;
    let mut names = Vec::new();
    for number in 0..40 {
        let name = format!("o{number}");
        let primaries = cluster.primaries(cluster.hash(&name));
        if !primaries.contains(&away) {
            continue;
        }
        let present: Vec<usize> = primaries.iter().copied().filter(|id| *id != away).collect();
        match number % 4 {
            0 => {
                cluster
                    .put(&present, &name, format!("new {number}").as_bytes(), at(10))
                    .await
            }
            1 => {
                cluster.put(&primaries, &name, b"old", at(1)).await;
                cluster.put(&present, &name, &large(number as u8), at(10)).await;
            }
            2 => {
                cluster.put(&primaries, &name, b"kept", at(1)).await;
                cluster.post(&present, &name, at(10), None).await;
            }
            _ => {
                cluster.put(&primaries, &name, b"gone", at(1)).await;
                cluster.delete(&present, &name, at(10)).await;
            }
        }
        names.push((number, name, present[0]));
    }
    let report = cluster.pass(away).await;
    assert_eq!(
        (report.pulled, report.failures, report.remaining),
        (names.len() as u64, 0, 0),
        "{report:?}"
    );
    assert!(report.complete);
    for (number, name, other) in &names {
        assert_eq!(
            cluster.record(away, name).await,
            cluster.record(*other, name).await,
            "{name}"
        );
        let expected = match number % 4 {
            0 => Some(format!("new {number}").into_bytes()),
            1 => Some(large(*number as u8)),
            2 => Some(b"kept".to_vec()),
            _ => None,
        };
        assert_eq!(cluster.body(away, name).await.unwrap(), expected, "{name}");
    }
    cluster.assert_agreement().await;
    assert_eq!(cluster.pass(away).await.pulled, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_data_here_and_newer_metadata_there_are_joined_on_all() {
    let cluster = Cluster::start().await;
    let primaries = cluster.primaries(cluster.hash("crossed"));
    cluster.put(&primaries, "crossed", b"first", at(1)).await;
    cluster.put(&primaries[..1], "crossed", b"second", at(5)).await;
    cluster.post(&primaries[1..2], "crossed", at(9), None).await;
    cluster.pass_all().await;
    cluster.assert_agreement().await;
    for id in primaries {
        let record = cluster.record(id, "crossed").await.unwrap();
        assert_eq!((record.timestamp, record.meta_timestamp()), (at(5), at(9)));
        let names: Vec<_> = record.metadata().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["x-object-meta-post"]);
        assert_eq!(cluster.body(id, "crossed").await.unwrap().unwrap(), b"second");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_object_does_not_return_from_a_device_that_was_away() {
    let cluster = Cluster::start().await;
    let primaries = cluster.primaries(cluster.hash("gone"));
    cluster.put(&primaries, "gone", b"x", at(1)).await;
    cluster.delete(&primaries[1..], "gone", at(2)).await;
    // The others first: they must not take the old copy back.
    for id in [primaries[1], primaries[2], primaries[0]] {
        assert!(cluster.pass(id).await.complete);
    }
    for id in primaries {
        let record = cluster.record(id, "gone").await.unwrap();
        assert!(record.is_tombstone() && record.timestamp == at(2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_device_is_full_again() {
    let mut cluster = Cluster::start().await;
    for number in 0..120 {
        let name = format!("o{number}");
        let body = if number % 20 == 0 {
            large(number)
        } else {
            vec![number; 100]
        };
        cluster
            .put(&cluster.primaries(cluster.hash(&name)), &name, &body, at(1))
            .await;
    }
    cluster.pass_all().await;
    cluster.wipe(2).await;
    assert_eq!(cluster.device(2).synced_at(), Timestamp::ZERO);
    let report = cluster.pass(2).await;
    assert!(report.complete && report.pulled > 60, "{report:?}");
    assert!(cluster.device(2).synced_at() > Timestamp::ZERO);
    cluster.assert_agreement().await;
    cluster.pass_all().await;
    for number in (0..120).filter(|number| number % 20 == 0) {
        let name = format!("o{number}");
        if cluster.primaries(cluster.hash(&name)).contains(&2) {
            assert_eq!(cluster.body(2, &name).await.unwrap().unwrap(), large(number));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_device_needs_to_hear_from_all_others() {
    let mut cluster = Cluster::start().await;
    let primaries = cluster.primaries(cluster.hash("o"));
    cluster.put(&primaries, "o", b"x", at(1)).await;
    cluster.wipe(primaries[0]).await;
    cluster.down(primaries[1]);
    let report = cluster.pass(primaries[0]).await;
    assert!(!report.complete && report.unreachable.len() == 1, "{report:?}");
    assert_eq!(cluster.body(primaries[0], "o").await.unwrap().unwrap(), b"x");
    cluster.up(primaries[1]);
    assert!(cluster.pass(primaries[0]).await.complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantined_copy_comes_back() {
    let cluster = Cluster::start().await;
    let primaries = cluster.primaries(cluster.hash("rot"));
    cluster.put(&primaries, "rot", &large(7), at(1)).await;
    cluster.pass_all().await;
    assert_eq!(cluster.damage_body_files(primaries[0]), 1);
    let read = cluster.body(primaries[0], "rot").await;
    assert!(matches!(read, Err(StorageError::Corrupt(_))), "{read:?}");
    assert_eq!(cluster.body(primaries[0], "rot").await.unwrap(), None);
    assert_eq!(cluster.device(primaries[0]).synced_at(), Timestamp::ZERO);
    let report = cluster.pass(primaries[0]).await;
    assert_eq!((report.pulled, report.complete), (1, true), "{report:?}");
    assert_eq!(
        cluster.body(primaries[0], "rot").await.unwrap().unwrap(),
        large(7)
    );
    cluster.assert_agreement().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_rots_at_the_peer_is_taken_from_another() {
    let cluster = Cluster::start().await;
    let primaries = cluster.primaries(cluster.hash("rot"));
    cluster.put(&primaries[1..], "rot", &large(7), at(1)).await;
    assert_eq!(cluster.damage_body_files(primaries[1]), 1);
    // Whoever is asked first: in the end the good copy is on all three.
    for _ in 0..2 {
        for id in &primaries {
            cluster.pass(*id).await;
        }
    }
    for id in &primaries {
        if *id != primaries[1] {
            assert_eq!(cluster.body(*id, "rot").await.unwrap().unwrap(), large(7));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_round_reads_no_body() {
    let cluster = Cluster::start().await;
    for number in 0..8u8 {
        let name = format!("o{number}");
        cluster
            .put(
                &cluster.primaries(cluster.hash(&name)),
                &name,
                &large(number),
                at(1),
            )
            .await;
    }
    cluster.pass_all().await;
    let damaged: usize = (0..NODES).map(|id| cluster.damage_body_files(id)).sum();
    assert_eq!(damaged, 24);
    // A round that read a body would find the damage and put the copy aside. Past `full_compare_rounds`, too.
    for _ in 0..25 {
        cluster.pass_all().await;
    }
    for id in 0..NODES {
        assert_eq!(cluster.device(id).stats().await.unwrap().quarantined, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_silent_devices_make_a_round_incomplete_and_lose_nothing() {
    let cluster = Cluster::start().await;
    let primaries = cluster.primaries(cluster.hash("o"));
    let handoff = cluster.handoff(cluster.hash("o"));
    cluster.put(&primaries, "o", b"old", at(1)).await;
    cluster.pass_all().await;
    let synced = cluster.device(primaries[0]).synced_at();
    cluster.put(&primaries[1..], "o", b"new", at(2)).await;
    cluster.down(primaries[1]);
    cluster.down(primaries[2]);
    let report = cluster.pass(primaries[0]).await;
    assert!(!report.complete && report.unreachable.len() == 2, "{report:?}");
    assert_eq!(cluster.device(primaries[0]).synced_at(), synced);
    assert_eq!(cluster.body(primaries[0], "o").await.unwrap().unwrap(), b"old");
    // One of the two is enough: every acknowledged write is on it, on us, or on the one that is still away.
    cluster.up(primaries[1]);
    let report = cluster.pass(primaries[0]).await;
    assert!(report.complete && report.unreachable.len() == 1, "{report:?}");
    assert!(cluster.device(primaries[0]).synced_at() > synced);
    assert_eq!(cluster.body(primaries[0], "o").await.unwrap().unwrap(), b"new");
    cluster.up(primaries[2]);
    cluster.pass_all().await;
    assert_eq!(cluster.record(handoff, "o").await, None);
    cluster.assert_agreement().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_over_sockets() {
    let cluster = Cluster::start_over_sockets().await;
    let hash = cluster.hash("o");
    let (primaries, handoff) = (cluster.primaries(hash), cluster.handoff(hash));
    cluster.put(&primaries[..1], "o", &large(1), at(1)).await;
    cluster.put(&[handoff], "o", &large(2), at(2)).await;
    cluster.post(&primaries[..1], "o", at(3), None).await;
    cluster.pass_all().await;
    cluster.assert_agreement().await;
    for id in primaries {
        assert_eq!(cluster.body(id, "o").await.unwrap().unwrap(), large(2));
        assert_eq!(cluster.record(id, "o").await.unwrap().newest(), at(3));
    }
}
