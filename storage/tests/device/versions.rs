//! Versions: each is a record beside its object, and nothing that had a name is lost when versions begin.

use crate::support::*;
use bytes::Bytes;
use martlet_protocol::record::{ObjectData, ObjectMeta, ObjectRecord};
use martlet_protocol::timestamp::Timestamp;
use martlet_protocol::version::{DELETE_MARKER, VersionId, pointer_to, version_name};
use martlet_storage::*;
use std::path::Path;
use std::sync::{Arc, Mutex};

const LARGE: usize = 300_000;

fn id(secs: u64) -> VersionId {
    VersionId::of(at(secs))
}

async fn writer(device: &Device, bytes: &Bytes) -> BodyWriter {
    let mut writer = device.begin_body(Some(bytes.len() as u64)).await.unwrap();
    writer.write(bytes.clone()).await.unwrap();
    writer
}

async fn put_version(device: &Device, secs: u64, bytes: Bytes) -> PutOutcome {
    let writer = writer(device, &bytes).await;
    let put = put_of(secs);
    let written = device.put_version(POLICY, hash(1), put, writer, |_| None).await;
    written.unwrap().outcome
}

fn delete_of(secs: u64) -> DeleteObject {
    DeleteObject {
        account: "a".into(),
        container: "c".into(),
        object: "o".into(),
        timestamp: at(secs),
        if_delete_at: None,
    }
}

async fn mark_deleted(device: &Device, secs: u64) -> DeleteOutcome {
    let written = device
        .mark_deleted(POLICY, hash(1), delete_of(secs), |_| None)
        .await;
    written.unwrap().outcome
}

async fn delete_version(device: &Device, version: u64, secs: u64) -> DeleteOutcome {
    let delete = delete_of(secs);
    let written = device
        .delete_version(POLICY, hash(1), id(version), false, delete, |_| None)
        .await;
    written.unwrap().outcome
}

async fn record(device: &Device) -> Option<ObjectRecord> {
    device.read_object(POLICY, hash(1)).await.unwrap()
}

async fn version(device: &Device, secs: u64) -> Option<ObjectRecord> {
    device
        .read_object(POLICY, hash(1).version(id(secs)))
        .await
        .unwrap()
}

async fn bytes_of(device: &Device, secs: u64) -> Option<Vec<u8>> {
    let mut open = device
        .open_object(POLICY, hash(1).version(id(secs)))
        .await
        .unwrap()?;
    let mut all = Vec::new();
    while let Some(part) = open.body.next().await.unwrap() {
        all.extend_from_slice(&part);
    }
    Some(all)
}

/// The version that is current.
async fn current(device: &Device) -> Option<VersionId> {
    record(device).await?.current_version()
}

#[test]
fn every_write_keeps_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let device = open(folder.path());
    run(async {
        for (secs, size) in [(1, 10), (2, LARGE), (3, 20)] {
            let stored = put_version(&device, secs, body(size, secs as u8)).await;
            assert!(matches!(stored, PutOutcome::Stored { .. }));
            assert_eq!(current(&device).await, Some(id(secs)));
        }
        // One that comes late is a version, and not the current one.
        put_version(&device, 2, body(1, 1)).await;
        let late = Timestamp::from_raw(at(2).raw() + 7);
        let put = PutObject {
            timestamp: late,
            ..put_of(2)
        };
        let bytes = body(30, 9);
        let writer = writer(&device, &bytes).await;
        let stored = device.put_version(POLICY, hash(1), put, writer, |_| None).await;
        assert!(matches!(stored.unwrap().outcome, PutOutcome::Stored { .. }));
        assert_eq!(current(&device).await, Some(id(3)));

        let marked = mark_deleted(&device, 4).await;
        assert!(matches!(marked, DeleteOutcome::Deleted { .. }));
        assert!(record(&device).await.unwrap().is_tombstone());
        let marker = version(&device, 4).await.unwrap();
        assert_eq!(
            (marker.content_type(), marker.object.as_str()),
            (DELETE_MARKER, version_name("o", id(4)).as_str())
        );
        for (secs, size) in [(1, 10), (2, LARGE), (3, 20)] {
            assert_eq!(
                bytes_of(&device, secs).await.unwrap(),
                body(size, secs as u8),
                "{secs}"
            );
        }
        let stats = device.stats().await.unwrap();
        assert_eq!((stats.objects, stats.bytes), (5, LARGE as u64 + 60));
        device.close().await;
    });
}

