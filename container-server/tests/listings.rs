//! Listings of containers: every parameter, every format, and whole rows for proxies.

mod support;

use http::Method;
use martlet_protocol::limits::Limits;
use martlet_protocol::row::{ListingEntry, ObjectRow};
use std::sync::Arc;
use support::{Answer, Node, node, node_with};

async fn filled(names: &[&str]) -> Node {
    let node = node();
    node.make_container("/a/c", 1).await;
    for (at, name) in names.iter().enumerate() {
        let path = format!("/a/c/{}", martlet_protocol::percent::quote(name));
        node.row(&path, 10 + at as u64, 1 + at as u64).await;
    }
    node
}

async fn list(node: &Node, query: &str) -> Answer {
    node.container(Method::GET, &format!("/a/c?{query}"), &[]).await
}

#[tokio::test]
async fn parameters_choose_and_order_the_entries() {
    let node = filled(&["a", "b/1", "b/2", "b/x/3", "c", "d/", "d/4", "ü"]).await;
    for (query, want) in [
        ("", &["a", "b/1", "b/2", "b/x/3", "c", "d/", "d/4", "ü"][..]),
        ("limit=2", &["a", "b/1"]),
        ("limit=0", &[]),
        ("limit=nonsense&prefix=c", &["c"]),
        ("marker=b/2", &["b/x/3", "c", "d/", "d/4", "ü"]),
        ("marker=b", &["b/1", "b/2", "b/x/3", "c", "d/", "d/4", "ü"]),
        ("end_marker=b/2", &["a", "b/1"]),
        ("marker=a&end_marker=c", &["b/1", "b/2", "b/x/3"]),
        ("marker=z&end_marker=b", &[]),
        ("prefix=b/", &["b/1", "b/2", "b/x/3"]),
        ("prefix=b/&marker=b/1&limit=1", &["b/2"]),
        ("prefix=%C3%BC", &["ü"]),
        ("delimiter=/", &["a", "b/", "c", "d/", "ü"]),
        ("delimiter=/&limit=2", &["a", "b/"]),
        ("delimiter=/&marker=b/", &["c", "d/", "ü"]),
        ("delimiter=/&marker=b/&limit=1", &["c"]),
        ("prefix=b/&delimiter=/", &["b/1", "b/2", "b/x/"]),
        ("prefix=b&delimiter=/", &["b/"]),
        ("prefix=d/&delimiter=/", &["d/", "d/4"]),
        ("delimiter=b/", &["a", "b/", "c", "d/", "d/4", "ü"]),
        ("path=", &["a", "c", "d/", "ü"]),
        ("path=b", &["b/1", "b/2"]),
        ("path=b/", &["b/1", "b/2"]),
        ("path=d", &["d/4"]),
        (
            "reverse=true",
            &["ü", "d/4", "d/", "c", "b/x/3", "b/2", "b/1", "a"],
        ),
        ("reverse=on&limit=2", &["ü", "d/4"]),
        ("reverse=1&marker=c", &["b/x/3", "b/2", "b/1", "a"]),
        ("reverse=yes&end_marker=c", &["ü", "d/4", "d/"]),
        ("reverse=true&delimiter=/", &["ü", "d/", "c", "b/", "a"]),
        ("reverse=true&prefix=b/&delimiter=/", &["b/x/", "b/2", "b/1"]),
        ("reverse=false&limit=1", &["a"]),
    ] {
        let answer = list(&node, &format!("format=json&{query}")).await;
        assert_eq!(answer.status.as_u16(), 200, "{query}");
        assert_eq!(answer.names(), want, "{query}");
    }
}

