//! What bad manifests get: a clear 4xx at once, and nothing stored.

mod support;

use support::Cluster;
use support::http::{Swift, raw};

async fn start() -> (Cluster, Swift) {
    let cluster = Cluster::start();
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    for container in ["/segs", "/big"] {
        assert_eq!(user.call("PUT", container, &[], "").await.status, 201);
    }
    for (name, body) in [("a", "0123456789"), ("empty", "")] {
        assert_eq!(
            user.call("PUT", &format!("/segs/{name}"), &[], body).await.status,
            201
        );
    }
    (cluster, user)
}

#[tokio::test(flavor = "multi_thread")]
async fn static_manifests_are_checked_before_anything_is_stored() {
    let (_cluster, user) = start().await;
    let many: String = (0..1_001).map(|_| r#"{"path":"/segs/a"},"#).collect();
    let many = format!("[{}]", many.trim_end_matches(','));
    let cases: &[(&str, u16, &str)] = &[
        ("", 400, "Manifest must be valid JSON.\n"),
        ("<xml/>", 400, "Manifest must be valid JSON.\n"),
        (r#"{"path":"/segs/a"}"#, 400, "Manifest must be a list.\n"),
        ("[[]]", 400, "Index 0: not a JSON object\n"),
        (&"[".repeat(100_000), 400, "Manifest must be valid JSON.\n"),
        (
            r#"[{"etag":"x"}]"#,
            400,
            "Index 0: expected keys to include one of 'data' or 'path'\n",
        ),
        (
            r#"[{"path":"/segs/a","siez_bytes":1}]"#,
            400,
            "Index 0: extraneous keys \"siez_bytes\"\n",
        ),
        (r#"[{"path":"/segs"}]"#, 400, "path does not refer to an object"),
        (
            r#"[{"path":"/big/new"}]"#,
            400,
            "Index 0: manifest must not include itself as a segment\n",
        ),
        (
            r#"[{"path":"/segs/a","size_bytes":"ten"}]"#,
            400,
            "Index 0: invalid size_bytes\n",
        ),
        (
            r#"[{"path":"/segs/a","range":"a-b"}]"#,
            400,
            "Index 0: invalid range\n",
        ),
        (
            r#"[{"path":"/segs/a","range":"0-1,3-4"}]"#,
            400,
            "Index 0: multiple ranges (only one allowed)\n",
        ),
        (
            r#"[{"path":"/segs/a","size_bytes":10,"range":"10-"}]"#,
            400,
            "Index 0: unsatisfiable range\n",
        ),
        (
            r#"[{"data":"?"},{"path":"/segs/a"}]"#,
            400,
            "Index 0: data must be valid base64\n",
        ),
        (
            r#"[{"data":""},{"path":"/segs/a"}]"#,
            400,
            "too small; each segment must be at least 1 byte",
        ),
        (
            r#"[{"data":"YQ=="}]"#,
            400,
            "Inline data segments require at least one object-backed segment",
        ),
        // What only the cluster can tell.
        (r#"[{"path":"/segs/none"}]"#, 400, "/segs/none, 404 Not Found\n"),
        (r#"[{"path":"/none/a"}]"#, 400, "/none/a, 404 Not Found\n"),
        (
            r#"[{"path":"/segs/a","etag":"x"}]"#,
            400,
            "/segs/a, Etag Mismatch\n",
        ),
        (
            r#"[{"path":"/segs/a","size_bytes":9}]"#,
            400,
            "/segs/a, Size Mismatch\n",
        ),
        (
            r#"[{"path":"/segs/a","range":"10-"}]"#,
            400,
            "/segs/a, Unsatisfiable Range\n",
        ),
        (
            r#"[{"path":"/segs/empty"},{"path":"/segs/a"}]"#,
            400,
            "Too small; each segment must be at least 1 byte",
        ),
        (
            r#"[{"path":"/\u0000mpu\u0000segs/a"}]"#,
            400,
            "412 Precondition Failed",
        ),
        (&many, 413, "Number of object-backed segments must be <= 1000"),
    ];
    for (manifest, status, words) in cases {
        let answer = user
            .call(
                "PUT",
                "/big/new?multipart-manifest=put",
                &[],
                (*manifest).to_owned(),
            )
            .await;
        let shown = &manifest[..manifest.len().min(80)];
        assert_eq!(answer.status, *status, "{shown}: {}", answer.text());
        assert!(answer.text().contains(words), "{shown}: {}", answer.text());
    }
    let good = r#"[{"path":"/segs/a"}]"#;
    for (headers, status) in [
        (&[("etag", "wrong")][..], 422),
        (&[("if-none-match", "\"x\"")], 400),
        (&[("content-type", "a/b;swift_bytes=1")], 400),
        (&[("x-delete-at", "soon")], 400),
    ] {
        let answer = user
            .call("PUT", "/big/new?multipart-manifest=put", headers, good)
            .await;
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.text());
    }
    let reserved = [("x-static-large-object", "true")];
    for method in ["PUT", "POST"] {
        let answer = user.call(method, "/segs/a", &reserved, "").await;
        assert_eq!(answer.status, 400, "{method}");
        assert!(
            answer
                .text()
                .starts_with("X-Static-Large-Object is a reserved header.")
        );
    }
    assert_eq!(
        user.call("GET", "/big", &[], "").await.text(),
        "",
        "something was stored"
    );
    // An empty segment may be the last one, and an empty list is an empty object.
    for good in [r#"[{"path":"/segs/a"},{"path":"/segs/empty"}]"#, "[]"] {
        let answer = user
            .call("PUT", "/big/new?multipart-manifest=put", &[], good)
            .await;
        assert_eq!(answer.status, 201, "{good}: {}", answer.text());
    }
    assert_eq!(user.call("GET", "/big/new", &[], "").await.text(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_need_a_length_or_chunks() {
    let (cluster, user) = start().await;
    let head = |rest: &str| {
        format!(
            "PUT {}/big/new?multipart-manifest=put HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {}\r\nConnection: close\r\n{rest}",
            user.account, user.token
        )
    };
    for (rest, status) in [
        ("\r\n", "411"),
        // Refused by its length, before a byte of it is read.
        ("Content-Length: 8388609\r\n\r\n", "413"),
        ("Transfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n", "201"),
    ] {
        let answer = raw(cluster.address(), head(rest).as_bytes());
        assert_eq!(
            answer.split_whitespace().nth(1),
            Some(status),
            "{rest:?}: {answer}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_that_cannot_be_followed_are_refused_not_served() {
    let (_cluster, user) = start().await;
    // Eleven manifests, one in the other, are one too many.
    let mut inner = "/segs/a".to_owned();
    for depth in 1..=11 {
        let manifest = format!(r#"[{{"path":"{inner}"}}]"#);
        let name = format!("/big/depth-{depth}");
        let answer = user
            .call("PUT", &format!("{name}?multipart-manifest=put"), &[], manifest)
            .await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        inner = name;
    }
    assert_eq!(
        user.call("GET", "/big/depth-10", &[], "").await.text(),
        "0123456789"
    );
    assert_eq!(user.call("GET", "/big/depth-11", &[], "").await.status, 409);
    // One that leads to itself, once what it names was replaced by it.
    let manifest = r#"[{"path":"/big/two"}]"#;
    assert_eq!(user.call("PUT", "/big/two", &[], "x").await.status, 201);
    let one = user
        .call("PUT", "/big/one?multipart-manifest=put", &[], manifest)
        .await;
    assert_eq!(one.status, 201);
    let manifest = r#"[{"path":"/big/one"}]"#;
    let two = user
        .call("PUT", "/big/two?multipart-manifest=put", &[], manifest)
        .await;
    assert_eq!(two.status, 201);
    assert_eq!(user.call("GET", "/big/two", &[], "").await.status, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn dynamic_manifests() {
    let (_cluster, user) = start().await;
    for bad in ["segs", "segs/", "/p", "segs//p", "segs/p?x=y", "segs/p&x", ""] {
        let answer = user
            .call("PUT", "/big/new", &[("x-object-manifest", bad)], "")
            .await;
        assert_eq!(answer.status, 400, "{bad:?}");
        assert_eq!(
            answer.text(),
            "X-Object-Manifest must be in the format container/prefix"
        );
    }
    assert_eq!(
        user.call("GET", "/big", &[], "").await.text(),
        "",
        "something was stored"
    );
    for name in ["p/1", "p/2", "p/3"] {
        assert_eq!(
            user.call("PUT", &format!("/segs/{name}"), &[], name).await.status,
            201
        );
    }
    let manifest = [("x-object-manifest", "segs/p%2F")];
    assert_eq!(user.call("PUT", "/big/new", &manifest, "").await.status, 201);
    assert_eq!(user.call("GET", "/big/new", &[], "").await.text(), "p/1p/2p/3");
    for (range, status, body) in [
        ("bytes=2-4", 206, "1p/"),
        ("bytes=-2", 206, "/3"),
        ("bytes=0-1,4-5", 200, "p/1p/2p/3"),
        ("bytes=junk", 200, "p/1p/2p/3"),
    ] {
        let answer = user.call("GET", "/big/new", &[("range", range)], "").await;
        assert_eq!((answer.status, answer.text().as_str()), (status, body), "{range}");
    }
    let beyond = user.call("GET", "/big/new", &[("range", "bytes=9-")], "").await;
    assert_eq!(
        (beyond.status, beyond.header("content-range")),
        (416, "bytes */9")
    );
    // No segments are an empty object; a container that is not there is none.
    let nothing = [("x-object-manifest", "segs/none")];
    assert_eq!(user.call("PUT", "/big/nothing", &nothing, "").await.status, 201);
    let nothing = user.call("GET", "/big/nothing", &[], "").await;
    assert_eq!((nothing.status, nothing.header("content-length")), (200, "0"));
    let nowhere = [("x-object-manifest", "none/p")];
    assert_eq!(user.call("PUT", "/big/nowhere", &nowhere, "").await.status, 201);
    for method in ["GET", "HEAD"] {
        assert_eq!(
            user.call(method, "/big/nowhere", &[], "").await.status,
            404,
            "{method}"
        );
    }
}