#[test]
fn a_version_that_goes_takes_the_object_along_if_it_is_current() {
    let folder = tempfile::tempdir().unwrap();
    let device = open(folder.path());
    run(async {
        put_version(&device, 1, body(10, 1)).await;
        put_version(&device, 2, body(LARGE, 2)).await;
        assert!(matches!(
            delete_version(&device, 1, 5).await,
            DeleteOutcome::Deleted { .. }
        ));
        assert_eq!(current(&device).await, Some(id(2)));
        assert!(version(&device, 1).await.unwrap().is_tombstone());
        // The pointer is newer than the deletion of what it points to: it goes all the same.
        let data = version(&device, 2).await.unwrap().data.unwrap();
        let stored = point(&device, &data, 2, 9).await;
        assert!(matches!(stored, PutOutcome::Stored { .. }));
        assert!(matches!(
            delete_version(&device, 2, 6).await,
            DeleteOutcome::Deleted { .. }
        ));
        let gone = record(&device).await.unwrap();
        assert_eq!((gone.is_tombstone(), gone.timestamp), (true, at(9)));
        assert_eq!(bytes_of(&device, 2).await, Some(Vec::new()));
        // What is deleted is not made current again.
        let refused = point(&device, &data, 2, 12).await;
        assert_eq!(refused, PutOutcome::Conflict { existing: at(6) });
        device.close().await;
    });
    assert_eq!(body_files(folder.path()).len(), 0);
}

/// Makes the version of `secs` current at `now`.
async fn point(device: &Device, data: &ObjectData, secs: u64, now: u64) -> PutOutcome {
    let pointer = pointer_to(data, id(secs), None);
    let put = PutObject {
        timestamp: at(now),
        etag: pointer.etag,
        metadata: pointer.metadata,
        ..put_of(now)
    };
    let written = device.put_pointer(POLICY, hash(1), id(secs), put, |_| None).await;
    written.unwrap().outcome
}

#[test]
fn data_that_is_no_version_becomes_one_when_it_is_replaced() {
    for size in [10, LARGE] {
        let folder = tempfile::tempdir().unwrap();
        let mut device = open(folder.path());
        run(async {
            put(&device, 1, 1, body(size, 1)).await;
            post(&device, 1, 2).await;
            put_version(&device, 3, body(5, 3)).await;
            // Without versions again, and deleted with them.
            put(&device, 1, 4, body(size, 4)).await;
            mark_deleted(&device, 5).await;
            put(&device, 1, 6, body(size, 6)).await;
            let data = version(&device, 3).await.unwrap().data.unwrap();
            point(&device, &data, 3, 7).await;
        });
        for restarts in [false, true] {
            if restarts {
                run(device.close());
                drop(device);
                device = Device::open(config(folder.path())).unwrap();
            }
            run(async {
                assert_eq!(current(&device).await, Some(id(3)));
                for secs in [1, 4, 6] {
                    let kept = bytes_of(&device, secs).await.unwrap();
                    assert_eq!(kept, body(size, secs as u8), "{size} {secs}");
                }
                let posted = version(&device, 1).await.unwrap();
                assert_eq!(posted.newest(), at(2));
                let stats = device.stats().await.unwrap();
                assert_eq!(stats.bytes, 3 * size as u64 + 5);
            });
        }
        run(device.close());
    }
}

#[test]
fn what_has_expired_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let device = open(folder.path());
    run(async {
        let bytes = body(LARGE, 1);
        let writer = writer(&device, &bytes).await;
        let put = PutObject {
            delete_at: Some(3),
            ..put_of(1)
        };
        device
            .put_object(POLICY, hash(1), put, writer, |_| None)
            .await
            .unwrap();
        put_version(&device, 5, body(5, 5)).await;
        assert_eq!(version(&device, 1).await, None);
        device.close().await;
    });
    assert_eq!(body_files(folder.path()).len(), 0);
}

