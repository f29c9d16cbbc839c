//! What is not the protocol is refused.

use crate::cluster::{Cluster, OBJECTS, at};

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_are_refused_and_change_nothing() {
    use http::{HeaderMap, Method};
    use martlet_node_client::BackendRequest;
    use martlet_service::Body;
    let cluster = Cluster::start().await;
    let hash = cluster.hash("o");
    cluster.put(&[0, 1, 2, 3], "o", b"x", at(1)).await;
    let node = martlet_ring::Device::at("127.0.0.1", cluster.nodes[0].port, "d0");
    let foreign = martlet_ring::Device::at("127.0.0.1", cluster.nodes[0].port, "d9");
    cluster
        .client
        .register_local("d9", "127.0.0.1", foreign.port, cluster_handler(&cluster));
    let long = "0".repeat(5_000);
    let many = serde_json::to_string(&vec![hash.to_string(); 33]).unwrap();
    let record = cluster.record(0, "o").await.unwrap();
    let json = serde_json::to_string(&record).unwrap();
    let wrong_hash = cluster.hash("other");
    let whole = format!("{}", json.len());
    for (method, path, headers, body, expected) in [
        (Method::GET, "/martlet/ping".to_owned(), vec![], "", 200),
        (Method::POST, "/martlet/ping".to_owned(), vec![], "", 405),
        (Method::GET, "/martlet".to_owned(), vec![], "", 404),
        (Method::GET, "/martlet/nothing".to_owned(), vec![], "", 404),
        (Method::GET, "/martlet/digests".to_owned(), vec![], "", 400),
        (
            Method::GET,
            "/martlet/digests/objects-x".to_owned(),
            vec![],
            "",
            400,
        ),
        (
            Method::GET,
            "/martlet/digests/objects-0?prefixes=00g0".to_owned(),
            vec![],
            "",
            400,
        ),
        (
            Method::GET,
            format!("/martlet/digests/objects-0?prefixes={long}"),
            vec![],
            "",
            400,
        ),
        (
            Method::GET,
            "/martlet/digests/objects-0?prefixes=%ff".to_owned(),
            vec![],
            "",
            400,
        ),
        (
            Method::PUT,
            "/martlet/digests/objects-0".to_owned(),
            vec![],
            "",
            405,
        ),
        (
            Method::GET,
            "/martlet/versions/objects-0/12".to_owned(),
            vec![],
            "",
            400,
        ),
        (
            Method::GET,
            "/martlet/versions/objects-0/0000?after=xyz".to_owned(),
            vec![],
            "",
            400,
        ),
        (
            Method::GET,
            "/martlet/versions/objects-0/0000?also=00g0".to_owned(),
            vec![],
            "",
            400,
        ),
        (
            Method::GET,
            format!("/martlet/versions/objects-0/0000?also={long}"),
            vec![],
            "",
            400,
        ),
        (
            Method::GET,
            "/martlet/objects/objects-0".to_owned(),
            vec![],
            "",
            405,
        ),
        (
            Method::PUT,
            "/martlet/objects/objects-0".to_owned(),
            vec![],
            "{",
            400,
        ),
        (
            Method::PUT,
            "/martlet/objects/objects-0".to_owned(),
            vec![],
            "[\"xyz\"]",
            400,
        ),
        (
            Method::PUT,
            "/martlet/objects/containers".to_owned(),
            vec![],
            "[]",
            400,
        ),
        (
            Method::PUT,
            "/martlet/objects/objects-0".to_owned(),
            vec![],
            &many,
            400,
        ),
        (
            Method::GET,
            "/martlet/versions/objects-0/0000?limit=-1".to_owned(),
            vec![],
            "",
            400,
        ),
        (
            Method::GET,
            "/martlet/changes/objects-0?since=x".to_owned(),
            vec![],
            "",
            400,
        ),
        (
            Method::GET,
            "/martlet/object/objects-0/zz".to_owned(),
            vec![],
            "",
            400,
        ),
        (
            Method::GET,
            format!("/martlet/object/containers/{hash}"),
            vec![],
            "",
            400,
        ),
        (
            Method::GET,
            format!("/martlet/object/objects-0/{hash}?have=soon"),
            vec![],
            "",
            400,
        ),
        (
            Method::GET,
            format!("/martlet/object/objects-0/{wrong_hash}"),
            vec![],
            "",
            404,
        ),
        (
            Method::DELETE,
            format!("/martlet/object/objects-0/{hash}"),
            vec![],
            "",
            405,
        ),
        (
            Method::PUT,
            format!("/martlet/object/objects-0/{hash}"),
            vec![],
            &json,
            400,
        ),
        (
            Method::PUT,
            format!("/martlet/object/objects-0/{hash}"),
            vec![("99999999", "0")],
            &json,
            400,
        ),
        (
            Method::PUT,
            format!("/martlet/object/objects-0/{hash}"),
            vec![("5", "0")],
            &json,
            400,
        ),
        (
            Method::PUT,
            format!("/martlet/object/objects-0/{hash}"),
            vec![("4000", "0")],
            &json,
            499,
        ),
        (
            Method::PUT,
            format!("/martlet/object/objects-0/{wrong_hash}"),
            vec![(&whole, "0")],
            &json,
            400,
        ),
        (
            Method::GET,
            format!("/martlet/container/objects-0/{hash}"),
            vec![],
            "",
            400,
        ),
        (
            Method::GET,
            format!("/martlet/container/containers/{hash}"),
            vec![],
            "",
            404,
        ),
        (
            Method::PUT,
            format!("/martlet/container/containers/{hash}"),
            vec![],
            "{",
            400,
        ),
        (
            Method::PUT,
            format!("/martlet/rows/containers/{hash}"),
            vec![],
            "{\"objects\": 1}",
            400,
        ),
        (
            Method::PUT,
            format!("/martlet/rows/containers/{hash}"),
            vec![],
            "{}",
            404,
        ),
    ] {
        let mut map = HeaderMap::new();
        for (length, with_body) in headers {
            map.insert("x-backend-martlet-record-length", length.parse().unwrap());
            map.insert("x-backend-martlet-with-body", with_body.parse().unwrap());
        }
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
            None => (path, None),
        };
        let told = format!("{method} {path} {query:?}");
        let body = Body::full(body.to_owned());
        let request = BackendRequest {
            query,
            headers: map,
            body,
            ..BackendRequest::new(method, path)
        };
        let response = cluster.client.call(&node, request).await.unwrap();
        assert_eq!(response.status().as_u16(), expected, "{told}");
    }
    let ping = BackendRequest::new(Method::GET, "/martlet/ping");
    assert_eq!(
        cluster
            .client
            .call(&foreign, ping)
            .await
            .unwrap()
            .status()
            .as_u16(),
        507
    );

    // A body that is not the record's is refused, and the old copy stays.
    let mut forged = record.clone();
    forged.timestamp = at(9);
    let head = serde_json::to_string(&forged).unwrap();
    let mut map = HeaderMap::new();
    map.insert("x-backend-martlet-record-length", head.len().into());
    map.insert("x-backend-martlet-with-body", "1".parse().unwrap());
    for (bytes, expected) in [("y", 422), ("", 499), ("xx", 400)] {
        let body = Body::full(format!("{head}{bytes}"));
        let path = format!("/martlet/object/objects-0/{hash}");
        let request = BackendRequest {
            headers: map.clone(),
            body,
            ..BackendRequest::new(Method::PUT, path)
        };
        assert_eq!(
            cluster
                .client
                .call(&node, request)
                .await
                .unwrap()
                .status()
                .as_u16(),
            expected,
            "{bytes}"
        );
    }
    assert_eq!(cluster.record(0, "o").await, Some(record));
    assert_eq!(cluster.device(0).digests(OBJECTS).await.unwrap().len(), 1);
}

fn cluster_handler(cluster: &Cluster) -> std::sync::Arc<dyn martlet_service::Handler> {
    std::sync::Arc::new(martlet_replicator::ReplicationServer::new(
        cluster.nodes[0].devices.clone(),
        cluster.salt.clone(),
        cluster.rings.clone(),
        cluster.clock.clone(),
    ))
}
