//! Containers as web sites through real processes: what a visitor sees, and what stays closed.

mod support;

use support::Cluster;
use support::http::{Answer, Swift, request};
use support::signing::{in_seconds, sign};

async fn visit(cluster: &Cluster, method: &str, url: &str, headers: &[(&str, &str)]) -> Answer {
    request(cluster.address(), method, url, headers, "")
        .await
        .expect("the proxy answers")
}

/// A container `site` with these settings, and files.
async fn prepare(cluster: &Cluster, settings: &[(&str, &str)]) -> Swift {
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    assert_eq!(user.call("PUT", "/site", settings, "").await.status, 201);
    for (path, content_type) in [
        ("/site/index.html", "text/html"),
        ("/site/401error.html", "text/html"),
        ("/site/404error.html", "text/html"),
        ("/site/a%3Cb%3E.txt", "text/plain"),
        ("/site/docs/index.html", "text/html"),
        ("/site/docs/one.txt", "text/plain"),
        ("/site/files/deep/two.txt", "text/plain"),
        ("/site/files/three.txt", "text/plain"),
    ] {
        let headers = [("content-type", content_type)];
        assert_eq!(
            user.call("PUT", path, &headers, format!("this is {path}"))
                .await
                .status,
            201
        );
    }
    let marker = [("content-type", "application/directory")];
    for path in ["/site/docs", "/site/empty"] {
        assert_eq!(user.call("PUT", path, &marker, "").await.status, 201);
    }
    user
}

const PUBLIC: (&str, &str) = ("x-container-read", ".r:*,.rlistings");

