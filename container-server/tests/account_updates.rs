//! The row an account is owed: sent at once to the servers a request names, and kept in the outbox for all others.

mod support;

use http::Method;
use martlet_protocol::limits::Limits;
use martlet_protocol::update::UpdateTarget;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use support::{FakeAccounts, Node, Pairs, node, node_with};

/// A request that names account servers.
fn naming(at: u64, targets: &[&UpdateTarget]) -> Pairs {
    let list = |text: &dyn Fn(&UpdateTarget) -> String| {
        targets
            .iter()
            .map(|target| text(target))
            .collect::<Vec<_>>()
            .join(",")
    };
    Pairs(vec![
        ("x-timestamp", at.to_string()),
        ("x-trans-id", "tx-of-the-test".to_owned()),
        (
            "x-account-host",
            list(&|target| format!("{}:{}", target.ip, target.port)),
        ),
        ("x-account-device", list(&|target| target.device.clone())),
        ("x-account-partition", "3".to_owned()),
    ])
}

async fn send(node: &Node, method: Method, headers: &Pairs) -> u16 {
    node.container(method, "/a/c", &headers.each())
        .await
        .status
        .as_u16()
}

#[tokio::test]
async fn servers_that_are_named_are_told_before_the_answer() {
    let node = node();
    let (first, first_target) = FakeAccounts::at(&node, "10.0.0.1", 201);
    let (second, second_target) = FakeAccounts::at(&node, "10.0.0.2", 201);
    assert_eq!(
        send(&node, Method::PUT, &naming(10, &[&first_target, &second_target])).await,
        201
    );
    assert_eq!((first.requests(), second.requests()), (1, 1));
    node.owes_nothing().await;
    assert_eq!(
        send(&node, Method::DELETE, &naming(20, &[&first_target])).await,
        204
    );
    let seen = first.seen.lock().unwrap();
    assert_eq!(seen[1].0, "/disk-10.0.0.1/3/a/c");
    for (name, value) in [
        ("x-put-timestamp", "0000000010.00000"),
        ("x-delete-timestamp", "0000000020.00000"),
        ("x-object-count", "0"),
        ("x-bytes-used", "0"),
        ("x-backend-storage-policy-index", "0"),
        ("x-backend-martlet-server", "account"),
        ("x-trans-id", "tx-of-the-test"),
    ] {
        assert_eq!(
            martlet_service::headers::text(&seen[1].1, name),
            Some(value),
            "{name}"
        );
    }
}

#[tokio::test]
async fn what_an_account_server_does_not_take_stays_in_the_outbox() {
    let node = node();
    let (failing, failing_target) = FakeAccounts::at(&node, "10.0.0.1", 503);
    let (_taking, taking_target) = FakeAccounts::at(&node, "10.0.0.2", 204);
    assert_eq!(
        send(
            &node,
            Method::PUT,
            &naming(10, &[&failing_target, &taking_target])
        )
        .await,
        201
    );
    let owed = node.outbox().await;
    assert_eq!(owed.len(), 1);
    assert_eq!(owed[0].targets, std::slice::from_ref(&failing_target));
    assert_eq!(
        (
            owed[0].account.as_str(),
            owed[0].container.as_str(),
            owed[0].object.as_deref()
        ),
        ("a", "c", None)
    );
    // The next change takes its place, and is done with once it is told.
    failing.status.store(201, Ordering::SeqCst);
    assert_eq!(
        send(&node, Method::PUT, &naming(11, &[&failing_target])).await,
        202
    );
    node.owes_nothing().await;
}

#[tokio::test]
async fn a_node_that_cannot_be_reached_does_not_fail_the_request() {
    let node = node();
    // Nothing listens on the discard port of this machine, so the connection is refused at once.
    let nobody = UpdateTarget {
        ip: "127.0.0.1".into(),
        port: 9,
        device: "sdb".into(),
        partition: 3,
    };
    assert_eq!(send(&node, Method::PUT, &naming(10, &[&nobody])).await, 201);
    assert_eq!(node.outbox().await[0].targets, [nobody]);
}

#[tokio::test]
async fn a_container_of_no_account_is_404_when_all_say_so() {
    let node = node();
    let (_first, first_target) = FakeAccounts::at(&node, "10.0.0.1", 404);
    let (second, second_target) = FakeAccounts::at(&node, "10.0.0.2", 404);
    assert_eq!(
        send(&node, Method::PUT, &naming(10, &[&first_target, &second_target])).await,
        404
    );
    assert_eq!(
        send(
            &node,
            Method::DELETE,
            &naming(11, &[&first_target, &second_target])
        )
        .await,
        404
    );
    second.status.store(201, Ordering::SeqCst);
    assert_eq!(
        send(&node, Method::PUT, &naming(12, &[&first_target, &second_target])).await,
        201
    );
}

#[tokio::test]
async fn changed_counts_are_owed_to_every_replica_of_the_account_once() {
    let replicas: Vec<UpdateTarget> = (1..=3u16)
        .map(|at| UpdateTarget {
            ip: format!("10.0.0.{at}"),
            port: 6202,
            device: "sdb".into(),
            partition: 9,
        })
        .collect();
    let known = replicas.clone();
    let targets = Arc::new(move |account: &str| if account == "a" { known.clone() } else { Vec::new() });
    let node = node_with(Limits::default(), targets);
    node.make_container("/a/c", 1).await;
    for at in 0..20 {
        node.row(&format!("/a/c/o{at}"), 10 + at, 3).await;
    }
    node.gone("/a/c/o0", 100).await;
    let owed = node.outbox().await;
    assert_eq!(owed.len(), 1, "one entry however many rows: {owed:?}");
    assert_eq!(owed[0].targets, replicas);
    let header = |name: &str| {
        owed[0]
            .headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    };
    assert_eq!(
        (header("x-object-count"), header("x-bytes-used")),
        (Some("19"), Some("57"))
    );
    assert_eq!(header("x-backend-martlet-server"), Some("account"));
    // An account whose replicas nobody knows is owed nothing.
    node.make_container("/elsewhere/c", 1).await;
    node.row("/elsewhere/c/o", 10, 3).await;
    assert_eq!(node.outbox().await.len(), 1);
}

#[tokio::test]
async fn the_real_account_server_takes_the_rows() {
    let node = node();
    let target = UpdateTarget {
        ip: "10.0.0.1".into(),
        port: 6202,
        device: support::DEVICE.into(),
        partition: 3,
    };
    node.client
        .register_local(&target.device, &target.ip, target.port, node.accounts.clone());
    assert_eq!(send(&node, Method::PUT, &naming(5, &[&target])).await, 404);
    assert_eq!(
        node.account(Method::PUT, "/a", &[("x-timestamp", "6")])
            .await
            .status
            .as_u16(),
        201
    );
    assert_eq!(send(&node, Method::PUT, &naming(7, &[&target])).await, 202);
    assert_eq!(
        node.account(Method::GET, "/a?format=json", &[]).await.names(),
        ["c"]
    );
    assert_eq!(send(&node, Method::DELETE, &naming(8, &[&target])).await, 204);
    assert_eq!(
        node.account(Method::GET, "/a?format=json", &[]).await.names(),
        Vec::<String>::new()
    );
}
