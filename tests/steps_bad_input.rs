//! What each step says of input that its page in Swift's documentation calls wrong: a clear 4xx, and nothing changed.
//!
//! Here is what no test of a step's own has: see also `bad_input`, `large_objects_bad_input`, `limits`, `bulk`, `links`,
//! `temp_urls`, `form_posts`, `object_versions` and `legacy_versions`.

mod support;

use support::Cluster;
use support::http::{Swift, raw, request};

/// Method, path below the account, headers, body; the status and words of the answer.
type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str, u16, &'a str);

/// All of them, so that one run tells all that is wrong.
async fn check(user: &Swift, cases: &[Case<'_>]) {
    let mut wrong = Vec::new();
    for (method, path, headers, body, status, words) in cases {
        let answer = user.call(method, path, headers, (*body).to_owned()).await;
        let said = answer.text();
        if answer.status != *status || !said.contains(words) {
            let shown = &path[..path.len().min(60)];
            let got = format!("{} instead of {status}: {said}", answer.status);
            wrong.push(format!("{method} {shown} {headers:?}: {got}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn start() -> (Cluster, Swift) {
    let cluster = Cluster::start();
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    assert_eq!(user.call("PUT", "/box", &[], "").await.status, 201);
    assert_eq!(user.call("PUT", "/box/o", &[], "content").await.status, 201);
    (cluster, user)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_objects_and_containers() {
    let (_cluster, user) = start().await;
    let long_name = format!("x-object-meta-{}", "n".repeat(129));
    let names: Vec<String> = (0..91).map(|n| format!("x-object-meta-{n}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
    let value = "v".repeat(250);
    let big: Vec<(&str, &str)> = names[..17]
        .iter()
        .map(|name| (name.as_str(), value.as_str()))
        .collect();
    for method in ["PUT", "POST"] {
        check(
            &user,
            &[
                (
                    method,
                    "/box/o",
                    &[("x-object-meta-", "v")],
                    "",
                    400,
                    "Metadata name cannot be empty",
                ),
                (
                    method,
                    "/box/o",
                    &[(&long_name, "v")],
                    "",
                    400,
                    "Metadata name too long",
                ),
                (method, "/box/o", &many, "", 400, "Too many metadata items"),
                (method, "/box/o", &big, "", 400, "Total metadata too large"),
                (
                    method,
                    "/box/o",
                    &[("x-delete-after", "0")],
                    "",
                    400,
                    "X-Delete-After in past",
                ),
                (
                    method,
                    "/box/o",
                    &[("x-delete-after", "1.5")],
                    "",
                    400,
                    "Non-integer X-Delete-After",
                ),
                (
                    method,
                    "/box/o",
                    &[("x-delete-at", "1")],
                    "",
                    400,
                    "X-Delete-At in past",
                ),
                (
                    method,
                    "/box",
                    &[("x-container-read", ".friends:*")],
                    "",
                    400,
                    "Unknown designator",
                ),
                (
                    method,
                    "/box",
                    &[("x-container-write", ".r:*")],
                    "",
                    400,
                    "Referrers not allowed",
                ),
                (
                    method,
                    "/box",
                    &[("x-container-read", ".r:-")],
                    "",
                    400,
                    "No host/domain value",
                ),
            ],
        )
        .await;
    }
    check(
        &user,
        &[
            ("PUT", "/box/o", &[("etag", "none")], "other", 422, ""),
            ("PUT", "/box", &[("x-storage-policy", "silver")], "", 409, ""),
            (
                "POST",
                "",
                &[("x-account-access-control", "[]")],
                "",
                400,
                "X-Account-Access-Control invalid",
            ),
            // Listings come in the forms there are.
            ("GET", "/box", &[("accept", "image/png")], "", 406, ""),
            ("GET", "", &[("accept", "image/png")], "", 406, ""),
            (
                "GET",
                "/box",
                &[("accept", "text")],
                "",
                400,
                "Invalid Accept header",
            ),
            // Browsers from elsewhere.
            (
                "OPTIONS",
                "/box/o",
                &[
                    ("origin", "http://else.where"),
                    ("access-control-request-method", "GET"),
                ],
                "",
                401,
                "",
            ),
            (
                "OPTIONS",
                "/box/o",
                &[("origin", "http://else.where")],
                "",
                401,
                "",
            ),
        ],
    )
    .await;
    assert_eq!(user.call("GET", "/box/o", &[], "").await.text(), "content");
    assert_eq!(user.call("GET", "/box", &[], "").await.text(), "o\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_copies_links_and_large_objects() {
    let (_cluster, user) = start().await;
    const MANIFEST: &str = r#"[{"path":"/box/o"}]"#;
    const PUT: &str = "/box/new?multipart-manifest=put";
    check(
        &user,
        &[
            (
                "PUT",
                "/box/new",
                &[("x-copy-from", "box/o"), ("x-copy-from-account", "a/b")],
                "",
                412,
                "Account name cannot contain slashes",
            ),
            (
                "PUT",
                "/box/new",
                &[("x-copy-from", "box/o")],
                "body",
                400,
                "Copy requests require a zero byte body",
            ),
            (
                "PUT",
                "/box/new",
                &[("x-symlink-target", "box/o"), ("x-symlink-target-account", "a/b")],
                "",
                412,
                "Account name cannot contain slashes",
            ),
            (
                "PUT",
                "/box/new",
                &[("x-symlink-target", "box/none"), ("x-symlink-target-etag", "e")],
                "",
                409,
                "X-Symlink-Target does not exist",
            ),
            (
                "PUT",
                "/box/new",
                &[("x-symlink-target", "box/o"), ("x-symlink-target-etag", "e")],
                "",
                409,
                "does not match",
            ),
            (
                "PUT",
                PUT,
                &[("x-copy-from", "box/o")],
                "",
                400,
                "Manifest must be valid JSON",
            ),
            ("PUT", PUT, &[], MANIFEST, 201, ""),
            (
                "GET",
                "/box/new?part-number=0",
                &[],
                "",
                400,
                "Part number must be an integer greater than 0",
            ),
            (
                "GET",
                "/box/new?part-number=one",
                &[],
                "",
                400,
                "Part number must be an integer greater than 0",
            ),
            ("GET", "/box/new?part-number=2", &[], "", 416, "not satisfiable"),
            (
                "DELETE",
                "/box/new?multipart-manifest=delete&async=yes&x",
                &[],
                "",
                204,
                "",
            ),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_versions() {
    let (_cluster, user) = start().await;
    const ENABLED: (&str, &str) = ("x-versions-enabled", "true");
    const MIRROR: (&str, &str) = ("x-container-sync-to", "http://127.0.0.1:8080/v1/AUTH_test/box");
    let long_container = format!("/{}", "c".repeat(256));
    // Versions have longer names than what clients say; that is no client's concern, nor is where they are.
    let (longest, too_long) = (
        format!("/kept/{}", "o".repeat(1024)),
        format!("/kept/{}", "o".repeat(1025)),
    );
    check(
        &user,
        &[
            (
                "PUT",
                "/new",
                &[("x-versions-location", "a"), ("x-history-location", "b")],
                "",
                400,
                "Only one of x-versions-location or x-history-location may be specified",
            ),
            (
                "PUT",
                "/new",
                &[ENABLED, ("x-versions-location", "a")],
                "",
                400,
                "legacy versioned writes",
            ),
            ("PUT", "/mirror", &[MIRROR], "", 201, ""),
            ("POST", "/mirror", &[ENABLED], "", 400, "container syncing"),
            ("PUT", &long_container, &[ENABLED], "", 201, ""),
            ("GET", "/new", &[], "", 404, ""),
            ("PUT", "/kept", &[ENABLED], "", 201, ""),
            ("POST", "/kept", &[MIRROR], "", 400, "container sync"),
            (
                "PUT",
                &too_long,
                &[],
                "",
                400,
                "Object name length of 1025 longer than 1024",
            ),
            ("PUT", &longest, &[], "", 201, ""),
            ("PUT", "/kept/o", &[], "one", 201, ""),
            (
                "DELETE",
                "/kept/o?version-id=junk",
                &[],
                "",
                400,
                "Invalid version parameter",
            ),
            ("DELETE", "/kept/o", &[], "", 204, ""),
            (
                "DELETE",
                "/kept",
                &[],
                "",
                409,
                "Delete all versions before deleting container.",
            ),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_things_at_once() {
    let (cluster, user) = start().await;
    let text = [("content-type", "text/plain"), ("accept", "application/json")];
    check(
        &user,
        &[
            (
                "PUT",
                "/box?extract-archive=zip",
                &[],
                "x",
                400,
                "Unsupported archive format",
            ),
            (
                "PUT",
                "/box?extract-archive=tar",
                &[("accept", "image/png")],
                "x",
                200,
                "406 Not Acceptable",
            ),
            (
                "POST",
                "?bulk-delete",
                &[("content-type", "text/csv")],
                "/box/o",
                200,
                "406 Not Acceptable",
            ),
            ("POST", "?bulk-delete", &text, "", 200, "Invalid bulk delete."),
            (
                "POST",
                "?bulk-delete",
                &text,
                &format!("/box/{}", "n".repeat(2_000)),
                200,
                "400 Bad Request",
            ),
            (
                "POST",
                "?bulk-delete",
                &text,
                &"/box/o\n".repeat(10_001),
                200,
                "Maximum Bulk Deletes: 10000 per request",
            ),
        ],
    )
    .await;
    assert_eq!(user.call("GET", "/box/o", &[], "").await.text(), "content");
    let without_length = format!(
        "POST {}?bulk-delete HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {}\r\nContent-Type: text/plain\r\n\
         Connection: close\r\n\r\n",
        user.account, user.token
    );
    let answer = raw(cluster.address(), without_length.as_bytes());
    assert!(answer.contains("411 Length Required"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_who_asks_and_where() {
    let (cluster, user) = start().await;
    for (path, headers, status) in [
        ("/auth/v1.0", &[][..], 401),
        ("/auth/v1.0", &[("x-auth-user", "test:tester")], 401),
        (
            "/auth/v1.0",
            &[("x-auth-user", "test"), ("x-auth-key", "testing")],
            401,
        ),
        (
            "/auth/v1.0",
            &[("x-auth-user", "test:tester"), ("x-auth-key", "wrong")],
            401,
        ),
        (
            "/auth/v1.0",
            &[("x-auth-user", "no:one"), ("x-auth-key", "testing")],
            401,
        ),
        (
            "/auth/v2.0",
            &[("x-auth-user", "test:tester"), ("x-auth-key", "testing")],
            400,
        ),
        ("/info?swiftinfo_sig=00&swiftinfo_expires=9999999999", &[], 403),
    ] {
        let answer = request(cluster.address(), "GET", path, headers, "")
            .await
            .unwrap();
        assert_eq!(answer.status, status, "{path} {headers:?}: {}", answer.text());
        assert!(answer.header("x-auth-token").is_empty());
    }
    let (_proxy, address) = cluster.start_proxy(
        "[info]
         admin_key = 'secret'
         [domain_remap]
         storage_domain = ['example.net']
         [versioned_writes]
         allow_versioned_writes = false",
    );
    for query in [
        "swiftinfo_sig=00&swiftinfo_expires=9999999999",
        "swiftinfo_sig=00",
        "swiftinfo_expires=9999999999",
        "swiftinfo_sig=00&swiftinfo_expires=soon",
    ] {
        let path = format!("/info?{query}");
        let answer = request(&address, "GET", &path, &[], "").await.unwrap();
        assert_eq!(answer.status, 401, "{query}");
    }
    let nowhere = format!(
        "GET /o HTTP/1.1\r\nHost: a.b.AUTH-test.example.net\r\nX-Auth-Token: {}\r\nConnection: close\r\n\r\n",
        user.token
    );
    let answer = raw(&address, nowhere.as_bytes());
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.contains("Bad domain in host header"),
        "{answer}"
    );
    // A way of keeping versions that the operator has not opened is no secret loss of versions.
    let closed = Swift::login(&address, "test:tester", "testing").await;
    check(
        &closed,
        &[(
            "PUT",
            "/new",
            &[("x-versions-location", "a")],
            "",
            412,
            "Versioned Writes is disabled",
        )],
    )
    .await;
}
