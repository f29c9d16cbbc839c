//! Containers and accounts: records, metadata and rows converge.

use crate::cluster::{ACCOUNT, Cluster, NODES, POLICY, at};
use martlet_protocol::hash::PathHash;
use martlet_protocol::row::{ContainerRow, ObjectRow};
use martlet_protocol::timestamp::Timestamp;
use martlet_storage::{PutContainer, Row, Space};

pub fn object_row(name: &str, timestamp: Timestamp, size: u64, deleted: bool) -> Row {
    Row::Object(ObjectRow {
        name: name.into(),
        timestamp,
        deleted,
        size,
        content_type: "text/plain".into(),
        etag: format!("etag of {size} bytes"),
        content_type_timestamp: timestamp,
        meta_timestamp: timestamp,
        policy: POLICY,
        version: None,
    })
}

pub async fn create(cluster: &Cluster, ids: &[usize], space: Space, container: &str, timestamp: Timestamp) {
    let hash = match space {
        Space::Accounts => cluster.salt.hash(ACCOUNT, None, None),
        _ => cluster.container_hash(container),
    };
    for id in ids {
        let put = PutContainer {
            account: ACCOUNT.into(),
            container: container.into(),
            timestamp,
            policy: None,
            default_policy: POLICY,
            metadata: vec![("x-container-meta-put".into(), (timestamp.normal(), timestamp))],
        };
        cluster
            .device(*id)
            .put_container(space, hash, put, |_| None)
            .await
            .unwrap();
    }
}

