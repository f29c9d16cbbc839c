//! What is left to do is known exactly, and no more is done at once than there is a budget for.

use crate::cluster::{Cluster, NODES, at};
use martlet_replicator::Remaining;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

/// Of each object that is counted.
const BYTES: u64 = 1_000;

/// Puts objects of these lengths where they belong.
async fn fill(cluster: &Cluster, lengths: &[usize]) {
    for (number, length) in lengths.iter().enumerate() {
        let name = format!("o{number}");
        let body = vec![number as u8; *length];
        cluster
            .put(&cluster.primaries(cluster.hash(&name)), &name, &body, at(1))
            .await;
    }
    cluster.pass_all().await;
}

fn missing(records: u64, bytes: u64) -> Remaining {
    Remaining {
        missing: records,
        missing_bytes: bytes,
        ..Remaining::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_budget_slows_a_refill_what_is_left_is_told_exactly() {
    let mut cluster = Cluster::start().await;
    let lengths = [BYTES as usize; 60];
    fill(&cluster, &lengths).await;
    let full = cluster.device(2).stats().await.unwrap();
    // What was not spent for a second may be spent at once: ten records.
    cluster.replication.records_per_second = 10;
    cluster.replication.bytes_per_second = 1_000_000;
    cluster.wipe(2).await;
    let replicator = cluster.nodes[2].replicator.clone();
    assert_eq!(replicator.remaining("d2"), Remaining::default());
    let seen = Mutex::new(Vec::new());
    let look = async {
        loop {
            let left = replicator.remaining("d2");
            {
                let mut seen = seen.lock().unwrap();
                if seen.last() != Some(&left) {
                    seen.push(left);
                }
            }
            tokio::task::yield_now().await;
        }
    };
    let report = tokio::select! {
        report = cluster.pass(2) => report,
        () = look => unreachable!("it looks on for ever"),
    };
    assert!(report.complete && report.pulled == full.objects, "{report:?}");
    assert_eq!((report.remaining, report.remaining_bytes), (0, 0));
    assert_eq!(replicator.remaining("d2"), missing(0, 0));
    let seen = seen.into_inner().unwrap();
    let started = seen
        .iter()
        .position(|left| left.missing > 0)
        .expect("there was something to do");
    let falling = &seen[started..];
    assert!(
        falling.len() > 3 && falling[0].missing <= full.objects,
        "{seen:?}"
    );
    assert!(
        falling.is_sorted_by(|before, after| before.missing > after.missing),
        "{seen:?}"
    );
    let is_exact = |left: &Remaining| *left == missing(left.missing, left.missing * BYTES);
    assert!(falling.iter().all(is_exact), "{seen:?}");
    cluster.assert_agreement().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_taken_is_told_and_stays_to_do() {
    let mut cluster = Cluster::start().await;
    let hash = cluster.hash("o");
    let primaries = cluster.primaries(hash);
    cluster.put(&primaries[..1], "o", &vec![7; 300_000], at(1)).await;
    cluster.damage_body_files(primaries[0]);
    let without = primaries[1];
    let report = cluster.pass(without).await;
    assert_eq!((report.pulled, report.failures), (0, 1), "{report:?}");
    assert_eq!((report.remaining, report.remaining_bytes), (1, 300_000));
    assert!(!report.complete);
    cluster.put(&primaries[..1], "o", &vec![8; 200_000], at(2)).await;
    let report = cluster.pass(without).await;
    assert_eq!(
        (report.pulled, report.remaining, report.remaining_bytes),
        (1, 0, 0)
    );
    // A handoff copy is told apart, and goes home.
    let handoff = cluster.handoff(hash);
    cluster.put(&[handoff], "o", b"newer", at(3)).await;
    cluster.down(primaries[2]);
    cluster.pass(handoff).await;
    let left = cluster.nodes[handoff]
        .replicator
        .remaining(&format!("d{handoff}"));
    assert_eq!((left.misplaced, left.misplaced_bytes, left.missing), (1, 5, 0));
    cluster.up(primaries[2]);
    assert_eq!(cluster.pass(handoff).await.remaining, 0);
    // What a wiped device is told of by nobody it cannot know.
    cluster.wipe(without).await;
    assert_eq!(cluster.pass(without).await.pulled, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn small_objects_travel_together_and_old_peers_give_them_one_by_one() {
    let mut cluster = Cluster::start().await;
    let lengths: Vec<usize> = (0..60)
        .map(|number| if number == 30 { 100_000 } else { 100 })
        .collect();
    fill(&cluster, &lengths).await;
    let full = cluster.device(1).stats().await.unwrap().objects;
    for is_old in [false, true] {
        cluster.asked.is_old.store(is_old, Ordering::Relaxed);
        cluster.wipe(1).await;
        for verb in ["object", "objects", "versions"] {
            cluster.asked.take(verb);
        }
        let report = cluster.pass(1).await;
        assert!(report.complete && report.pulled == full, "{report:?}");
        let (alone, together) = (cluster.asked.take("object"), cluster.asked.take("objects"));
        let is_large_here = cluster.primaries(cluster.hash("o30")).contains(&1);
        match is_old {
            true => assert_eq!((alone, together), (full as usize, 0)),
            false => {
                assert_eq!(alone, usize::from(is_large_here));
                // A few full hands, and one that is not full from each of the other devices.
                assert!(together <= full as usize / 32 + NODES, "{together} for {full}");
            }
        }
        cluster.assert_agreement().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_serves_clients_says_so_to_who_pulls_from_it() {
    let mut cluster = Cluster::start().await;
    fill(&cluster, &[100; 40]).await;
    cluster.wipe(0).await;
    assert!(!cluster.replication.clients.are_waiting());
    cluster.busy.served();
    let report = cluster.pass(0).await;
    assert!(report.complete, "{report:?}");
    assert!(cluster.replication.clients.are_waiting(), "it was heard");
    assert!(!cluster.replication.clients.are_here(), "and is not told on");
    cluster.assert_agreement().await;
}
