//! Versions of objects with `X-Versions-Enabled`: every write is kept until its version is deleted.

mod support;

use serde_json::{Value, json};
use support::clients::{aws, run};
use support::http::{Answer, Swift};
use support::{Cluster, wait_for};

const MARKER: &str = "application/x-deleted;swift_versions_deleted=1";
const ENABLED: [(&str, &str); 1] = [("x-versions-enabled", "true")];
const DISABLED: [(&str, &str); 1] = [("x-versions-enabled", "false")];

async fn tester(cluster: &Cluster) -> Swift {
    Swift::login(cluster.address(), "test:tester", "testing").await
}

async fn status(user: &Swift, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> u16 {
    user.call(method, path, headers, body.to_owned()).await.status
}

async fn put(user: &Swift, path: &str, body: &str) -> String {
    let answer = user.call("PUT", path, &[], body.to_owned()).await;
    assert_eq!(answer.status, 201, "{path}: {}", answer.text());
    answer.header("x-object-version-id").to_owned()
}

async fn get(user: &Swift, path: &str) -> Answer {
    user.call("GET", path, &[], "").await
}

async fn text(user: &Swift, path: &str) -> String {
    let answer = get(user, path).await;
    assert_eq!(answer.status, 200, "{path}");
    answer.text()
}

async fn rows(user: &Swift, path: &str) -> Vec<Value> {
    let answer = get(user, path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    serde_json::from_slice(&answer.body).expect("a listing is JSON")
}

/// (name, version, whether it is the latest), of each version of a container.
async fn versions(user: &Swift, container: &str, query: &str) -> Vec<(String, String, bool)> {
    let rows = rows(user, &format!("/{container}?versions&{query}")).await;
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or("").to_owned();
    rows.iter()
        .map(|row| {
            (
                text(row, "name"),
                text(row, "version_id"),
                row["is_latest"] == json!(true),
            )
        })
        .collect()
}

fn row(name: &str, version: &str, is_latest: bool) -> (String, String, bool) {
    (name.into(), version.into(), is_latest)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_is_a_version() {
    let cluster = Cluster::start();
    let user = tester(&cluster).await;
    assert_eq!(status(&user, "PUT", "/box", &ENABLED, "").await, 201);
    let one = put(&user, "/box/note", "one").await;
    let two = put(&user, "/box/note", "second").await;

    // The object is its newest version; the others are there by their ids.
    let answer = get(&user, "/box/note").await;
    assert_eq!(
        (
            answer.text().as_str(),
            answer.header("x-object-version-id"),
            answer.header("content-location"),
        ),
        (
            "second",
            two.as_str(),
            format!("/v1/AUTH_test/box/note?version-id={two}").as_str()
        )
    );
    let old = get(&user, &format!("/box/note?version-id={one}")).await;
    assert_eq!(
        (old.text().as_str(), old.header("x-object-version-id")),
        ("one", one.as_str())
    );

    // It is no link that could be looked at, or copied, for itself.
    assert_eq!(text(&user, "/box/note?symlink=get").await, "second");

    // Listings show what the versions are, and nowhere where they are kept.
    let listed = rows(&user, "/box?format=json").await;
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (&listed[0]["bytes"], &listed[0]["hash"]),
        (&json!(6), &json!("a9f0e61a137d86aa9db53465e0801612"))
    );
    assert_eq!(
        versions(&user, "box", "").await,
        [row("note", &two, true), row("note", &one, false)]
    );
    let head = user.call("HEAD", "/box", &[], "").await;
    assert_eq!(
        (
            head.header("x-versions-enabled"),
            head.header("x-container-bytes-used"),
            head.header("x-container-object-count"),
        ),
        ("True", "9", "1")
    );
    // Accounts hear of their containers a little later.
    let handle = tokio::runtime::Handle::current();
    let account = || handle.block_on(rows(&user, "?format=json"));
    tokio::task::block_in_place(|| {
        wait_for("the account to count all versions", || {
            let account = account();
            account.len() == 1 && account[0]["name"] == "box" && account[0]["bytes"] == 9
        });
    });

    // Quotas count them too.
    let quota = [("x-container-meta-quota-bytes", "10")];
    assert_eq!(status(&user, "POST", "/box", &quota, "").await, 204);
    assert_eq!(status(&user, "PUT", "/box/note", &[], "third").await, 413);
    let no_quota = [("x-container-meta-quota-bytes", "")];
    assert_eq!(status(&user, "POST", "/box", &no_quota, "").await, 204);

    // New metadata makes no version; it is seen through the object and by its id.
    let meta = [("x-object-meta-colour", "red")];
    assert_eq!(status(&user, "POST", "/box/note", &meta, "").await, 202);
    for path in ["/box/note", &format!("/box/note?version-id={two}")] {
        let answer = user.call("HEAD", path, &[], "").await;
        assert_eq!(answer.header("x-object-meta-colour"), "red", "{path}");
    }

    // It is the object that expires.
    let expiring = [("x-delete-after", "3000")];
    assert_eq!(status(&user, "POST", "/box/note", &expiring, "").await, 202);
    for (path, expires) in [
        ("/box/note", true),
        (&format!("/box/note?version-id={two}"), false),
    ] {
        let answer = user.call("HEAD", path, &[], "").await;
        assert_eq!(!answer.header("x-delete-at").is_empty(), expires, "{path}");
    }

    // A deletion leaves a mark; an old version can be current again.
    let deleted = user.call("DELETE", "/box/note", &[], "").await;
    let mark = deleted.header("x-object-version-id").to_owned();
    assert_eq!(deleted.status, 204);
    assert_eq!(get(&user, "/box/note").await.status, 404);
    let marked = get(&user, &format!("/box/note?version-id={mark}")).await;
    assert_eq!((marked.status, marked.header("content-type")), (404, MARKER));
    assert_eq!(
        versions(&user, "box", "").await,
        [
            row("note", &mark, true),
            row("note", &two, false),
            row("note", &one, false)
        ]
    );
    let of_mark = format!("/box/note?version-id={mark}");
    assert_eq!(status(&user, "PUT", &of_mark, &[], "").await, 404);
    let again = user
        .call("PUT", &format!("/box/note?version-id={one}"), &[], "")
        .await;
    assert_eq!(
        (again.status, again.header("x-object-version-id")),
        (201, one.as_str())
    );
    assert_eq!(text(&user, "/box/note").await, "one");

    // Versions go one by one; the current one takes the object with it.
    for (version, left) in [(&two, one.as_str()), (&one, "null"), (&mark, "null")] {
        let path = format!("/box/note?version-id={version}");
        let gone = user.call("DELETE", &path, &[], "").await;
        assert_eq!(
            (gone.status, gone.header("x-object-current-version-id")),
            (204, left)
        );
    }
    assert_eq!(versions(&user, "box", "").await, []);
    assert_eq!(get(&user, "/box/note").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_without_versions_is_kept_when_they_are() {
    let cluster = Cluster::start();
    let user = tester(&cluster).await;
    assert_eq!(status(&user, "PUT", "/box", &[], "").await, 201);
    let meta = [("x-object-meta-colour", "red"), ("content-type", "text/own")];
    assert_eq!(status(&user, "PUT", "/box/note", &meta, "null").await, 201);
    assert_eq!(versions(&user, "box", "").await, [row("note", "null", true)]);
    assert_eq!(status(&user, "POST", "/box", &ENABLED, "").await, 204);
    assert_eq!(text(&user, "/box/note?version-id=null").await, "null");

    // A write that fails keeps all as it is.
    let wrong = [("etag", "d41d8cd98f00b204e9800998ecf8427e")];
    assert_eq!(status(&user, "PUT", "/box/note", &wrong, "one").await, 422);
    let only_if_new = [("if-none-match", "*")];
    assert_eq!(status(&user, "PUT", "/box/note", &only_if_new, "one").await, 412);
    assert_eq!(versions(&user, "box", "").await, [row("note", "null", true)]);

    let one = put(&user, "/box/note", "one").await;
    let listed = versions(&user, "box", "").await;
    assert_eq!((listed.len(), &listed[0]), (2, &row("note", &one, true)));
    let kept = get(&user, &format!("/box/note?version-id={}", listed[1].1)).await;
    assert_eq!(kept.header("x-timestamp"), listed[1].1);
    assert_eq!(
        (
            kept.text().as_str(),
            kept.header("x-object-meta-colour"),
            kept.header("content-type")
        ),
        ("null", "red", "text/own")
    );
    assert_eq!(get(&user, "/box/note?version-id=null").await.status, 404);

    // Suspended: writes replace only what is no version.
    assert_eq!(status(&user, "POST", "/box", &DISABLED, "").await, 204);
    for body in ["two", "three"] {
        assert_eq!(put(&user, "/box/note", body).await, "");
    }
    let listed = versions(&user, "box", "").await;
    assert_eq!(listed[..2], [row("note", "null", true), row("note", &one, false)]);
    assert_eq!(text(&user, &format!("/box/note?version-id={one}")).await, "one");
    assert_eq!(status(&user, "DELETE", "/box/note", &[], "").await, 204);
    assert_eq!(get(&user, "/box/note").await.status, 404);

    // A container goes when its versions have gone.
    assert_eq!(status(&user, "DELETE", "/box", &[], "").await, 409);
    for (name, version, _) in versions(&user, "box", "").await {
        let path = format!("/box/{name}?version-id={version}");
        assert_eq!(status(&user, "DELETE", &path, &[], "").await, 204);
    }
    assert_eq!(status(&user, "DELETE", "/box", &[], "").await, 204);
    assert_eq!(get(&user, "?format=json").await.text(), "[]");
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_of_versions_come_in_pages() {
    let cluster = Cluster::start();
    let user = tester(&cluster).await;
    assert_eq!(status(&user, "PUT", "/box", &ENABLED, "").await, 201);
    for name in ["a-1", "a-2", "b"] {
        for body in ["one", "two", "three"] {
            put(&user, &format!("/box/{name}"), body).await;
        }
    }
    assert_eq!(status(&user, "DELETE", "/box/a-2", &[], "").await, 204);
    let all = versions(&user, "box", "").await;
    assert_eq!(all.len(), 10);
    assert_eq!(all.iter().filter(|(_, _, is_latest)| *is_latest).count(), 3);

    for size in [1, 2, 3, 4] {
        let mut pages = Vec::new();
        let mut query = format!("limit={size}");
        loop {
            let page = versions(&user, "box", &query).await;
            let Some((name, version, _)) = page.last().cloned() else {
                break;
            };
            query = format!("limit={size}&marker={name}&version_marker={version}");
            pages.extend(page);
        }
        assert_eq!(pages, all, "pages of {size}");
    }
    let mut reversed = versions(&user, "box", "reverse=on").await;
    reversed.reverse();
    assert_eq!(reversed, all);
    assert_eq!(versions(&user, "box", "marker=a-2").await, all[7..]);
    assert_eq!(versions(&user, "box", "prefix=a-1").await, all[..3]);
    let cut = rows(&user, "/box?versions&delimiter=-").await;
    assert_eq!(cut[0], json!({"subdir": "a-"}));
    assert_eq!(cut.len(), 4);

    for (query, expected) in [
        ("version_marker=null", 400),
        ("marker=b&version_marker=x", 400),
        ("delimiter=1", 400),
        ("limit=10001", 412),
        ("format=xml", 406),
        ("format=plain", 406),
    ] {
        let answer = get(&user, &format!("/box?versions&{query}")).await;
        assert_eq!(answer.status, expected, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_can_be_asked_is_done() {
    let cluster = Cluster::start();
    let user = tester(&cluster).await;
    assert_eq!(status(&user, "PUT", "/box", &ENABLED, "").await, 201);
    assert_eq!(status(&user, "PUT", "/plain", &[], "").await, 201);
    let one = put(&user, "/box/note", "one").await;
    put(&user, "/plain/note", "plain").await;
    for (method, path, body, expected) in [
        ("POST", format!("/box/note?version-id={one}"), "", 400),
        ("PUT", format!("/box/note?version-id={one}"), "body", 400),
        ("PUT", "/box/note?version-id=null".into(), "", 400),
        ("PUT", "/box/note?version-id=1234567890.12345".into(), "", 404),
        ("GET", "/box/note?version-id=junk".into(), "", 400),
        ("GET", "/box/note?version-id=1234567890.12345".into(), "", 404),
        ("GET", "/plain/note?version-id=1234567890.12345".into(), "", 400),
        ("GET", "/plain/note?version-id=null".into(), "", 200),
    ] {
        assert_eq!(
            status(&user, method, &path, &[], body).await,
            expected,
            "{method} {path}"
        );
    }
    // One way of keeping versions for one container.
    let legacy = [("x-versions-location", "plain")];
    assert_eq!(status(&user, "PUT", "/old", &legacy, "").await, 201);
    assert_eq!(status(&user, "POST", "/old", &ENABLED, "").await, 400);
    // Nobody can say where a version is kept.
    let kept = format!("/box/%00note%00{one}");
    assert_eq!(get(&user, &kept).await.status, 412);
    assert_eq!(get(&user, "/box?format=json&prefix=%00").await.text(), "[]");
    assert_eq!(status(&user, "POST", "/missing", &ENABLED, "").await, 404);
    assert_eq!(
        status(&user, "PUT", &format!("/{}", "c".repeat(256)), &ENABLED, "").await,
        201
    );

    // Who may write here may make versions, and sees no old ones; who may not leaves no trace.
    let stranger = Swift::login(cluster.address(), "test:tester3", "testing3").await;
    assert_eq!(status(&stranger, "PUT", "/box/note", &[], "two").await, 403);
    assert_eq!(status(&stranger, "DELETE", "/box/note", &[], "").await, 403);
    assert_eq!(status(&stranger, "PUT", "/theirs", &ENABLED, "").await, 403);
    assert_eq!(versions(&user, "box", "").await, [row("note", &one, true)]);
    let shared = [
        ("x-container-read", "test:tester3"),
        ("x-container-write", "test:tester3"),
    ];
    assert_eq!(status(&user, "POST", "/box", &shared, "").await, 204);
    let two = put(&stranger, "/box/note", "two").await;
    assert_eq!(text(&stranger, "/box/note").await, "two");
    for version in [&one, &two] {
        let path = format!("/box/note?version-id={version}");
        for method in ["GET", "DELETE"] {
            assert_eq!(status(&stranger, method, &path, &[], "").await, 403, "{method}");
        }
    }
    assert_eq!(text(&user, "/box/note").await, "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_grant_no_more_than_their_makers_have() {
    let cluster = Cluster::start();
    let user = tester(&cluster).await;
    let other = Swift::login(cluster.address(), "test2:tester2", "testing2").await;
    assert_eq!(status(&other, "PUT", "/secret", &[], "").await, 201);
    put(&other, "/secret/note", "theirs").await;
    assert_eq!(status(&user, "PUT", "/box", &ENABLED, "").await, 201);
    put(&user, "/box/note", "mine").await;

    // A link from a versioned object into another account.
    let target = [
        ("x-symlink-target", "secret/note"),
        ("x-symlink-target-account", "AUTH_test2"),
    ];
    assert_eq!(status(&user, "PUT", "/box/link", &target, "").await, 201);
    assert_eq!(get(&user, "/box/link").await.status, 403);
    // A copy of a version that is a link, turned elsewhere.
    let own = [("x-symlink-target", "box/note")];
    assert_eq!(status(&user, "PUT", "/box/own", &own, "").await, 201);
    assert_eq!(text(&user, "/box/own").await, "mine");
    let mut turned = vec![("destination", "box/turned")];
    turned.extend_from_slice(&target);
    let path = "/box/own?symlink=get";
    assert_eq!(status(&user, "COPY", path, &turned, "").await, 201);
    assert_eq!(get(&user, "/box/turned").await.status, 403);
    turned[0] = ("destination", "plain/turned");
    assert_eq!(status(&user, "PUT", "/plain", &[], "").await, 201);
    assert_eq!(status(&user, "COPY", path, &turned, "").await, 201);
    assert_eq!(get(&user, "/plain/turned").await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uploads_parts_stay_with_its_version() {
    let cluster = Cluster::start();
    let user = tester(&cluster).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("part"), "in parts").unwrap();
    let s3 = |arguments: &[&str]| run(aws(&cluster.url(), folder.path()).args(arguments));
    let at = ["--bucket", "bucket", "--key", "note"];
    let api = |operation: &str, more: &[&str]| s3(&[&["s3api", operation][..], &at, more].concat());
    s3(&["s3", "mb", "s3://bucket"]);
    let begun: Value = serde_json::from_str(&api("create-multipart-upload", &[])).unwrap();
    let upload = begun["UploadId"].as_str().unwrap();
    let part = ["--upload-id", upload, "--part-number", "1", "--body", "part"];
    let part: Value = serde_json::from_str(&api("upload-part", &part)).unwrap();
    let parts = json!({"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}).to_string();
    let end = ["--upload-id", upload, "--multipart-upload", &parts];
    api("complete-multipart-upload", &end);
    assert_eq!(text(&user, "/bucket/note").await, "in parts");

    assert_eq!(status(&user, "POST", "/bucket", &ENABLED, "").await, 204);
    put(&user, "/bucket/note", "whole").await;
    assert_eq!(status(&user, "DELETE", "/bucket/note", &[], "").await, 204);
    let upload = versions(&user, "bucket", "").await.pop().unwrap().1;
    let path = format!("/bucket/note?version-id={upload}");
    assert_eq!(text(&user, &path).await, "in parts");
    let again = user.call("PUT", &path, &[], "").await;
    assert_eq!(again.status, 201);
    assert_eq!(text(&user, "/bucket/note").await, "in parts");

    // With the version its parts go.
    let held = || async {
        let head = user.call("HEAD", "", &[], "").await;
        head.header("x-account-bytes-used").to_owned()
    };
    assert_eq!(status(&user, "DELETE", &path, &[], "").await, 204);
    let handle = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        wait_for("the parts to go", || handle.block_on(held()) == "5");
    });
}
