//! Objects: the newest wins, bodies read back, and stay readable while they are replaced.

use crate::support::*;
use martlet_storage::*;

#[test]
fn bodies_of_every_size_read_back_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let sizes = [0, 1, 4096, 65_536, 65_537, 300_000, 1_500_001];
    let device = open(folder.path());
    run(async {
        for (n, size) in sizes.iter().enumerate() {
            put(&device, n as u8, 5, body(*size, n as u8)).await;
        }
        device.close().await;
    });
    drop(device);
    let device = open(folder.path());
    run(async {
        for (n, size) in sizes.iter().enumerate() {
            let whole = body(*size, n as u8);
            assert_eq!(
                read(&device, n as u8, None).await.unwrap().unwrap(),
                whole,
                "{size}"
            );
            let (start, end) = (size / 3, size / 3 * 2);
            let part = read(&device, n as u8, Some((start as u64, end as u64)))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(part, &whole[start..end], "{size}");
        }
        let stats = device.stats().await.unwrap();
        assert_eq!(
            (stats.objects, stats.bytes),
            (7, sizes.iter().sum::<usize>() as u64)
        );
        device.close().await;
    });
}

#[test]
fn the_newest_wins_in_whatever_order_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let device = open(folder.path());
    run(async {
        assert!(matches!(
            put(&device, 1, 10, body(10, 1)).await,
            PutOutcome::Stored { .. }
        ));
        assert_eq!(
            put(&device, 1, 10, body(10, 2)).await,
            PutOutcome::Conflict { existing: at(10) }
        );
        assert!(matches!(post(&device, 1, 30).await, PostOutcome::Stored { .. }));
        assert_eq!(
            post(&device, 1, 20).await,
            PostOutcome::Conflict { existing: at(30) }
        );
        // A PUT that comes late but is newer than the data keeps the newer POST.
        assert!(matches!(
            put(&device, 1, 20, body(200_000, 3)).await,
            PutOutcome::Stored { .. }
        ));
        let record = device.read_object(POLICY, hash(1)).await.unwrap().unwrap();
        assert_eq!((record.timestamp, record.newest()), (at(20), at(30)));
        assert_eq!(
            record.metadata(),
            [("x-object-meta-post".to_owned(), "30".to_owned())]
        );
        assert_eq!(read(&device, 1, None).await.unwrap().unwrap(), body(200_000, 3));
        assert_eq!(
            delete(&device, 1, 15).await,
            DeleteOutcome::Conflict { existing: at(20) }
        );
        assert!(matches!(
            delete(&device, 1, 40).await,
            DeleteOutcome::Deleted { .. }
        ));
        assert_eq!(
            put(&device, 1, 35, body(5, 4)).await,
            PutOutcome::Conflict { existing: at(40) }
        );
        assert_eq!(
            post(&device, 1, 50).await,
            PostOutcome::NotFound {
                tombstone: Some(at(40))
            }
        );
        // A DELETE of nothing leaves a tombstone all the same.
        assert!(matches!(
            delete(&device, 2, 9).await,
            DeleteOutcome::NotFound { tombstone: None, .. }
        ));
        assert_eq!(
            put(&device, 2, 8, body(5, 4)).await,
            PutOutcome::Conflict { existing: at(9) }
        );
        let stats = device.stats().await.unwrap();
        assert_eq!((stats.objects, stats.tombstones, stats.bytes), (0, 2, 0));
        device.close().await;
    });
}

#[test]
fn a_body_stays_readable_while_it_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let device = open(folder.path());
    run(async {
        put(&device, 1, 1, body(2_000_000, 1)).await;
        let mut old = device.open_object(POLICY, hash(1)).await.unwrap().unwrap();
        put(&device, 1, 2, body(70_000, 2)).await;
        delete(&device, 1, 3).await;
        let mut all = Vec::new();
        while let Some(part) = old.body.next().await.unwrap() {
            all.extend_from_slice(&part);
        }
        assert_eq!(all, body(2_000_000, 1));
        device.close().await;
    });
    drop(device);
    let device = open(folder.path());
    run(device.close());
    assert_eq!(body_files(folder.path()).len(), 0);
}

#[test]
fn what_is_read_first_may_come_with_the_opening() {
    let folder = tempfile::tempdir().unwrap();
    let device = open(folder.path());
    // Below, at and above what comes in one piece and in two, at a block's end and beside it.
    let sizes = [65_537, 524_288, 524_289, 1_048_576, 1_048_577, 3_000_000];
    run(async {
        for (n, size) in sizes.into_iter().enumerate() {
            let (n, whole) = (n as u8, body(size, n as u8));
            put(&device, n, 1, whole.clone()).await;
            let size = size as u64;
            let ranges = [
                (0, size),
                (0, 1),
                (65_535, 65_537),
                (size - 1, size),
                (9, size),
                (size, size + 5),
            ];
            for first in ranges.into_iter().chain([(5, u64::MAX)]) {
                // What is read in the end may be something else.
                for (from, to) in ranges {
                    let opened = device.open_object_at(POLICY, hash(n), |_| Some(first)).await;
                    let mut opened = opened.unwrap().unwrap();
                    opened.body.set_range(from, to);
                    let mut all = Vec::new();
                    while let Some(part) = opened.body.next().await.unwrap() {
                        all.extend_from_slice(&part);
                    }
                    assert!(
                        all == whole[from as usize..to.min(size) as usize],
                        "{size} bytes, first {first:?}, then {from}..{to}"
                    );
                }
            }
        }
        device.close().await;
    });
}
