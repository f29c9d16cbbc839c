//! Objects through the core: what clients see while devices are dead, slow, full, stale or broken.

mod fake;

use bytes::Bytes;
use fake::{Cluster, Faults, pattern, pieces};
use http::{HeaderMap, Method};
use martlet_protocol::timestamp::Timestamp;
use martlet_proxy::core::{CoreConfig, TrailingMetadata};
use martlet_service::{Body, Request};
use std::time::{Duration, Instant};

const LARGE: usize = 300_000;

#[tokio::test]
async fn what_is_put_is_got_small_and_large() {
    let cluster = Cluster::start().await;
    for (name, bytes) in [
        ("empty", Bytes::new()),
        ("small", pattern(4_096)),
        ("large", pattern(LARGE)),
    ] {
        let path = format!("a/c/{name}");
        let put = cluster.put(&path, bytes.clone()).await;
        let got = cluster.get(&path).await;
        assert_eq!((got.status, &got.body), (200, &bytes), "{name}");
        assert_eq!(got.header("etag"), put.header("etag"));
        assert_eq!(got.header("content-length"), bytes.len().to_string());
        assert!(
            got.headers
                .keys()
                .all(|name| !name.as_str().starts_with("x-backend")),
            "{:?}",
            got.headers
        );
        assert_eq!(cluster.holders(&path).len(), 3);
        let deleted = cluster.send(Method::DELETE, &path, &[], Body::empty()).await;
        assert_eq!(deleted.status, 204);
        assert_eq!(cluster.get(&path).await.status, 404);
        assert_eq!(
            cluster
                .send(Method::DELETE, &path, &[], Body::empty())
                .await
                .status,
            404
        );
    }
}

#[tokio::test]
async fn a_dead_device_is_not_noticed() {
    let cluster = Cluster::start().await;
    let places = cluster.places("c", "o");
    for dead in places.clone() {
        cluster.kill(dead);
        for bytes in [pattern(100), pattern(LARGE)] {
            cluster.put("a/c/o", bytes.clone()).await;
            assert_eq!(cluster.get("a/c/o").await.body, bytes);
            let head = cluster
                .send(Method::HEAD, "a/c/o", &[("x-newest", "1")], Body::empty())
                .await;
            assert_eq!(head.status, 200);
            let posted = cluster
                .send(Method::POST, "a/c/o", &[("x-object-meta-a", "1")], Body::empty())
                .await;
            assert_eq!(posted.status, 202);
            assert_eq!(
                cluster
                    .send(Method::DELETE, "a/c/o", &[], Body::empty())
                    .await
                    .status,
                204
            );
            assert_eq!(cluster.get("a/c/o").await.status, 404);
        }
        cluster.revive(dead);
    }
    // Three copies were written although one primary was away: the handoff had its.
    cluster.kill(places[0]);
    cluster.put("a/c/o", pattern(10)).await;
    let mut expected = places[1..].to_vec();
    expected.sort();
    assert_eq!(cluster.holders("a/c/o"), expected);
}

#[tokio::test]
async fn a_full_device_hands_over_to_another() {
    let cluster = Cluster::start().await;
    let places = cluster.places("c", "o");
    cluster.devices[places[1]].set_faults(Faults {
        full: true,
        ..Faults::default()
    });
    for bytes in [pattern(100), pattern(LARGE)] {
        cluster.put("a/c/o", bytes.clone()).await;
        assert_eq!(cluster.holders("a/c/o").len(), 3);
        assert_eq!(cluster.get("a/c/o").await.body, bytes);
    }
}

#[tokio::test]
async fn a_hanging_device_is_not_noticed() {
    let cluster = Cluster::start().await;
    let places = cluster.places("c", "o");
    cluster.devices[places[0]].set_faults(Faults {
        hangs: true,
        ..Faults::default()
    });
    let began = Instant::now();
    for bytes in [pattern(100), pattern(LARGE)] {
        cluster.put("a/c/o", bytes.clone()).await;
        assert_eq!(cluster.get("a/c/o").await.body, bytes);
    }
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "took {:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_fresh_but_hanging_device_is_hedged() {
    let cluster = Cluster::start().await;
    cluster.put("a/c/o", pattern(100)).await;
    cluster.all_synced();
    cluster.acquaint("a/c/o").await;
    let places = cluster.places("c", "o");
    cluster.devices[places[0]].set_faults(Faults {
        hangs: true,
        ..Faults::default()
    });
    let began = Instant::now();
    assert_eq!(cluster.get("a/c/o").await.body, pattern(100));
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "took {:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn one_fresh_device_is_asked_alone() {
    let cluster = Cluster::start().await;
    cluster.put("a/c/o", pattern(100)).await;
    cluster.all_synced();
    cluster.acquaint("a/c/o").await;
    let asked = |cluster: &Cluster| -> usize {
        let gets = |at: usize| {
            let requests = cluster.devices[at].requests();
            requests
                .iter()
                .filter(|request| *request == "GET a/c/o" || *request == "HEAD a/c/o")
                .count()
        };
        (0..4).map(gets).sum()
    };
    let before = asked(&cluster);
    assert_eq!(cluster.get("a/c/o").await.body, pattern(100));
    assert_eq!(asked(&cluster) - before, 1);
}

