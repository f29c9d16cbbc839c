//! The account server: its record, its rows and its listing.

mod support;

use http::{Method, StatusCode};
use martlet_protocol::limits::Limits;
use martlet_protocol::row::{ContainerRow, ListingEntry};
use std::sync::Arc;
use support::{Node, call, node, node_with, report_headers};

async fn status(node: &Node, method: Method, path: &str, at: &str) -> (u16, Option<String>) {
    let answer = node.account(method, path, &[("x-timestamp", at)]).await;
    (
        answer.status.as_u16(),
        answer.header("x-account-status").map(str::to_owned),
    )
}

async fn report(node: &Node, path: &str, report: support::Pairs) -> u16 {
    node.account(Method::PUT, path, &report.each())
        .await
        .status
        .as_u16()
}

#[tokio::test]
async fn an_account_is_created_updated_and_deleted_for_good() {
    let node = node();
    let deleted = || Some("Deleted".to_owned());
    for (method, at, want) in [
        (Method::HEAD, "1", (404, None)),
        (Method::GET, "1", (404, None)),
        (Method::POST, "1", (404, None)),
        (Method::DELETE, "1", (404, None)),
        (Method::PUT, "10", (201, None)),
        (Method::PUT, "11", (202, None)),
        (Method::HEAD, "11", (204, None)),
        (Method::GET, "11", (204, None)),
        (Method::POST, "12", (204, None)),
        (Method::DELETE, "5", (409, None)),
        (Method::DELETE, "20", (204, deleted())),
        (Method::HEAD, "21", (404, deleted())),
        (Method::GET, "21", (404, deleted())),
        (Method::POST, "21", (404, deleted())),
        (Method::DELETE, "21", (404, deleted())),
        // Until it is reaped nobody makes it anew.
        (Method::PUT, "30", (403, deleted())),
    ] {
        assert_eq!(
            status(&node, method.clone(), "/a", at).await,
            want,
            "{method} at {at}"
        );
    }
}

#[tokio::test]
async fn an_account_with_containers_can_be_deleted_and_then_takes_rows_only_from_the_reaper() {
    let node = node();
    assert_eq!(status(&node, Method::PUT, "/a", "1").await.0, 201);
    assert_eq!(report(&node, "/a/c", report_headers(5, 4, 0, 2, 20)).await, 201);
    assert_eq!(status(&node, Method::DELETE, "/a", "10").await.0, 204);
    assert_eq!(report(&node, "/a/c", report_headers(11, 4, 0, 3, 30)).await, 404);
    let mut reaped = report_headers(12, 4, 11, 0, 0);
    reaped.0.push(("x-account-override-deleted", "yes".to_owned()));
    assert_eq!(report(&node, "/a/c", reaped).await, 204);
}

