//! Statuses and headers of container PUT, HEAD, POST and DELETE.

mod support;

use http::{Method, StatusCode};
use martlet_protocol::limits::Limits;
use std::sync::Arc;
use support::{call, node, node_with};

#[tokio::test]
async fn a_container_is_created_updated_deleted_and_created_again() {
    let node = node();
    let steps = [
        (Method::HEAD, "1", 404),
        (Method::DELETE, "1", 404),
        (Method::POST, "1", 404),
        (Method::PUT, "10", 201),
        (Method::PUT, "11", 202),
        // An older PUT finds the container there.
        (Method::PUT, "9", 202),
        (Method::HEAD, "11", 204),
        (Method::GET, "11", 204),
        (Method::POST, "12", 204),
        // Created later than this deletion.
        (Method::DELETE, "5", 409),
        (Method::DELETE, "20", 204),
        (Method::HEAD, "20", 404),
        (Method::GET, "20", 404),
        (Method::POST, "21", 404),
        (Method::DELETE, "22", 404),
        // Deleted later than this creation.
        (Method::PUT, "15", 409),
        (Method::PUT, "30", 201),
        (Method::HEAD, "30", 204),
    ];
    for (at, (method, timestamp, status)) in steps.into_iter().enumerate() {
        let answer = node
            .container(method.clone(), "/a/c", &[("x-timestamp", timestamp)])
            .await;
        assert_eq!(
            answer.status.as_u16(),
            status,
            "step {at}: {method} at {timestamp}"
        );
    }
}

