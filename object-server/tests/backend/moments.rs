//! Newest wins, whatever the order of arrival: PUT, POST and DELETE against what is already there.

use crate::house::{House, ask, delete, get, post, put};

#[tokio::test]
async fn late_writes_meet_what_is_newer() {
    // What is there; what comes; its status and X-Backend-Timestamp; what a GET shows afterwards.
    let cases = [
        ("PUT 5", "PUT 6", 201, None, "200 put6"),
        ("PUT 5", "PUT 5", 409, Some("0000000005.00000"), "200 put5"),
        ("PUT 5", "PUT 4", 409, Some("0000000005.00000"), "200 put5"),
        ("PUT 5", "DELETE 6", 204, Some("0000000006.00000"), "404"),
        ("PUT 5", "DELETE 5", 409, Some("0000000005.00000"), "200 put5"),
        ("PUT 5", "DELETE 4", 409, Some("0000000005.00000"), "200 put5"),
        ("PUT 5", "POST 6", 202, None, "200 post6"),
        ("PUT 5", "POST 5", 409, Some("0000000005.00000"), "200 put5"),
        ("PUT 5", "POST 4", 409, Some("0000000005.00000"), "200 put5"),
        ("DELETE 5", "PUT 6", 201, None, "200 put6"),
        ("DELETE 5", "PUT 5", 409, Some("0000000005.00000"), "404"),
        ("DELETE 5", "PUT 4", 409, Some("0000000005.00000"), "404"),
        ("DELETE 5", "DELETE 6", 404, Some("0000000006.00000"), "404"),
        ("DELETE 5", "DELETE 4", 404, Some("0000000005.00000"), "404"),
        ("DELETE 5", "POST 6", 404, Some("0000000005.00000"), "404"),
        ("PUT 2, POST 5", "PUT 3", 201, None, "200 post5"),
        ("PUT 2, POST 5", "PUT 6", 201, None, "200 put6"),
        (
            "PUT 2, POST 5",
            "POST 4",
            409,
            Some("0000000005.00000"),
            "200 post5",
        ),
        ("PUT 2, POST 5", "POST 6", 202, None, "200 post6"),
        ("PUT 2, POST 5", "DELETE 3", 204, Some("0000000003.00000"), "404"),
        ("", "DELETE 5", 404, Some("0000000005.00000"), "404"),
        ("", "POST 5", 404, None, "404"),
    ];
    for (before, comes, status, timestamp, after) in cases {
        let house = House::new();
        for step in before.split(", ").filter(|step| !step.is_empty()) {
            assert!(
                matches!(one(&house, step).await.0, 201 | 202 | 404),
                "{before}: {step}"
            );
        }
        let outcome = one(&house, comes).await;
        assert_eq!(
            outcome,
            (status, timestamp.map(str::to_owned)),
            "{before}; {comes}"
        );
        assert_eq!(shown(&house).await, after, "{before}; {comes}");
    }
}

async fn one(house: &House, step: &str) -> (u16, Option<String>) {
    let (verb, at) = step.split_once(' ').unwrap();
    let mark = format!("{}{at}", verb.to_lowercase());
    let request = match verb {
        "PUT" => put(at).body("data"),
        "POST" => post(at),
        _ => delete(at),
    };
    let answer = request.with("x-object-meta-mark", &mark).send(house).await;
    (
        answer.status,
        answer.header("x-backend-timestamp").map(str::to_owned),
    )
}

async fn shown(house: &House) -> String {
    let answer = get(house).await;
    match answer.header("x-object-meta-mark") {
        Some(mark) => format!("{} {mark}", answer.status),
        None => answer.status.to_string(),
    }
}

#[tokio::test]
async fn a_tombstone_tells_its_moment() {
    let house = House::new();
    assert_eq!(get(&house).await.header("x-backend-timestamp"), None);
    house.store("5", b"data").await;
    delete("7").send(&house).await;
    for method in ["GET", "HEAD"] {
        let answer = ask(method).send(&house).await;
        assert_eq!(
            (answer.status, answer.header("x-backend-timestamp")),
            (404, Some("0000000007.00000"))
        );
    }
}

#[tokio::test]
async fn offsets_order_writes_of_one_moment() {
    let house = House::new();
    house.store("5_00000000000000aa", b"one").await;
    assert_eq!(house.store("5", b"two").await.status, 409);
    assert_eq!(house.store("5_00000000000000ab", b"three").await.status, 201);
    let answer = get(&house).await;
    assert_eq!(answer.header("x-timestamp"), Some("0000000005.00000"));
    assert_eq!(
        answer.header("x-backend-timestamp"),
        Some("0000000005.00000_00000000000000ab")
    );
}

