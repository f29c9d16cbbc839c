//! Whatever makes no sense is refused at once, with Swift's status, and changes nothing.

use crate::house::{House, ask, delete, get, post, put};

#[tokio::test]
async fn malformed_paths() {
    let house = House::new();
    for (path, status) in [
        ("/", 400),
        ("/sda", 400),
        ("/sda/7/a/c", 400),
        ("/sda/7/a/c/", 400),
        ("/sda/7//c/o", 400),
        ("/sda/seven/a/c/o", 400),
        ("/sda/-1/a/c/o", 400),
        ("/../7/a/c/o", 400),
        ("/%2e%2e/7/a/c/o", 400),
        ("/sda/7/a%2Fb/c/o", 400),
        ("/sda/7/a/c/%ff", 412),
        ("/sda/7/a/c/o%00", 412),
        ("/sdb/7/a/c/o", 507),
        ("/sda/7/a/c/o", 404),
        ("/sda/7/a/c/o/with/slashes%20and%20blanks", 404),
    ] {
        for method in ["GET", "HEAD"] {
            assert_eq!(
                ask(method).path(path).send(&house).await.status,
                status,
                "{method} {path}"
            );
        }
    }
    let long = format!("/sda/7/a/c/{}", "o".repeat(1025));
    assert_eq!(put("1").path(&long).send(&house).await.status, 400);
}

#[tokio::test]
async fn methods_that_objects_do_not_have() {
    let house = House::new();
    for method in ["COPY", "OPTIONS", "PATCH", "REPLICATE", "SSYNC"] {
        let answer = ask(method).send(&house).await;
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("allow"), Some("DELETE, GET, HEAD, POST, PUT"));
    }
}

#[tokio::test]
async fn policies_that_are_not_there() {
    let house = House::new();
    for (index, status) in [("0", 404), ("", 404), ("7", 503), ("gold", 503), ("70000", 503)] {
        let answer = ask("GET")
            .with("x-backend-storage-policy-index", index)
            .send(&house)
            .await;
        assert_eq!(answer.status, status, "{index}");
    }
}

#[tokio::test]
async fn puts_that_make_no_sense_store_nothing() {
    let house = House::new();
    let long_value = "v".repeat(257);
    let long_name = format!("x-object-meta-{}", "n".repeat(129));
    let cases = [
        (put("1").without("x-timestamp"), 400, "Missing X-Timestamp header"),
        (put("yesterday"), 400, "Invalid X-Timestamp header"),
        (put("1").without("content-type"), 400, "No content type"),
        (
            put("1").with("content-length", "-1"),
            400,
            "Invalid Content-Length header value",
        ),
        (
            put("1").with("content-length", "5368709123"),
            413,
            "Your request is too large.",
        ),
        (
            put("100").with("x-delete-at", "soon"),
            400,
            "Non-integer X-Delete-At",
        ),
        (put("100").with("x-delete-at", "99"), 400, "X-Delete-At in past"),
        (put("100").with("x-delete-at", "-200"), 400, "X-Delete-At in past"),
        (put("100").with("x-delete-at", ""), 400, "Non-integer X-Delete-At"),
        (
            put("100").with("x-delete-after", "0"),
            400,
            "X-Delete-After in past",
        ),
        (
            put("1").with("x-object-meta-", "v"),
            400,
            "Metadata name cannot be empty",
        ),
        (
            put("1").with("x-object-meta-a", &long_value),
            400,
            "Metadata value longer than 256: x-object-meta-a",
        ),
        (
            put("1").with(&long_name, "v"),
            400,
            &format!("Metadata name too long: {long_name}"),
        ),
        (
            put("1").with("x-container-host", "h:1"),
            400,
            "Different numbers of container hosts and devices",
        ),
        (
            put("1").with("x-backend-martlet-etag", "short"),
            400,
            "Invalid X-Backend-Martlet-Etag",
        ),
        (
            put("1").with("x-backend-obj-metadata-footer", "yes"),
            501,
            "x-backend-obj-metadata-footer is not supported",
        ),
    ];
    for (ask, status, text) in cases {
        let answer = ask.body("data").send(&house).await;
        assert_eq!((answer.status, answer.text()), (status, text));
    }
    assert_eq!(get(&house).await.status, 404);
    assert_eq!(house.device.stats().await.unwrap().objects, 0);
}

#[tokio::test]
async fn too_much_metadata_is_refused() {
    let house = House::new();
    let many = (0..91).fold(put("1"), |ask, at| ask.with(&format!("x-object-meta-{at}"), "v"));
    assert_eq!(many.send(&house).await.text(), "Too many metadata items; max 90");
    let value = "v".repeat(250);
    let large = (0..17).fold(put("1"), |ask, at| {
        ask.with(&format!("x-object-meta-{at}"), &value)
    });
    assert_eq!(
        large.send(&house).await.text(),
        "Total metadata too large; max 4096"
    );
    assert_eq!(get(&house).await.status, 404);
}

#[tokio::test]
async fn posts_and_deletes_that_make_no_sense_change_nothing() {
    let house = House::new();
    house.store("5", b"data").await;
    for (ask, status, text) in [
        (
            post("9").without("x-timestamp"),
            400,
            "Missing X-Timestamp header",
        ),
        (
            post("9").with("x-delete-at", "soon"),
            400,
            "Non-integer X-Delete-At",
        ),
        (post("100").with("x-delete-at", "99"), 400, "X-Delete-At in past"),
        (
            post("9")
                .with("content-type", "text/x")
                .with("content-type-timestamp", "then"),
            400,
            "Invalid Content-Type-Timestamp header",
        ),
        (
            delete("9").without("x-timestamp"),
            400,
            "Missing X-Timestamp header",
        ),
        (
            delete("9").with("x-if-delete-at", "soon"),
            400,
            "Bad X-If-Delete-At header value",
        ),
        (
            delete("9").with("x-if-delete-at", "77"),
            412,
            "X-If-Delete-At and X-Delete-At do not match",
        ),
    ] {
        let answer = ask.send(&house).await;
        assert_eq!((answer.status, answer.text()), (status, text));
    }
    let answer = get(&house).await;
    assert_eq!(
        (answer.status, answer.header("x-backend-timestamp")),
        (200, Some("0000000005.00000"))
    );
}

#[tokio::test]
async fn a_device_works_on_a_bounded_number_of_requests() {
    let house = House::with(|config| config.settings.max_requests_per_device = 1);
    let (mut sender, body) = martlet_service::Body::channel(1);
    let upload = put("1").stream(body).send(&house);
    let meanwhile = async {
        sender.wanted().await.unwrap();
        assert_eq!(get(&house).await.status, 503);
        sender.finish().await.unwrap();
    };
    let (stored, ()) = futures_util::join!(upload, meanwhile);
    assert_eq!(stored.status, 201);
    assert_eq!(get(&house).await.status, 200);
}
