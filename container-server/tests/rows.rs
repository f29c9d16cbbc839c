//! Rows of objects: who may send them, and counts that stay exact in whatever order they come.

mod support;

use http::Method;
use support::{node, row_headers};

#[tokio::test]
async fn rows_need_their_container_unless_the_account_is_the_clusters_own() {
    let node = node();
    let row = row_headers(10, 5);
    let put = async |path: &str, extra: &[(&str, &str)]| {
        let headers: Vec<_> = row.each().into_iter().chain(extra.iter().copied()).collect();
        node.container(Method::PUT, path, &headers).await.status.as_u16()
    };
    assert_eq!(put("/a/c/o", &[]).await, 404);
    assert_eq!(
        node.container(Method::DELETE, "/a/c/o", &[("x-timestamp", "10")])
            .await
            .status
            .as_u16(),
        404
    );
    assert_eq!(put("/.own/c/o", &[("x-backend-auto-create", "no")]).await, 404);
    assert_eq!(
        put("/.own/c/o", &[("x-backend-storage-policy-index", "1")]).await,
        201
    );
    let made = node.container(Method::HEAD, "/.own/c", &[]).await;
    assert_eq!(made.header("x-backend-storage-policy-index"), Some("1"));
    assert_eq!(made.header("x-container-object-count"), Some("1"));
    assert_eq!(put("/a/told/o", &[("x-backend-auto-create", "yes")]).await, 201);
    assert_eq!(
        node.container(Method::DELETE, "/.own/d/o", &[("x-timestamp", "10")])
            .await
            .status
            .as_u16(),
        204
    );
}

#[tokio::test]
async fn counts_are_exact_in_whatever_order_rows_come() {
    // Writes of two objects: (object, moment, size or deletion).
    let writes = [
        ("a", 1, Some(10)),
        ("a", 2, None),
        ("a", 3, Some(30)),
        ("b", 1, Some(1)),
        ("b", 4, Some(4)),
    ];
    let orders: [[usize; 5]; 6] = [
        [0, 1, 2, 3, 4],
        [4, 3, 2, 1, 0],
        [2, 1, 0, 4, 3],
        [1, 0, 3, 2, 4],
        [3, 4, 2, 0, 1],
        [2, 0, 4, 1, 3],
    ];
    let node = node();
    for (at, order) in orders.iter().enumerate() {
        let container = format!("/a/c{at}");
        node.make_container(&container, 1).await;
        // Everything twice: updates are repeated until acknowledged.
        for write in order.iter().chain(order) {
            let (object, moment, size) = writes[*write];
            match size {
                Some(size) => node.row(&format!("{container}/{object}"), moment, size).await,
                None => node.gone(&format!("{container}/{object}"), moment).await,
            }
        }
        assert_eq!(
            node.counts(&container).await,
            ("2".into(), "34".into()),
            "order {order:?}"
        );
        let listing = node
            .container(Method::GET, &format!("{container}?format=json"), &[])
            .await
            .json();
        assert_eq!(
            (&listing[0]["hash"], &listing[1]["hash"]),
            (&"etag3".into(), &"etag4".into()),
            "{order:?}"
        );
    }
}

#[tokio::test]
async fn a_deletion_that_comes_first_keeps_its_late_put_out() {
    let node = node();
    node.make_container("/a/c", 1).await;
    node.gone("/a/c/o", 5).await;
    node.row("/a/c/o", 4, 100).await;
    assert_eq!(node.counts("/a/c").await, ("0".into(), "0".into()));
    assert_eq!(
        node.container(Method::GET, "/a/c", &[]).await.status.as_u16(),
        204
    );
    node.row("/a/c/o", 6, 100).await;
    assert_eq!(node.counts("/a/c").await, ("1".into(), "100".into()));
}

#[tokio::test]
async fn a_row_that_comes_after_the_containers_deletion_keeps_the_container() {
    let node = node();
    node.make_container("/a/c", 1).await;
    assert_eq!(
        node.container(Method::DELETE, "/a/c", &[("x-timestamp", "5")])
            .await
            .status
            .as_u16(),
        204
    );
    node.row("/a/c/o", 4, 9).await;
    assert_eq!(node.counts("/a/c").await, ("1".into(), "9".into()));
}

#[tokio::test]
async fn content_type_and_metadata_have_their_own_moments() {
    let node = node();
    node.make_container("/a/c", 1).await;
    node.row("/a/c/o", 10, 5).await;
    let posted = [
        ("x-timestamp", "10"),
        ("x-size", "5"),
        ("x-etag", "etag10"),
        ("x-content-type", "image/png"),
        ("x-content-type-timestamp", "20"),
        ("x-meta-timestamp", "30"),
    ];
    assert_eq!(
        node.container(Method::PUT, "/a/c/o", &posted)
            .await
            .status
            .as_u16(),
        201
    );
    let row = node.container(Method::GET, "/a/c?format=json", &[]).await.json();
    assert_eq!(row[0]["content_type"], "image/png");
    assert_eq!(row[0]["last_modified"], "1970-01-01T00:00:30.000000");
    assert_eq!(row[0]["hash"], "etag10");
}

#[tokio::test]
async fn malformed_rows_change_nothing() {
    let node = node();
    node.make_container("/a/c", 1).await;
    let good = row_headers(5, 5);
    let without = |name: &str| {
        good.each()
            .into_iter()
            .filter(|(n, _)| *n != name)
            .collect::<Vec<_>>()
    };
    let with = |name: &'static str, value: &'static str| {
        without(name)
            .into_iter()
            .chain([(name, value)])
            .collect::<Vec<_>>()
    };
    for headers in [
        without("x-timestamp"),
        without("x-size"),
        without("x-content-type"),
        without("x-etag"),
        with("x-size", "-1"),
        with("x-size", "many"),
        with("x-size", "18446744073709551615"),
        with("x-size", "99999999999999999999999"),
        with("x-timestamp", "x"),
        with("x-content-type-timestamp", "x"),
        with("x-meta-timestamp", ""),
        with("x-backend-storage-policy-index", "9"),
    ] {
        let answer = node.container(Method::PUT, "/a/c/o", &headers).await;
        assert_eq!(answer.status.as_u16(), 400, "{headers:?}");
    }
    assert_eq!(node.counts("/a/c").await, ("0".into(), "0".into()));
}

#[tokio::test]
async fn containers_of_the_clusters_own_take_objects_of_any_name() {
    let node = node();
    node.make_container("/a/%00mpu%00bucket", 1).await;
    node.row("/a/%00mpu%00bucket/key%00upload", 5, 1).await;
    node.row("/a/%00mpu%00bucket/key/upload/00000001", 5, 1).await;
    let listed = node
        .container(Method::GET, "/a/%00mpu%00bucket?format=json", &[])
        .await;
    assert_eq!(listed.names(), ["key\0upload", "key/upload/00000001"]);
    node.make_container("/a/c", 1).await;
    let refused = node
        .container(Method::PUT, "/a/c/key%00upload", &row_headers(5, 1).each())
        .await;
    assert_eq!(refused.status.as_u16(), 400);
}
