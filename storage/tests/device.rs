//! What a device promises: newest wins, damage is put aside, nothing acknowledged is lost, sums stay exact.

use bytes::Bytes;
use martlet_protocol::hash::PathHash;
use martlet_protocol::listing::ListingQuery;
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::record::{ContainerRecord, ObjectMeta, ObjectRecord};
use martlet_protocol::row::{ListingEntry, ObjectRow};
use martlet_protocol::timestamp::Timestamp;
use martlet_protocol::update::{Update, UpdateOp, UpdateTarget};
use martlet_storage::*;
use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::path::Path;

const POLICY: PolicyIndex = PolicyIndex(0);

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

fn config(path: &Path) -> DeviceConfig {
    let identity = DeviceIdentity {
        cluster: "test".into(),
        device: "d1".into(),
    };
    let mut config = DeviceConfig::new(path, identity);
    config.reserve = Reserve::Bytes(0);
    config
}

fn open(path: &Path) -> Device {
    let config = config(path);
    Device::format(path, &config.identity).unwrap();
    Device::open(config).unwrap()
}

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn hash(n: u8) -> PathHash {
    PathHash([n; 16])
}

fn body(length: usize, seed: u8) -> Bytes {
    (0..length)
        .map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed))
        .collect::<Vec<_>>()
        .into()
}

fn put_of(secs: u64) -> PutObject {
    PutObject {
        account: "a".into(),
        container: "c".into(),
        object: "o".into(),
        timestamp: at(secs),
        etag: format!("{secs:032x}"),
        content_type: "text/plain".into(),
        metadata: vec![("x-object-meta-put".into(), secs.to_string())],
        delete_at: None,
        if_none_match_star: false,
    }
}

async fn put(device: &Device, n: u8, secs: u64, bytes: Bytes) -> PutOutcome {
    let mut writer = device.begin_body(Some(bytes.len() as u64)).await.unwrap();
    for chunk in bytes.chunks(100_000) {
        writer.write(bytes.slice_ref(chunk)).await.unwrap();
    }
    device
        .put_object(POLICY, hash(n), put_of(secs), writer, |_| None)
        .await
        .unwrap()
}

async fn post(device: &Device, n: u8, secs: u64) -> PostOutcome {
    let meta = ObjectMeta {
        timestamp: at(secs),
        metadata: vec![("x-object-meta-post".into(), secs.to_string())],
        delete_at: None,
        content_type: None,
    };
    device.post_object(POLICY, hash(n), meta, |_| None).await.unwrap()
}

async fn delete(device: &Device, n: u8, secs: u64) -> DeleteOutcome {
    let delete = DeleteObject {
        account: "a".into(),
        container: "c".into(),
        object: "o".into(),
        timestamp: at(secs),
        if_delete_at: None,
    };
    device
        .delete_object(POLICY, hash(n), delete, |_| None)
        .await
        .unwrap()
}

async fn read(device: &Device, n: u8, range: Option<(u64, u64)>) -> Result<Option<Vec<u8>>, StorageError> {
    let Some(mut open) = device.open_object(POLICY, hash(n)).await? else {
        return Ok(None);
    };
    if let Some((start, end)) = range {
        open.body.set_range(start, end);
    }
    open.body.prefetch().await?;
    let mut all = Vec::new();
    while let Some(part) = open.body.next().await? {
        all.extend_from_slice(&part);
    }
    Ok(Some(all))
}

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

fn body_files(device: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for part in fs::read_dir(device.join("bodies")).unwrap() {
        found.extend(
            fs::read_dir(part.unwrap().path())
                .unwrap()
                .map(|entry| entry.unwrap().path()),
        );
    }
    found.extend(
        fs::read_dir(device.join("incoming"))
            .unwrap()
            .map(|entry| entry.unwrap().path()),
    );
    found
}

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
fn only_the_own_device_opens() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    assert!(matches!(Device::open(config.clone()), Err(OpenError::Missing(_))));
    Device::format(folder.path(), &config.identity).unwrap();
    config.identity.cluster = "other".into();
    assert!(matches!(
        Device::open(config.clone()),
        Err(OpenError::Foreign { .. })
    ));
    let set = DeviceSet::new(vec![("d1".into(), config)]);
    assert!(set.get("d1").is_err() && set.get("d2").is_err());
}