#[tokio::test]
async fn a_post_replaces_metadata_and_leaves_what_belongs_to_the_data() {
    let house = House::new();
    put("5")
        .with("x-object-meta-a", "put")
        .with("x-object-meta-b", "put")
        .with("x-object-sysmeta-s", "put")
        .with("x-object-transient-sysmeta-t", "put")
        .with("content-encoding", "gzip")
        .with("x-static-large-object", "true")
        .with("x-delete-at", "2000000")
        .body("data")
        .send(&house)
        .await;
    let answer = post("6")
        .with("x-object-meta-a", "post")
        .with("x-object-sysmeta-s", "post")
        .with("x-object-transient-sysmeta-u", "post")
        .with("content-disposition", "inline")
        .with("x-secret", "never kept")
        .send(&house)
        .await;
    assert_eq!(
        (answer.status, answer.header("x-object-sysmeta-s")),
        (202, Some("put"))
    );
    assert_eq!(answer.header("x-backend-content-type"), Some("text/plain"));
    let answer = ask("HEAD").send(&house).await;
    for (name, value) in [
        ("x-object-meta-a", Some("post")),
        ("x-object-meta-b", None),
        ("x-object-sysmeta-s", Some("put")),
        ("x-object-transient-sysmeta-t", None),
        ("x-object-transient-sysmeta-u", Some("post")),
        ("content-encoding", None),
        ("content-disposition", Some("inline")),
        ("x-static-large-object", Some("true")),
        ("x-delete-at", None),
        ("x-secret", None),
        ("content-type", Some("text/plain")),
        ("x-timestamp", Some("0000000006.00000")),
        ("last-modified", Some("Thu, 01 Jan 1970 00:00:06 GMT")),
        ("x-backend-timestamp", Some("0000000006.00000")),
        ("x-backend-data-timestamp", Some("0000000005.00000")),
        ("x-backend-durable-timestamp", Some("0000000005.00000")),
        ("content-length", Some("4")),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
}

#[tokio::test]
async fn a_content_type_that_was_posted_outlives_posts_without_one() {
    let house = House::new();
    house.store("5", b"data").await;
    post("6").with("content-type", "text/six").send(&house).await;
    let answer = post("7").send(&house).await;
    assert_eq!(answer.header("x-backend-content-type"), Some("text/six"));
    assert_eq!(get(&house).await.header("content-type"), Some("text/six"));
    house.store("8", b"data").await;
    assert_eq!(get(&house).await.header("content-type"), Some("text/plain"));
}

#[tokio::test]
async fn if_none_match_guards_what_is_there() {
    let house = House::new();
    let guarded = |at: &str, tags: &str| put(at).with("if-none-match", tags).body("data");
    assert_eq!(guarded("5", "*").send(&house).await.status, 201);
    assert_eq!(guarded("6", "*").send(&house).await.status, 412);
    // MD5 of "data".
    assert_eq!(
        guarded("6", "\"8d777f385d3dfec8815d20f7496026dc\"")
            .send(&house)
            .await
            .status,
        412
    );
    assert_eq!(
        guarded("6", "\"00000000000000000000000000000000\"")
            .send(&house)
            .await
            .status,
        201
    );
    delete("7").send(&house).await;
    assert_eq!(guarded("8", "*").send(&house).await.status, 201);
}

#[tokio::test]
async fn expired_objects_are_gone_for_clients_and_there_for_copies() {
    let house = House::new();
    // The clock stands at second 1,000,000.
    put("5")
        .with("x-delete-at", "999999")
        .body("data")
        .send(&house)
        .await;
    for method in ["GET", "HEAD"] {
        let answer = ask(method).send(&house).await;
        assert_eq!(
            (answer.status, answer.header("x-backend-timestamp")),
            (404, Some("0000000005.00000"))
        );
        assert_eq!(
            ask(method)
                .with("x-timestamp", "999998")
                .send(&house)
                .await
                .status,
            200
        );
        for name in ["x-backend-replication", "x-backend-open-expired"] {
            let answer = ask(method).with(name, "true").send(&house).await;
            assert_eq!(
                (answer.status, answer.header("x-delete-at")),
                (200, Some("999999")),
                "{name}"
            );
        }
    }
    assert_eq!(post("1000001").send(&house).await.status, 404);
    let posted = post("1000001")
        .with("x-backend-open-expired", "true")
        .with("x-delete-at", "3000000");
    assert_eq!(posted.send(&house).await.status, 202);
    assert_eq!(get(&house).await.status, 200);
}

#[tokio::test]
async fn objects_expire_by_the_servers_clock() {
    let house = House::new();
    put("5")
        .with("x-delete-after", "1000010")
        .body("data")
        .send(&house)
        .await;
    assert_eq!(get(&house).await.header("x-delete-at"), Some("1000015"));
    house.clock.advance_secs(16);
    assert_eq!(get(&house).await.status, 404);
}

#[tokio::test]
async fn copies_may_be_made_of_what_has_expired() {
    let house = House::new();
    let late = put("100")
        .with("x-delete-at", "99")
        .with("x-backend-replication", "true")
        .body("data");
    assert_eq!(late.send(&house).await.status, 201);
    assert_eq!(get(&house).await.status, 404);
}

#[tokio::test]
async fn the_expirer_deletes_only_what_still_expires_then() {
    let house = House::new();
    let expire = |at: &str, when: &str| delete(at).with("x-if-delete-at", when);
    assert_eq!(expire("900", "500").send(&house).await.status, 404);
    assert_eq!(house.device.stats().await.unwrap().tombstones, 0);
    put("5")
        .with("x-delete-at", "500")
        .body("data")
        .send(&house)
        .await;
    assert_eq!(expire("900", "400").send(&house).await.status, 412);
    assert_eq!(expire("4", "500").send(&house).await.status, 409);
    assert_eq!(expire("900", "500").send(&house).await.status, 204);
    assert_eq!(house.device.stats().await.unwrap().tombstones, 1);
}

#[tokio::test]
async fn deleting_what_has_expired_leaves_a_tombstone_and_says_404() {
    let house = House::new();
    put("5")
        .with("x-delete-at", "500")
        .body("data")
        .send(&house)
        .await;
    assert_eq!(delete("900").send(&house).await.status, 404);
    assert_eq!(house.device.stats().await.unwrap().tombstones, 1);
}
