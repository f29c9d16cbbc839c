//! Damage is found, put aside, and can be brought back.

use crate::support::*;
use martlet_protocol::timestamp::Timestamp;
use martlet_storage::*;
use std::fs;
use std::path::Path;

/// Flips one bit wherever `needle` stands in a file below `folder`.
fn flip(folder: &Path, needle: &[u8]) -> usize {
    let mut flipped = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            flipped += flip(&path, needle);
            continue;
        }
        let mut bytes = fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(needle.len()).position(|part| part == needle) {
            bytes[at + 3] ^= 4;
            fs::write(&path, bytes).unwrap();
            flipped += 1;
        }
    }
    flipped
}

#[test]
fn a_flipped_bit_is_found_put_aside_and_can_be_brought_back() {
    for size in [4096usize, 500_000] {
        let folder = tempfile::tempdir().unwrap();
        let device = open(folder.path());
        let whole = body(size, 77);
        let before = run(async {
            put(&device, 1, 5, whole.clone()).await;
            put(&device, 2, 5, body(100, 3)).await;
            let digests = device.digests(Space::Objects(POLICY)).await.unwrap();
            device.close().await;
            digests
        });
        drop(device);
        assert!(flip(folder.path(), &whole[1000..1100]) > 0);
        let device = open(folder.path());
        run(async {
            let record = device.read_object(POLICY, hash(1)).await.unwrap().unwrap();
            let losses = device.losses();
            assert!(device.set_synced(at(50), 7, losses));
            assert!(matches!(
                read(&device, 1, Some((900, 1200))).await,
                Err(StorageError::Corrupt(_))
            ));
            assert_eq!(read(&device, 1, None).await, Ok(None));
            assert_eq!(device.synced_at(), Timestamp::ZERO, "it lacks a copy now");
            assert!(
                !device.set_synced(at(51), 7, losses),
                "a pass from before does not know of it"
            );
            assert_eq!(device.synced_at(), Timestamp::ZERO);
            assert!(device.set_synced(at(52), 8, device.losses()));
            assert_eq!((device.synced_at(), device.synced_rings()), (at(52), 8));
            assert_eq!(read(&device, 2, None).await.unwrap().unwrap(), body(100, 3));
            assert_ne!(device.digests(Space::Objects(POLICY)).await.unwrap(), before);
            let mut writer = device.begin_body(None).await.unwrap();
            writer.write(body(size, 1)).await.unwrap();
            let wrong = device
                .merge_object(POLICY, hash(1), record.clone(), Some(writer))
                .await;
            assert!(matches!(wrong, Err(StorageError::Corrupt(_))));
            let mut writer = device.begin_body(None).await.unwrap();
            writer.write(whole.clone()).await.unwrap();
            assert!(
                device
                    .merge_object(POLICY, hash(1), record, Some(writer))
                    .await
                    .unwrap()
            );
            assert_eq!(read(&device, 1, None).await.unwrap().unwrap(), whole);
            assert_eq!(device.digests(Space::Objects(POLICY)).await.unwrap(), before);
            device.close().await;
        });
        let notes = fs::read_dir(folder.path().join("quarantine")).unwrap();
        assert_eq!(notes.count(), 2, "the copy and its note");
    }
}

#[test]
fn damage_that_the_opening_meets_shows_when_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let device = open(folder.path());
    let whole = body(900_000, 9);
    run(async {
        put(&device, 1, 5, whole.clone()).await;
        device.close().await;
    });
    drop(device);
    // In the second of the two pieces that come with the opening.
    let path = body_files(folder.path()).remove(0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[800_000] ^= 1;
    fs::write(&path, bytes).unwrap();
    let device = open(folder.path());
    run(async {
        let opened = device
            .open_object_at(POLICY, hash(1), |record| Some((0, record.data.as_ref()?.length)))
            .await;
        let mut opened = opened.unwrap().unwrap();
        let first = opened.body.next().await.unwrap().unwrap();
        assert!(first == whole[..first.len()] && first.len() < 800_000);
        assert!(matches!(opened.body.next().await, Err(StorageError::Corrupt(_))));
        assert_eq!(read(&device, 1, None).await, Ok(None), "it is put aside");
        device.close().await;
    });
}