#[test]
fn a_full_device_refuses_bodies_and_takes_deletes() {
    let folder = tempfile::tempdir().unwrap();
    let device = open(folder.path());
    run(async {
        put(&device, 1, 1, body(10, 1)).await;
        device.close().await;
    });
    drop(device);
    let mut full = config(folder.path());
    full.reserve = Reserve::Percent(100.0);
    let device = Device::open(full).unwrap();
    run(async {
        assert_eq!(device.begin_body(Some(1)).await.unwrap_err(), StorageError::Full);
        assert!(matches!(post(&device, 1, 2).await, PostOutcome::Stored { .. }));
        assert!(matches!(
            delete(&device, 1, 3).await,
            DeleteOutcome::Deleted { .. }
        ));
        device.close().await;
    });
}

#[test]
fn an_unfinished_body_is_gone_after_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let device = open(folder.path());
    run(async {
        put(&device, 1, 1, body(100_000, 1)).await;
        device.close().await;
    });
    drop(device);
    let stray = folder
        .path()
        .join("incoming")
        .join("0123456789abcdef0123456789abcdef");
    fs::write(&stray, b"half a body").unwrap();
    let device = open(folder.path());
    assert!(!stray.exists());
    run(async {
        assert_eq!(read(&device, 1, None).await.unwrap().unwrap(), body(100_000, 1));
        device.close().await;
    });
}

