//! Rows that servers owe arrive, however long the server they are for was away.

use crate::cluster::{ACCOUNT, CONTAINER, Cluster, POLICY, at};
use http::{Method, StatusCode};
use martlet_protocol::timestamp::Timestamp;
use martlet_protocol::update::{Update, UpdateOp, UpdateTarget};
use martlet_storage::DeleteObject;

/// Places of the container's replicas.
fn targets(cluster: &Cluster, ids: &[usize]) -> Vec<UpdateTarget> {
    let partition = cluster
        .rings
        .load()
        .container
        .partition(&cluster.container_hash(CONTAINER));
    ids.iter()
        .map(|id| UpdateTarget {
            ip: "127.0.0.1".into(),
            port: cluster.nodes[*id].port,
            device: cluster.nodes[*id].name.clone(),
            partition,
        })
        .collect()
}

/// A deletion on node 0 that owes its row to these targets.
async fn owe(cluster: &Cluster, object: &str, timestamp: Timestamp, targets: Vec<UpdateTarget>) {
    let delete = DeleteObject {
        account: ACCOUNT.into(),
        container: CONTAINER.into(),
        object: object.into(),
        timestamp,
        if_delete_at: None,
    };
    let update = Update {
        account: ACCOUNT.into(),
        container: CONTAINER.into(),
        object: Some(object.into()),
        op: UpdateOp::Delete,
        targets,
        headers: vec![("x-timestamp".into(), timestamp.internal())],
        coalesce: false,
    };
    let hash = cluster.hash(object);
    cluster
        .device(0)
        .delete_object(POLICY, hash, delete, move |_| Some(update.into()))
        .await
        .unwrap();
}

async fn outbox(cluster: &Cluster) -> Vec<Update> {
    cluster
        .device(0)
        .outbox(None, 100)
        .await
        .unwrap()
        .into_iter()
        .map(|(_, update)| update)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_sent_until_the_container_server_answers() {
    let cluster = Cluster::start().await;
    let primaries = cluster.primaries(cluster.container_hash(CONTAINER));
    owe(&cluster, "o", at(1), targets(&cluster, &primaries[..1])).await;
    let updater = &cluster.nodes[0].updater;

    cluster.down(primaries[0]);
    let report = updater.pass().await;
    assert_eq!((report.delivered, report.waiting), (0, 1));
    cluster.up(primaries[0]);
    cluster.rows.answer_with(StatusCode::SERVICE_UNAVAILABLE);
    let report = updater.pass().await;
    assert_eq!((report.delivered, report.waiting), (0, 1));
    assert_eq!(outbox(&cluster).await.len(), 1);

    cluster.rows.answer_with(StatusCode::NO_CONTENT);
    let report = updater.pass().await;
    assert_eq!((report.delivered, report.waiting), (1, 0));
    let partition = targets(&cluster, &primaries[..1])[0].partition;
    let path = format!("/d{}/{partition}/{ACCOUNT}/{CONTAINER}/o", primaries[0]);
    assert_eq!(cluster.rows.told(), [(Method::DELETE, path, at(1).internal())]);
    // An acknowledgement rides with a later commit: it may be told twice, but it does leave.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !outbox(&cluster).await.is_empty() {
        assert!(std::time::Instant::now() < deadline, "the row stays owed");
        tokio::task::yield_now().await;
    }
    let report = updater.pass().await;
    assert_eq!((report.delivered, report.waiting), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_targets_that_did_not_acknowledge_are_told_again() {
    let cluster = Cluster::start().await;
    let primaries = cluster.primaries(cluster.container_hash(CONTAINER));
    owe(&cluster, "o", at(1), targets(&cluster, &primaries)).await;
    cluster.down(primaries[1]);
    let updater = &cluster.nodes[0].updater;
    assert_eq!(updater.pass().await.waiting, 1);
    assert_eq!(cluster.rows.told().len(), 2);
    cluster.up(primaries[1]);
    assert_eq!(updater.pass().await.delivered, 1);
    let told = cluster.rows.told();
    assert_eq!(told.len(), 3);
    assert!(told[2].1.starts_with(&format!("/d{}/", primaries[1])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_leaves_new_rows_to_their_writer_and_refused_containers_in_peace() {
    let cluster = Cluster::start().await;
    let primaries = cluster.primaries(cluster.container_hash(CONTAINER));
    owe(&cluster, "o", at(1), targets(&cluster, &primaries[..1])).await;
    let updater = &cluster.nodes[0].updater;
    cluster.rows.answer_with(StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(updater.tick().await.waiting, 0, "the first tick only sees it");
    assert_eq!(updater.tick().await.waiting, 1, "the second tries it");
    cluster.rows.answer_with(StatusCode::NO_CONTENT);
    assert_eq!(updater.tick().await.delivered, 0, "the container pauses");
    assert_eq!(
        updater.pass().await.delivered,
        1,
        "a pass on demand does not wait"
    );
    owe(&cluster, "p", at(2), targets(&cluster, &primaries[..1])).await;
    assert_eq!(updater.tick().await.delivered, 0);
    assert_eq!(updater.tick().await.delivered, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_for_a_device_that_left_the_ring_goes_to_the_primaries() {
    let cluster = Cluster::start().await;
    let mut gone = targets(&cluster, &[0]);
    gone[0].device = "removed".into();
    owe(&cluster, "o", at(1), gone).await;
    assert_eq!(cluster.nodes[0].updater.pass().await.delivered, 1);
    assert_eq!(cluster.rows.told().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_refused_for_longer_than_the_reclaim_age_is_given_up() {
    let cluster = Cluster::start().await;
    let primaries = cluster.primaries(cluster.container_hash(CONTAINER));
    owe(&cluster, "o", at(1), targets(&cluster, &primaries[..1])).await;
    cluster.rows.answer_with(StatusCode::NOT_FOUND);
    let updater = &cluster.nodes[0].updater;
    assert_eq!(updater.pass().await.waiting, 1);
    cluster.clock.advance_secs(8 * 24 * 3600);
    cluster.down(primaries[0]);
    assert_eq!(updater.pass().await.waiting, 1, "silence is no refusal");
    cluster.up(primaries[0]);
    assert_eq!(updater.pass().await.given_up, 1);
    assert_eq!(updater.pass().await.waiting, 0);
}
