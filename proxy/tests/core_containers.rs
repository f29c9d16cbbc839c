//! Containers and accounts through the core: made, changed, listed and deleted while replicas disagree.

mod fake;

use fake::{Cluster, pattern};
use http::Method;
use martlet_proxy::core::{CoreConfig, Existence};
use martlet_service::Body;

fn path(container: &str) -> martlet_protocol::name::ContainerPath {
    let target = martlet_protocol::name::Target::parse(&format!("a/{container}")).unwrap();
    target.container_path().unwrap()
}

#[tokio::test]
async fn a_container_lives_its_life() {
    let cluster = Cluster::start().await;
    let send = |method: Method, headers: &'static [(&'static str, &'static str)]| {
        let cluster = &cluster;
        async move { cluster.send(method, "a/c", headers, Body::empty()).await }
    };
    assert_eq!(send(Method::PUT, &[]).await.status, 202);
    assert_eq!(cluster.core.container_info(&path("c")).await.read_acl, None);
    let posted = send(
        Method::POST,
        &[("x-container-meta-colour", "blue"), ("x-container-read", ".r:*")],
    )
    .await;
    assert_eq!(posted.status, 204);
    let info = cluster.core.container_info(&path("c")).await;
    assert_eq!(info.metadata["colour"], "blue");
    assert_eq!(
        info.read_acl.as_deref(),
        Some(".r:*"),
        "a change through this proxy is seen at once"
    );
    assert_eq!(
        send(Method::POST, &[("x-remove-container-read", "x")])
            .await
            .status,
        204
    );
    assert_eq!(cluster.core.container_info(&path("c")).await.read_acl, None);
    let head = send(Method::HEAD, &[]).await;
    assert_eq!(
        (head.status, head.header("x-container-meta-colour")),
        (204, "blue")
    );
    cluster.put("a/c/o", pattern(1)).await;
    assert_eq!(send(Method::DELETE, &[]).await.status, 409);
    assert_eq!(
        cluster
            .send(Method::DELETE, "a/c/o", &[], Body::empty())
            .await
            .status,
        204
    );
    assert_eq!(send(Method::DELETE, &[]).await.status, 204);
    assert_eq!(
        cluster.core.container_info(&path("c")).await.existence,
        Existence::Missing
    );
    for method in [Method::HEAD, Method::GET, Method::POST, Method::DELETE] {
        assert_eq!(send(method.clone(), &[]).await.status, 404, "{method}");
    }
    assert_eq!(
        cluster
            .send(Method::PUT, "a/c/o", &[], Body::empty())
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn malformed_container_requests_are_refused() {
    let cluster = Cluster::start().await;
    for (method, path, headers, expected) in [
        (Method::PUT, "a/c2", &[("x-storage-policy", "nonsense")][..], 400),
        (Method::PUT, "a/c2", &[("x-storage-policy", "GOLD")], 201),
        (Method::PUT, "a/c3", &[("x-container-meta-", "1")], 400),
        (Method::GET, "a/c?limit=101", &[], 412),
        (Method::GET, "a/c?prefix=%ff", &[], 412),
        (Method::PATCH, "a/c", &[], 405),
        (Method::DELETE, "a?bulk-delete", &[], 400),
    ] {
        let answer = cluster.send(method, path, headers, Body::empty()).await;
        assert_eq!(answer.status, expected, "{path} {headers:?}");
    }
}

#[tokio::test]
async fn a_listing_is_what_a_majority_knows() {
    let cluster = Cluster::start().await;
    for name in ["a", "b", "p/1", "p/2", "q/1", "z"] {
        cluster.put(&format!("a/c/{name}"), pattern(3)).await;
    }
    let places = cluster.places_of_container("c");
    // One replica never heard of some; the same one missed a deletion.
    for name in ["b", "z"] {
        cluster.devices[places[0]].remove_row("a/c", name);
    }
    cluster.kill(places[0]);
    assert_eq!(
        cluster
            .send(Method::DELETE, "a/c/q/1", &[], Body::empty())
            .await
            .status,
        204
    );
    cluster.revive(places[0]);
    assert_eq!(
        Cluster::names(&cluster.get("a/c").await),
        ["a", "b", "p/1", "p/2", "z"]
    );
    assert_eq!(
        Cluster::names(&cluster.get("a/c?delimiter=/").await),
        ["a", "b", "p/", "z"]
    );
    assert_eq!(Cluster::names(&cluster.get("a/c?limit=2").await), ["a", "b"]);
    assert_eq!(
        Cluster::names(&cluster.get("a/c?limit=3&marker=b").await),
        ["p/1", "p/2", "z"]
    );
    assert_eq!(
        Cluster::names(&cluster.get("a/c?prefix=p/").await),
        ["p/1", "p/2"]
    );
    // Any one replica may be away; two may not.
    for dead in &places[..3] {
        cluster.kill(*dead);
        assert_eq!(
            Cluster::names(&cluster.get("a/c").await),
            ["a", "b", "p/1", "p/2", "z"]
        );
        cluster.revive(*dead);
    }
    cluster.kill(places[1]);
    cluster.kill(places[2]);
    assert_eq!(cluster.get("a/c").await.status, 503);
}

#[tokio::test]
async fn a_listing_line_has_swifts_form() {
    let cluster = Cluster::start().await;
    let put = cluster
        .send(
            Method::PUT,
            "a/c/o",
            &[("content-type", "text/plain")],
            Body::full(pattern(5)),
        )
        .await;
    let listed = cluster.get("a/c").await;
    assert_eq!(listed.header("content-type"), "application/json; charset=utf-8");
    let lines: serde_json::Value = serde_json::from_slice(&listed.body).unwrap();
    assert_eq!(lines[0]["name"], "o");
    assert_eq!(lines[0]["bytes"], 5);
    assert_eq!(lines[0]["content_type"], "text/plain");
    assert_eq!(lines[0]["hash"], put.header("etag"));
    assert_eq!(lines[0]["last_modified"].as_str().unwrap().len(), 26);
}

#[tokio::test]
async fn an_account_nobody_made_is_an_empty_one() {
    let cluster = Cluster::empty(CoreConfig::default());
    let head = cluster.send(Method::HEAD, "new", &[], Body::empty()).await;
    assert_eq!(
        (head.status, head.header("x-account-container-count")),
        (204, "0")
    );
    let listed = cluster.get("new").await;
    assert_eq!((listed.status, listed.body.as_ref()), (200, b"[]".as_slice()));
    let posted = cluster
        .send(Method::POST, "new", &[("x-account-meta-a", "1")], Body::empty())
        .await;
    assert_eq!(posted.status, 204);
    assert_eq!(
        cluster
            .send(Method::HEAD, "new", &[], Body::empty())
            .await
            .header("x-account-meta-a"),
        "1"
    );

    let cluster = Cluster::empty(CoreConfig {
        account_autocreate: false,
        ..CoreConfig::default()
    });
    assert_eq!(cluster.get("new").await.status, 404);
    assert_eq!(
        cluster
            .send(Method::PUT, "new/c", &[], Body::empty())
            .await
            .status,
        404
    );
    assert_eq!(
        cluster.send(Method::PUT, "new", &[], Body::empty()).await.status,
        201
    );
    assert_eq!(
        cluster
            .send(Method::PUT, "new/c", &[], Body::empty())
            .await
            .status,
        201
    );
}

#[tokio::test]
async fn accounts_and_containers_need_a_quorum() {
    let cluster = Cluster::start().await;
    let places = cluster.places_of_container("c");
    cluster.kill(places[0]);
    assert_eq!(
        cluster
            .send(Method::POST, "a/c", &[("x-container-meta-a", "1")], Body::empty())
            .await
            .status,
        204
    );
    cluster.kill(places[1]);
    assert_eq!(
        cluster
            .send(Method::POST, "a/c", &[("x-container-meta-a", "1")], Body::empty())
            .await
            .status,
        503
    );
}