#[test]
fn what_was_acknowledged_survives_kill() {
    const CHILD: &str = "MARTLET_STORAGE_TEST_CHILD";
    if let Ok(path) = std::env::var(CHILD) {
        let device = open(Path::new(&path));
        run(async {
            for n in 0..=255u8 {
                let size = if n % 2 == 0 { 100 } else { 80_000 };
                put(&device, n, 1, body(size, n)).await;
                println!("stored {n}");
            }
        });
        std::process::abort();
    }
    let folder = tempfile::tempdir().unwrap();
    let test = std::env::current_exe().unwrap();
    let mut child = std::process::Command::new(test)
        .args(["--exact", "what_was_acknowledged_survives_kill", "--nocapture"])
        .env(CHILD, folder.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut stored = Vec::new();
    let lines = std::io::BufReader::new(child.stdout.take().unwrap());
    for line in std::io::BufRead::lines(lines) {
        let line = line.unwrap();
        if let Some((_, n)) = line.split_once("stored ") {
            stored.push(n.parse::<u8>().unwrap());
        }
        if stored.len() == 40 {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(stored.len() >= 40);
    let device = open(folder.path());
    run(async {
        for n in stored {
            let size = if n % 2 == 0 { 100 } else { 80_000 };
            assert_eq!(
                read(&device, n, None).await.unwrap().unwrap(),
                body(size, n),
                "{n}"
            );
        }
        device.close().await;
    });
}

#[test]
fn the_outbox_holds_what_is_owed_until_it_is_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let device = open(folder.path());
    let update = |coalesce| {
        move |record: &ObjectRecord| {
            let update = Update {
                account: record.account.clone(),
                container: record.container.clone(),
                object: None,
                op: UpdateOp::Put,
                targets: vec![],
                headers: vec![("x-timestamp".into(), record.timestamp.normal())],
                coalesce,
            };
            Some(update.into())
        }
    };
    run(async {
        let mut ids = Vec::new();
        for (secs, coalesce) in [(1, false), (2, false), (3, true), (4, true)] {
            let writer = device.begin_body(None).await.unwrap();
            let stored = device
                .put_object(POLICY, hash(1), put_of(secs), writer, update(coalesce))
                .await;
            match stored.unwrap() {
                PutOutcome::Stored { outbox: Some(owed) } => ids.push(owed.id),
                other => panic!("{other:?}"),
            }
        }
        let owed = device.outbox(None, 10).await.unwrap();
        let found: Vec<OutboxId> = owed.iter().map(|(id, _)| *id).collect();
        assert_eq!(found, [ids[0], ids[1], ids[3]]);
        assert_eq!(device.outbox(Some(ids[0]), 1).await.unwrap()[0].0, ids[1]);
        // The older report is acknowledged: the newer one is still owed.
        device.outbox_ack(ids[2]);
        device.outbox_ack(ids[0]);
        device.close().await;
    });
    drop(device);
    let device = open(folder.path());
    run(async {
        assert_eq!(device.outbox(None, 10).await.unwrap().len(), 2);
        assert_eq!(device.stats().await.unwrap().outbox, 2);
        device.close().await;
    });
}

/// A small generator with a fixed seed: the same operations on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn row(random: &mut Random, name: String) -> ObjectRow {
    let secs = random.below(50) + 1;
    let deleted = random.below(3) == 0;
    ObjectRow {
        name,
        timestamp: at(secs),
        deleted,
        size: if deleted { 0 } else { secs * 10 },
        content_type: if deleted { String::new() } else { "t".into() },
        etag: if deleted {
            String::new()
        } else {
            format!("{secs:032x}")
        },
        content_type_timestamp: at(secs),
        meta_timestamp: at(secs),
        policy: PolicyIndex(0),
    }
}

fn create() -> PutContainer {
    PutContainer {
        account: "a".into(),
        container: "c".into(),
        timestamp: at(1),
        policy: None,
        default_policy: POLICY,
        metadata: vec![],
    }
}

#[test]
fn the_row_of_a_container_that_is_here_is_committed_with_the_object() {
    let folder = tempfile::tempdir().unwrap();
    let device = open(folder.path());
    let target = |device: &str| UpdateTarget {
        ip: "127.0.0.1".into(),
        port: 6200,
        device: device.into(),
        partition: 1,
    };
    let owed_row = move |targets: Vec<UpdateTarget>, secs: u64| {
        move |record: &ObjectRecord| {
            let update = Update {
                account: record.account.clone(),
                container: record.container.clone(),
                object: Some(record.object.clone()),
                op: UpdateOp::Put,
                targets,
                headers: vec![],
                coalesce: false,
            };
            let mut row = row(&mut Random(secs), record.object.clone());
            (row.timestamp, row.deleted, row.size) = (at(secs), false, secs);
            let account_row = |record: &ContainerRecord| {
                let mut report = Update {
                    account: record.account.clone(),
                    container: record.container.clone(),
                    object: None,
                    op: UpdateOp::Put,
                    targets: vec![],
                    headers: vec![],
                    coalesce: true,
                };
                report
                    .headers
                    .push(("bytes".into(), record.bytes_used().to_string()));
                Some(report)
            };
            let here = Some(RowHere {
                target: target("d1"),
                container: hash(9),
                row: Row::Object(row),
                create: None,
                account_row: Box::new(account_row),
            });
            Some(OwedRow { update, here })
        }
    };
    let put = async |secs: u64, targets: Vec<UpdateTarget>| {
        let writer = device.begin_body(None).await.unwrap();
        let stored = device
            .put_object(POLICY, hash(1), put_of(secs), writer, owed_row(targets, secs))
            .await;
        match stored.unwrap() {
            PutOutcome::Stored { outbox } => outbox.map(|owed| owed.update.targets),
            other => panic!("{other:?}"),
        }
    };
    run(async {
        let both = || vec![target("d1"), target("d2")];
        assert_eq!(
            put(1, both()).await,
            Some(both()),
            "the container is not here yet: both are owed"
        );
        device
            .put_container(Space::Containers, hash(9), create(), |_| None)
            .await
            .unwrap();
        assert_eq!(put(5, both()).await, Some(vec![target("d2")]));
        assert_eq!(put(7, vec![target("d1")]).await, None, "nobody else is owed");
        let record = device
            .container(Space::Containers, hash(9))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((record.object_count(), record.bytes_used()), (1, 7));
        let owed = device.outbox(None, 10).await.unwrap();
        let shown: Vec<_> = owed
            .iter()
            .map(|(_, update)| (update.object.is_some(), update.targets.len()))
            .collect();
        assert_eq!(
            shown,
            [(true, 2), (true, 1), (false, 0)],
            "rows to send, and what the account is owed"
        );
        assert_eq!(owed[2].1.headers, [("bytes".to_owned(), "7".to_owned())]);
        // Older than what is here: neither object nor row.
        let writer = device.begin_body(None).await.unwrap();
        let late = device
            .put_object(POLICY, hash(1), put_of(6), writer, owed_row(both(), 6))
            .await;
        assert_eq!(late.unwrap(), PutOutcome::Conflict { existing: at(7) });
        assert_eq!(device.outbox(None, 10).await.unwrap().len(), 3);
        device.close().await;
    });
}

#[test]
fn rows_in_any_order_give_equal_counts_and_digests() {
    let mut random = Random(7);
    let names = ["a", "b", "c/d", "c/e", "ü", "z"];
    let rows: Vec<ObjectRow> = (0..200)
        .map(|_| {
            let name = names[random.below(6) as usize].to_owned();
            row(&mut random, name)
        })
        .collect();
    let mut model: BTreeMap<String, ObjectRow> = BTreeMap::new();
    for row in &rows {
        let merged = match model.remove(&row.name) {
            Some(known) => known.merge(row.clone()),
            None => row.clone(),
        };
        model.insert(row.name.clone(), merged);
    }
    let living: Vec<&ObjectRow> = model.values().filter(|row| !row.deleted).collect();
    let mut digests = Vec::new();
    for backwards in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let device = open(folder.path());
        let mut order = rows.clone();
        if backwards {
            order.reverse();
        }
        run(async {
            for part in order.chunks(7) {
                let part = part.iter().cloned().map(Row::Object).collect();
                device
                    .put_rows(Space::Containers, hash(9), part, Some(create()), |_| None)
                    .await
                    .unwrap();
            }
            let record = device
                .container(Space::Containers, hash(9))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(record.object_count(), living.len() as u64);
            assert_eq!(
                record.bytes_used(),
                living.iter().map(|row| row.size).sum::<u64>()
            );
            digests.push(device.digests(Space::Containers).await.unwrap());
            let versions = device
                .versions(Space::Containers, 0x0909, None, 10)
                .await
                .unwrap();
            assert_eq!(versions[0].fingerprint, digests[0][0].1);
            assert!(device.remove_container(Space::Containers, hash(9)).await.unwrap());
            assert!(device.digests(Space::Containers).await.unwrap().is_empty());
            device.close().await;
        });
    }
    assert_eq!(digests[0], digests[1]);
}