#[tokio::test]
async fn marking_on_page_by_page_sees_every_entry_once() {
    let names: Vec<String> = (0..57).map(|at| format!("{}/{}", at % 7, at)).collect();
    let node = filled(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for (query, reverse) in [
        ("", false),
        ("delimiter=/", false),
        ("reverse=true", true),
        ("reverse=true&delimiter=/", true),
    ] {
        let whole = list(&node, &format!("format=json&{query}")).await.names();
        let mut seen: Vec<String> = Vec::new();
        loop {
            let marker = seen
                .last()
                .map_or(String::new(), |last| martlet_protocol::percent::quote(last));
            let page = list(&node, &format!("format=json&limit=3&{query}&marker={marker}"))
                .await
                .names();
            if page.is_empty() {
                break;
            }
            seen.extend(page);
        }
        assert_eq!(seen, whole, "{query}");
        assert!(
            seen.windows(2).all(|pair| (pair[0] < pair[1]) != reverse),
            "{query}"
        );
    }
}

#[tokio::test]
async fn formats() {
    let node = filled(&["a&b", "d/e"]).await;
    let text = list(&node, "delimiter=/").await;
    assert_eq!((text.status.as_u16(), text.body.as_str()), (200, "a&b\nd/\n"));
    assert_eq!(text.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(text.header("content-length"), Some("7"));
    let json = list(&node, "format=json&delimiter=/").await;
    assert_eq!(
        json.header("content-type"),
        Some("application/json; charset=utf-8")
    );
    let want = serde_json::json!([
        {
            "bytes": 1,
            "hash": "etag10",
            "name": "a&b",
            "content_type": "text/plain",
            "last_modified": "1970-01-01T00:00:10.000000",
        },
        {"subdir": "d/"},
    ]);
    assert_eq!(json.json(), want);
    let xml = list(&node, "format=xml&delimiter=/").await;
    assert_eq!(xml.header("content-type"), Some("application/xml; charset=utf-8"));
    assert_eq!(
        xml.body,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<container name=\"c\"><object><name>a&amp;b</name>\
         <hash>etag10</hash><bytes>1</bytes><content_type>text/plain</content_type>\
         <last_modified>1970-01-01T00:00:10.000000</last_modified></object>\
         <subdir name=\"d/\"><name>d/</name></subdir></container>"
    );
    let accepted = node
        .container(Method::GET, "/a/c", &[("accept", "text/xml")])
        .await;
    assert_eq!(accepted.header("content-type"), Some("text/xml; charset=utf-8"));
    assert_eq!(accepted.header("x-container-object-count"), Some("2"));
}

#[tokio::test]
async fn an_empty_listing_has_no_body_only_in_plain_text() {
    let node = filled(&[]).await;
    for (query, status, body) in [
        ("", 204, ""),
        ("format=plain", 204, ""),
        ("format=json", 200, "[]"),
    ] {
        let answer = list(&node, query).await;
        assert_eq!(
            (answer.status.as_u16(), answer.body.as_str()),
            (status, body),
            "{query}"
        );
        assert_eq!(answer.header("x-container-object-count"), Some("0"));
    }
    let xml = list(&node, "format=xml").await;
    assert_eq!(xml.status.as_u16(), 200);
    assert!(xml.body.ends_with("<container name=\"c\" />"));
}

#[tokio::test]
async fn limits_over_the_maximum_are_refused() {
    let node = node_with(
        Limits {
            container_listing_limit: 3,
            ..Limits::default()
        },
        Arc::new(|_| Vec::new()),
    );
    node.make_container("/a/c", 1).await;
    for name in ["a", "b", "c", "d"] {
        node.row(&format!("/a/c/{name}"), 5, 1).await;
    }
    assert_eq!(list(&node, "format=json").await.names(), ["a", "b", "c"]);
    assert_eq!(list(&node, "format=json&limit=3").await.status.as_u16(), 200);
    let refused = list(&node, "limit=4").await;
    assert_eq!(
        (refused.status.as_u16(), refused.body.as_str()),
        (412, "Maximum limit is 3")
    );
}

#[tokio::test]
async fn whole_rows_carry_timestamps_and_tombstones() {
    let node = filled(&["a", "b", "c/1", "c/2"]).await;
    node.gone("/a/c/b", 50).await;
    let headers = [("x-backend-martlet-rows", "1")];
    let answer = node
        .container(Method::GET, "/a/c?delimiter=/&limit=2", &headers)
        .await;
    assert_eq!(answer.status.as_u16(), 200);
    let rows: Vec<ListingEntry<ObjectRow>> = answer.rows();
    let [
        ListingEntry::Row(first),
        ListingEntry::Row(second),
        ListingEntry::Subdir(third),
    ] = rows.as_slice()
    else {
        panic!("two rows and a subdir: the tombstone does not use up the limit, got {rows:?}");
    };
    assert_eq!(
        (first.name.as_str(), first.deleted, first.timestamp.secs()),
        ("a", false, 10)
    );
    assert_eq!(
        (second.name.as_str(), second.deleted, second.timestamp.secs()),
        ("b", true, 50)
    );
    assert_eq!(third, "c/");
    // To everyone else the deleted one is not there, and an emptied folder neither.
    node.gone("/a/c/c/1", 51).await;
    node.gone("/a/c/c/2", 51).await;
    assert_eq!(list(&node, "format=json&delimiter=/").await.names(), ["a"]);
}

#[tokio::test]
async fn the_clusters_own_names_are_shown_only_on_demand() {
    let node = node();
    let allow = [("x-backend-allow-reserved-names", "true")];
    node.make_container("/a/%00c", 1).await;
    node.row("/a/%00c/%00o", 5, 1).await;
    let hidden = node.container(Method::GET, "/a/%00c?format=json", &[]).await;
    assert_eq!(hidden.names(), Vec::<String>::new());
    let reversed = node
        .container(Method::GET, "/a/%00c?format=json&reverse=true", &[])
        .await;
    assert_eq!(reversed.names(), Vec::<String>::new());
    assert_eq!(
        node.container(Method::GET, "/a/%00c?format=json", &allow)
            .await
            .names(),
        ["\0o"]
    );
}

#[tokio::test]
async fn a_page_of_ten_thousand_rows_is_listed_whole() {
    let node = node();
    node.make_container("/a/c", 1).await;
    let hash = martlet_protocol::hash::HashSalt {
        prefix: String::new(),
        suffix: "test".into(),
    };
    let hash = hash.hash("a", Some("c"), None);
    let at = martlet_protocol::timestamp::Timestamp::from_secs(5);
    let row = |number: usize| {
        martlet_storage::Row::Object(ObjectRow {
            name: format!("object-{number:05}"),
            timestamp: at,
            deleted: false,
            size: 4096,
            content_type: "application/octet-stream".into(),
            etag: "d41d8cd98f00b204e9800998ecf8427e".into(),
            content_type_timestamp: at,
            meta_timestamp: at,
            policy: Default::default(),
            version: None,
        })
    };
    let rows = (0..10_001).map(row).collect();
    let stored = node
        .device
        .put_rows(martlet_storage::Space::Containers, hash, rows, None, |_| None)
        .await;
    assert_eq!(stored, Ok(martlet_storage::RowsOutcome::Stored));
    let page = list(&node, "format=json").await;
    let names = page.names();
    assert_eq!(
        (names.len(), names[0].as_str(), names[9_999].as_str()),
        (10_000, "object-00000", "object-09999")
    );
    assert_eq!(
        list(&node, "format=json&marker=object-09999").await.names(),
        ["object-10000"]
    );
    assert_eq!(page.header("x-container-object-count"), Some("10001"));
}
