//! Large objects, static and dynamic, through a whole cluster: what a client gets, and what bad input gets.

mod support;

use md5::{Digest, Md5};
use support::http::{Answer, Swift};
use support::{Cluster, wait_for};

const PUT: &str = "?multipart-manifest=put";

fn md5(text: impl AsRef<[u8]>) -> String {
    Md5::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A cluster with `/segs` that holds `a` to `d`, each of as many letters as it is far in the alphabet times ten, and `/big`.
async fn start() -> (Cluster, Swift) {
    let cluster = Cluster::start();
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    for container in ["/segs", "/big"] {
        assert_eq!(user.call("PUT", container, &[], "").await.status, 201);
    }
    for letter in ["a", "b", "c", "d"] {
        let answer = user
            .call("PUT", &format!("/segs/{letter}"), &[], content(letter))
            .await;
        assert_eq!(answer.status, 201);
    }
    (cluster, user)
}

fn content(letter: &str) -> String {
    let nth = (letter.as_bytes()[0] - b'a' + 1) as usize;
    letter.repeat(nth * 10)
}

async fn put_manifest(user: &Swift, name: &str, manifest: &str) -> Answer {
    let answer = user
        .call("PUT", &format!("/big/{name}{PUT}"), &[], manifest.to_owned())
        .await;
    assert_eq!(answer.status, 201, "{name}: {}", answer.text());
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn nested_ranged_and_inline_segments_are_one_object() {
    let (_cluster, user) = start().await;
    let made = put_manifest(
        &user,
        "ab",
        r#"[{"path":"/segs/a"},{"path":"segs/b","size_bytes":20,"range":"5-"}]"#,
    )
    .await;
    let etag = md5(md5(content("a")) + &md5(content("b")) + ":5-19;");
    assert_eq!(made.header("etag"), format!("\"{etag}\""));
    let manifest = format!(
        r#"[{{"data":"LS0="}},{{"path":"/big/ab","etag":"{etag}","size_bytes":25}},{{"path":"/big/ab","range":"-3"}},{{"data":"Kg=="}}]"#
    );
    put_manifest(&user, "outer", &manifest).await;
    let whole = format!("--{}{}bbb*", content("a"), "b".repeat(15));
    let get = user.call("GET", "/big/outer", &[], "").await;
    assert_eq!((get.status, get.text()), (200, whole.clone()));
    assert_eq!(get.header("content-length"), whole.len().to_string());
    assert_eq!(get.header("x-static-large-object"), "True");
    let head = user.call("HEAD", "/big/outer", &[], "").await;
    for name in ["etag", "content-length", "content-type", "x-manifest-etag"] {
        assert_eq!(head.header(name), get.header(name), "{name}");
    }
    assert_eq!(get.header("content-type"), "application/octet-stream");

    for (range, status, expected) in [
        ("bytes=0-1", 206, "--"),
        ("bytes=10-13", 206, "aabb"),
        ("bytes=-5", 206, "bbbb*"),
        ("bytes=30-", 206, "*"),
        ("bytes=31-", 416, ""),
    ] {
        let answer = user.call("GET", "/big/outer", &[("range", range)], "").await;
        assert_eq!(answer.status, status, "{range}");
        if status == 206 {
            assert_eq!(answer.text(), expected, "{range}");
        } else {
            assert_eq!(answer.header("content-range"), "bytes */31");
        }
    }
    let many = user
        .call("GET", "/big/outer", &[("range", "bytes=0-2,28-30")], "")
        .await;
    assert_eq!(many.status, 206);
    assert!(
        many.header("content-type")
            .starts_with("multipart/byteranges;boundary=")
    );
    let text = many.text();
    assert!(
        text.contains("Content-Range: bytes 0-2/31\r\n\r\n--a\r\n"),
        "{text}"
    );
    assert!(
        text.contains("Content-Range: bytes 28-30/31\r\n\r\nbb*\r\n"),
        "{text}"
    );
    assert_eq!(many.header("content-length"), text.len().to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_and_parts_are_about_the_large_object() {
    let (_cluster, user) = start().await;
    let made = put_manifest(
        &user,
        "abc",
        r#"[{"path":"/segs/a"},{"path":"/segs/b"},{"path":"/segs/c"}]"#,
    )
    .await;
    let etag = made.header("etag").to_owned();
    let own = user
        .call("HEAD", "/big/abc?multipart-manifest=get", &[], "")
        .await;
    let own_etag = own.header("etag").to_owned();
    assert_ne!(etag.trim_matches('"'), own_etag);
    for method in ["GET", "HEAD"] {
        for (name, value, status) in [
            ("if-match", etag.as_str(), 200),
            ("if-match", own_etag.as_str(), 412),
            ("if-none-match", etag.as_str(), 304),
            ("if-none-match", own_etag.as_str(), 200),
            ("if-unmodified-since", "Thu, 01 Jan 1970 00:00:00 GMT", 412),
            ("if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT", 304),
        ] {
            let answer = user.call(method, "/big/abc", &[(name, value)], "").await;
            assert_eq!(answer.status, status, "{method} {name}: {value}");
            assert_eq!(answer.header("etag"), etag, "{method} {name}: {value}");
            assert_eq!(answer.header("x-manifest-etag"), own_etag, "{method} {name}");
        }
        for (number, range, bytes) in [(1, "bytes 0-9/60", 10), (3, "bytes 30-59/60", 30)] {
            let part = user
                .call(method, &format!("/big/abc?part-number={number}"), &[], "")
                .await;
            assert_eq!(part.status, 206);
            assert_eq!(part.header("content-range"), range);
            assert_eq!(part.header("content-length"), bytes.to_string());
            assert_eq!(
                (part.header("x-parts-count"), part.header("etag")),
                ("3", etag.as_str())
            );
            assert_eq!(part.body.len(), if method == "GET" { bytes } else { 0 });
        }
        let none = user.call(method, "/big/abc?part-number=4", &[], "").await;
        assert_eq!((none.status, none.header("content-range")), (416, "bytes */60"));
        for bad in ["0", "-1", "x", ""] {
            let answer = user
                .call(method, &format!("/big/abc?part-number={bad}"), &[], "")
                .await;
            assert_eq!(answer.status, 400, "{bad}");
        }
        let both = user
            .call(method, "/big/abc?part-number=1", &[("range", "bytes=0-1")], "")
            .await;
        assert_eq!(both.status, 400);
        // It means nothing of a plain object.
        assert_eq!(
            user.call(method, "/segs/a?part-number=x", &[], "").await.status,
            200
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_segment_is_never_served() {
    let (_cluster, user) = start().await;
    put_manifest(&user, "ab", r#"[{"path":"/segs/a"},{"path":"/segs/b"}]"#).await;
    put_manifest(&user, "ba", r#"[{"path":"/segs/b"},{"path":"/segs/a"}]"#).await;
    put_manifest(&user, "nested", r#"[{"path":"/big/ba"},{"path":"/segs/c"}]"#).await;
    // The same length: only its ETag tells.
    assert_eq!(user.call("PUT", "/segs/b", &[], "x".repeat(20)).await.status, 201);
    for name in ["ba", "nested"] {
        let answer = user.call("GET", &format!("/big/{name}"), &[], "").await;
        assert_eq!(answer.status, 409, "{name}");
        assert_eq!(
            answer.header("x-static-large-object"),
            "",
            "a refusal is not the object"
        );
    }
    // Bytes before it are on their way by then: the body breaks off.
    assert!(user.try_call("GET", "/big/ab", &[], "").await.is_none());
    let before = user.call("GET", "/big/ab", &[("range", "bytes=0-9")], "").await;
    assert_eq!((before.status, before.text()), (206, content("a")));
    assert_eq!(user.call("DELETE", "/segs/a", &[], "").await.status, 204);
    assert_eq!(user.call("GET", "/big/ab", &[], "").await.status, 409);
    // The manifest itself is there all the same.
    assert_eq!(user.call("HEAD", "/big/ab", &[], "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_are_shown_copied_and_counted_as_themselves() {
    let (_cluster, user) = start().await;
    let made = put_manifest(
        &user,
        "ab",
        r#"[{"path":"/segs/a"},{"path":"/segs/b","range":"0-4"},{"data":"Kg=="}]"#,
    )
    .await;
    let kept = user.call("GET", "/big/ab?multipart-manifest=get", &[], "").await;
    assert_eq!(kept.header("content-type"), "application/json; charset=utf-8");
    assert_eq!(kept.header("etag"), md5(&kept.body));
    assert!(kept.text().contains(r#""name":"/segs/a""#) && kept.text().contains(r#""range":"0-4""#));
    let raw = user
        .call("GET", "/big/ab?multipart-manifest=get&format=raw", &[], "")
        .await;
    assert_eq!(raw.header("content-type"), "application/octet-stream");
    assert_eq!(raw.header("etag"), md5(&raw.body));
    assert!(raw.text().contains(r#""path":"/segs/a""#) && !raw.text().contains("last_modified"));
    let head = user
        .call("HEAD", "/big/ab?multipart-manifest=get&format=raw", &[], "")
        .await;
    assert_eq!(head.header("etag"), raw.header("etag"));
    let again = put_manifest(&user, "again", &raw.text()).await;
    assert_eq!(again.header("etag"), made.header("etag"));

    // What a container has used are the manifests' own bytes; each row shows the whole.
    let listing = user.call("GET", "/big?format=json", &[], "").await.text();
    assert!(listing.contains(r#""bytes":16"#), "{listing}");
    let slo_etag = format!(r#""slo_etag":"{}""#, made.header("etag").replace('"', "\\\""));
    assert_eq!(listing.matches(&slo_etag).count(), 2, "{listing}");
    assert!(!listing.contains("swift_bytes"), "{listing}");
    let stat = user.call("HEAD", "/big", &[], "").await;
    let used: u64 = stat.header("x-container-bytes-used").parse().unwrap();
    assert_eq!(used, 2 * kept.body.len() as u64);

    let joined = [("destination", "/big/joined")];
    assert_eq!(user.call("COPY", "/big/ab", &joined, "").await.status, 201);
    let joined = user
        .call("GET", "/big/joined?multipart-manifest=get", &[], "")
        .await;
    assert_eq!(joined.text(), format!("{}bbbbb*", content("a")));
    assert_eq!(joined.header("x-static-large-object"), "");
    let second = [("destination", "/big/manifest")];
    let copied = user
        .call("COPY", "/big/ab?multipart-manifest=get", &second, "")
        .await;
    assert_eq!(copied.status, 201);
    let copy = user
        .call("GET", "/big/manifest?multipart-manifest=get", &[], "")
        .await;
    assert_eq!(copy.body, kept.body);
    let part = [("destination", "/big/part")];
    assert_eq!(
        user.call("COPY", "/big/ab?part-number=2", &part, "").await.status,
        201
    );
    assert_eq!(user.call("GET", "/big/part", &[], "").await.text(), "bbbbb");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_is_deleted_with_what_it_stands_for() {
    let (_cluster, user) = start().await;
    put_manifest(
        &user,
        "inner",
        r#"[{"path":"/segs/a"},{"path":"/segs/b"},{"path":"/segs/a"}]"#,
    )
    .await;
    put_manifest(
        &user,
        "outer",
        r#"[{"path":"/big/inner"},{"path":"/segs/c"},{"data":"Kg=="}]"#,
    )
    .await;
    let json = [("accept", "application/json")];
    let plain = user
        .call("DELETE", "/segs/d?multipart-manifest=delete", &json, "")
        .await;
    assert_eq!(plain.status, 200);
    assert!(
        plain.text().contains(r#"["/segs/d","Not an SLO manifest"]"#),
        "{}",
        plain.text()
    );
    let none = user
        .call("DELETE", "/big/none?multipart-manifest=delete", &json, "")
        .await;
    assert!(
        none.text().contains(r#""Number Not Found":1"#)
            && none.text().contains(r#""Response Status":"200 OK""#)
    );
    assert_eq!(user.call("DELETE", "/segs/b", &[], "").await.status, 204);
    let gone = user
        .call("DELETE", "/big/outer?multipart-manifest=delete", &[], "")
        .await;
    assert_eq!(
        (gone.status, gone.text().as_str()),
        (
            200,
            "Number Deleted: 4\nNumber Not Found: 1\nResponse Body: \nResponse Status: 200 OK\nErrors:\n"
        )
    );
    assert_eq!(user.call("GET", "/big", &[], "").await.text(), "");
    assert_eq!(user.call("GET", "/segs", &[], "").await.text(), "d\n");
    let picky = [("accept", "image/png")];
    let picky = user
        .call("DELETE", "/segs/d?multipart-manifest=delete", &picky, "")
        .await;
    assert!(
        picky.text().contains("Response Status: 406 Not Acceptable"),
        "{}",
        picky.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_are_left_to_the_expirer_when_asked() {
    let (cluster, user) = start().await;
    put_manifest(
        &user,
        "abc",
        r#"[{"path":"/segs/a"},{"path":"/segs/b"},{"path":"/segs/c"}]"#,
    )
    .await;
    put_manifest(&user, "nested", r#"[{"path":"/big/abc"}]"#).await;
    put_manifest(&user, "apart", r#"[{"path":"/segs/a"},{"path":"/big/nested"}]"#).await;
    const LATER: &str = "?multipart-manifest=delete&async=yes";
    for (name, status, words) in [
        ("nested", 400, "No segments may be large objects."),
        (
            "apart",
            400,
            "All segments must be in one container. Found segments in \"big\", \"segs\"",
        ),
        ("none", 404, "SLO manifest not found"),
    ] {
        let answer = user.call("DELETE", &format!("/big/{name}{LATER}"), &[], "").await;
        assert_eq!((answer.status, answer.text().as_str()), (status, words), "{name}");
    }
    let answer = user.call("DELETE", &format!("/segs/d{LATER}"), &[], "").await;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (400, "Not an SLO manifest")
    );
    assert_eq!(
        user.call("DELETE", &format!("/big/abc{LATER}"), &[], "")
            .await
            .status,
        204
    );
    assert_eq!(user.call("GET", "/big/abc", &[], "").await.status, 404);
    // One that is written anew meanwhile is another object.
    assert_eq!(user.call("PUT", "/segs/c", &[], "new").await.status, 201);
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        wait_for("the segments to expire", || {
            cluster.pass();
            runtime.block_on(user.call("GET", "/segs", &[], "")).text() == "c\nd\n"
        });
    });
    assert_eq!(user.call("GET", "/segs/c", &[], "").await.text(), "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_come_before_the_report() {
    let (_cluster, user) = start().await;
    let target = "/big/beat?multipart-manifest=put&heartbeat=on";
    let good = r#"[{"path":"/segs/a"},{"path":"/segs/b"}]"#;
    let answer = user.call("PUT", target, &[], good).await;
    assert_eq!(answer.status, 202);
    let text = answer.text();
    assert!(
        text.starts_with(" ") && text.trim_start_matches(' ').starts_with("\r\n\r\n"),
        "{text:?}"
    );
    let etag = md5(md5(content("a")) + &md5(content("b")));
    assert!(
        text.contains(&format!("Etag: \"{etag}\"\n")) && text.contains("Response Status: 201 Created\n"),
        "{text}"
    );
    assert_eq!(
        user.call("GET", "/big/beat", &[], "").await.text(),
        content("a") + &content("b")
    );

    let bad = r#"[{"path":"/segs/a"},{"path":"/segs/none"}]"#;
    let answer = user
        .call("PUT", target, &[("accept", "application/json")], bad)
        .await;
    assert_eq!(answer.status, 202);
    let text = answer.text();
    assert!(text.contains(r#""Response Status":"400 Bad Request""#), "{text}");
    assert!(
        text.contains(r#""Errors":[["/segs/none","404 Not Found"]]"#),
        "{text}"
    );
    let wrong = user.call("PUT", target, &[("etag", "wrong")], good).await;
    assert!(
        wrong.text().contains("Response Status: 422 Unprocessable Entity"),
        "{}",
        wrong.text()
    );
    // A copy of a manifest beats for it, and tells how it ended.
    let copy = "/big/beat?multipart-manifest=get&heartbeat=on";
    let copied = user.call("COPY", copy, &[("destination", "/big/copy")], "").await;
    assert!(
        copied.text().contains("Response Status: 201 Created"),
        "{}",
        copied.text()
    );
    assert_eq!(user.call("DELETE", "/segs/b", &[], "").await.status, 204);
    let failed = user.call("COPY", copy, &[("destination", "/big/none")], "").await;
    assert!(
        failed.text().contains("Response Status: 400 Bad Request"),
        "{}",
        failed.text()
    );
    // What is wrong before anything is looked at is said at once.
    assert_eq!(user.call("PUT", target, &[], "junk").await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn links_lead_to_manifests_and_from_them() {
    let (_cluster, user) = start().await;
    let link = [("x-symlink-target", "segs/b")];
    assert_eq!(user.call("PUT", "/segs/link", &link, "").await.status, 201);
    put_manifest(&user, "ab", r#"[{"path":"/segs/a"},{"path":"/segs/link"}]"#).await;
    let link = [("x-symlink-target", "big/ab")];
    assert_eq!(user.call("PUT", "/big/link", &link, "").await.status, 201);
    let whole = content("a") + &content("b");
    for name in ["ab", "link"] {
        let answer = user.call("GET", &format!("/big/{name}"), &[], "").await;
        assert_eq!((answer.status, answer.text()), (200, whole.clone()), "{name}");
        let part = user
            .call("GET", &format!("/big/{name}?part-number=2"), &[], "")
            .await;
        assert_eq!((part.status, part.text()), (206, content("b")), "{name}");
    }
    // A link that leads elsewhere now leads to another object.
    let moved = [("x-symlink-target", "segs/c")];
    assert_eq!(user.call("PUT", "/segs/link", &moved, "").await.status, 201);
    assert!(user.try_call("GET", "/big/ab", &[], "").await.is_none());
}
