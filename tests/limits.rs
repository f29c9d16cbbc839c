//! Quotas, rates, forbidden names, closed clusters: what is refused, to whom, and what still goes.

mod support;

use support::Cluster;
use support::http::{Swift, request};

async fn put(user: &Swift, path: &str, body: &str) -> (u16, String) {
    let answer = user.call("PUT", path, &[], body.to_owned()).await;
    (answer.status, answer.text())
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_hold_what_their_owners_allow() {
    let cluster = Cluster::start();
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    for (name, value, words) in [
        ("x-container-meta-quota-bytes", "abc", "Invalid bytes quota."),
        ("x-container-meta-quota-bytes", "-1", "Invalid bytes quota."),
        ("x-container-meta-quota-count", "abc", "Invalid count quota."),
    ] {
        for method in ["PUT", "POST"] {
            let answer = user.call(method, "/bad", &[(name, value)], "").await;
            assert_eq!(
                (answer.status, answer.text().as_str()),
                (400, words),
                "{method} {name}"
            );
        }
    }
    let quota = [("x-container-meta-quota-bytes", "10")];
    assert_eq!(user.call("PUT", "/bytes", &quota, "").await.status, 201);
    assert_eq!(put(&user, "/bytes/o", "0123456789").await.0, 201);
    let over = (413, "Upload exceeds quota.".to_owned());
    assert_eq!(put(&user, "/bytes/o", "0123456789a").await, over);
    let quota = [("x-container-meta-quota-count", "0")];
    assert_eq!(user.call("PUT", "/count", &quota, "").await.status, 201);
    assert_eq!(put(&user, "/count/o", "").await, over);
    // A copy is an upload too, and the destination's quota counts.
    let copy = [("destination", "/count/copied")];
    assert_eq!(user.call("COPY", "/bytes/o", &copy, "").await.status, 413);
    // Who may not upload hears that, and nothing of quotas.
    let target = format!("{}/count/o", user.account);
    let nobody = request(cluster.address(), "PUT", &target, &[], "x")
        .await
        .unwrap();
    assert_eq!(nobody.status, 401);
    let other = Swift::login(cluster.address(), "test2:tester2", "testing2").await;
    let token = [("x-auth-token", other.token.as_str())];
    let stranger = request(cluster.address(), "PUT", &target, &token, "x")
        .await
        .unwrap();
    assert_eq!(stranger.status, 403);
    // Without its quota the container takes all again.
    let none = [("x-container-meta-quota-count", "")];
    assert_eq!(user.call("POST", "/count", &none, "").await.status, 204);
    assert_eq!(put(&user, "/count/o", "").await.0, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_hold_what_the_reseller_allows() {
    let cluster = Cluster::start();
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    let mut reseller = Swift::login(cluster.address(), "admin:admin", "admin").await;
    reseller.account = user.account.clone();
    for (path, policy) in [("/box", "gold"), ("/cheap", "silver")] {
        let headers = [("x-storage-policy", policy)];
        assert_eq!(user.call("PUT", path, &headers, "").await.status, 201);
    }
    for (name, value, over, expected) in [
        ("x-account-quota-bytes", "4", "/box/o", "Upload exceeds quota."),
        (
            "x-account-meta-quota-bytes",
            "4",
            "/box/o",
            "Upload exceeds quota.",
        ),
        ("x-account-quota-count", "0", "/box/o", "Upload exceeds quota."),
        (
            "x-account-quota-bytes-policy-silver",
            "4",
            "/cheap/o",
            "Upload exceeds policy quota.",
        ),
        (
            "X-Account-Quota-Count-Policy-Silver",
            "0",
            "/cheap/o",
            "Upload exceeds policy quota.",
        ),
    ] {
        let quota = [(name, value)];
        assert_eq!(user.call("POST", "", &quota, "").await.status, 403, "{name}");
        assert_eq!(
            reseller.call("POST", "", &[(name, "lots")], "").await.status,
            400,
            "{name}"
        );
        assert_eq!(reseller.call("POST", "", &quota, "").await.status, 204, "{name}");
        let shown = user.call("HEAD", "", &[], "").await;
        let shown_name = name.to_lowercase().replace("-meta-", "-");
        assert_eq!(shown.header(&shown_name), value, "{name}");
        assert_eq!(
            put(&user, over, "12345").await,
            (413, expected.to_owned()),
            "{name}"
        );
        if expected.contains("policy") {
            assert_eq!(put(&user, "/box/other", "12345").await.0, 201, "{name}");
        }
        // Resellers are above quotas.
        assert_eq!(put(&reseller, over, "12345").await.0, 201, "{name}");
        assert_eq!(user.call("DELETE", over, &[], "").await.status, 204, "{name}");
        let remove = name.to_lowercase().replace("x-account", "x-remove-account");
        let removal = [(remove.as_str(), "t")];
        assert_eq!(user.call("POST", "", &removal, "").await.status, 403, "{name}");
        assert_eq!(
            reseller.call("POST", "", &removal, "").await.status,
            204,
            "{name}"
        );
        assert_eq!(
            user.call("HEAD", "", &[], "").await.header(&shown_name),
            "",
            "{name}"
        );
        assert_eq!(put(&user, over, "12345").await.0, 201, "{name}");
        assert_eq!(user.call("DELETE", over, &[], "").await.status, 204, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_slowed_down_and_then_refused() {
    let cluster = Cluster::start();
    let (_proxy, address) = cluster.start_proxy(
        "[ratelimit]
         account_ratelimit = 0.001
         max_sleep_time_seconds = 5
         rate_buffer_seconds = 0
         account_blacklist = ['AUTH_barred']
         [ratelimit.container_ratelimit]
         1 = 0.001",
    );
    let user = Swift::login(&address, "test:tester", "testing").await;
    assert_eq!(put(&user, "/one", "").await.0, 201);
    // The next may be made after a thousand seconds: nobody waits for that.
    assert_eq!(put(&user, "/two", "").await, (498, "Slow down".into()));
    assert_eq!(user.call("GET", "", &[], "").await.status, 200);
    // Rates of objects begin with the first object, as it is remembered; other containers are not concerned.
    assert_eq!(put(&user, "/one/o", "x").await.0, 201);
    let barred = request(&address, "GET", "/v1/AUTH_barred", &[], "")
        .await
        .unwrap();
    assert_eq!(
        (barred.status, barred.text().as_str()),
        (497, "Your account has been blacklisted")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_that_are_off_unless_their_section_is_there() {
    let cluster = Cluster::start();
    let (_proxy, address) = cluster.start_proxy(
        "[name_check]
         maximum_length = 60
         [read_only]
         read_only = true
         allow_deletes = true
         [list_endpoints]",
    );
    let open = Swift::login(cluster.address(), "test:tester", "testing").await;
    let closed = Swift::login(&address, "test:tester", "testing").await;
    assert_eq!(put(&open, "/box", "").await.0, 201);
    assert_eq!(put(&open, "/box/o", "content").await.0, 201);
    assert_eq!(put(&open, "/box/%3Codd%3E", "content").await.0, 201);

    for (path, words) in [
        ("/box/%3Codd%3E", "contains forbidden chars from '\"`<>"),
        ("/box/../o", "contains a forbidden substring"),
        (
            &format!("/box/{}", "n".repeat(60)),
            "longer than the allowed maximum 60",
        ),
    ] {
        let answer = closed.call("GET", path, &[], "").await;
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.text().contains(words), "{}", answer.text());
    }

    assert_eq!(closed.call("GET", "/box/o", &[], "").await.text(), "content");
    for (method, path, headers) in [
        ("PUT", "/new", &[][..]),
        ("POST", "/box", &[("x-container-meta-a", "1")]),
        ("PUT", "/box/o", &[]),
        ("POST", "/box/o", &[]),
        ("COPY", "/box/o", &[("destination", "box/p")]),
    ] {
        let answer = closed.call(method, path, headers, "").await;
        let expected = (405, "Writes are disabled for this account.");
        assert_eq!(
            (answer.status, answer.text().as_str()),
            expected,
            "{method} {path}"
        );
    }

    let endpoints = request(&address, "GET", "/endpoints/AUTH_test/box/o", &[], "")
        .await
        .unwrap();
    let listed: Vec<String> = serde_json::from_slice(&endpoints.body).unwrap();
    assert_eq!(listed.len(), 3);
    for endpoint in &listed {
        assert!(
            endpoint.starts_with("http://127.0.0.1:") && endpoint.ends_with("/AUTH_test/box/o"),
            "{endpoint}"
        );
    }
    let second = request(&address, "GET", "/endpoints/v2/AUTH_test/box/o", &[], "")
        .await
        .unwrap();
    let second: serde_json::Value = serde_json::from_slice(&second.body).unwrap();
    assert_eq!(second["headers"]["X-Backend-Storage-Policy-Index"], "0");
    assert_eq!(second["endpoints"], serde_json::json!(listed));
    for (method, path, status) in [
        ("PUT", "/endpoints/AUTH_test", 405),
        ("GET", "/endpoints/", 400),
        ("GET", "/endpoints/v3/AUTH_test", 400),
    ] {
        let answer = request(&address, method, path, &[], "").await.unwrap();
        assert_eq!(answer.status, status, "{method} {path}");
    }
    // Without their sections none of it is there.
    let none = request(cluster.address(), "GET", "/endpoints/AUTH_test", &[], "")
        .await
        .unwrap();
    assert_eq!(none.status, 400);

    assert_eq!(closed.call("DELETE", "/box/o", &[], "").await.status, 204);
    let info = request(&address, "GET", "/info", &[], "").await.unwrap();
    let info: serde_json::Value = serde_json::from_slice(&info.body).unwrap();
    assert_eq!(info["name_check"]["maximum_length"], 60);
    assert_eq!(info["read_only"], serde_json::json!({}));
    assert!(info.get("crossdomain").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn old_browsers_may_ask_for_the_policy() {
    let cluster = Cluster::start();
    let policy = request(cluster.address(), "GET", "/crossdomain.xml", &[], "")
        .await
        .unwrap();
    assert_eq!(
        (policy.status, policy.header("content-type")),
        (200, "application/xml")
    );
    assert_eq!(
        policy.text(),
        "<?xml version=\"1.0\"?>\n<!DOCTYPE cross-domain-policy SYSTEM \
         \"http://www.adobe.com/xml/dtds/cross-domain-policy.dtd\" >\n<cross-domain-policy>\n\
         <allow-access-from domain=\"*\" secure=\"false\" />\n</cross-domain-policy>"
    );
    let post = request(cluster.address(), "POST", "/crossdomain.xml", &[], "")
        .await
        .unwrap();
    assert!(post.status >= 400, "{}", post.status);
}
