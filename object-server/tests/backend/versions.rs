//! Objects whose versions are kept: one request makes a version, makes it current and tells the container of both.

use crate::house::{Answer, Ask, CONTAINER, House, Row, ask, delete, get, post, put};
use http::Method;
use martlet_protocol::header;
use martlet_protocol::percent;
use martlet_protocol::record::ObjectData;
use martlet_protocol::version::{DELETE_MARKER, VersionId, pointer_to, version_name};

const VERSIONED: (&str, &str) = (header::X_BACKEND_MARTLET_VERSIONED, "true");

fn id(moment: &str) -> VersionId {
    VersionId::parse(moment).unwrap()
}

fn path(moment: &str) -> String {
    let name = version_name("o", id(moment));
    format!("/sda/7/a/c/{}", percent::quote_segment(&name))
}

/// A request about a version, in the cluster's own name.
fn about(ask: Ask, moment: &str) -> Ask {
    ask.path(&path(moment))
        .with(header::X_BACKEND_ALLOW_RESERVED_NAMES, "true")
}

async fn store(house: &House, at: &str, body: &'static str) -> Answer {
    put(at)
        .with(VERSIONED.0, VERSIONED.1)
        .with_all(&CONTAINER)
        .body(body)
        .send(house)
        .await
}

/// Rows as (verb, name, version, size), in the order of their names.
fn rows(house: &House) -> Vec<(Method, String, Option<String>, Option<String>)> {
    let said = |row: &Row, name: &str| row.header(name).map(str::to_owned);
    let name = |row: &Row| {
        let name = row.path.strip_prefix("/cdev/42/a/c/").unwrap();
        percent::unquote(name).unwrap()
    };
    let taken = house.containers.take_rows();
    let rows = taken.iter().map(|row| {
        let version = said(row, header::X_BACKEND_MARTLET_VERSION_ID);
        (row.method.clone(), name(row), version, said(row, "x-size"))
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by(|a, b| a.1.cmp(&b.1));
    rows
}

fn row(
    verb: Method,
    name: &str,
    version: Option<&str>,
    size: Option<&str>,
) -> (Method, String, Option<String>, Option<String>) {
    let text = |text: &str| text.to_owned();
    (verb, name.to_owned(), version.map(text), size.map(text))
}

#[tokio::test]
async fn a_put_is_a_version_and_the_current_one() {
    let house = House::new();
    let (five, six) = ("0000000005.00000", "0000000006.00000");
    assert_eq!(store(&house, "5", "five!").await.status, 201);
    let version = version_name("o", id("5"));
    assert_eq!(
        rows(&house),
        [
            row(Method::PUT, &version, None, Some("5")),
            row(Method::PUT, "o", Some(five), Some("5")),
        ]
    );
    assert_eq!(store(&house, "6", "six").await.status, 201);
    for verb in ["GET", "HEAD"] {
        let current = ask(verb).send(&house).await;
        assert_eq!(
            (current.status, current.header("content-length")),
            (200, Some("3"))
        );
        assert_eq!(current.header(header::CURRENT_VERSION), Some(six));
        let older = about(ask(verb), "5").send(&house).await;
        assert_eq!((older.status, older.header("content-length")), (200, Some("5")));
        assert_eq!(older.header(header::CURRENT_VERSION), None);
    }
    assert_eq!(get(&house).await.text(), "six");
    let etag = get(&house).await.header("etag").unwrap().to_owned();
    for (name, value, expected) in [
        ("range", "bytes=1-2", 206),
        ("if-match", etag.as_str(), 200),
        ("if-match", "other", 412),
        ("if-none-match", etag.as_str(), 304),
    ] {
        let answer = ask("GET").with(name, value).send(&house).await;
        assert_eq!(answer.status, expected, "{name}: {value}");
    }
    let pointer = ask("HEAD")
        .with(header::X_BACKEND_MARTLET_POINTER, "true")
        .send(&house)
        .await;
    assert_eq!(pointer.header("content-length"), Some("0"));
    assert_eq!(pointer.header(header::CURRENT_VERSION), Some(six));
    let again = put("7")
        .with("if-none-match", "*")
        .with(VERSIONED.0, VERSIONED.1)
        .body("x");
    assert_eq!(again.send(&house).await.status, 412);
    // The same write again, and one that comes late.
    assert_eq!(store(&house, "6", "six").await.status, 409);
    assert_eq!(store(&house, "5.5", "late").await.status, 201);
    assert_eq!(get(&house).await.text(), "six");
    assert_eq!(about(ask("GET"), "5.5").send(&house).await.text(), "late");
}

#[tokio::test]
async fn deletions_leave_a_marker_or_take_a_version() {
    let house = House::new();
    house.store("4", b"null").await;
    store(&house, "5", "five").await;
    house.containers.take_rows();
    let marked = delete("6").with(VERSIONED.0, VERSIONED.1).with_all(&CONTAINER);
    assert_eq!(marked.send(&house).await.status, 204);
    let marker = version_name("o", id("6"));
    assert_eq!(
        rows(&house),
        [
            row(Method::PUT, &marker, None, Some("0")),
            row(Method::DELETE, "o", None, None),
        ]
    );
    assert_eq!(get(&house).await.status, 404);
    let marker = about(ask("HEAD"), "6").send(&house).await;
    assert_eq!(marker.header("content-type"), Some(DELETE_MARKER));
    for (moment, text) in [("4", "null"), ("5", "five")] {
        assert_eq!(about(ask("GET"), moment).send(&house).await.text(), text);
    }
    // Another marker over nothing; it goes again, and so does a version that is current.
    let marked = delete("7").with(VERSIONED.0, VERSIONED.1).send(&house).await;
    assert_eq!(marked.status, 404);
    assert_eq!(about(delete("8"), "7").send(&house).await.status, 204);
    assert_eq!(about(delete("9"), "7").send(&house).await.status, 404);
    store(&house, "10", "ten").await;
    house.containers.take_rows();
    let gone = about(delete("11"), "10").with_all(&CONTAINER).send(&house).await;
    assert_eq!((gone.status, get(&house).await.status), (204, 404));
    assert_eq!(
        rows(&house),
        [
            row(Method::DELETE, &version_name("o", id("10")), None, None),
            row(Method::DELETE, "o", None, None),
        ]
    );
}

#[tokio::test]
async fn what_had_no_version_is_told_to_the_container_when_it_gets_one() {
    let house = House::new();
    house.store("4", b"null").await;
    store(&house, "5", "five!").await;
    let five = "0000000005.00000";
    assert_eq!(
        rows(&house),
        [
            row(Method::PUT, &version_name("o", id("5")), None, Some("5")),
            row(Method::PUT, &version_name("o", id("4")), None, Some("4")),
            row(Method::PUT, "o", Some(five), Some("5")),
        ]
    );
}

#[tokio::test]
async fn a_version_becomes_current_again() {
    let house = House::new();
    store(&house, "5", "five").await;
    house.store("6", b"without versions").await;
    let data = ObjectData {
        length: 4,
        etag: "e".into(),
        content_type: "text/plain".into(),
        metadata: Vec::new(),
        delete_at: None,
        blake3: [0; 32],
    };
    let restore = |at: &str| {
        let pointer = pointer_to(&data, id("5"), None);
        let ask = pointer
            .metadata
            .iter()
            .fold(put(at), |ask, (name, value)| ask.with(name, value));
        ask.with("content-length", "0").with_all(&CONTAINER)
    };
    house.containers.take_rows();
    assert_eq!(restore("7").send(&house).await.status, 201);
    assert_eq!(get(&house).await.text(), "five");
    assert_eq!(
        about(ask("GET"), "6").send(&house).await.text(),
        "without versions"
    );
    assert_eq!(
        rows(&house),
        [
            row(Method::PUT, &version_name("o", id("6")), None, Some("16")),
            row(Method::PUT, "o", Some("0000000005.00000"), Some("4")),
        ]
    );
    // A pointer has no bytes and points to something.
    let bodied = restore("8")
        .without("content-length")
        .with("content-length", "1")
        .body("x");
    assert_eq!(bodied.send(&house).await.status, 400);
    let nowhere = put("8")
        .with("content-length", "0")
        .with(header::CURRENT_VERSION, "junk");
    assert_eq!(nowhere.send(&house).await.status, 400);
    let junk = post("8").with(header::X_BACKEND_MARTLET_VERSION_ID, "junk");
    assert_eq!(junk.send(&house).await.status, 400);
    assert_eq!(about(delete("9"), "5").send(&house).await.status, 204);
    assert_eq!(restore("10").send(&house).await.status, 409);
    assert_eq!(get(&house).await.status, 404);
}

#[tokio::test]
async fn posts_and_expiries_are_those_of_the_current_version() {
    let house = House::new();
    let stored = put("5")
        .with(VERSIONED.0, VERSIONED.1)
        .with("x-delete-at", "1000050")
        .with("x-object-meta-color", "red")
        .body("five");
    assert_eq!(stored.send(&house).await.status, 201);
    let current = get(&house).await;
    assert_eq!(current.header("x-delete-at"), Some("1000050"));
    let posted = post("6")
        .with(header::X_BACKEND_MARTLET_VERSION_ID, "5")
        .with("x-object-meta-color", "blue")
        .with("x-delete-at", "1000060");
    assert_eq!(posted.send(&house).await.status, 202);
    let current = get(&house).await;
    for (name, value) in [("x-object-meta-color", "blue"), ("x-delete-at", "1000060")] {
        assert_eq!(current.header(name), Some(value), "{name}");
    }
    // The object goes, the version stays.
    house.clock.advance_secs(70);
    assert_eq!(get(&house).await.status, 404);
    let version = about(ask("GET"), "5").send(&house).await;
    assert_eq!(
        (version.text(), version.header("x-object-meta-color")),
        ("five", Some("blue"))
    );
    assert_eq!(version.header("x-delete-at"), None);
}

#[tokio::test]
async fn a_pointer_ahead_of_its_version_is_no_answer() {
    let house = House::new();
    store(&house, "5", "five").await;
    let hash = house.hash("o");
    let record = house
        .device
        .read_object(house.policy(), hash)
        .await
        .unwrap()
        .unwrap();
    let other = House::new();
    let writer = other.device.begin_body(Some(0)).await.unwrap();
    let merged = other
        .device
        .merge_object(other.policy(), hash, record, Some(writer))
        .await;
    assert_eq!(merged, Ok(true));
    let posted = post("6").with(header::X_BACKEND_MARTLET_VERSION_ID, "5");
    for ask in [ask("GET"), ask("HEAD"), posted] {
        assert_eq!(ask.send(&other).await.status, 503);
    }
}
