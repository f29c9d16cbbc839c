//! Rows of containers: committed with their objects, counted exactly, logged where they are mirrored.

use crate::support::*;
use martlet_protocol::record::{ContainerRecord, ObjectRecord};
use martlet_protocol::row::ObjectRow;
use martlet_protocol::update::{Update, UpdateOp, UpdateTarget};
use martlet_storage::*;
use std::collections::BTreeMap;

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