/// A body whose move to its place a power loss has undone, and whose record has become a version meanwhile.
#[test]
fn a_kept_bodys_file_is_found_wherever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let device = open(folder.path());
    run(async {
        put(&device, 1, 1, body(LARGE, 1)).await;
        put_version(&device, 2, body(5, 2)).await;
        device.close().await;
    });
    drop(device);
    let files = body_files(folder.path());
    let [file] = files.as_slice() else {
        panic!("{files:?}");
    };
    let incoming = folder.path().join("incoming").join(file.file_name().unwrap());
    std::fs::rename(file, incoming).unwrap();
    let device = Device::open(config(folder.path())).unwrap();
    run(async {
        assert_eq!(bytes_of(&device, 1).await.unwrap(), body(LARGE, 1));
        device.close().await;
    });
}

#[test]
fn a_post_is_the_versions_and_its_expiry_the_objects() {
    let folder = tempfile::tempdir().unwrap();
    let device = open(folder.path());
    run(async {
        put_version(&device, 1, body(5, 1)).await;
        let rows = Arc::new(Mutex::new(Vec::new()));
        let seen = rows.clone();
        let meta = ObjectMeta {
            timestamp: at(2),
            metadata: vec![("x-object-meta-post".into(), "2".into())],
            delete_at: Some(50),
            content_type: Some(("text/new".into(), at(2))),
        };
        let row = move |record: &ObjectRecord| {
            let row = (record.object.clone(), record.content_type().to_owned());
            seen.lock().unwrap().push(row);
            None
        };
        device
            .post_version(POLICY, hash(1), id(1), meta, row)
            .await
            .unwrap();
        let of_version = version(&device, 1).await.unwrap();
        assert_eq!(
            of_version.metadata(),
            [("x-object-meta-post".to_owned(), "2".to_owned())]
        );
        assert_eq!(
            (of_version.delete_at(), of_version.content_type()),
            (None, "text/new")
        );
        assert_eq!(record(&device).await.unwrap().delete_at(), Some(50));
        assert_eq!(current(&device).await, Some(id(1)));
        // The container hears of both.
        let new = "text/new".to_owned();
        let expected = [(version_name("o", id(1)), new.clone()), ("o".to_owned(), new)];
        assert_eq!(*rows.lock().unwrap(), expected);
        device.close().await;
    });
}

/// A replica that was away hears of a POST to a version, and of the end of one, that it has not heard of itself.
#[test]
fn a_replica_that_is_behind_does_not_take_one_version_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let device = open(folder.path());
    run(async {
        put_version(&device, 1, body(5, 1)).await;
        let meta = ObjectMeta {
            timestamp: at(3),
            metadata: vec![("x-object-meta-post".into(), "3".into())],
            delete_at: None,
            content_type: None,
        };
        let posted = device.post_version(POLICY, hash(1), id(2), meta, |_| None).await;
        assert_eq!(posted.unwrap_err(), StorageError::Busy);
        assert_eq!(version(&device, 1).await.unwrap().newest(), at(1));
        let deleted = device
            .delete_version(POLICY, hash(1), id(2), true, delete_of(4), |_| None)
            .await;
        assert!(matches!(deleted.unwrap().outcome, DeleteOutcome::NotFound { .. }));
        let gone = record(&device).await.unwrap();
        assert_eq!((gone.is_tombstone(), gone.timestamp), (true, at(4)));
        assert_eq!(bytes_of(&device, 1).await.unwrap(), body(5, 1));
        // What came after the caller looked stays.
        put_version(&device, 9, body(5, 9)).await;
        let deleted = device
            .delete_version(POLICY, hash(1), id(2), true, delete_of(8), |_| None)
            .await;
        assert!(deleted.is_ok());
        assert_eq!(current(&device).await, Some(id(9)));
        device.close().await;
    });
}

