//! What bad input gets: a clear 4xx at once, nothing changed, and a server that goes on.

mod support;

use support::Cluster;
use support::http::{Swift, raw, request};

/// Headers of a request.
type Headers<'a> = &'a [(&'a str, &'a str)];

fn status_of(answer: &str) -> u16 {
    answer
        .split_whitespace()
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn through_the_swift_door() {
    let cluster = Cluster::start();
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    assert_eq!(user.call("PUT", "/box", &[], "").await.status, 201);
    assert_eq!(
        user.call("PUT", "/box/kept", &[("x-object-meta-a", "1")], "0123456789")
            .await
            .status,
        201
    );

    let long_name = "n".repeat(1025);
    let long_container = "c".repeat(257);
    let long_value = "v".repeat(257);
    let cases: &[(&str, &str, Headers<'_>, &str, u16)] = &[
        ("PUT", "/box/%ff", &[], "", 412),
        ("PUT", &format!("/box/{long_name}"), &[], "", 400),
        ("PUT", &format!("/{long_container}"), &[], "", 400),
        (
            "PUT",
            "/box/o",
            &[("x-object-meta-a", long_value.as_str())],
            "",
            400,
        ),
        (
            "PUT",
            "/box/o",
            &[("etag", "0123456789abcdef0123456789abcdef")],
            "body",
            422,
        ),
        ("PUT", "/box/o", &[("x-delete-at", "soon")], "", 400),
        ("PUT", "/box/o", &[("x-delete-at", "10")], "", 400),
        ("PUT", "/box/o", &[("x-delete-after", "-5")], "", 400),
        ("PUT", "/box/o", &[("x-copy-from", "no-slash")], "", 412),
        ("PUT", "/box/o", &[("x-copy-from", "/box/none")], "", 404),
        ("PUT", "/box/kept", &[("if-none-match", "*")], "other", 412),
        ("PUT", "/none/o", &[], "body", 404),
        ("COPY", "/box/kept", &[], "", 412),
        ("COPY", "/box/kept", &[("destination", "no-slash")], "", 412),
        ("GET", "/box?limit=10001", &[], "", 412),
        ("GET", "/none", &[], "", 404),
        ("GET", "/box/none", &[], "", 404),
        ("GET", "/box/kept", &[("range", "bytes=100-")], "", 416),
        ("GET", "/box/kept", &[("if-match", "\"x\"")], "", 412),
        ("POST", "/box/none", &[], "", 404),
        ("DELETE", "/box/none", &[], "", 404),
        ("DELETE", "/box", &[], "", 409),
        ("PATCH", "/box/kept", &[], "", 405),
        ("PUT", "/box", &[("x-container-read", ".r:")], "", 400),
        ("PUT", "/other", &[("x-storage-policy", "lead")], "", 400),
    ];
    for (method, path, headers, body, expected) in cases {
        let answer = user.call(method, path, headers, body.to_string()).await;
        assert_eq!(
            answer.status,
            *expected,
            "{method} {path} {headers:?}: {}",
            answer.text()
        );
    }
    // A malformed range is ignored, as HTTP asks.
    let whole = user.call("GET", "/box/kept", &[("range", "bytes=b-a")], "").await;
    assert_eq!((whole.status, whole.text().as_str()), (200, "0123456789"));

    let kept = user.call("GET", "/box/kept", &[], "").await;
    assert_eq!(
        (kept.text().as_str(), kept.header("x-object-meta-a")),
        ("0123456789", "1")
    );
    assert_eq!(
        user.call("GET", "/box", &[], "").await.text(),
        "kept\n",
        "something was stored"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_bodies_store_nothing() {
    let cluster = Cluster::start();
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    assert_eq!(user.call("PUT", "/box", &[], "").await.status, 201);
    let head = |path: &str, rest: &str| {
        format!(
            "PUT {}/box/{path} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {}\r\nConnection: close\r\n{rest}",
            user.account, user.token
        )
    };
    for (path, rest, expected) in [
        ("bad-length", "Content-Length: ten\r\n\r\n", 400),
        (
            "bad-chunk",
            "Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
            400,
        ),
        ("bad-coding", "Transfer-Encoding: gzip\r\n\r\n", 400),
        ("huge", "Content-Length: 5368709123\r\n\r\n", 413),
    ] {
        let answer = raw(cluster.address(), head(path, rest).as_bytes());
        assert!((400..500).contains(&status_of(&answer)), "{path}: {answer}");
        assert!(
            status_of(&answer) == expected || path.starts_with("bad"),
            "{path}: {answer}"
        );
    }
    // Cut off in the middle, small and large, with and without a length.
    for (path, rest) in [
        ("short", "Content-Length: 100\r\n\r\nonly this".to_owned()),
        (
            "short-large",
            format!("Content-Length: 1000000\r\n\r\n{}", "x".repeat(500_000)),
        ),
        (
            "short-chunked",
            "Transfer-Encoding: chunked\r\n\r\n64\r\nonly this".to_owned(),
        ),
    ] {
        use std::io::Write;
        let mut stream = std::net::TcpStream::connect(cluster.address()).unwrap();
        stream.write_all(head(path, &rest).as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        // The server may simply close: there is nobody left to tell.
        let _ = std::io::Read::read_to_string(&mut stream, &mut answer);
        assert!(
            matches!(status_of(&answer), 0 | 400 | 408 | 499),
            "{path}: {answer}"
        );
    }
    assert_eq!(
        user.call("GET", "/box", &[], "").await.text(),
        "",
        "something was stored"
    );
    for path in [
        "bad-length",
        "bad-chunk",
        "huge",
        "short",
        "short-large",
        "short-chunked",
    ] {
        assert_eq!(
            user.call("GET", &format!("/box/{path}"), &[], "").await.status,
            404,
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn outsiders_cannot_speak_the_inner_language() {
    let cluster = Cluster::start();
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    assert_eq!(
        user.call("PUT", "/box", &[("x-container-sysmeta-evil", "1")], "")
            .await
            .status,
        201
    );
    let inner = [
        ("x-object-sysmeta-evil", "1"),
        ("x-backend-storage-policy-index", "1"),
        ("x-timestamp", "1.0"),
        ("x-container-host", "127.0.0.1:1"),
        ("x-container-device", "evil"),
        ("x-container-partition", "1"),
        ("x-backend-martlet-etag", "0123456789abcdef0123456789abcdef"),
    ];
    assert_eq!(user.call("PUT", "/box/o", &inner, "body").await.status, 201);
    let seen = user.call("GET", "/box/o", &[], "").await;
    assert_eq!(seen.header("etag"), "841a2d689ad86bd1611447453c22c6fc");
    assert!(
        seen.header("x-timestamp") > "1000000000",
        "{}",
        seen.header("x-timestamp")
    );
    for name in seen.headers.keys() {
        assert!(
            !name.as_str().starts_with("x-backend") && !name.as_str().contains("sysmeta"),
            "{name} was shown"
        );
    }
    assert_eq!(user.call("GET", "/box", &[], "").await.text(), "o\n");
    // Reserved names are the cluster's own.
    assert!((400..500).contains(&user.call("PUT", "/%00secret", &[], "").await.status));
    let unsigned = request(cluster.address(), "PUT", "/v1/AUTH_test/box/x", &[], "body")
        .await
        .unwrap();
    assert_eq!(unsigned.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn through_the_s3_door() {
    let cluster = Cluster::start();
    let cases: &[(&str, &str, Headers<'_>, u16, &str)] = &[
        (
            "GET",
            "/",
            &[("authorization", "AWS nobody:xxxx"), ("date", "x")],
            403,
            "<Code>",
        ),
        (
            "GET",
            "/",
            &[("authorization", "AWS4-HMAC-SHA256 nonsense")],
            400,
            "<Code>",
        ),
        (
            "GET",
            "/bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256",
            &[],
            400,
            "<Code>",
        ),
        (
            "GET",
            "/bucket/key?AWSAccessKeyId=test:tester&Signature=x&Expires=1",
            &[],
            403,
            "<Code>",
        ),
    ];
    for (method, path, headers, status, code) in cases {
        let answer = request(cluster.address(), method, path, headers, "")
            .await
            .unwrap();
        assert!(answer.text().contains(code), "{path}: {}", answer.text());
        assert!(
            answer.status == *status || (400..404).contains(&answer.status),
            "{path}: {}",
            answer.status
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_text() {
    let cluster = Cluster::start();
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    assert_eq!(user.call("PUT", "/box", &[], "").await.status, 201);
    // As they stand in the path, without percent signs: HTTP's own parser would not take them.
    let head = |path: &[u8]| {
        let rest = format!(
            " HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            user.token
        );
        [b"PUT ", user.account.as_bytes(), path, rest.as_bytes()].concat()
    };
    let answer = raw(cluster.address(), &head(b"/\xbc\xc3"));
    assert_eq!(status_of(&answer), 412, "{answer}");
    assert!(answer.ends_with("Invalid UTF8 or contains NULL"), "{answer}");
    assert_eq!(status_of(&raw(cluster.address(), &head("/ü".as_bytes()))), 201);
    // In the metadata of objects any bytes are welcome, as in Swift; elsewhere only text.
    let with_metadata = |method: &str, path: &str, name: &str| {
        let rest = format!("Host: x\r\nX-Auth-Token: {}\r\nContent-Length: 0\r\n", user.token);
        let first = format!(
            "{method} {}{path} HTTP/1.1\r\n{rest}Connection: close\r\n{name}: ",
            user.account
        );
        [first.as_bytes(), b"\xff\xfe\r\n\r\n"].concat()
    };
    for method in ["PUT", "POST"] {
        let answer = raw(
            cluster.address(),
            &with_metadata(method, "/box/o", "X-Object-Meta-A"),
        );
        assert!([201, 202].contains(&status_of(&answer)), "{answer}");
        let head = user.call("HEAD", "/box/o", &[], "").await;
        assert_eq!(head.headers["x-object-meta-a"].as_bytes(), b"\xff\xfe");
    }
    let answer = raw(
        cluster.address(),
        &with_metadata("POST", "/box", "X-Container-Meta-A"),
    );
    assert_eq!(status_of(&answer), 400, "{answer}");
}