/// Swift's listing rules, told the slow way.
fn expected(names: &BTreeMap<String, bool>, query: &ListingQuery) -> Vec<String> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (low, high) = match query.reverse {
        false => (given(&query.marker), given(&query.end_marker)),
        true => (given(&query.end_marker), given(&query.marker)),
    };
    let (prefix, delimiter) = match &query.path {
        Some(path) if path.is_empty() => (String::new(), Some("/".to_owned())),
        Some(path) => (format!("{}/", path.trim_end_matches('/')), Some("/".to_owned())),
        None => (given(&query.prefix).unwrap_or_default(), given(&query.delimiter)),
    };
    let mut found: Vec<String> = Vec::new();
    for (name, deleted) in names {
        let outside =
            low.as_ref().is_some_and(|low| name <= low) || high.as_ref().is_some_and(|high| name >= high);
        if *deleted || outside || !name.starts_with(&prefix) {
            continue;
        }
        let end = delimiter.as_ref().and_then(|delimiter| {
            let at = name[prefix.len()..].find(delimiter.as_str())?;
            Some(prefix.len() + at + delimiter.len())
        });
        match (end, &query.path) {
            (_, Some(_)) if *name == prefix => {}
            (Some(end), Some(_)) if name.len() > end => {}
            (Some(end), None) => {
                let common = format!("D {}", &name[..end]);
                if low.as_deref() != Some(&name[..end]) && !found.contains(&common) {
                    found.push(common);
                }
            }
            _ => found.push(format!("R {name}")),
        }
    }
    if query.reverse {
        found.reverse();
    }
    found.truncate(query.limit);
    found
}