#[tokio::test]
async fn head_describes_the_container() {
    let node = node();
    let put = [
        ("x-timestamp", "1402440467.05458"),
        ("x-container-meta-color", "grün"),
        ("x-container-read", ".r:*"),
    ];
    assert_eq!(
        node.container(Method::PUT, "/a/c", &put).await.status,
        StatusCode::CREATED
    );
    node.row("/a/c/o", 1_402_440_468, 7).await;
    for method in [Method::HEAD, Method::GET] {
        let answer = node.container(method.clone(), "/a/c", &[]).await;
        for (name, value) in [
            ("x-container-object-count", "1"),
            ("x-container-bytes-used", "7"),
            ("x-timestamp", "1402440467.05458"),
            ("x-put-timestamp", "1402440467.05458"),
            ("last-modified", "Tue, 10 Jun 2014 22:47:48 GMT"),
            ("x-backend-timestamp", "1402440467.05458"),
            ("x-backend-put-timestamp", "1402440467.05458"),
            ("x-backend-delete-timestamp", "0000000000.00000"),
            ("x-backend-status-changed-at", "1402440467.05458"),
            ("x-backend-storage-policy-index", "0"),
            ("x-backend-martlet-synced", "0000000000.00000"),
            ("x-container-meta-color", "grün"),
            ("x-container-read", ".r:*"),
            ("content-type", "text/plain; charset=utf-8"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{method} {name}");
        }
    }
    let json = node.container(Method::HEAD, "/a/c?format=json", &[]).await;
    assert_eq!((json.status, json.body.as_str()), (StatusCode::NO_CONTENT, ""));
    assert_eq!(
        json.header("content-type"),
        Some("application/json; charset=utf-8")
    );
}

#[tokio::test]
async fn a_container_that_is_gone_tells_servers_when_and_clients_nothing() {
    let node = node();
    node.make_container("/a/c", 10).await;
    assert_eq!(
        node.container(Method::DELETE, "/a/c", &[("x-timestamp", "20")])
            .await
            .status
            .as_u16(),
        204
    );
    let gone = node.container(Method::HEAD, "/a/c", &[]).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    assert_eq!(gone.header("x-backend-timestamp"), Some("0000000010.00000"));
    assert_eq!(gone.header("x-backend-put-timestamp"), Some("0000000010.00000"));
    assert_eq!(
        gone.header("x-backend-delete-timestamp"),
        Some("0000000020.00000")
    );
    assert_eq!(
        gone.header("x-backend-status-changed-at"),
        Some("0000000020.00000")
    );
    assert_eq!(gone.header("x-container-object-count"), None);
    let never = node.container(Method::GET, "/a/never", &[]).await;
    assert_eq!(never.status, StatusCode::NOT_FOUND);
    assert_eq!(never.header("x-backend-timestamp"), Some("0000000000.00000"));
    assert_eq!(never.header("x-backend-martlet-synced"), Some("0000000000.00000"));
}

#[tokio::test]
async fn a_container_with_objects_is_not_deleted() {
    let node = node();
    node.make_container("/a/c", 10).await;
    node.row("/a/c/o", 11, 5).await;
    assert_eq!(
        node.container(Method::DELETE, "/a/c", &[("x-timestamp", "20")])
            .await
            .status
            .as_u16(),
        409
    );
    assert_eq!(
        node.container(Method::HEAD, "/a/c", &[]).await.status.as_u16(),
        204
    );
    node.gone("/a/c/o", 12).await;
    assert_eq!(
        node.container(Method::DELETE, "/a/c", &[("x-timestamp", "21")])
            .await
            .status
            .as_u16(),
        204
    );
}

#[tokio::test]
async fn the_policy_is_set_once() {
    let node = node();
    let put = |path: &'static str, at: &'static str, header: Option<(&'static str, &'static str)>| {
        let headers: Vec<_> = [("x-timestamp", at)].into_iter().chain(header).collect();
        let node = &node;
        async move { node.container(Method::PUT, path, &headers).await }
    };
    let index = |value| Some(("x-backend-storage-policy-index", value));
    let policy_of =
        |answer: &support::Answer| answer.header("x-backend-storage-policy-index").map(str::to_owned);

    let created = put("/a/c", "1", index("1")).await;
    assert_eq!(
        (created.status.as_u16(), policy_of(&created).as_deref()),
        (201, Some("1"))
    );
    let conflict = put("/a/c", "2", index("0")).await;
    assert_eq!(
        (conflict.status.as_u16(), policy_of(&conflict).as_deref()),
        (409, Some("1"))
    );
    let again = put("/a/c", "3", None).await;
    assert_eq!(
        (again.status.as_u16(), policy_of(&again).as_deref()),
        (202, Some("1"))
    );
    // The proxy's default is taken where none was asked for, the cluster's where the proxy says nothing.
    let named = put("/a/named", "1", Some(("x-backend-storage-policy-default", "1"))).await;
    assert_eq!(policy_of(&named).as_deref(), Some("1"));
    assert_eq!(policy_of(&put("/a/plain", "1", None).await).as_deref(), Some("0"));
    // Unknown policies are refused and nothing is made.
    for bad in ["2", "x", "-1", ""] {
        assert_eq!(
            put("/a/bad", "1", index(bad)).await.status.as_u16(),
            400,
            "{bad:?}"
        );
    }
    assert_eq!(
        put("/a/bad", "1", Some(("x-backend-storage-policy-default", "9")))
            .await
            .status
            .as_u16(),
        400
    );
    assert_eq!(
        node.container(Method::HEAD, "/a/bad", &[]).await.status.as_u16(),
        404
    );
    // A container made again after its deletion may take another policy.
    assert_eq!(
        node.container(Method::DELETE, "/a/c", &[("x-timestamp", "4")])
            .await
            .status
            .as_u16(),
        204
    );
    let renewed = put("/a/c", "5", index("0")).await;
    assert_eq!(
        (renewed.status.as_u16(), policy_of(&renewed).as_deref()),
        (201, Some("0"))
    );
}

#[tokio::test]
async fn metadata_is_newest_wins_and_an_empty_value_removes() {
    let node = node();
    let send = |method: Method, at: &'static str, value: &'static str| {
        let node = &node;
        async move {
            let headers = [
                ("x-timestamp", at),
                ("x-container-meta-a", value),
                ("x-container-sysmeta-s", value),
            ];
            node.container(method, "/a/c", &headers).await.status.as_u16()
        }
    };
    let shown = || async {
        let answer = node.container(Method::HEAD, "/a/c", &[]).await;
        ["x-container-meta-a", "x-container-sysmeta-s"].map(|name| answer.header(name).map(str::to_owned))
    };
    let both = |value: &str| [Some(value.to_owned()), Some(value.to_owned())];
    assert_eq!(send(Method::PUT, "10", "first").await, 201);
    assert_eq!(shown().await, both("first"));
    assert_eq!(send(Method::POST, "20", "second").await, 204);
    // A late request changes nothing that is newer.
    assert_eq!(send(Method::POST, "15", "late").await, 204);
    assert_eq!(shown().await, both("second"));
    assert_eq!(send(Method::POST, "30", "").await, 204);
    assert_eq!(shown().await, [None, None]);
    assert_eq!(send(Method::PUT, "25", "late").await, 202);
    assert_eq!(shown().await, [None, None]);
    assert_eq!(send(Method::PUT, "40", "third").await, 202);
    assert_eq!(shown().await, both("third"));
    // A deletion takes the metadata with it.
    assert_eq!(
        node.container(Method::DELETE, "/a/c", &[("x-timestamp", "50")])
            .await
            .status
            .as_u16(),
        204
    );
    node.make_container("/a/c", 60).await;
    assert_eq!(shown().await, [None, None]);
}

#[tokio::test]
async fn too_much_metadata_is_refused_whole() {
    let limits = Limits {
        max_meta_count: 2,
        ..Limits::default()
    };
    let node = node_with(limits, Arc::new(|_| Vec::new()));
    node.make_container("/a/c", 1).await;
    let post = [
        ("x-timestamp", "2"),
        ("x-container-meta-a", "1"),
        ("x-container-meta-b", "1"),
    ];
    assert_eq!(
        node.container(Method::POST, "/a/c", &post).await.status.as_u16(),
        204
    );
    let third = [("x-timestamp", "3"), ("x-container-meta-c", "1")];
    assert_eq!(
        node.container(Method::POST, "/a/c", &third).await.status.as_u16(),
        400
    );
    assert_eq!(
        node.container(Method::PUT, "/a/c", &third).await.status.as_u16(),
        400
    );
    let swapped = [
        ("x-timestamp", "4"),
        ("x-container-meta-c", "1"),
        ("x-container-meta-a", ""),
    ];
    assert_eq!(
        node.container(Method::POST, "/a/c", &swapped)
            .await
            .status
            .as_u16(),
        204
    );
    let head = node.container(Method::HEAD, "/a/c", &[]).await;
    assert_eq!(
        (
            head.header("x-container-meta-a"),
            head.header("x-container-meta-c")
        ),
        (None, Some("1"))
    );
}

#[tokio::test]
async fn malformed_requests_are_refused_at_once() {
    let node = node();
    node.make_container("/a/c", 1).await;
    for (method, uri, headers, status) in [
        (Method::PUT, "/sda/7/a/c", &[][..], 400),
        (
            Method::PUT,
            "/sda/7/a/c",
            &[("x-timestamp", "yesterday")][..],
            400,
        ),
        (Method::DELETE, "/sda/7/a/c", &[][..], 400),
        (Method::POST, "/sda/7/a/c", &[("x-timestamp", "")][..], 400),
        (Method::POST, "/sda/7/a/c/o", &[("x-timestamp", "2")][..], 400),
        (Method::GET, "/sda/7/a", &[][..], 400),
        (Method::GET, "/sda", &[][..], 400),
        (Method::GET, "/sda/seven/a/c", &[][..], 400),
        (Method::GET, "/../7/a/c", &[][..], 400),
        (Method::GET, "/sda/7/a/c%ff", &[][..], 412),
        (Method::GET, "/sda/7/a/c?prefix=%ff", &[][..], 400),
        (Method::GET, "/sda/7/a/c?limit=10001", &[][..], 412),
        (Method::GET, "/sda/7/a/c", &[("accept", "nonsense")][..], 400),
        (Method::GET, "/sda/7/a/c", &[("accept", "image/png")][..], 406),
        (
            Method::GET,
            "/sda/7/a/c",
            &[("x-backend-storage-policy-index", "77")][..],
            400,
        ),
        (Method::GET, "/sdz/7/a/c", &[][..], 507),
        (Method::PUT, "/sdz/7/a/c", &[("x-timestamp", "1")][..], 507),
        (
            Method::PUT,
            "/sda/7/a/c",
            &[("x-timestamp", "2"), ("x-account-host", "1.1.1.1:1,1.1.1.2:1")][..],
            400,
        ),
        (Method::PATCH, "/sda/7/a/c", &[][..], 405),
    ] {
        let answer = call(&node.containers, method.clone(), uri, headers).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {uri} {headers:?}");
    }
    let head = node.container(Method::HEAD, "/a/c", &[]).await;
    assert_eq!(head.header("x-put-timestamp"), Some("0000000001.00000"));
}

#[tokio::test]
async fn options_names_the_server() {
    let node = node();
    let answer = call(&node.containers, Method::OPTIONS, "/", &[]).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(
        answer
            .header("server")
            .is_some_and(|server| server.starts_with("container-server/"))
    );
    assert_eq!(
        answer.header("allow"),
        Some("DELETE, GET, HEAD, OPTIONS, POST, PUT")
    );
}
