//! The container's row: sent at once, kept in the outbox until the container server has it.

use crate::house::{CONTAINER, House, Row, SILENT, ask, delete, eventually, post, put};
use futures_util::FutureExt;
use http::Method;
use martlet_protocol::update::UpdateOp;
use martlet_service::{Body, Handler};

/// MD5 of "data".
const ETAG: &str = "8d777f385d3dfec8815d20f7496026dc";

fn one(house: &House) -> Row {
    let mut rows = house.containers.take_rows();
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.remove(0)
}

/// Waits for what was acknowledged to leave the outbox, which it does with the next batch and not at once.
async fn outbox_is_empty(house: &House) -> bool {
    eventually(async || house.outbox().await.is_empty()).await
}

#[tokio::test]
async fn a_put_sends_its_row() {
    let house = House::new();
    let answer = put("5")
        .with_all(&CONTAINER)
        .with("x-trans-id", "tx1")
        .body("data")
        .send(&house)
        .await;
    assert_eq!(answer.status, 201);
    let row = one(&house);
    assert_eq!((&row.method, row.path.as_str()), (&Method::PUT, "/cdev/42/a/c/o"));
    for (name, value) in [
        ("x-timestamp", Some("0000000005.00000")),
        ("x-size", Some("4")),
        ("x-content-type", Some("text/plain")),
        ("x-etag", Some(ETAG)),
        ("x-backend-storage-policy-index", Some("0")),
        ("x-backend-martlet-server", Some("container")),
        ("x-trans-id", Some("tx1")),
        ("user-agent", Some("object-server")),
        ("x-content-type-timestamp", None),
        ("x-meta-timestamp", None),
    ] {
        assert_eq!(row.header(name), value, "{name}");
    }
    assert!(outbox_is_empty(&house).await);
}

#[tokio::test]
async fn posts_and_deletes_send_theirs() {
    let house = House::new();
    put("5")
        .with("content-type", "x")
        .without("content-type")
        .with("content-type", "a/b;swift_bytes=99")
        .body("data")
        .send(&house)
        .await;
    post("6")
        .with("content-type", "text/six")
        .with_all(&CONTAINER)
        .send(&house)
        .await;
    let row = one(&house);
    assert_eq!(row.method, Method::PUT);
    for (name, value) in [
        ("x-timestamp", "0000000005.00000"),
        ("x-content-type-timestamp", "0000000006.00000"),
        ("x-meta-timestamp", "0000000006.00000"),
        ("x-content-type", "text/six;swift_bytes=99"),
        ("x-size", "4"),
        ("x-etag", ETAG),
    ] {
        assert_eq!(row.header(name), Some(value), "{name}");
    }
    delete("7").with_all(&CONTAINER).send(&house).await;
    let row = one(&house);
    assert_eq!(
        (row.method.clone(), row.header("x-timestamp")),
        (Method::DELETE, Some("0000000007.00000"))
    );
    assert_eq!(row.header("x-size"), None);
    // A tombstone is news to the container even where no object was.
    delete("8").with_all(&CONTAINER).send(&house).await;
    assert_eq!(one(&house).header("x-timestamp"), Some("0000000008.00000"));
    assert!(outbox_is_empty(&house).await);
}

#[tokio::test]
async fn a_late_put_sends_the_newer_posts_moments_too() {
    let house = House::new();
    put("2").body("data").send(&house).await;
    post("5").with("content-type", "text/five").send(&house).await;
    put("3").with_all(&CONTAINER).body("data").send(&house).await;
    let row = one(&house);
    assert_eq!(row.header("x-timestamp"), Some("0000000003.00000"));
    assert_eq!(row.header("x-content-type"), Some("text/five"));
    assert_eq!(row.header("x-content-type-timestamp"), Some("0000000005.00000"));
}

#[tokio::test]
async fn a_request_that_names_no_container_server_owes_nothing() {
    let house = House::new();
    put("5").body("data").send(&house).await;
    put("6")
        .with("x-container-partition", "42")
        .body("data")
        .send(&house)
        .await;
    assert!(house.containers.take_rows().is_empty());
    assert!(outbox_is_empty(&house).await);
}

#[tokio::test]
async fn refused_writes_send_nothing() {
    let house = House::new();
    put("5").body("data").send(&house).await;
    assert_eq!(
        put("4")
            .with_all(&CONTAINER)
            .body("data")
            .send(&house)
            .await
            .status,
        409
    );
    assert_eq!(post("4").with_all(&CONTAINER).send(&house).await.status, 409);
    assert_eq!(delete("4").with_all(&CONTAINER).send(&house).await.status, 409);
    let wrong = put("6").with("etag", "0").with_all(&CONTAINER).body("data");
    assert_eq!(wrong.send(&house).await.status, 422);
    assert!(house.containers.take_rows().is_empty());
    assert!(outbox_is_empty(&house).await);
}

