//! Versions kept in an archive container, with `X-Versions-Location` and `X-History-Location`.

mod support;

use support::Cluster;
use support::http::Swift;

async fn user(cluster: &Cluster) -> Swift {
    Swift::login(cluster.address(), "test:tester", "testing").await
}

async fn status(user: &Swift, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> u16 {
    user.call(method, path, headers, body.to_owned()).await.status
}

async fn text(user: &Swift, path: &str) -> (u16, String) {
    let answer = user.call("GET", path, &[], "").await;
    (
        answer.status,
        if answer.status == 200 {
            answer.text()
        } else {
            String::new()
        },
    )
}

async fn listing(user: &Swift, path: &str) -> serde_json::Value {
    let answer = user.call("GET", &format!("{path}?format=json"), &[], "").await;
    serde_json::from_slice(&answer.body).expect("a listing is JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_gives_back_what_was_replaced() {
    let cluster = Cluster::start();
    let user = user(&cluster).await;
    assert_eq!(status(&user, "PUT", "/archive", &[], "").await, 201);
    let at = [("x-versions-location", "archive")];
    assert_eq!(status(&user, "PUT", "/box", &at, "").await, 201);
    let head = user.call("HEAD", "/box", &[], "").await;
    assert_eq!(head.header("x-versions-location"), "archive");

    for body in ["one", "two", "three"] {
        let meta = [("x-object-meta-says", body), ("content-type", "text/own")];
        assert_eq!(status(&user, "PUT", "/box/note", &meta, body).await, 201);
    }
    let archived = listing(&user, "/archive").await;
    assert_eq!(archived.as_array().unwrap().len(), 2);
    assert!(archived[0]["name"].as_str().unwrap().starts_with("004note/"));
    assert_eq!(archived[0]["content_type"], "text/own");
    // New metadata is no new version, and a write that fails leaves all as it is.
    assert_eq!(
        status(&user, "POST", "/box/note", &[("x-object-meta-says", "3")], "").await,
        202
    );
    let only_if_new = [("if-none-match", "*")];
    assert_eq!(status(&user, "PUT", "/box/note", &only_if_new, "four").await, 412);
    assert_eq!(listing(&user, "/archive").await.as_array().unwrap().len(), 2);

    for expected in ["two", "one"] {
        assert_eq!(status(&user, "DELETE", "/box/note", &[], "").await, 204);
        let answer = user.call("GET", "/box/note", &[], "").await;
        assert_eq!(
            (answer.text().as_str(), answer.header("x-object-meta-says")),
            (expected, expected)
        );
    }
    assert_eq!(status(&user, "DELETE", "/box/note", &[], "").await, 204);
    assert_eq!(text(&user, "/box/note").await.0, 404);
    assert_eq!(listing(&user, "/archive").await, serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_keeps_everything_and_marks_deletions() {
    let cluster = Cluster::start();
    let user = user(&cluster).await;
    assert_eq!(status(&user, "PUT", "/archive", &[], "").await, 201);
    let at = [("x-history-location", "archive")];
    assert_eq!(status(&user, "PUT", "/box", &at, "").await, 201);
    assert_eq!(
        user.call("HEAD", "/box", &[], "")
            .await
            .header("x-history-location"),
        "archive"
    );
    for body in ["one", "two"] {
        assert_eq!(status(&user, "PUT", "/box/note", &[], body).await, 201);
    }
    assert_eq!(status(&user, "DELETE", "/box/note", &[], "").await, 204);
    assert_eq!(status(&user, "DELETE", "/box/note", &[], "").await, 404);
    let rows = listing(&user, "/archive").await;
    let types: Vec<&str> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["content_type"].as_str().unwrap())
        .collect();
    let marker = "application/x-deleted;swift_versions_deleted=1";
    assert_eq!(types[2..], [marker, marker]);
    let first = format!("/archive/{}", rows[0]["name"].as_str().unwrap());
    assert_eq!(text(&user, &first).await, (200, "one".into()));
    let back = [("destination", "box/note")];
    assert_eq!(status(&user, "COPY", &first, &back, "").await, 201);
    assert_eq!(text(&user, "/box/note").await, (200, "one".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_archive_a_write_changes_nothing() {
    let cluster = Cluster::start();
    let user = user(&cluster).await;
    let at = [("x-versions-location", "missing")];
    assert_eq!(status(&user, "PUT", "/box", &at, "").await, 201);
    assert_eq!(status(&user, "PUT", "/box/note", &[], "one").await, 201);
    assert_eq!(status(&user, "PUT", "/box/note", &[], "two").await, 412);
    assert_eq!(text(&user, "/box/note").await, (200, "one".into()));

    // Nobody writes in the cluster's name who may not write in their own.
    let stranger = Swift::login(cluster.address(), "test:tester3", "testing3").await;
    assert_eq!(status(&user, "PUT", "/missing", &[], "").await, 201);
    assert_eq!(status(&stranger, "PUT", "/box/note", &[], "two").await, 403);
    assert_eq!(status(&stranger, "DELETE", "/box/note", &[], "").await, 403);
    assert_eq!(listing(&user, "/missing").await, serde_json::json!([]));

    for (headers, expected) in [
        (
            &[("x-versions-location", "a"), ("x-history-location", "b")][..],
            400,
        ),
        (&[("x-versions-location", "a/b")], 412),
        (&[("x-history-location", "%00hidden")], 412),
    ] {
        assert_eq!(
            status(&user, "POST", "/box", headers, "").await,
            expected,
            "{headers:?}"
        );
    }
    assert_eq!(
        status(&user, "POST", "/box", &[("x-remove-versions-location", "x")], "").await,
        204
    );
    assert_eq!(
        user.call("HEAD", "/box", &[], "")
            .await
            .header("x-versions-location"),
        ""
    );
    assert_eq!(status(&user, "PUT", "/box/note", &[], "three").await, 201);
    assert_eq!(listing(&user, "/missing").await, serde_json::json!([]));
}
