//! A body is stored whole and as its ETag says, or not at all.

use crate::house::{House, get, put};
use bytes::Bytes;
use http::HeaderMap;
use martlet_service::{Body, BodyError, headers};

/// MD5 of "data".
const ETAG: &str = "8d777f385d3dfec8815d20f7496026dc";
const OTHER: &str = "00000000000000000000000000000000";

async fn assert_nothing_stored(house: &House, case: &str) {
    assert_eq!(get(house).await.status, 404, "{case}");
    let stats = house.device.stats().await.unwrap();
    assert_eq!((stats.objects, stats.outbox), (0, 0), "{case}");
}

/// A body that comes in pieces, ends as told, and has trailers.
fn streamed(pieces: &[&'static str], end: Result<&[(&str, &str)], BodyError>) -> Body {
    let (mut sender, body) = Body::channel(pieces.len() + 1);
    let pieces: Vec<_> = pieces
        .iter()
        .map(|piece| Bytes::from_static(piece.as_bytes()))
        .collect();
    let end = end.map(|pairs| {
        let mut trailers = HeaderMap::new();
        pairs
            .iter()
            .for_each(|(name, value)| headers::set(&mut trailers, name, value));
        trailers
    });
    tokio::spawn(async move {
        for piece in pieces {
            sender.send(piece).await.unwrap();
        }
        match end {
            Ok(trailers) if trailers.is_empty() => sender.finish().await.unwrap(),
            Ok(trailers) => sender.finish_with_trailers(trailers).await.unwrap(),
            Err(error) => sender.abort(error).await,
        }
    });
    body
}

#[tokio::test]
async fn the_etag_is_the_md5_of_the_body() {
    let house = House::new();
    let answer = house.store("1", b"data").await;
    assert_eq!((answer.status, answer.header("etag")), (201, Some(ETAG)));
    let answer = put("2")
        .stream(streamed(&["da", "t", "a"], Ok(&[])))
        .send(&house)
        .await;
    assert_eq!((answer.status, answer.header("etag")), (201, Some(ETAG)));
    let answer = house.store("3", b"").await;
    assert_eq!(answer.header("etag"), Some("d41d8cd98f00b204e9800998ecf8427e"));
    let answer = get(&house).await;
    assert_eq!(
        (answer.status, answer.header("content-length"), answer.text()),
        (200, Some("0"), "")
    );
}

#[tokio::test]
async fn the_clients_etag_must_match() {
    for (etag, status) in [
        (ETAG, 201),
        ("\"8d777f385d3dfec8815d20f7496026dc\"", 201),
        ("8D777F385D3DFEC8815D20F7496026DC", 201),
        ("", 201),
        (OTHER, 422),
    ] {
        // Computed here, given by the proxy before the body, given after it.
        let house = House::new();
        let computed = put("1").with("etag", etag).body("data").send(&house).await;
        assert_eq!(computed.status, status, "{etag}");
        if status != 201 {
            assert_nothing_stored(&house, etag).await;
        }
        let house = House::new();
        let given = put("1")
            .with("etag", etag)
            .with("x-backend-martlet-etag", ETAG)
            .body("data");
        assert_eq!(given.send(&house).await.status, status, "{etag}");
        let house = House::new();
        let trailed = put("1")
            .with("etag", etag)
            .with("x-backend-martlet-etag-trailer", "1");
        let body = streamed(&["data"], Ok(&[("x-backend-martlet-etag", ETAG)]));
        assert_eq!(trailed.stream(body).send(&house).await.status, status, "{etag}");
        if status != 201 {
            assert_nothing_stored(&house, etag).await;
        }
    }
}

#[tokio::test]
async fn an_etag_the_proxy_computed_is_taken() {
    let house = House::new();
    let answer = put("1")
        .with("x-backend-martlet-etag", OTHER)
        .body("data")
        .send(&house)
        .await;
    assert_eq!((answer.status, answer.header("etag")), (201, Some(OTHER)));
    assert_eq!(get(&house).await.header("etag"), Some(OTHER));
}

#[tokio::test]
async fn bodies_that_do_not_come_whole_store_nothing() {
    let announced = |length: &str| put("1").with("content-length", length);
    let trailed = || put("1").with("x-backend-martlet-etag-trailer", "1");
    let etag = ("x-backend-martlet-etag", ETAG);
    for (case, ask, body, status) in [
        ("short", announced("10"), streamed(&["data"], Ok(&[])), 499),
        ("long", announced("3"), streamed(&["data"], Ok(&[])), 400),
        (
            "left",
            announced("10"),
            streamed(&["data"], Err(BodyError::Disconnected)),
            499,
        ),
        (
            "left after all",
            announced("4"),
            streamed(&["data"], Err(BodyError::Disconnected)),
            499,
        ),
        (
            "aborted",
            put("1"),
            streamed(&["data"], Err(BodyError::Aborted)),
            499,
        ),
        (
            "malformed",
            put("1"),
            streamed(&["data"], Err(BodyError::Protocol("chunk".into()))),
            400,
        ),
        (
            "slow",
            put("1"),
            streamed(&["data"], Err(BodyError::Timeout)),
            408,
        ),
        ("no trailer", trailed(), streamed(&["data"], Ok(&[])), 499),
        (
            "other trailers",
            trailed(),
            streamed(&["data"], Ok(&[("x-object-sysmeta-a", "b")])),
            499,
        ),
        (
            "other length",
            trailed(),
            streamed(&["data"], Ok(&[etag, ("x-backend-martlet-length", "5")])),
            499,
        ),
        (
            "bad trailer",
            trailed(),
            streamed(&["data"], Ok(&[("x-backend-martlet-etag", "junk")])),
            400,
        ),
    ] {
        let house = House::new();
        assert_eq!(ask.stream(body).send(&house).await.status, status, "{case}");
        assert_nothing_stored(&house, case).await;
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_stopped_where_it_passes_it() {
    let house = House::with(|config| config.limits.max_file_size = 3);
    let answer = put("1")
        .stream(streamed(&["da", "ta"], Ok(&[])))
        .send(&house)
        .await;
    assert_eq!(answer.status, 413);
    assert_nothing_stored(&house, "large").await;
}

#[tokio::test]
async fn a_caller_that_falls_silent_is_given_up() {
    let house = House::with(|config| config.settings.client_timeout_ms = 20);
    let (mut sender, body) = Body::channel(1);
    sender.send(Bytes::from_static(b"da")).await.unwrap();
    assert_eq!(put("1").stream(body).send(&house).await.status, 408);
    drop(sender);
}

#[tokio::test]
async fn trailers_add_metadata() {
    let house = House::new();
    let trailers: &[(&str, &str)] = &[
        ("x-backend-martlet-etag", ETAG),
        ("x-backend-martlet-length", "4"),
        ("x-object-sysmeta-checksum", "crc"),
        ("x-object-sysmeta-known", "trailer"),
        ("content-encoding", "never from a trailer"),
    ];
    let ask = put("1")
        .with("x-backend-martlet-etag-trailer", "1")
        .with("x-object-sysmeta-known", "header");
    assert_eq!(
        ask.stream(streamed(&["data"], Ok(trailers)))
            .send(&house)
            .await
            .status,
        201
    );
    let answer = get(&house).await;
    for (name, value) in [
        ("etag", Some(ETAG)),
        ("x-object-sysmeta-checksum", Some("crc")),
        ("x-object-sysmeta-known", Some("trailer")),
        ("content-encoding", None),
        ("x-backend-martlet-etag", None),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
}

#[tokio::test]
async fn what_is_newer_is_told_before_the_body() {
    let house = House::new();
    house.store("5", b"data").await;
    for ask in [put("4"), put("6").with("if-none-match", "*")] {
        let (mut sender, body) = Body::channel(1);
        let answer = ask.stream(body).send(&house).await;
        assert!(matches!(answer.status, 409 | 412));
        assert!(sender.wanted().await.is_err(), "the body was asked for");
    }
}