#[tokio::test]
async fn too_few_devices_are_refused_before_the_body_is_read() {
    let cluster = Cluster::start().await;
    let places = cluster.places("c", "o");
    // The container is remembered, so the refusal is about the object's devices.
    cluster.put("a/c/o", pattern(1)).await;
    for dead in &places[1..] {
        cluster.kill(*dead);
    }
    for length in [10, 200_000] {
        let (mut sender, body) = Body::sized_channel(1, length);
        let answer = cluster
            .send(
                Method::PUT,
                "a/c/new",
                &[("content-length", &length.to_string())],
                body,
            )
            .await;
        assert_eq!(answer.status, 503);
        assert!(sender.wanted().await.is_err(), "the body was asked for");
    }
    assert!(cluster.holders("a/c/new").is_empty());
}

#[tokio::test]
async fn a_body_that_is_short_or_wrong_stores_nothing() {
    let cluster = Cluster::start().await;
    for length in [1_000usize, LARGE] {
        let bytes = pattern(length);
        let announced = (length + 5).to_string();
        let short = cluster
            .send(
                Method::PUT,
                "a/c/o",
                &[("content-length", &announced)],
                pieces(&bytes, 10_000),
            )
            .await;
        assert_eq!(short.status, 499);
        let wrong = [
            ("etag", "\"00000000000000000000000000000000\""),
            ("content-length", &length.to_string()),
        ];
        let wrong = cluster
            .send(Method::PUT, "a/c/o", &wrong, pieces(&bytes, 10_000))
            .await;
        assert_eq!(wrong.status, 422);
        let less = (length - 5).to_string();
        let long = cluster
            .send(
                Method::PUT,
                "a/c/o",
                &[("content-length", &less)],
                pieces(&bytes, 10_000),
            )
            .await;
        assert_eq!(long.status, 400);
        assert!(cluster.holders("a/c/o").is_empty());
    }
    // A chunked body that breaks.
    let (mut sender, body) = Body::channel(4);
    sender.send(pattern(10)).await.unwrap();
    drop(sender);
    let broken = cluster
        .send(Method::PUT, "a/c/o", &[("transfer-encoding", "chunked")], body)
        .await;
    assert_eq!(broken.status, 499);
    assert!(cluster.holders("a/c/o").is_empty());
    assert_eq!(cluster.get("a/c/o").await.status, 404);
}

#[tokio::test]
async fn a_silent_client_hears_408() {
    let cluster = Cluster::empty(CoreConfig {
        client_timeout_ms: 50,
        ..CoreConfig::default()
    });
    assert_eq!(
        cluster.send(Method::PUT, "a/c", &[], Body::empty()).await.status,
        201
    );
    for headers in [[("content-length", "10")], [("transfer-encoding", "chunked")]] {
        let (sender, body) = Body::channel(1);
        assert_eq!(
            cluster.send(Method::PUT, "a/c/o", &headers, body).await.status,
            408
        );
        drop(sender);
    }
    assert!(cluster.holders("a/c/o").is_empty());
}

#[tokio::test]
async fn malformed_puts_are_refused() {
    let cluster = Cluster::start().await;
    for (headers, expected) in [
        (&[("content-length", "x")][..], 400),
        (&[("content-length", "99999999999")], 413),
        (&[("x-delete-at", "5")], 400),
        (&[("x-delete-after", "x")], 400),
        (&[("if-none-match", "abc")], 400),
        (&[("content-type", "a/b; swift_bytes=5")], 400),
        (&[("x-object-meta-", "1")], 400),
    ] {
        assert_eq!(
            cluster
                .send(Method::PUT, "a/c/o", headers, Body::empty())
                .await
                .status,
            expected,
            "{headers:?}"
        );
    }
    let long_name = format!("a/c/{}", "o".repeat(1_025));
    assert_eq!(
        cluster
            .send(Method::PUT, &long_name, &[], Body::empty())
            .await
            .status,
        400
    );
    assert_eq!(
        cluster
            .send(Method::PUT, "a/nowhere/o", &[], Body::empty())
            .await
            .status,
        404
    );
    assert_eq!(
        cluster
            .send(Method::PATCH, "a/c/o", &[], Body::empty())
            .await
            .status,
        405
    );
}

