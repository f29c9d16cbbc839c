//! GET and HEAD: headers, ranges, conditions.

use crate::house::{Answer, House, ask, get, put};

const BODY: &[u8] = b"0123456789";
/// MD5 of the body.
const ETAG: &str = "781e5e245d69b566979b86e28d23f2c7";

async fn house() -> House {
    let house = House::new();
    assert_eq!(house.store("1000.5", BODY).await.status, 201);
    house
}

/// A body that takes several pieces to read.
fn large() -> Vec<u8> {
    (0..3_000_000u32).flat_map(|at| at.to_le_bytes()).collect()
}

#[tokio::test]
async fn headers_of_an_object() {
    let house = House::new();
    put("1000.5")
        .with("content-type", "replaced below")
        .without("content-type")
        .with("content-type", "text/plain; charset=utf-8")
        .with("x-object-meta-colour", "grün")
        .with("x-object-sysmeta-s", "1")
        .with("content-encoding", "gzip")
        .with("content-disposition", "attachment")
        .with("content-language", "de")
        .with("cache-control", "no-cache")
        .with("expires", "never")
        .with("x-robots-tag", "noindex")
        .with("x-object-manifest", "c/p")
        .with("x-static-large-object", "True")
        .with("x-delete-at", "2000000")
        .with("x-account-meta-a", "not an object's")
        .with("authorization", "secret")
        .body(BODY)
        .send(&house)
        .await;
    for method in ["GET", "HEAD"] {
        let answer = ask(method).send(&house).await;
        assert_eq!(answer.body, if method == "GET" { BODY } else { b"" });
        for (name, value) in [
            ("content-length", Some("10")),
            ("content-type", Some("text/plain; charset=utf-8")),
            ("etag", Some(ETAG)),
            ("last-modified", Some("Thu, 01 Jan 1970 00:16:41 GMT")),
            ("x-timestamp", Some("0000001000.50000")),
            ("x-backend-timestamp", Some("0000001000.50000")),
            ("x-backend-data-timestamp", Some("0000001000.50000")),
            ("x-backend-durable-timestamp", Some("0000001000.50000")),
            ("x-backend-martlet-synced", Some("0")),
            ("x-object-meta-colour", Some("grün")),
            ("x-object-sysmeta-s", Some("1")),
            ("content-encoding", Some("gzip")),
            ("content-disposition", Some("attachment")),
            ("content-language", Some("de")),
            ("cache-control", Some("no-cache")),
            ("expires", Some("never")),
            ("x-robots-tag", Some("noindex")),
            ("x-object-manifest", Some("c/p")),
            ("x-static-large-object", Some("True")),
            ("x-delete-at", Some("2000000")),
            ("x-account-meta-a", None),
            ("authorization", None),
        ] {
            assert_eq!(answer.header(name), value, "{method} {name}");
        }
    }
}

#[tokio::test]
async fn every_read_tells_when_the_device_was_last_synced() {
    let house = house().await;
    let at = martlet_protocol::timestamp::Timestamp::from_secs(77);
    assert!(house.device.set_synced(at, 0, house.device.losses()));
    let missing = ask("GET").path("/sda/7/a/c/missing").send(&house).await;
    for answer in [get(&house).await, ask("HEAD").send(&house).await, missing] {
        assert_eq!(
            answer.header("x-backend-martlet-synced"),
            Some("0000000077.00000")
        );
    }
}

#[tokio::test]
async fn single_ranges() {
    let house = house().await;
    for (range, status, body, content_range) in [
        ("bytes=0-0", 206, "0", Some("bytes 0-0/10")),
        ("bytes=2-5", 206, "2345", Some("bytes 2-5/10")),
        ("bytes=7-", 206, "789", Some("bytes 7-9/10")),
        ("bytes=-4", 206, "6789", Some("bytes 6-9/10")),
        ("bytes=-40", 206, "0123456789", Some("bytes 0-9/10")),
        ("bytes=5-500", 206, "56789", Some("bytes 5-9/10")),
        ("bytes=10-", 416, "", Some("bytes */10")),
        ("bytes=-0", 416, "", Some("bytes */10")),
        ("bytes=5-2", 200, "0123456789", None),
        ("bytes=x", 200, "0123456789", None),
        ("lines=1-2", 200, "0123456789", None),
    ] {
        let answer = ask("GET").with("range", range).send(&house).await;
        assert_eq!((answer.status, answer.text()), (status, body), "{range}");
        assert_eq!(answer.header("content-range"), content_range, "{range}");
        assert_eq!(
            answer.header("content-length"),
            Some(body.len().to_string().as_str()),
            "{range}"
        );
        let head = ask("HEAD").with("range", range).send(&house).await;
        assert_eq!(
            (head.status, head.header("content-length")),
            (200, Some("10")),
            "{range}"
        );
    }
}

#[tokio::test]
async fn ranges_of_an_empty_object() {
    let house = House::new();
    house.store("1", b"").await;
    for (range, status) in [("bytes=0-0", 416), ("bytes=-5", 200)] {
        let answer = ask("GET").with("range", range).send(&house).await;
        assert_eq!((answer.status, answer.text()), (status, ""), "{range}");
    }
}

#[tokio::test]
async fn several_ranges_come_as_parts() {
    let house = house().await;
    let answer = ask("GET")
        .with("range", "bytes=0-1, 20-30, 4-4,-3")
        .send(&house)
        .await;
    assert_eq!(answer.status, 206);
    let content_type = answer.header("content-type").unwrap();
    let boundary = content_type
        .strip_prefix("multipart/byteranges;boundary=")
        .unwrap();
    let part = |range: &str, body: &str| {
        format!(
            "--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes {range}/10\r\n\r\n{body}\r\n"
        )
    };
    let parts = [
        part("0-1", "01"),
        part("4-4", "4"),
        part("7-9", "789"),
        format!("--{boundary}--"),
    ];
    assert_eq!(answer.text(), parts.concat());
    assert_eq!(
        answer.header("content-length"),
        Some(answer.body.len().to_string().as_str())
    );
}