#[tokio::test]
async fn overrides_take_the_place_of_the_objects_own() {
    let house = House::new();
    put("5")
        .with("x-object-sysmeta-container-update-override-etag", "listed")
        .with("x-object-sysmeta-container-update-override-size", "1000")
        .with("x-backend-container-update-override-size", "7")
        .with("x-backend-container-update-override-content-type", "large/object")
        .with_all(&CONTAINER)
        .body("data")
        .send(&house)
        .await;
    let row = one(&house);
    assert_eq!(row.header("x-etag"), Some("listed"));
    assert_eq!(row.header("x-size"), Some("1000"));
    assert_eq!(row.header("x-content-type"), Some("large/object"));
}

#[tokio::test]
async fn the_row_may_be_another_containers() {
    for (name, value) in [
        ("x-backend-container-path", ".shards_a/c-1"),
        ("x-backend-quoted-container-path", "%2Eshards_a/c-1"),
    ] {
        let house = House::new();
        put("5")
            .with(name, value)
            .with_all(&CONTAINER)
            .body("data")
            .send(&house)
            .await;
        assert_eq!(one(&house).path, "/cdev/42/.shards_a/c-1/o", "{name}");
    }
    let house = House::new();
    put("5")
        .with("x-backend-container-path", "junk")
        .with_all(&CONTAINER)
        .body("data")
        .send(&house)
        .await;
    assert_eq!(one(&house).path, "/cdev/42/a/c/o");
}

#[tokio::test]
async fn a_row_that_was_not_taken_stays_owed() {
    for status in [500, 404, 503] {
        let house = House::new();
        house.containers.answer_with(status);
        let answer = put("5").with_all(&CONTAINER).body("data").send(&house).await;
        assert_eq!(answer.status, 201, "the object is durable, the row will come");
        let owed = house.outbox().await;
        assert_eq!(owed.len(), 1, "{status}");
        assert_eq!(
            (owed[0].op, owed[0].object.as_deref()),
            (UpdateOp::Put, Some("o"))
        );
        assert_eq!(owed[0].targets.len(), 1);
        assert!(owed[0].headers.contains(&("x-etag".into(), ETAG.into())));
    }
}

#[tokio::test]
async fn a_container_server_that_is_silent_or_gone_costs_a_bounded_wait() {
    let house = House::with(|config| config.settings.container_update_timeout_ms = 50);
    house.containers.answer_with(SILENT);
    assert_eq!(
        put("5")
            .with_all(&CONTAINER)
            .body("data")
            .send(&house)
            .await
            .status,
        201
    );
    assert_eq!(house.outbox().await.len(), 1);
    let nobody = [
        ("x-container-host", "127.0.0.1:1"),
        ("x-container-device", "cdev"),
        ("x-container-partition", "42"),
    ];
    assert_eq!(
        put("6").with_all(&nobody).body("data").send(&house).await.status,
        201
    );
    assert_eq!(house.outbox().await.len(), 2);
}

#[tokio::test]
async fn of_several_targets_only_those_that_wait_stay() {
    let house = House::new();
    let both = [
        ("x-container-host", "10.0.0.9:6201, 127.0.0.1:1"),
        ("x-container-device", "cdev, cdev3"),
        ("x-container-partition", "42"),
    ];
    put("5").with_all(&both).body("data").send(&house).await;
    assert_eq!(house.containers.take_rows().len(), 1);
    let owed = house.outbox().await;
    let waiting: Vec<_> = owed[0]
        .targets
        .iter()
        .map(|target| target.device.as_str())
        .collect();
    assert_eq!(waiting, ["cdev3"]);
    let both = [
        ("x-container-host", "10.0.0.9:6201,10.0.0.9:6201"),
        ("x-container-device", "cdev,cdev2"),
        ("x-container-partition", "42"),
    ];
    let house = House::new();
    put("5").with_all(&both).body("data").send(&house).await;
    assert_eq!(house.containers.take_rows().len(), 2);
    assert!(outbox_is_empty(&house).await);
}

#[tokio::test]
async fn a_commit_ends_although_its_caller_has_left() {
    let house = House::with(|config| config.settings.container_update_timeout_ms = 50);
    house.containers.answer_with(SILENT);
    let (mut sender, body) = Body::channel(4);
    let request = put("5").with_all(&CONTAINER).stream(body).into_request();
    let mut call = house.server.call(request);
    assert!((&mut call).now_or_never().is_none());
    sender.send("data".into()).await.unwrap();
    sender.finish().await.unwrap();
    // The caller leaves while its row is on the way: the last byte has long come.
    while house.containers.rows.lock().unwrap().is_empty() {
        assert!((&mut call).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    drop(call);
    let answer = ask("GET").send(&house).await;
    assert_eq!((answer.status, answer.text()), (200, "data"));
    house.server.drain(std::time::Duration::from_secs(10)).await;
    assert_eq!(
        house.outbox().await.len(),
        1,
        "a silent server has not acknowledged"
    );
}