#[tokio::test]
async fn put_only_if_absent() {
    let cluster = Cluster::start().await;
    let star = [("if-none-match", "*")];
    for bytes in [pattern(10), pattern(LARGE)] {
        assert_eq!(
            cluster
                .send(Method::PUT, "a/c/o", &star, Body::full(bytes.clone()))
                .await
                .status,
            201
        );
        assert_eq!(
            cluster
                .send(Method::PUT, "a/c/o", &star, Body::full(bytes.clone()))
                .await
                .status,
            412
        );
        assert_eq!(
            cluster
                .send(Method::DELETE, "a/c/o", &[], Body::empty())
                .await
                .status,
            204
        );
    }
}

#[tokio::test]
async fn a_stale_device_is_not_believed_after_a_restart() {
    let cluster = Cluster::start().await;
    cluster.put("a/c/o", pattern(100)).await;
    cluster.all_synced();
    cluster.acquaint("a/c/o").await;
    let places = cluster.places("c", "o");
    // The device goes away with the object, which is then deleted, and comes back without having replicated.
    let old = cluster.devices[places[0]].object("a/c/o");
    cluster.kill(places[0]);
    assert_eq!(
        cluster
            .send(Method::DELETE, "a/c/o", &[], Body::empty())
            .await
            .status,
        204
    );
    cluster.revive(places[0]);
    cluster.devices[places[0]].set_object("a/c/o", old.clone());
    assert_eq!(
        cluster.get("a/c/o").await.status,
        404,
        "its old pass does not count"
    );
    cluster.devices[places[0]].set_synced(Timestamp::ZERO);
    for _ in 0..5 {
        assert_eq!(cluster.get("a/c/o").await.status, 404);
        assert_eq!(
            cluster
                .send(Method::HEAD, "a/c/o", &[], Body::empty())
                .await
                .status,
            404
        );
    }
    // The same when this proxy never knew: another deleted it, and only the device's own word gives it away.
    let cluster = Cluster::start().await;
    cluster.put("a/c/o", pattern(100)).await;
    cluster.all_synced();
    cluster.acquaint("a/c/o").await;
    let stale = cluster.devices[places[0]].object("a/c/o").unwrap();
    let tombstone = fake::Stored {
        timestamp: cluster.now(),
        deleted: true,
        ..stale.clone()
    };
    for place in &places[1..3] {
        cluster.devices[*place].set_object("a/c/o", Some(tombstone.clone()));
    }
    cluster.devices[places[0]].set_synced(Timestamp::ZERO);
    assert_eq!(cluster.get("a/c/o").await.status, 404);
}

#[tokio::test]
async fn absence_is_said_only_by_a_majority() {
    let cluster = Cluster::start().await;
    cluster.put("a/c/o", pattern(100)).await;
    let places = cluster.places("c", "o");
    let stored = cluster.devices[places[0]].object("a/c/o");
    // One primary lost it: another still has it.
    cluster.devices[places[0]].set_object("a/c/o", None);
    assert_eq!(cluster.get("a/c/o").await.body, pattern(100));
    // Only one primary is left, and it knows nothing: nobody can say.
    cluster.kill(places[1]);
    cluster.kill(places[2]);
    assert_eq!(cluster.get("a/c/o").await.status, 503);
    cluster.revive(places[1]);
    cluster.devices[places[1]].set_object("a/c/o", stored);
    assert_eq!(cluster.get("a/c/o").await.body, pattern(100));
}

#[tokio::test]
async fn a_broken_body_goes_on_from_another_device() {
    let cluster = Cluster::start().await;
    let bytes = pattern(LARGE);
    cluster.put("a/c/o", bytes.clone()).await;
    cluster.put("a/c/small", pattern(5_000)).await;
    for at in 0..3 {
        cluster.devices[at].set_faults(Faults {
            breaks_after: Some(100_001 * at),
            ..Faults::default()
        });
    }
    assert_eq!(cluster.get("a/c/o").await.body, bytes);
    let small = cluster.get("a/c/small").await;
    assert_eq!((small.status, small.body), (200, pattern(5_000)));
    let ranged = cluster
        .send(
            Method::GET,
            "a/c/o",
            &[("range", "bytes=1000-250999")],
            Body::empty(),
        )
        .await;
    assert_eq!(
        (ranged.status, ranged.body.clone()),
        (206, bytes.slice(1_000..251_000))
    );
    assert_eq!(ranged.header("content-range"), "bytes 1000-250999/300000");
}