#[tokio::test]
async fn ranges_that_only_cost_are_refused() {
    let house = house().await;
    let many = vec!["0-0"; 51].join(",");
    for ranges in [many.as_str(), "0-9,0-9,0-9,0-9"] {
        let answer = ask("GET")
            .with("range", &format!("bytes={ranges}"))
            .send(&house)
            .await;
        assert_eq!(
            (answer.status, answer.header("content-range")),
            (416, Some("bytes */10")),
            "{ranges}"
        );
    }
}

#[tokio::test]
async fn large_bodies_are_read_whole_and_in_ranges() {
    let house = House::new();
    let body = large();
    put("1").body(body.clone()).send(&house).await;
    let answer = get(&house).await;
    assert_eq!(answer.header("content-length"), Some("12000000"));
    assert!(answer.body == body && answer.broken.is_none());
    for (first, last) in [
        (0, 0),
        (65_535, 65_536),
        (1_000_000, 9_999_999),
        (11_999_999, 11_999_999),
    ] {
        let range = format!("bytes={first}-{last}");
        let answer = ask("GET").with("range", &range).send(&house).await;
        assert_eq!(answer.status, 206);
        assert!(answer.body == body[first..=last], "{range}");
    }
    let answer = ask("GET")
        .with("range", "bytes=9000000-11000000,5-5")
        .send(&house)
        .await;
    assert_eq!(
        answer.header("content-length"),
        Some(answer.body.len().to_string().as_str())
    );
    let start = answer.body.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    assert!(answer.body[start..start + 2_000_001] == body[9_000_000..=11_000_000]);
}

#[tokio::test]
async fn objects_that_must_be_seen_whole_ignore_ranges() {
    let house = House::new();
    put("1")
        .with("x-static-large-object", "true")
        .body(BODY)
        .send(&house)
        .await;
    let ranged = || ask("GET").with("range", "bytes=0-1");
    let name = "x-backend-ignore-range-if-metadata-present";
    assert_eq!(
        ranged()
            .with(name, "X-Static-Large-Object")
            .send(&house)
            .await
            .status,
        200
    );
    assert_eq!(
        ranged().with(name, "X-Object-Manifest").send(&house).await.status,
        206
    );
}

#[tokio::test]
async fn conditions() {
    let house = house().await;
    let quoted = format!("\"{ETAG}\"");
    // The object shows as second 1001.
    let (before, same) = ("Thu, 01 Jan 1970 00:16:40 GMT", "Thu, 01 Jan 1970 00:16:41 GMT");
    for (name, value, status) in [
        ("if-match", ETAG, 200),
        ("if-match", quoted.as_str(), 200),
        ("if-match", "*", 200),
        ("if-match", "\"other\"", 412),
        ("if-none-match", quoted.as_str(), 304),
        ("if-none-match", "*", 304),
        ("if-none-match", "\"other\"", 200),
        ("if-modified-since", before, 200),
        ("if-modified-since", same, 304),
        ("if-modified-since", "junk", 200),
        ("if-unmodified-since", before, 412),
        ("if-unmodified-since", same, 200),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = ask(method).with(name, value).send(&house).await;
            assert_eq!(answer.status, status, "{method} {name}: {value}");
            assert_eq!(answer.header("etag"), Some(ETAG), "{method} {name}: {value}");
            assert_eq!(answer.header("x-backend-timestamp"), Some("0000001000.50000"));
            if status != 200 {
                assert!(answer.body.is_empty());
            }
        }
    }
    let answer = ask("GET")
        .with("if-match", "\"other\"")
        .with("range", "bytes=0-1")
        .send(&house)
        .await;
    assert_eq!(answer.status, 412);
}

#[tokio::test]
async fn conditions_may_look_at_another_etag() {
    let house = House::new();
    put("1")
        .with("x-object-sysmeta-client-etag", "theirs")
        .body(BODY)
        .send(&house)
        .await;
    let matching = |etag: &str, at: &str| ask("GET").with("if-match", etag).with("x-backend-etag-is-at", at);
    let status = async |etag: &str, at: &str| -> u16 {
        let answer: Answer = matching(etag, at).send(&house).await;
        answer.status
    };
    assert_eq!(status("theirs", "X-Object-Sysmeta-Client-Etag").await, 200);
    assert_eq!(status(ETAG, "X-Object-Sysmeta-Client-Etag").await, 412);
    assert_eq!(
        status("theirs", "X-Object-Sysmeta-None, X-Object-Sysmeta-Client-Etag").await,
        200
    );
    assert_eq!(status(ETAG, "X-Object-Sysmeta-None").await, 200);
}

#[tokio::test]
async fn a_reader_keeps_what_it_began_to_read() {
    use martlet_service::Handler;
    let house = House::new();
    let body = large();
    put("1").body(body.clone()).send(&house).await;
    let mut reading = house.server.call(ask("GET").into_request()).await.into_body();
    let mut read = reading.next().await.unwrap().unwrap().to_vec();
    put("2").body("new").send(&house).await;
    crate::house::delete("3").send(&house).await;
    while let Some(piece) = reading.next().await {
        read.extend_from_slice(&piece.unwrap());
    }
    assert!(read == body);
}