async fn put_many(cluster: &Cluster, id: usize, hash: PathHash, rows: &[Row]) {
    for part in rows.chunks(500) {
        let device = cluster.device(id);
        device
            .put_rows(Space::Containers, hash, part.to_vec(), None, |_| None)
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_counts_and_metadata_converge() {
    let cluster = Cluster::start().await;
    let hash = cluster.container_hash("c");
    let primaries = cluster.primaries(hash);
    create(&cluster, &primaries[1..], Space::Containers, "c", at(1)).await;
    let device = |place: usize| cluster.device(primaries[place]);
    // The first replica never heard of the container; the others each missed rows of the other.
    for number in 0..50 {
        let row = object_row(&format!("o{number:03}"), at(2), 10, false);
        device(1 + number % 2)
            .put_rows(Space::Containers, hash, vec![row], None, |_| None)
            .await
            .unwrap();
    }
    let gone = vec![object_row("o000", at(3), 0, true)];
    device(2)
        .put_rows(Space::Containers, hash, gone, None, |_| None)
        .await
        .unwrap();
    for (place, name, when) in [
        (1, "x-container-meta-color", 5),
        (2, "x-container-meta-color", 6),
        (2, "x-container-meta-b", 4),
    ] {
        let item = (name.to_owned(), (format!("set at {when}"), at(when)));
        device(place)
            .post_container(Space::Containers, hash, at(when), vec![item])
            .await
            .unwrap();
    }
    cluster.pass_all().await;
    cluster.assert_agreement().await;
    for id in primaries {
        let record = cluster
            .device(id)
            .container(Space::Containers, hash)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((record.object_count(), record.bytes_used()), (49, 490));
        assert_eq!(record.metadata["x-container-meta-color"].0, "set at 6");
        assert_eq!(record.metadata["x-container-meta-b"].0, "set at 4");
        let rows = cluster
            .device(id)
            .rows_after(Space::Containers, hash, None, 100)
            .await
            .unwrap();
        assert_eq!(rows.len(), 50);
        assert!(rows[0].deleted() && !rows[1].deleted());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_of_many_pages_is_pulled_whole_and_then_only_what_differs() {
    let cluster = Cluster::start().await;
    let hash = cluster.container_hash("big");
    let primaries = cluster.primaries(hash);
    create(&cluster, &primaries, Space::Containers, "big", at(1)).await;
    let rows: Vec<Row> = (0..12_000)
        .map(|number| object_row(&format!("o{number:05}"), at(2), 1, false))
        .collect();
    for id in &primaries[1..] {
        put_many(&cluster, *id, hash, &rows).await;
    }
    // Ours alone, between theirs: pages then begin and end at different names.
    let ours: Vec<Row> = (0..3_000)
        .map(|number| object_row(&format!("o{number:05}x"), at(2), 1, false))
        .collect();
    put_many(&cluster, primaries[0], hash, &ours).await;
    cluster.pass_all().await;
    cluster.assert_agreement().await;
    let count = async |id: usize| {
        cluster
            .device(id)
            .container(Space::Containers, hash)
            .await
            .unwrap()
            .unwrap()
            .object_count()
    };
    assert_eq!(count(primaries[0]).await, 15_000);
    let late = vec![object_row("o07000y", at(4), 1, false)];
    cluster
        .device(primaries[2])
        .put_rows(Space::Containers, hash, late, None, |_| None)
        .await
        .unwrap();
    cluster.pass_all().await;
    cluster.assert_agreement().await;
    assert_eq!(count(primaries[1]).await, 15_001);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_container_is_deleted_everywhere() {
    let cluster = Cluster::start().await;
    let hash = cluster.container_hash("c");
    let primaries = cluster.primaries(hash);
    create(&cluster, &primaries, Space::Containers, "c", at(1)).await;
    for id in &primaries[1..] {
        cluster
            .device(*id)
            .delete_container(Space::Containers, hash, at(2), |_| None)
            .await
            .unwrap();
    }
    cluster.pass_all().await;
    cluster.assert_agreement().await;
    for id in primaries {
        assert!(
            cluster
                .device(id)
                .container(Space::Containers, hash)
                .await
                .unwrap()
                .unwrap()
                .is_deleted()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_on_a_handoff_goes_home_with_its_rows() {
    let cluster = Cluster::start().await;
    let hash = cluster.container_hash("c");
    let (primaries, handoff) = (cluster.primaries(hash), cluster.handoff(hash));
    create(&cluster, &[handoff], Space::Containers, "c", at(1)).await;
    let rows: Vec<Row> = (0..6_000)
        .map(|number| object_row(&format!("o{number:05}"), at(2), 1, false))
        .collect();
    put_many(&cluster, handoff, hash, &rows).await;
    let report = cluster.pass(handoff).await;
    assert_eq!(
        (report.pushed, report.removed, report.remaining),
        (3, 1, 0),
        "{report:?}"
    );
    cluster.assert_agreement().await;
    for id in &primaries {
        let record = cluster
            .device(*id)
            .container(Space::Containers, hash)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(record.object_count(), 6_000);
    }
    // Each replica tells the account what it counts now.
    let report = cluster.nodes[primaries[0]].updater.pass().await;
    assert_eq!((report.delivered, report.waiting), (1, 0));
    let account = cluster.salt.hash(ACCOUNT, None, None);
    let partition = cluster.rings.load().account.partition(&account);
    let told = cluster.rows.told();
    assert_eq!(told.len(), 3);
    for (method, path, _) in told {
        assert_eq!(method, http::Method::PUT);
        assert!(path.ends_with(&format!("/{partition}/{ACCOUNT}/c")), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn account_rows_converge() {
    let cluster = Cluster::start().await;
    let hash = cluster.salt.hash(ACCOUNT, None, None);
    let primaries = cluster.primaries(hash);
    create(&cluster, &primaries, Space::Accounts, "", at(1)).await;
    for (place, id) in primaries.iter().enumerate() {
        let row = Row::Container(ContainerRow {
            name: format!("c{place}"),
            put_timestamp: at(2),
            delete_timestamp: Timestamp::ZERO,
            object_count: 5,
            bytes_used: 50,
            stats_timestamp: at(3),
            policy: POLICY,
        });
        cluster
            .device(*id)
            .put_rows(Space::Accounts, hash, vec![row], None, |_| None)
            .await
            .unwrap();
    }
    cluster.pass_all().await;
    cluster.assert_agreement().await;
    for id in 0..NODES {
        // Accounts owe nobody a row.
        assert!(cluster.device(id).outbox(None, 10).await.unwrap().is_empty());
    }
    for id in primaries {
        let record = cluster
            .device(id)
            .container(Space::Accounts, hash)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (
                record.container_count(),
                record.object_count(),
                record.bytes_used()
            ),
            (3, 15, 150)
        );
    }
}