#[tokio::test]
async fn a_body_is_never_joined_from_two_versions() {
    let cluster = Cluster::start().await;
    cluster.put("a/c/o", pattern(LARGE)).await;
    let places = cluster.places("c", "o");
    let mut other = cluster.devices[places[0]].object("a/c/o").unwrap();
    other.etag = "0".repeat(32);
    other.body = Bytes::from(vec![7; LARGE]);
    for place in &places[1..3] {
        cluster.devices[*place].set_object("a/c/o", Some(other.clone()));
    }
    for place in &places {
        cluster.devices[*place].set_faults(Faults {
            breaks_after: Some(50_000),
            ..Faults::default()
        });
    }
    let response = cluster.respond(Method::GET, "a/c/o", &[], Body::empty()).await;
    assert!(
        martlet_service::collect(response.into_body(), 1 << 20)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn many_ranges_come_as_parts() {
    let cluster = Cluster::start().await;
    let bytes = pattern(LARGE);
    cluster.put("a/c/o", bytes.clone()).await;
    let broken = cluster.places("c", "o")[0];
    cluster.devices[broken].set_faults(Faults {
        breaks_after: Some(3),
        ..Faults::default()
    });
    let got = cluster
        .send(
            Method::GET,
            "a/c/o",
            &[("range", "bytes=0-9,100-199999")],
            Body::empty(),
        )
        .await;
    assert_eq!(got.status, 206);
    let boundary = got
        .header("content-type")
        .strip_prefix("multipart/byteranges;boundary=")
        .unwrap()
        .to_owned();
    let part = |range: std::ops::Range<usize>| {
        let mut part = format!(
            "--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {}-{}/300000\r\n\r\n",
            range.start,
            range.end - 1
        )
        .into_bytes();
        part.extend_from_slice(&bytes[range]);
        part.extend_from_slice(b"\r\n");
        part
    };
    let mut expected = [part(0..10), part(100..200_000)].concat();
    expected.extend_from_slice(format!("--{boundary}--").as_bytes());
    assert_eq!(got.body, expected);
    assert_eq!(got.header("content-length"), expected.len().to_string());
    let none = cluster
        .send(
            Method::GET,
            "a/c/o",
            &[("range", "bytes=400000-,500000-")],
            Body::empty(),
        )
        .await;
    assert_eq!(none.status, 416);
    let one = cluster
        .send(
            Method::GET,
            "a/c/o",
            &[("range", "bytes=5-6,400000-")],
            Body::empty(),
        )
        .await;
    assert_eq!((one.status, one.body), (206, bytes.slice(5..7)));
}

#[tokio::test]
async fn metadata_that_trails_a_body_is_stored() {
    let cluster = Cluster::start().await;
    for length in [100, LARGE] {
        let told = TrailingMetadata::new();
        let mut metadata = HeaderMap::new();
        metadata.insert("x-object-sysmeta-sum", "7".parse().unwrap());
        told.set(metadata);
        let (mut sender, body) = Body::channel(64);
        for chunk in pattern(length).chunks(10_000) {
            sender.send(Bytes::copy_from_slice(chunk)).await.unwrap();
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("x-object-sysmeta-own", "8".parse().unwrap());
        trailers.insert("x-timestamp", "9".parse().unwrap());
        sender.finish_with_trailers(trailers).await.unwrap();
        let mut request = Request::new(body);
        *request.method_mut() = Method::PUT;
        request.headers_mut().insert("content-length", length.into());
        request.extensions_mut().insert(told);
        let target = martlet_protocol::name::Target::parse("a/c/o").unwrap();
        let response = cluster
            .core
            .handle(request, target, &martlet_proxy::core::AllowAll)
            .await;
        assert_eq!(response.status(), 201);
        let got = cluster.get("a/c/o").await;
        assert_eq!(
            (
                got.header("x-object-sysmeta-sum"),
                got.header("x-object-sysmeta-own")
            ),
            ("7", "8")
        );
        assert_eq!(got.body, pattern(length));
    }
}