/// One write, as a replica hears of it.
#[derive(Clone, Copy, Debug)]
enum Write {
    Plain(u64),
    Version(u64),
    Mark(u64),
    Delete { version: u64, at: u64 },
    Restore { version: u64, at: u64 },
}

async fn apply(device: &Device, write: Write) {
    match write {
        Write::Plain(secs) => drop(put(device, 1, secs, body(40, secs as u8)).await),
        Write::Version(secs) => drop(put_version(device, secs, body(40, secs as u8)).await),
        Write::Mark(secs) => drop(mark_deleted(device, secs).await),
        Write::Delete { version, at } => drop(delete_version(device, version, at).await),
        Write::Restore { version, at } => {
            let data = ObjectData {
                length: 40,
                etag: "e".into(),
                content_type: "text/plain".into(),
                metadata: Vec::new(),
                delete_at: None,
                blake3: [0; 32],
            };
            point(device, &data, version, at).await;
        }
    }
}

fn device_with(folder: &Path, writes: impl IntoIterator<Item = Write>) -> Device {
    let device = open(folder);
    run(async {
        for write in writes {
            apply(&device, write).await;
        }
    });
    device
}

/// Takes from `from` whatever is newer there, as replication does.
async fn pull(to: &Device, from: &Device) {
    let keys = [hash(1)]
        .into_iter()
        .chain((1..9).map(|secs| hash(1).version(id(secs))));
    for hash in keys {
        let Some(mut open) = from.open_object(POLICY, hash).await.unwrap() else {
            continue;
        };
        let body = match open.record.data {
            None => None,
            Some(_) => {
                let mut writer = to.begin_body(None).await.unwrap();
                while let Some(part) = open.body.next().await.unwrap() {
                    writer.write(part).await.unwrap();
                }
                Some(writer)
            }
        };
        to.merge_object(POLICY, hash, open.record, body).await.unwrap();
    }
}

/// What it has may have been deleted, and the deletion forgotten, while it was away.
#[test]
fn a_device_in_doubt_brings_nothing_back() {
    for in_doubt in [false, true] {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let away = device_with(folders[0].path(), [Write::Plain(1)]);
        let others = device_with(folders[1].path(), [Write::Version(2)]);
        run(async {
            away.set_in_doubt(in_doubt);
            pull(&away, &others).await;
            assert_eq!(current(&away).await, Some(id(2)));
            assert_eq!(version(&away, 1).await.is_none(), in_doubt);
            away.close().await;
            others.close().await;
        });
    }
}

/// Replicas that have heard of different writes, in different order, agree once they have told each other, and none has
/// lost a version that was not deleted.
#[test]
fn replicas_agree_whatever_they_have_heard() {
    let writes = [
        Write::Plain(1),
        Write::Version(2),
        Write::Version(3),
        Write::Delete { version: 3, at: 4 },
        Write::Version(5),
        Write::Mark(6),
        Write::Restore { version: 2, at: 7 },
    ];
    let mut random = Random(7);
    for round in 0..60 {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        // Each write reaches one of them at least, and later ones may come before earlier ones.
        let mut heard: [Vec<Write>; 2] = Default::default();
        for write in writes {
            let who = random.below(3);
            for (replica, heard) in heard.iter_mut().enumerate() {
                if who == 2 || who == replica as u64 {
                    let place = heard.len() - random.below(2).min(heard.len() as u64) as usize;
                    heard.insert(place, write);
                }
            }
        }
        let (a, b) = (
            device_with(folders[0].path(), heard[0].clone()),
            device_with(folders[1].path(), heard[1].clone()),
        );
        run(async {
            for _ in 0..2 {
                pull(&a, &b).await;
                pull(&b, &a).await;
            }
            for secs in 1..9 {
                assert_eq!(
                    version(&a, secs).await,
                    version(&b, secs).await,
                    "{round} {secs} {heard:?}"
                );
            }
            assert_eq!(record(&a).await, record(&b).await, "{round} {heard:?}");
            for secs in [2, 5] {
                let kept = bytes_of(&a, secs).await.unwrap();
                assert_eq!(kept, body(40, secs as u8), "{round} {heard:?}");
            }
            a.close().await;
            b.close().await;
        });
    }
}
