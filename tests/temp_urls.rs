//! Temporary URLs through real processes: what a signature opens, and everything near it that it does not.

mod support;

use support::Cluster;
use support::http::{Answer, Swift, request};
use support::signing::{in_seconds, sign, temp_url};

const ACCOUNT_KEY: &str = "account key";
const CONTAINER_KEY: &str = "container key";

/// An account with a key and the containers `box`, with a key and three objects, and `other`, with one object.
async fn prepare(cluster: &Cluster) -> Swift {
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    let key = [("x-account-meta-temp-url-key", ACCOUNT_KEY)];
    assert_eq!(user.call("POST", "", &key, "").await.status, 204);
    let key = [("x-container-meta-temp-url-key-2", CONTAINER_KEY)];
    assert_eq!(user.call("PUT", "/box", &key, "").await.status, 201);
    assert_eq!(user.call("PUT", "/other", &[], "").await.status, 201);
    let metadata = [
        ("x-object-meta-secret", "s"),
        ("x-object-meta-public-colour", "blue"),
    ];
    for path in ["/box/o", "/box/dir/p", "/box/dir/q", "/other/o"] {
        assert_eq!(
            user.call("PUT", path, &metadata, path.to_owned()).await.status,
            201
        );
    }
    user
}

async fn anyone(cluster: &Cluster, method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    request(cluster.address(), method, url, headers, body.to_owned())
        .await
        .expect("the proxy answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_opens_what_it_signs_and_nothing_near_it() {
    let cluster = Cluster::start();
    let user = prepare(&cluster).await;
    let account = user.account.as_str();
    let path = |path: &str| format!("{account}{path}");
    let url = |method: &str, signed: &str, path: &str| {
        format!(
            "{account}{path}?{}",
            temp_url(ACCOUNT_KEY, method, &format!("{account}{signed}"))
        )
    };

    let answer = anyone(&cluster, "GET", &url("GET", "/box/o", "/box/o"), &[], "").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "/box/o"));
    assert_eq!(
        answer.header("content-disposition"),
        "attachment; filename=\"o\"; filename*=UTF-8''o"
    );
    assert!(answer.header("expires").ends_with(" GMT"));
    assert_eq!(answer.header("x-object-meta-public-colour"), "blue");
    assert_eq!(
        answer.header("x-object-meta-secret"),
        "",
        "metadata must not leave"
    );

    for (method, signed, path, expected) in [
        ("HEAD", url("GET", "/box/o", "/box/o"), "", 200),
        ("HEAD", url("PUT", "/box/o", "/box/o"), "", 200),
        ("HEAD", url("POST", "/box/o", "/box/o"), "", 200),
        ("HEAD", url("DELETE", "/box/o", "/box/o"), "", 401),
        ("GET", url("HEAD", "/box/o", "/box/o"), "", 401),
        ("GET", url("PUT", "/box/o", "/box/o"), "", 401),
        ("PUT", url("GET", "/box/o", "/box/o"), "", 401),
        ("POST", url("PUT", "/box/o", "/box/o"), "", 401),
        ("DELETE", url("PUT", "/box/o", "/box/o"), "", 401),
        ("COPY", url("COPY", "/box/o", "/box/o"), "", 401),
        ("GET", url("GET", "/box/o", "/box/dir/p"), "", 401),
        ("GET", url("GET", "/box/o", "/other/o"), "", 401),
        ("GET", url("GET", "/box", "/box"), "", 401),
        ("PUT", url("PUT", "/new", "/new"), "", 401),
        ("GET", url("GET", "", ""), "", 401),
        (
            "GET",
            url("GET", "/box/o", "/box/o").replace("/v1/", "/v1.0/"),
            "",
            401,
        ),
        (
            "GET",
            url("GET", "/box/o", "/box/o") + "&temp_url_prefix=",
            "",
            401,
        ),
        (
            "GET",
            url("GET", "/box/o", "/box/o") + "&temp_url_ip_range=127.0.0.1",
            "",
            401,
        ),
        ("GET", path("/box/o?temp_url_sig=&temp_url_expires="), "", 401),
        ("GET", path("/box/o?temp_url_sig=abc"), "", 401),
        (
            "GET",
            path(&format!("/box/o?temp_url_expires={}", in_seconds(60))),
            "",
            401,
        ),
        (
            "GET",
            path("/box/o?temp_url_sig=%00&temp_url_expires=9999999999"),
            "",
            401,
        ),
        (
            "GET",
            path("/box/o?temp_url_sig=a:b&temp_url_expires=-1"),
            "",
            401,
        ),
        ("GET", path("/box/o?temp_url_sig=%ff"), "", 400),
    ] {
        let answer = anyone(&cluster, method, &signed, &[], path).await;
        assert_eq!(answer.status, expected, "{method} {signed}");
    }

    let ended = in_seconds(-1);
    let signature = sign(ACCOUNT_KEY, &format!("GET\n{ended}\n{account}/box/o"));
    let ended = path(&format!(
        "/box/o?temp_url_sig={signature}&temp_url_expires={ended}"
    ));
    let answer = anyone(&cluster, "GET", &ended, &[], "").await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.text(), "401 Unauthorized: Temp URL invalid\n");
    assert_eq!(answer.header("www-authenticate"), "Swift realm=\"AUTH_test\"");

    // A user's token neither rescues a wrong signature nor spoils a right one.
    assert_eq!(
        user.call("GET", "/box/o?temp_url_sig=abc&temp_url_expires=1", &[], "")
            .await
            .status,
        401
    );
    let token = [("x-auth-token", "AUTH_tk00")];
    let answer = anyone(&cluster, "GET", &url("GET", "/box/o", "/box/o"), &token, "").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_made_as_signed() {
    let cluster = Cluster::start();
    let user = prepare(&cluster).await;
    let account = user.account.as_str();
    let url = |method: &str, path: &str| {
        format!(
            "{account}{path}?{}",
            temp_url(CONTAINER_KEY, method, &format!("{account}{path}"))
        )
    };

    let answer = anyone(
        &cluster,
        "PUT",
        &url("PUT", "/box/new"),
        &[("x-object-meta-a", "1")],
        "body",
    )
    .await;
    assert_eq!(answer.status, 201);
    let answer = anyone(
        &cluster,
        "POST",
        &url("POST", "/box/new"),
        &[("x-object-meta-b", "2")],
        "",
    )
    .await;
    assert_eq!(answer.status, 202);
    let kept = user.call("GET", "/box/new", &[], "").await;
    assert_eq!(
        (kept.text().as_str(), kept.header("x-object-meta-b")),
        ("body", "2")
    );

    // Nothing may become a pointer to what the signature does not open.
    for header in [
        ("x-object-manifest", "other/o"),
        ("x-symlink-target", "other/o"),
        ("x-copy-from", "other/o"),
    ] {
        for method in ["PUT", "POST"] {
            let answer = anyone(&cluster, method, &url(method, "/box/new"), &[header], "").await;
            assert_eq!(answer.status, 400, "{method} {header:?}");
        }
    }
    let manifest = "[{\"path\": \"/other/o\"}]";
    let target = url("PUT", "/box/list") + "&multipart-manifest=put";
    assert_eq!(anyone(&cluster, "PUT", &target, &[], manifest).await.status, 201);
    assert_eq!(
        user.call("GET", "/box/list", &[], "").await.text(),
        manifest,
        "it is a plain object"
    );

    // What a manifest names is not deleted with it.
    let manifest = "[{\"path\": \"/other/o\"}]";
    assert_eq!(
        user.call("PUT", "/box/large?multipart-manifest=put", &[], manifest)
            .await
            .status,
        201
    );
    let target = url("DELETE", "/box/large") + "&multipart-manifest=delete";
    assert_eq!(anyone(&cluster, "DELETE", &target, &[], "").await.status, 204);
    assert_eq!(user.call("GET", "/box/large", &[], "").await.status, 404);
    assert_eq!(user.call("GET", "/other/o", &[], "").await.status, 200);

    // Writes cannot be dated by whoever holds the link.
    let dated = [("x-timestamp", "9999999999.00000")];
    assert_eq!(
        anyone(&cluster, "PUT", &url("PUT", "/box/new"), &dated, "one")
            .await
            .status,
        201
    );
    assert_eq!(
        anyone(&cluster, "PUT", &url("PUT", "/box/new"), &[], "two")
            .await
            .status,
        201
    );
    assert_eq!(user.call("GET", "/box/new", &[], "").await.text(), "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_containers_key_reaches_no_further_than_the_container() {
    let cluster = Cluster::start();
    let user = prepare(&cluster).await;
    let account = user.account.as_str();
    let url = |key: &str, path: &str| {
        format!(
            "{account}{path}?{}",
            temp_url(key, "GET", &format!("{account}{path}"))
        )
    };

    assert_eq!(
        anyone(&cluster, "GET", &url(CONTAINER_KEY, "/box/o"), &[], "")
            .await
            .status,
        200
    );
    assert_eq!(
        anyone(&cluster, "GET", &url(CONTAINER_KEY, "/other/o"), &[], "")
            .await
            .status,
        401
    );
    assert_eq!(
        anyone(&cluster, "GET", &url("", "/other/o"), &[], "")
            .await
            .status,
        401
    );

    for (name, target) in [("inside", "box/dir/"), ("outside", "other/o")] {
        let manifest = [("x-object-manifest", target)];
        assert_eq!(
            user.call("PUT", &format!("/box/{name}"), &manifest, "")
                .await
                .status,
            201
        );
    }
    let list = "[{\"path\": \"/other/o\"}]";
    assert_eq!(
        user.call("PUT", "/box/list?multipart-manifest=put", &[], list)
            .await
            .status,
        201
    );
    for (key, path, expected) in [
        (ACCOUNT_KEY, "/box/inside", "/box/dir/p/box/dir/q"),
        (CONTAINER_KEY, "/box/inside", "/box/dir/p/box/dir/q"),
        (ACCOUNT_KEY, "/box/outside", "/other/o"),
        (ACCOUNT_KEY, "/box/list", "/other/o"),
    ] {
        let answer = anyone(&cluster, "GET", &url(key, path), &[], "").await;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, expected),
            "{key} {path}"
        );
    }
    for path in ["/box/outside", "/box/list"] {
        let answer = request(cluster.address(), "GET", &url(CONTAINER_KEY, path), &[], "").await;
        let leaked = answer.is_some_and(|answer| answer.text().contains("/other/o"));
        assert!(!leaked, "{path} showed another container");
    }

    // A link leads only to where the key reaches.
    for (name, target) in [("near", "box/o"), ("far", "other/o")] {
        let link = [
            ("x-symlink-target", target),
            ("content-type", "application/symlink"),
        ];
        assert_eq!(
            user.call("PUT", &format!("/box/{name}"), &link, "").await.status,
            201
        );
    }
    for (key, path, expected) in [
        (CONTAINER_KEY, "/box/near", (200, "/box/o")),
        (ACCOUNT_KEY, "/box/far", (200, "/other/o")),
        (CONTAINER_KEY, "/box/far", (401, "")),
    ] {
        let answer = anyone(&cluster, "GET", &url(key, path), &[], "").await;
        assert_eq!(answer.status, expected.0, "{key} {path}");
        assert!(
            answer.text().contains(expected.1) && !(expected.0 == 401 && answer.text().contains("/other/o"))
        );
    }

    // A key that is taken away opens nothing more.
    let none = [("x-remove-container-meta-temp-url-key-2", "x")];
    assert_eq!(user.call("POST", "/box", &none, "").await.status, 204);
    assert_eq!(
        anyone(&cluster, "GET", &url(CONTAINER_KEY, "/box/o"), &[], "")
            .await
            .status,
        401
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn prefixes_ranges_dates_and_names() {
    let cluster = Cluster::start();
    let user = prepare(&cluster).await;
    let account = user.account.as_str();
    let whole = temp_url(ACCOUNT_KEY, "GET", &format!("prefix:{account}/box/")) + "&temp_url_prefix=";
    let below = temp_url(ACCOUNT_KEY, "GET", &format!("prefix:{account}/box/dir/")) + "&temp_url_prefix=dir/";
    for (path, query, expected) in [
        ("/box/o", &whole, 200),
        ("/box/dir/p", &whole, 200),
        ("/other/o", &whole, 401),
        ("/box", &whole, 401),
        ("/box/", &whole, 401),
        ("/box/dir/p", &below, 200),
        ("/box/dir/q", &below, 200),
        ("/box/o", &below, 401),
        ("/box/dir/none", &below, 404),
    ] {
        let answer = anyone(&cluster, "GET", &format!("{account}{path}?{query}"), &[], "").await;
        assert_eq!(answer.status, expected, "{path}?{query}: {}", answer.text());
    }

    let expires = in_seconds(600);
    for (range, expected) in [
        ("127.0.0.1", 200),
        ("127.0.0.0/8", 200),
        ("127.0.0.2", 401),
        ("10.0.0.0/8", 401),
        ("127.0.0.1/8", 401),
        ("::1", 401),
        ("all", 401),
    ] {
        let signature = sign(
            ACCOUNT_KEY,
            &format!("ip={range}\nGET\n{expires}\n{account}/box/o"),
        );
        let url = format!(
            "{account}/box/o?temp_url_sig={signature}&temp_url_expires={expires}&temp_url_ip_range={range}"
        );
        let forwarded = [("x-forwarded-for", "10.0.0.1")];
        assert_eq!(
            anyone(&cluster, "GET", &url, &forwarded, "").await.status,
            expected,
            "{range}"
        );
    }

    // The year 2100, as a number and as a date.
    let signature = sign(ACCOUNT_KEY, &format!("GET\n4102444800\n{account}/box/o"));
    for (expires, rest, disposition) in [
        ("4102444800", "&inline", "inline"),
        (
            "2100-01-01T00:00:00Z",
            "&filename=a%20b.txt",
            "attachment; filename=\"a b.txt\"; filename*=UTF-8''a%20b.txt",
        ),
        (
            "2100-01-01T00:00:00Z",
            "&inline&filename=x",
            "inline; filename=\"x\"; filename*=UTF-8''x",
        ),
    ] {
        let url = format!("{account}/box/o?temp_url_sig={signature}&temp_url_expires={expires}{rest}");
        let answer = anyone(&cluster, "GET", &url, &[], "").await;
        assert_eq!(
            (answer.status, answer.header("content-disposition")),
            (200, disposition)
        );
        assert_eq!(answer.header("expires"), "Fri, 01 Jan 2100 00:00:00 GMT");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_nobody_can_tell_are_not_called_wrong() {
    let cluster = Cluster::start_processes();
    let user = prepare(&cluster).await;
    let key = [("x-container-meta-temp-url-key", CONTAINER_KEY)];
    assert_eq!(user.call("PUT", "/new", &key, "").await.status, 201);
    for node in 1..=3 {
        cluster.kill_node(node);
    }
    let path = format!("{}/new/o", user.account);
    for key in [CONTAINER_KEY, "no key"] {
        let url = format!("{path}?{}", temp_url(key, "GET", &path));
        assert_eq!(anyone(&cluster, "GET", &url, &[], "").await.status, 503, "{key}");
    }
    // What no key could make right is refused all the same.
    let url = format!("{path}?temp_url_sig=abc&temp_url_expires=9999999999");
    assert_eq!(anyone(&cluster, "GET", &url, &[], "").await.status, 401);
}