#[test]
fn listings_equal_the_model() {
    let mut random = Random(99);
    let parts = ["a", "b", "/", "--", "ü", "aa", "/b"];
    let mut names = BTreeMap::new();
    let mut rows = Vec::new();
    for _ in 0..150 {
        let count = random.below(5) + 1;
        let name: String = (0..count).map(|_| parts[random.below(7) as usize]).collect();
        let row = row(&mut random, name.clone());
        if let std::collections::btree_map::Entry::Vacant(place) = names.entry(name) {
            place.insert(row.deleted);
            rows.push(Row::Object(row));
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let device = open(folder.path());
    run(async {
        device
            .put_rows(Space::Containers, hash(9), rows, Some(create()), |_| None)
            .await
            .unwrap();
        for turn in 0..3000 {
            let mut text = |chance: u64| {
                (random.below(chance) == 0).then(|| {
                    (0..random.below(4))
                        .map(|_| parts[random.below(7) as usize])
                        .collect::<String>()
                })
            };
            let mut query = ListingQuery {
                limit: 0,
                marker: text(2),
                end_marker: text(3),
                prefix: text(2),
                delimiter: text(2),
                path: text(5),
                reverse: false,
            };
            query.limit = 1 + random.below(30) as usize;
            query.reverse = random.below(2) == 0;
            let page = device
                .list(Space::Containers, hash(9), &query, false)
                .await
                .unwrap();
            let told: Vec<String> = page
                .iter()
                .map(|entry| match entry {
                    ListingEntry::Row(row) => format!("R {}", row.name()),
                    ListingEntry::Subdir(name) => format!("D {name}"),
                })
                .collect();
            assert_eq!(told, expected(&names, &query), "turn {turn}: {query:?}");
        }
        device.close().await;
    });
}

/// Rows of a container that is mirrored, by name.
async fn synced_names(device: &Device) -> Vec<String> {
    let entries = device.sync_entries(hash(1), 0, 100).await.unwrap();
    entries.into_iter().map(|entry| entry.name).collect()
}

#[test]
fn a_mirrored_container_logs_each_row_once_until_it_was_sent() {
    let folder = tempfile::tempdir().unwrap();
    let device = open(folder.path());
    run(async {
        let mut random = Random(5);
        let set = |secs, to: &str| {
            let items = [("x-container-sync-to", to), ("x-container-sync-key", "k")];
            let items = items.map(|(name, value)| (name.to_owned(), (value.to_owned(), at(secs))));
            let device = device.clone();
            async move {
                let posted = device.post_container(Space::Containers, hash(1), at(secs), items.to_vec());
                posted.await.unwrap().unwrap();
            }
        };
        let mut write = async |names: &[&str], secs: u64| {
            let row = |name: &&str| {
                let mut row = row(&mut random, (*name).to_owned());
                row.timestamp = at(secs);
                Row::Object(row)
            };
            let rows = names.iter().map(row).collect();
            let put = device.put_rows(Space::Containers, hash(1), rows, Some(create()), |_| None);
            assert_eq!(put.await, Ok(RowsOutcome::Stored));
        };
        write(&["a", "b", "c"], 1_000).await;
        assert_eq!(device.synced_containers(None, 10).await, Ok(vec![]));
        assert_eq!(device.sync_state(hash(1)).await, Ok(None));

        // Once it is told where to go, what was there before comes into the log page by page, behind what is new.
        set(2_000, "//r/c/a/c").await;
        assert_eq!(device.synced_containers(None, 10).await, Ok(vec![hash(1)]));
        write(&["b"], 3_000).await;
        assert_eq!(synced_names(&device).await, ["b"]);
        assert_eq!(device.list_syncs(hash(1), 2).await, Ok(true));
        assert_eq!(device.list_syncs(hash(1), 2).await, Ok(false));
        assert_eq!(device.list_syncs(hash(1), 2).await, Ok(false));
        assert_eq!(synced_names(&device).await, ["b", "a", "c"]);

        // A row written again moves to the end; settling its old entry does not take the new one.
        let before = device.sync_entries(hash(1), 0, 10).await.unwrap();
        write(&["b"], 4_000).await;
        assert_eq!(synced_names(&device).await, ["a", "c", "b"]);
        device.settle_syncs(before).await.unwrap();
        assert_eq!(synced_names(&device).await, ["b"]);
        let last = device.sync_entries(hash(1), 0, 10).await.unwrap().remove(0);
        device.meet_syncs(hash(1), last.sequence).await.unwrap();
        device.meet_syncs(hash(1), 1).await.unwrap();
        let state = device.sync_state(hash(1)).await.unwrap().unwrap();
        assert_eq!((state.met, state.listed_to), (last.sequence, None));
        assert_eq!(device.sync_entries(hash(1), last.sequence, 10).await, Ok(vec![]));

        // Another end begins anew; no end forgets.
        set(5_000, "//r/d/a/c").await;
        assert_eq!(synced_names(&device).await, [""; 0]);
        while device.list_syncs(hash(1), 2).await.unwrap() {}
        assert_eq!(synced_names(&device).await, ["a", "b", "c"]);
        set(6_000, "").await;
        assert_eq!(synced_names(&device).await, [""; 0]);
        assert_eq!(device.synced_containers(None, 10).await, Ok(vec![]));
        write(&["d"], 7_000).await;
        assert_eq!(synced_names(&device).await, [""; 0]);
        device.close().await;
    });
}