#[tokio::test(flavor = "multi_thread")]
async fn a_site_with_an_index_and_error_pages() {
    let cluster = Cluster::start();
    let settings = [
        PUBLIC,
        ("x-container-meta-web-index", "index.html"),
        ("x-container-meta-web-error", "error.html"),
    ];
    let user = prepare(&cluster, &settings).await;
    let site = format!("{}/site", user.account);
    let url = |path: &str| format!("http://{}{site}{path}", cluster.address());
    for (path, status, body, location) in [
        ("/", 200, "this is /site/index.html", ""),
        ("", 301, "", url("/").as_str()),
        ("/docs/", 200, "this is /site/docs/index.html", ""),
        ("/docs", 301, "", url("/docs/").as_str()),
        ("/docs/one.txt", 200, "this is /site/docs/one.txt", ""),
        ("/files", 301, "", url("/files/").as_str()),
        // No index, and listings are off.
        ("/files/", 404, "this is /site/404error.html", ""),
        ("/none", 404, "this is /site/404error.html", ""),
        ("/none/", 404, "this is /site/404error.html", ""),
    ] {
        let answer = visit(&cluster, "GET", &format!("{site}{path}"), &[]).await;
        let seen = (answer.status, answer.header("location"));
        assert_eq!(seen, (status, location), "{path}: {}", answer.text());
        assert!(answer.text().contains(body), "{path}: {}", answer.text());
        let head = visit(&cluster, "HEAD", &format!("{site}{path}"), &[]).await;
        assert_eq!((head.status, head.text().as_str()), (status, ""), "HEAD {path}");
    }
    let ranged = visit(&cluster, "GET", &format!("{site}/"), &[("range", "bytes=0-3")]).await;
    assert_eq!((ranged.status, ranged.text().as_str()), (206, "this"));

    // The owner sees the container as it is, unless a site is asked for.
    assert_eq!(user.call("GET", "/site", &[], "").await.status, 200);
    assert_eq!(
        user.call("GET", "/site", &[("x-web-mode", "true")], "")
            .await
            .status,
        301
    );
    let none = user.call("GET", "/site/none", &[], "").await;
    assert!(!none.text().contains("404error"));
    assert_eq!(user.call("GET", "/site/docs", &[], "").await.status, 200);
    // Nothing but reading is a matter of the site.
    assert_eq!(
        visit(&cluster, "PUT", &format!("{site}/x"), &[]).await.status,
        401
    );
    assert_eq!(
        visit(&cluster, "DELETE", &format!("{site}/"), &[]).await.status,
        401
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_show_what_a_visitor_may_list() {
    let cluster = Cluster::start();
    let settings = [
        PUBLIC,
        ("x-container-meta-web-listings", "yes"),
        ("x-container-meta-web-listings-label", "My <files>"),
        ("x-container-meta-web-listings-css", "style.css"),
        ("x-container-meta-web-error", "error.html"),
    ];
    let user = prepare(&cluster, &settings).await;
    let site = format!("{}/site", user.account);

    let root = visit(
        &cluster,
        "GET",
        &format!("{site}/"),
        &[("accept", "text/html, */*")],
    )
    .await;
    assert_eq!(
        (root.status, root.header("content-type")),
        (200, "text/html; charset=UTF-8")
    );
    assert_eq!(
        root.header("x-backend-content-generator"),
        "",
        "the inside's header left"
    );
    for part in [
        "<title>Listing of My &lt;files&gt;/</title>",
        "href=\"style.css\"",
        "<a href=\"./files/\">files/</a>",
        "<a href=\"./a%3Cb%3E%2Etxt\">a&lt;b&gt;.txt</a>",
        "class=\"item type-text type-plain\"",
    ] {
        assert!(root.text().contains(part), "{part} in {}", root.text());
    }
    assert!(!root.text().contains("two.txt"));
    let head = visit(&cluster, "HEAD", &format!("{site}/"), &[]).await;
    assert_eq!(head.header("content-type"), "text/html; charset=UTF-8");
    assert_eq!(head.header("content-length"), root.body.len().to_string());

    let below = visit(&cluster, "GET", &format!("{site}/files/"), &[])
        .await
        .text();
    for part in [
        "Listing of My &lt;files&gt;/files/",
        "href=\"../style.css\"",
        "<a href=\"../\">../</a>",
        "./deep/",
        "three.txt",
    ] {
        assert!(below.contains(part), "{part} in {below}");
    }
    // A marker without content is no page: what lies below it is listed.
    assert_eq!(
        visit(&cluster, "GET", &format!("{site}/docs/"), &[]).await.status,
        200
    );
    assert_eq!(
        visit(&cluster, "GET", &format!("{site}/empty/"), &[])
            .await
            .status,
        404
    );

    // Without the right to list, neither a page nor its shape is given away; the error page itself may be read.
    let objects_only = [("x-container-read", ".r:*")];
    assert_eq!(user.call("POST", "/site", &objects_only, "").await.status, 204);
    for path in ["/", "", "/files/"] {
        let answer = visit(&cluster, "GET", &format!("{site}{path}"), &[]).await;
        assert_eq!(answer.status, 401, "{path}");
        assert!(
            answer.text().contains("this is /site/401error.html"),
            "{path}: {}",
            answer.text()
        );
        assert!(!answer.text().contains("three.txt"));
    }
    assert_eq!(
        visit(&cluster, "GET", &format!("{site}/files/three.txt"), &[])
            .await
            .status,
        200
    );
    let closed = [("x-container-read", "")];
    assert_eq!(user.call("POST", "/site", &closed, "").await.status, 204);
    for path in ["/", "/files", "/files/", "/none", "/index.html"] {
        let answer = visit(&cluster, "GET", &format!("{site}{path}"), &[]).await;
        assert_eq!(answer.status, 401, "{path}");
        assert!(!answer.text().contains("error.html"), "{path}");
    }
    let stranger = Swift::login(cluster.address(), "test2:tester2", "testing2").await;
    let token = [("x-auth-token", stranger.token.as_str()), ("x-web-mode", "true")];
    assert_eq!(
        visit(&cluster, "GET", &format!("{site}/"), &token).await.status,
        403
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_behind_temporary_urls() {
    let cluster = Cluster::start();
    let settings = [
        ("x-container-meta-web-listings", "true"),
        ("x-container-meta-temp-url-key", "key"),
    ];
    let user = prepare(&cluster, &settings).await;
    let site = format!("{}/site", user.account);
    let expires = in_seconds(600);
    let query = |prefix: &str| {
        let signature = sign(
            "key",
            &format!("ip=127.0.0.1\nGET\n{expires}\nprefix:{site}/{prefix}"),
        );
        format!(
            "temp_url_prefix={prefix}&temp_url_expires={expires}&temp_url_sig={signature}&temp_url_ip_range=127.0.0.1"
        )
    };
    let below = visit(
        &cluster,
        "GET",
        &format!("{site}/files/?{}", query("files/")),
        &[],
    )
    .await;
    assert_eq!(
        (below.status, below.header("content-disposition")),
        (200, "inline")
    );
    assert!(!below.text().contains("href=\".."), "the way up is not signed");
    let deeper = format!("./deep/?{}\"", query("files/").replace('&', "&amp;"));
    assert!(below.text().contains(&deeper), "{deeper} in {}", below.text());
    // The links on the page open what they name.
    let deep = visit(
        &cluster,
        "GET",
        &format!("{site}/files/deep/?{}", query("files/")),
        &[],
    )
    .await;
    assert!(deep.text().contains("two%2Etxt"), "{}", deep.text());
    let file = visit(
        &cluster,
        "GET",
        &format!("{site}/files/deep/two%2Etxt?{}", query("files/")),
        &[],
    )
    .await;
    assert_eq!(
        (file.status, file.text().as_str()),
        (200, "this is /site/files/deep/two.txt")
    );

    for (path, prefix, expected) in [
        ("/", "files/", 401),
        ("/docs/", "files/", 401),
        ("/", "", 200),
        ("", "", 301),
        ("/files", "", 301),
        ("/none/", "", 404),
    ] {
        let answer = visit(&cluster, "GET", &format!("{site}{path}?{}", query(prefix)), &[]).await;
        assert_eq!(answer.status, expected, "{path} {prefix}");
        assert!(!answer.header("location").contains("temp_url"), "{path}");
    }
    // Without listings the container itself stays closed.
    let off = [("x-remove-container-meta-web-listings", "x")];
    assert_eq!(user.call("POST", "/site", &off, "").await.status, 204);
    assert_eq!(
        visit(&cluster, "GET", &format!("{site}/?{}", query("")), &[])
            .await
            .status,
        401
    );
}