#[tokio::test]
async fn statistics_follow_the_newest_report_of_each_container() {
    let node = node();
    assert_eq!(status(&node, Method::PUT, "/a", "1").await.0, 201);
    assert_eq!(report(&node, "/a/c", report_headers(10, 5, 0, 2, 20)).await, 201);
    assert_eq!(report(&node, "/a/d", report_headers(10, 5, 0, 1, 7)).await, 201);
    let mut silver = report_headers(10, 6, 0, 4, 400);
    silver.0.push(("x-backend-storage-policy-index", "1".to_owned()));
    assert_eq!(report(&node, "/a/e", silver).await, 201);
    // A newer report and then an older one that comes late.
    assert_eq!(report(&node, "/a/c", report_headers(12, 5, 0, 5, 50)).await, 201);
    assert_eq!(report(&node, "/a/c", report_headers(11, 5, 0, 3, 30)).await, 201);
    for method in [Method::HEAD, Method::GET] {
        let answer = node.account(method.clone(), "/a", &[]).await;
        for (name, value) in [
            ("x-account-container-count", "3"),
            ("x-account-object-count", "10"),
            ("x-account-bytes-used", "457"),
            ("x-account-storage-policy-gold-container-count", "2"),
            ("x-account-storage-policy-gold-object-count", "6"),
            ("x-account-storage-policy-gold-bytes-used", "57"),
            ("x-account-storage-policy-silver-container-count", "1"),
            ("x-account-storage-policy-silver-object-count", "4"),
            ("x-account-storage-policy-silver-bytes-used", "400"),
            ("x-timestamp", "0000000001.00000"),
            ("x-put-timestamp", "0000000001.00000"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{method} {name}");
        }
    }
    // Deleted and empty: gone from the listing and the statistics.
    assert_eq!(report(&node, "/a/d", report_headers(20, 5, 19, 0, 0)).await, 204);
    let answer = node.account(Method::GET, "/a?format=json", &[]).await;
    assert_eq!(answer.names(), ["c", "e"]);
    assert_eq!(answer.header("x-account-container-count"), Some("2"));
    // A late report of the time before does not bring it back; a new creation does.
    assert_eq!(report(&node, "/a/d", report_headers(15, 5, 0, 1, 7)).await, 201);
    assert_eq!(
        node.account(Method::GET, "/a?format=json", &[]).await.names(),
        ["c", "e"]
    );
    assert_eq!(report(&node, "/a/d", report_headers(30, 29, 19, 0, 0)).await, 201);
    assert_eq!(
        node.account(Method::GET, "/a?format=json", &[]).await.names(),
        ["c", "d", "e"]
    );
}

#[tokio::test]
async fn listings_in_every_format() {
    let node = node();
    assert_eq!(status(&node, Method::PUT, "/a", "1").await.0, 201);
    for name in ["b-1", "b-2", "c", "d%2E"] {
        assert_eq!(
            report(&node, &format!("/a/{name}"), report_headers(10, 5, 0, 2, 20)).await,
            201
        );
    }
    let get = async |query: &str| node.account(Method::GET, &format!("/a?{query}"), &[]).await;
    assert_eq!(
        get("format=json&limit=1").await.json(),
        serde_json::json!([{
            "name": "b-1",
            "count": 2,
            "bytes": 20,
            "last_modified": "1970-01-01T00:00:05.000000",
            "storage_policy": "gold",
        }])
    );
    assert_eq!(get("").await.body, "b-1\nb-2\nc\nd.\n");
    assert_eq!(
        get("format=xml&delimiter=-&end_marker=d").await.body,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<account name=\"a\">\n<subdir name=\"b-\" />\n<container>\
         <name>c</name><count>2</count><bytes>20</bytes><last_modified>1970-01-01T00:00:05.000000</last_modified>\
         <storage_policy>gold</storage_policy></container>\n</account>"
    );
    for (query, want) in [
        ("marker=b-2", &["c", "d."][..]),
        ("prefix=b", &["b-1", "b-2"]),
        ("delimiter=-", &["b-", "c", "d."]),
        ("reverse=true&limit=2", &["d.", "c"]),
        ("end_marker=c", &["b-1", "b-2"]),
        // Accounts know no pseudo-folders.
        ("path=b", &["b-1", "b-2", "c", "d."]),
    ] {
        assert_eq!(
            get(&format!("format=json&{query}")).await.names(),
            want,
            "{query}"
        );
    }
    let rows = node
        .account(Method::GET, "/a?limit=1", &[("x-backend-martlet-rows", "1")])
        .await;
    let rows: Vec<ListingEntry<ContainerRow>> = rows.rows();
    assert!(
        matches!(&rows[..], [ListingEntry::Row(row)] if row.name == "b-1" && row.stats_timestamp.secs() == 10)
    );
}

#[tokio::test]
async fn empty_listings_and_limits() {
    let node = node_with(
        Limits {
            account_listing_limit: 5,
            ..Limits::default()
        },
        Arc::new(|_| Vec::new()),
    );
    assert_eq!(status(&node, Method::PUT, "/a", "1").await.0, 201);
    for (query, want) in [
        ("", 204),
        ("format=json", 200),
        ("format=xml", 200),
        ("limit=5", 204),
        ("limit=6", 412),
    ] {
        assert_eq!(
            node.account(Method::GET, &format!("/a?{query}"), &[])
                .await
                .status
                .as_u16(),
            want,
            "{query}"
        );
    }
}

#[tokio::test]
async fn metadata_is_kept_and_removed() {
    let node = node();
    let send = async |method: Method, at: &str, value: &str| {
        let headers = [
            ("x-timestamp", at),
            ("x-account-meta-a", value),
            ("x-account-sysmeta-core-access-control", value),
            ("x-container-meta-a", "not an account's"),
        ];
        node.account(method, "/a", &headers).await.status.as_u16()
    };
    let shown = async || {
        let answer = node.account(Method::HEAD, "/a", &[]).await;
        assert_eq!(answer.header("x-container-meta-a"), None);
        ["x-account-meta-a", "x-account-sysmeta-core-access-control"]
            .map(|name| answer.header(name).map(str::to_owned))
    };
    let both = |value: &str| [Some(value.to_owned()), Some(value.to_owned())];
    assert_eq!(send(Method::PUT, "10", "first").await, 201);
    assert_eq!(shown().await, both("first"));
    assert_eq!(send(Method::POST, "20", "zweite Ä").await, 204);
    assert_eq!(send(Method::PUT, "15", "late").await, 202);
    assert_eq!(shown().await, both("zweite Ä"));
    assert_eq!(send(Method::POST, "30", "").await, 204);
    assert_eq!(shown().await, [None, None]);
}

#[tokio::test]
async fn rows_need_their_account_unless_it_is_the_clusters_own() {
    let node = node();
    assert_eq!(report(&node, "/a/c", report_headers(5, 4, 0, 2, 20)).await, 404);
    assert_eq!(status(&node, Method::HEAD, "/a", "1").await.0, 404);
    assert_eq!(
        report(&node, "/.own/c", report_headers(5, 4, 0, 2, 20)).await,
        201
    );
    assert_eq!(
        node.account(Method::GET, "/.own?format=json", &[]).await.names(),
        ["c"]
    );
}

#[tokio::test]
async fn malformed_requests_are_refused_at_once() {
    let node = node();
    assert_eq!(status(&node, Method::PUT, "/a", "1").await.0, 201);
    let good = report_headers(5, 4, 0, 2, 20);
    for (name, value) in [
        ("x-timestamp", Some("x")),
        ("x-put-timestamp", None),
        ("x-put-timestamp", Some("x")),
        ("x-delete-timestamp", None),
        ("x-object-count", None),
        ("x-object-count", Some("-1")),
        ("x-bytes-used", Some("9223372036854775808")),
        ("x-backend-storage-policy-index", Some("gold")),
    ] {
        let kept = good.each().into_iter().filter(|(n, _)| *n != name);
        let headers: Vec<_> = kept.chain(value.map(|value| (name, value))).collect();
        let answer = node.account(Method::PUT, "/a/c", &headers).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name} {value:?}");
    }
    for (method, uri, want) in [
        (Method::PUT, "/sda/7/a", 400),
        (Method::POST, "/sda/7/a", 400),
        (Method::DELETE, "/sda/7/a", 400),
        (Method::GET, "/sda/7/a/c", 400),
        (Method::DELETE, "/sda/7/a/c", 400),
        (Method::PUT, "/sda/7/a/c/o", 400),
        (Method::GET, "/sda/7/%ff", 412),
        (Method::GET, "/sdz/7/a", 507),
        (Method::PATCH, "/sda/7/a", 405),
    ] {
        let answer = call(&node.accounts, method.clone(), uri, &[]).await;
        assert_eq!(answer.status.as_u16(), want, "{method} {uri}");
    }
    assert_eq!(
        node.account(Method::GET, "/a?format=json", &[]).await.names(),
        Vec::<String>::new()
    );
}
