//! What is owed to containers elsewhere.

use crate::support::*;
use martlet_protocol::record::ObjectRecord;
use martlet_protocol::update::{Update, UpdateOp};
use martlet_storage::*;

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
