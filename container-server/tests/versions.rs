//! Rows of versions: counted apart, listed only for who asks for them, and in the way of a container's deletion.

mod support;

use http::Method;
use martlet_protocol::header;
use martlet_protocol::percent;
use martlet_protocol::version::{VersionId, version_name};
use support::{Node, node, row_headers};

/// The path of the row of a version of `o`.
fn version(at: u64) -> String {
    let id = VersionId::parse(&at.to_string()).expect("tests name real moments");
    format!("/a/c/{}", percent::quote_segment(&version_name("o", id)))
}

async fn put_current(node: &Node, at: u64, version: &str, size: u64) -> u16 {
    let row = row_headers(at, size);
    let mut headers = row.each();
    headers.push((header::X_BACKEND_MARTLET_VERSION_ID, version));
    node.container(Method::PUT, "/a/c/o", &headers)
        .await
        .status
        .as_u16()
}

#[tokio::test]
async fn a_current_version_is_counted_once() {
    let node = node();
    node.make_container("/a/c", 1).await;
    node.row("/a/c/plain", 2, 100).await;
    node.row(&version(5), 5, 10).await;
    assert_eq!(put_current(&node, 5, "5", 10).await, 201);
    node.row(&version(6), 6, 20).await;
    assert_eq!(put_current(&node, 6, "6", 20).await, 201);
    assert_eq!(node.counts("/a/c").await, ("2".into(), "130".into()));
    // Replaced without versions, by data that counts.
    node.row("/a/c/o", 7, 1000).await;
    assert_eq!(node.counts("/a/c").await, ("2".into(), "1130".into()));
    node.gone("/a/c/o", 8).await;
    node.gone(&version(5), 9).await;
    assert_eq!(node.counts("/a/c").await, ("1".into(), "120".into()));
    assert_eq!(put_current(&node, 10, "junk", 1).await, 400);
}

#[tokio::test]
async fn versions_are_listed_for_who_asks() {
    let node = node();
    node.make_container("/a/c", 1).await;
    node.row(&version(5), 5, 10).await;
    put_current(&node, 5, "5", 10).await;
    let names = async |query: &str, headers: &[(&str, &str)]| {
        let path = format!("/a/c?format=json{query}");
        node.container(Method::GET, &path, headers).await.names()
    };
    let inside = [(header::X_BACKEND_ALLOW_RESERVED_NAMES, "true")];
    assert_eq!(names("", &[]).await, ["o"]);
    assert_eq!(names("&prefix=%00", &[]).await, [""; 0]);
    let id = VersionId::parse("5").unwrap();
    assert_eq!(names("&prefix=%00", &inside).await, [version_name("o", id)]);
    // Other names of the cluster's own have no place in a user's container.
    let row = row_headers(6, 1);
    let other = node.container(Method::PUT, "/a/c/%00o%00x", &row.each()).await;
    assert_eq!(other.status.as_u16(), 400);
}

#[tokio::test]
async fn a_container_with_versions_is_not_empty() {
    let node = node();
    node.make_container("/a/c", 1).await;
    node.row(&version(5), 5, 10).await;
    assert_eq!(node.counts("/a/c").await, ("0".into(), "10".into()));
    let delete = async |at: &str| {
        let answer = node
            .container(Method::DELETE, "/a/c", &[("x-timestamp", at)])
            .await;
        answer.status.as_u16()
    };
    assert_eq!(delete("7").await, 409);
    node.gone(&version(5), 8).await;
    assert_eq!(delete("9").await, 204);
}
