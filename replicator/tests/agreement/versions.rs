//! Versions travel as any record, and what a replica had before versions were kept is not lost on the way.

use crate::cluster::{ACCOUNT, CONTAINER, Cluster, NODES, POLICY, at};
use bytes::Bytes;
use martlet_protocol::timestamp::Timestamp;
use martlet_protocol::version::{VersionId, version_name};
use martlet_storage::{DeleteObject, PutObject};

async fn put_version(cluster: &Cluster, ids: &[usize], object: &str, body: &[u8], timestamp: Timestamp) {
    for id in ids {
        let device = cluster.device(*id);
        let mut writer = device.begin_body(Some(body.len() as u64)).await.unwrap();
        writer.write(Bytes::copy_from_slice(body)).await.unwrap();
        let put = PutObject {
            account: ACCOUNT.into(),
            container: CONTAINER.into(),
            object: object.into(),
            timestamp,
            etag: "e".into(),
            content_type: "text/plain".into(),
            metadata: Vec::new(),
            delete_at: None,
            if_none_match_star: false,
        };
        let written = device.put_version(POLICY, cluster.hash(object), put, writer, |_| None);
        written.await.unwrap();
    }
}

async fn delete_version(cluster: &Cluster, id: usize, object: &str, version: VersionId, now: Timestamp) {
    let delete = DeleteObject {
        account: ACCOUNT.into(),
        container: CONTAINER.into(),
        object: object.into(),
        timestamp: now,
        if_delete_at: None,
    };
    let device = cluster.device(id);
    let deleted = device.delete_version(POLICY, cluster.hash(object), version, false, delete, |_| None);
    deleted.await.unwrap();
}

fn version(secs: u64) -> String {
    version_name("o", VersionId::of(at(secs)))
}

async fn current(cluster: &Cluster, id: usize) -> Option<VersionId> {
    cluster.record(id, "o").await?.current_version()
}

#[tokio::test]
async fn each_replica_comes_to_have_every_version() {
    let mut cluster = Cluster::start().await;
    let primaries = cluster.primaries(cluster.hash("o"));
    let handoff = cluster.handoff(cluster.hash("o"));
    let [a, b, c] = primaries[..] else {
        panic!("{primaries:?}");
    };
    let large = vec![7; 200_000];
    cluster.put(&[a, b, c], "o", &large, at(1)).await;
    // One misses the first version, one has the second from nobody yet, a handoff stands in.
    put_version(&cluster, &[a, b], "o", b"two", at(2)).await;
    put_version(&cluster, &[a, handoff], "o", b"three", at(3)).await;
    put_version(&cluster, &[c], "o", b"late", at(2).next()).await;
    cluster.wipe(b).await;
    for _ in 0..2 {
        cluster.pass_all().await;
    }
    cluster.assert_agreement().await;
    for id in primaries.clone() {
        assert_eq!(current(&cluster, id).await, Some(VersionId::of(at(3))));
        let late = version_name("o", VersionId::of(at(2).next()));
        for (name, expected) in [
            (version(1), large.as_slice()),
            (version(2), b"two"),
            (late, b"late"),
            (version(3), b"three"),
        ] {
            let body = cluster.body(id, &name).await.unwrap();
            assert_eq!(body.as_deref(), Some(expected), "{id} {name:?}");
        }
    }
    for id in (0..NODES).filter(|id| !primaries.contains(id)) {
        assert_eq!(cluster.record(id, &version(3)).await, None);
    }
    // A deletion that only one has heard of takes version and object everywhere.
    delete_version(&cluster, b, "o", VersionId::of(at(3)), at(5)).await;
    for _ in 0..2 {
        cluster.pass_all().await;
    }
    cluster.assert_agreement().await;
    for id in primaries {
        assert!(cluster.record(id, "o").await.unwrap().is_tombstone());
        assert!(cluster.record(id, &version(3)).await.unwrap().is_tombstone());
        assert_eq!(cluster.body(id, &version(2)).await.unwrap().unwrap(), b"two");
    }
}

/// The last that has it hears of the version from others only, and keeps it as they would have.
#[tokio::test]
async fn what_only_one_has_is_kept_when_it_hears_of_a_version() {
    let cluster = Cluster::start().await;
    let primaries = cluster.primaries(cluster.hash("o"));
    cluster.put(&primaries[..1], "o", b"one", at(1)).await;
    put_version(&cluster, &primaries[1..], "o", b"two", at(2)).await;
    for _ in 0..2 {
        cluster.pass_all().await;
    }
    cluster.assert_agreement().await;
    for id in primaries {
        assert_eq!(current(&cluster, id).await, Some(VersionId::of(at(2))));
        assert_eq!(cluster.body(id, &version(1)).await.unwrap().unwrap(), b"one");
    }
}
