//! Links, copies and quoted ETags, as a client of a whole cluster sees them.

mod support;

use support::Cluster;
use support::http::{Answer, Swift, request};

const MD5_OF_BODY: &str = "781e5e245d69b566979b86e28d23f2c7";
const BODY: &str = "0123456789";

async fn login(cluster: &Cluster, user: &str, key: &str) -> Swift {
    Swift::login(cluster.address(), user, key).await
}

async fn put(user: &Swift, path: &str, headers: &[(&str, &str)], body: &'static str) -> Answer {
    user.call("PUT", path, headers, body).await
}

/// The rows of a container's listing.
async fn rows(user: &Swift, container: &str) -> Vec<serde_json::Value> {
    let answer = user
        .call("GET", &format!("/{container}?format=json"), &[], "")
        .await;
    serde_json::from_slice(&answer.body).expect("a listing")
}

/// The row of one object.
async fn row(user: &Swift, container: &str, name: &str) -> serde_json::Value {
    let rows = rows(user, container).await;
    let found = rows.into_iter().find(|row| row["name"] == name);
    found.unwrap_or_else(|| panic!("no row of {name}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn links_lead_to_their_targets() {
    let cluster = Cluster::start();
    let user = login(&cluster, "test:tester", "testing").await;
    for container in ["/c", "/l"] {
        assert_eq!(put(&user, container, &[], "").await.status, 201);
    }
    let target = put(
        &user,
        "/c/o%20p",
        &[("x-object-meta-a", "b"), ("content-type", "text/plain")],
        BODY,
    )
    .await;
    assert_eq!(target.header("etag"), MD5_OF_BODY);

    let to_target = ("x-symlink-target", "c/o%20p");
    assert_eq!(put(&user, "/l/dynamic", &[to_target], "").await.status, 201);
    let etag = ("x-symlink-target-etag", MD5_OF_BODY);
    assert_eq!(put(&user, "/l/static", &[to_target, etag], "").await.status, 201);
    for name in ["dynamic", "static"] {
        let got = user.call("GET", &format!("/l/{name}"), &[], "").await;
        assert_eq!((got.status, got.text().as_str()), (200, BODY));
        assert_eq!(got.header("x-object-meta-a"), "b");
        assert_eq!(got.header("content-location"), "/v1/AUTH_test/c/o%20p");
        let ranged = user
            .call("GET", &format!("/l/{name}"), &[("range", "bytes=2-3")], "")
            .await;
        assert_eq!((ranged.status, ranged.text().as_str()), (206, "23"));
        let several = user
            .call("GET", &format!("/l/{name}"), &[("range", "bytes=0-0,4-5")], "")
            .await;
        assert_eq!(several.status, 206);
        assert!(
            several
                .text()
                .contains("Content-Range: bytes 4-5/10\r\n\r\n45\r\n")
        );
        let matched = user
            .call(
                "GET",
                &format!("/l/{name}"),
                &[("if-none-match", MD5_OF_BODY)],
                "",
            )
            .await;
        assert_eq!(matched.status, 304);
        let head = user.call("HEAD", &format!("/l/{name}"), &[], "").await;
        assert_eq!(head.header("content-length"), "10");
    }

    // The link itself.
    let link = user.call("GET", "/l/static?symlink=get", &[], "").await;
    assert_eq!((link.status, link.text().as_str()), (200, ""));
    assert_eq!(link.header("x-symlink-target"), "c/o%20p");
    assert_eq!(link.header("x-symlink-target-etag"), MD5_OF_BODY);
    assert_eq!(link.header("x-symlink-target-bytes"), "10");
    assert_eq!(link.header("content-type"), "text/plain");
    let link = user.call("HEAD", "/l/dynamic?symlink=get", &[], "").await;
    assert_eq!(link.header("content-type"), "application/symlink");
    assert_eq!(link.header("x-symlink-target-etag"), "");

    let shown = row(&user, "l", "static").await;
    assert_eq!(shown["hash"], "d41d8cd98f00b204e9800998ecf8427e");
    assert_eq!(shown["symlink_path"], "/v1/AUTH_test/c/o%20p");
    assert_eq!(shown["symlink_etag"], MD5_OF_BODY);
    assert_eq!(shown["symlink_bytes"], 10);
    assert!(row(&user, "l", "dynamic").await.get("symlink_etag").is_none());

    // A POST changes the link; its client is told where the target is.
    let posted = user
        .call("POST", "/l/static", &[("x-object-meta-c", "d")], "")
        .await;
    assert_eq!(posted.status, 307);
    assert_eq!(posted.header("location"), "/v1/AUTH_test/c/o%20p");
    assert_eq!(posted.header("x-symlink-target-etag"), MD5_OF_BODY);

    // A target that changes breaks what holds it to its ETag; one that goes breaks both.
    put(&user, "/c/o%20p", &[], "other").await;
    assert_eq!(user.call("GET", "/l/dynamic", &[], "").await.text(), "other");
    let broken = user.call("GET", "/l/static", &[], "").await;
    assert_eq!(broken.status, 409);
    assert_eq!(broken.header("content-location"), "/v1/AUTH_test/c/o%20p");
    user.call("DELETE", "/c/o%20p", &[], "").await;
    assert_eq!(user.call("GET", "/l/dynamic", &[], "").await.status, 404);
    assert_eq!(user.call("GET", "/l/static", &[], "").await.status, 404);
    assert_eq!(user.call("DELETE", "/l/static", &[], "").await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_links_are_refused_and_loops_end() {
    let cluster = Cluster::start();
    let user = login(&cluster, "test:tester", "testing").await;
    put(&user, "/c", &[], "").await;
    put(&user, "/c/o", &[], BODY).await;
    let bad_etag = "0123456789abcdef0123456789abcdef";
    for (headers, body, expected) in [
        (&[("x-symlink-target", "/c/o")][..], "", 412),
        (&[("x-symlink-target", "c")], "", 412),
        (&[("x-symlink-target", "c/l")], "", 400),
        (&[("x-symlink-target", "c/o")], "body", 400),
        (
            &[("x-symlink-target", "c/o"), ("x-symlink-target-account", "a%2Fb")],
            "",
            412,
        ),
        (
            &[("x-symlink-target", "c/o"), ("x-symlink-target-etag", "a;b")],
            "",
            400,
        ),
        (
            &[("x-symlink-target", "c/o"), ("x-symlink-target-etag", bad_etag)],
            "",
            409,
        ),
        (
            &[
                ("x-symlink-target", "c/none"),
                ("x-symlink-target-etag", bad_etag),
            ],
            "",
            409,
        ),
        (
            &[
                ("x-symlink-target", "%00c/o"),
                ("x-symlink-target-etag", bad_etag),
            ],
            "",
            412,
        ),
    ] {
        let answer = put(&user, "/c/l", headers, body).await;
        assert_eq!(answer.status, expected, "{headers:?}: {}", answer.text());
        assert_eq!(user.call("HEAD", "/c/l", &[], "").await.status, 404);
    }
    let posted = user
        .call("POST", "/c/o", &[("x-symlink-target", "c/o")], "")
        .await;
    assert_eq!(posted.status, 400);

    put(&user, "/c/a", &[("x-symlink-target", "c/b")], "").await;
    put(&user, "/c/b", &[("x-symlink-target", "c/a")], "").await;
    let looped = user.call("GET", "/c/a", &[], "").await;
    assert_eq!(looped.status, 409);
    assert_eq!(
        looped.text(),
        "Too many levels of symbolic links, maximum allowed is 2"
    );
    // Two links are followed, three are not.
    put(&user, "/c/1", &[("x-symlink-target", "c/o")], "").await;
    put(&user, "/c/2", &[("x-symlink-target", "c/1")], "").await;
    put(&user, "/c/3", &[("x-symlink-target", "c/2")], "").await;
    assert_eq!(user.call("GET", "/c/2", &[], "").await.status, 200);
    assert_eq!(user.call("GET", "/c/3", &[], "").await.status, 409);
    // What is hidden stays hidden, also behind a link.
    put(&user, "/c/hidden", &[("x-symlink-target", "%00c/o")], "").await;
    assert_eq!(user.call("GET", "/c/hidden", &[], "").await.status, 412);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_opens_only_what_its_reader_may_read() {
    let cluster = Cluster::start();
    let owner = login(&cluster, "test:tester", "testing").await;
    let other = login(&cluster, "test2:tester2", "testing2").await;
    put(&owner, "/c", &[], "").await;
    put(&owner, "/c/o", &[], BODY).await;
    put(&other, "/l", &[("x-container-read", ".r:*")], "").await;
    let across = [
        ("x-symlink-target", "c/o"),
        ("x-symlink-target-account", "AUTH_test"),
    ];
    assert_eq!(put(&other, "/l/link", &across, "").await.status, 201);
    let with_etag = [across[0], across[1], ("x-symlink-target-etag", MD5_OF_BODY)];
    assert_eq!(put(&other, "/l/static", &with_etag, "").await.status, 403);
    assert_eq!(other.call("GET", "/l/link", &[], "").await.status, 403);
    let path = "/v1/AUTH_test2/l/link";
    let nobody = request(cluster.address(), "GET", path, &[], "").await.unwrap();
    assert_eq!(nobody.status, 401);

    let acl = [("x-container-read", "test2:tester2")];
    assert_eq!(owner.call("POST", "/c", &acl, "").await.status, 204);
    assert_eq!(other.call("GET", "/l/link", &[], "").await.text(), BODY);
    assert_eq!(put(&other, "/l/static", &with_etag, "").await.status, 201);
    let shown = row(&other, "l", "link").await;
    assert_eq!(shown["symlink_path"], "/v1/AUTH_test/c/o");
    let nobody = request(cluster.address(), "GET", path, &[], "").await.unwrap();
    assert_eq!(nobody.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_carry_what_they_should() {
    let cluster = Cluster::start();
    let user = login(&cluster, "test:tester", "testing").await;
    let other = login(&cluster, "test2:tester2", "testing2").await;
    put(&user, "/c", &[], "").await;
    put(
        &user,
        "/c/o",
        &[("x-object-meta-a", "b"), ("content-type", "a/b")],
        BODY,
    )
    .await;
    put(&user, "/c/link", &[("x-symlink-target", "c/o")], "").await;

    // Through a link the target is copied; with symlink=get the link.
    let copied = user
        .call("COPY", "/c/link", &[("destination", "c/copy")], "")
        .await;
    assert_eq!(copied.status, 201);
    assert_eq!(copied.header("x-copied-from"), "c/link");
    assert_eq!(
        user.call("GET", "/c/copy?symlink=get", &[], "").await.text(),
        BODY
    );
    let copied = user
        .call("COPY", "/c/link?symlink=get", &[("destination", "c/second")], "")
        .await;
    assert_eq!(copied.status, 201);
    let second = user.call("HEAD", "/c/second?symlink=get", &[], "").await;
    assert_eq!(second.header("x-symlink-target"), "c/o");
    assert_eq!(
        row(&user, "c", "second").await["symlink_path"],
        "/v1/AUTH_test/c/o"
    );

    // Old metadata and new, or only new.
    for (headers, expected) in [
        (&[("x-copy-from", "c/o"), ("x-object-meta-c", "d")][..], "b"),
        (
            &[
                ("x-copy-from", "c/o"),
                ("x-object-meta-c", "d"),
                ("x-fresh-metadata", "true"),
            ],
            "",
        ),
    ] {
        assert_eq!(put(&user, "/c/new", headers, "").await.status, 201);
        let head = user.call("HEAD", "/c/new", &[], "").await;
        assert_eq!(head.header("x-object-meta-a"), expected);
        assert_eq!(head.header("x-object-meta-c"), "d");
        assert_eq!(head.header("content-type"), "a/b");
        assert_eq!(head.header("etag"), MD5_OF_BODY);
    }
    let part = [("x-copy-from", "c/o"), ("range", "bytes=1-2")];
    assert_eq!(put(&user, "/c/part", &part, "").await.status, 201);
    assert_eq!(user.call("GET", "/c/part", &[], "").await.text(), "12");

    let only_new = [("x-copy-from", "c/o"), ("if-none-match", "*")];
    assert_eq!(put(&user, "/c/unique", &only_new, "").await.status, 201);
    assert_eq!(put(&user, "/c/unique", &only_new, "").await.status, 412);

    // Across accounts, with the right to read here and to write there.
    put(&other, "/d", &[], "").await;
    let abroad = [("destination", "d/o"), ("destination-account", "AUTH_test2")];
    assert_eq!(user.call("COPY", "/c/o", &abroad, "").await.status, 403);
    let acl = [("x-container-write", "test:tester")];
    assert_eq!(other.call("POST", "/d", &acl, "").await.status, 204);
    let copied = user.call("COPY", "/c/o", &abroad, "").await;
    assert_eq!(copied.status, 201);
    assert_eq!(copied.header("x-copied-from-account"), "AUTH_test");
    assert_eq!(other.call("GET", "/d/o", &[], "").await.text(), BODY);
    let back = [("x-copy-from", "d/o"), ("x-copy-from-account", "AUTH_test2")];
    assert_eq!(put(&user, "/c/back", &back, "").await.status, 403);

    for (headers, expected) in [
        (&[("destination", "c")][..], 412),
        (&[("destination", "c/p"), ("destination-account", "a%2Fb")], 412),
        (&[("destination", "c/p"), ("destination-account", "")], 412),
        (&[("destination", "none/p")], 404),
    ] {
        let answer = user.call("COPY", "/c/o", headers, "").await;
        assert_eq!(answer.status, expected, "{headers:?}");
    }
    let with_body = put(&user, "/c/p", &[("x-copy-from", "c/o")], "body").await;
    assert_eq!(with_body.status, 400);

    // A client that waits hears at the end what became of it.
    let beats = [("destination", "c/beats"), ("accept", "application/json")];
    let answer = user.call("COPY", "/c/o?heartbeat=on", &beats, "").await;
    assert_eq!(answer.status, 202);
    let report: serde_json::Value = serde_json::from_str(answer.text().trim_start()).unwrap();
    assert_eq!(report["Response Status"], "201 Created");
    assert_eq!(report["X-Copied-From"], "c/o");
    assert_eq!(report["Errors"], serde_json::json!([]));
    assert_eq!(user.call("GET", "/c/beats", &[], "").await.text(), BODY);
}

#[tokio::test(flavor = "multi_thread")]
async fn etags_are_quoted_where_asked() {
    let cluster = Cluster::start();
    let user = login(&cluster, "test:tester", "testing").await;
    put(&user, "/c", &[], "").await;
    put(&user, "/c/o", &[], BODY).await;
    let etag = async || user.call("HEAD", "/c/o", &[], "").await.header("etag").to_owned();
    let quoted = format!("\"{MD5_OF_BODY}\"");
    assert_eq!(etag().await, MD5_OF_BODY);
    let say = async |path: &str, name: &str, value: &str| {
        let answer = user.call("POST", path, &[(name, value)], "").await;
        assert_eq!(answer.status, 204);
    };
    say("", "x-account-rfc-compliant-etags", "true").await;
    assert_eq!(etag().await, quoted);
    assert_eq!(put(&user, "/c/o", &[], BODY).await.header("etag"), quoted);
    say("/c", "x-container-rfc-compliant-etags", "no").await;
    assert_eq!(etag().await, MD5_OF_BODY);
    let head = user.call("HEAD", "/c", &[], "").await;
    assert_eq!(head.header("x-container-rfc-compliant-etags"), "False");
    say("/c", "x-container-rfc-compliant-etags", "").await;
    assert_eq!(etag().await, quoted);
    say("", "x-remove-account-rfc-compliant-etags", "x").await;
    assert_eq!(etag().await, MD5_OF_BODY);
}
