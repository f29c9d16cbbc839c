//! Random writes on random replicas: after a round everywhere all copies are equal, and equal to what a merge of
//! everything written says.

use crate::cluster::{CONTAINER, Cluster, NODES, at};
use crate::containers::{create, object_row};
use martlet_protocol::record::ObjectRecord;
use martlet_storage::Space;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;

/// What every copy must be in the end: all copies there are, joined.
async fn expected(cluster: &Cluster, names: &[String]) -> BTreeMap<String, (ObjectRecord, Option<Vec<u8>>)> {
    let mut all = BTreeMap::new();
    for name in names {
        let mut joined: Option<(ObjectRecord, Option<Vec<u8>>)> = None;
        for id in 0..NODES {
            let Some(record) = cluster.record(id, name).await else {
                continue;
            };
            let body = cluster.body(id, name).await.unwrap();
            match &mut joined {
                None => joined = Some((record, body)),
                Some((known, known_body)) => {
                    if known.merge(record).data {
                        *known_body = body;
                    }
                }
            }
        }
        if let Some(joined) = joined {
            all.insert(name.clone(), joined);
        }
    }
    all
}

async fn run(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut cluster = Cluster::start().await;
    let names: Vec<String> = (0..30).map(|number| format!("o{number}")).collect();
    let container = cluster.container_hash(CONTAINER);
    create(
        &cluster,
        &cluster.primaries(container),
        Space::Containers,
        CONTAINER,
        at(0),
    )
    .await;
    let mut moments: Vec<u64> = (1..=600).collect();
    moments.shuffle(&mut random);
    for round in 0..3 {
        for moment in moments.drain(..200) {
            let name = &names[random.random_range(0..names.len())];
            let mut ids: Vec<usize> = (0..NODES).collect();
            ids.shuffle(&mut random);
            ids.truncate(random.random_range(1..=3));
            match random.random_range(0..10) {
                0..4 => {
                    let length = if random.random_bool(0.1) {
                        100_000
                    } else {
                        random.random_range(0..300)
                    };
                    let body: Vec<u8> = (0..length).map(|_| random.random()).collect();
                    cluster.put(&ids, name, &body, at(moment)).await;
                }
                4..6 => cluster.post(&ids, name, at(moment), None).await,
                6..8 => cluster.delete(&ids, name, at(moment)).await,
                _ => {
                    let row = object_row(name, at(moment), moment, random.random_bool(0.3));
                    for id in ids {
                        let rows = vec![row.clone()];
                        cluster
                            .device(id)
                            .put_rows(Space::Containers, container, rows, None, |_| None)
                            .await
                            .unwrap();
                    }
                }
            }
        }
        let expected = expected(&cluster, &names).await;
        if round == 1 {
            // Losing one device loses nothing that a full round has spread.
            let lost = random.random_range(0..NODES);
            for id in (0..NODES).chain(0..NODES) {
                cluster.pass(id).await;
            }
            cluster.wipe(lost).await;
        }
        let mut order: Vec<usize> = (0..NODES).collect();
        order.shuffle(&mut random);
        for id in order.iter().chain(&order) {
            let report = cluster.pass(*id).await;
            assert_eq!(report.failures, 0, "seed {seed}: {report:?}");
        }
        cluster.assert_agreement().await;
        for (name, (record, body)) in &expected {
            for id in cluster.primaries(cluster.hash(name)) {
                assert_eq!(
                    cluster.record(id, name).await.as_ref(),
                    Some(record),
                    "seed {seed}, {name} on {id}"
                );
                assert_eq!(
                    &cluster.body(id, name).await.unwrap(),
                    body,
                    "seed {seed}, {name} on {id}"
                );
            }
        }
        for id in order {
            let report = cluster.pass(id).await;
            let moved = (report.pulled, report.pushed, report.removed, report.remaining);
            assert_eq!(
                (moved, report.complete),
                ((0, 0, 0, 0), true),
                "seed {seed}: nothing is left to do"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_writes_converge() {
    for seed in [1, 20_261_124] {
        run(seed).await;
    }
}
