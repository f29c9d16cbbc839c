//! What the core asks its guard: each request's right, with the container's rules in hand.

mod fake;

use fake::Cluster;
use http::Method;
use martlet_proxy::core::{Authorize, Need};
use martlet_service::{Body, Request, Response, respond};
use std::sync::Mutex;

/// Refuses everything, and remembers what it was asked.
#[derive(Default)]
struct Guard(Mutex<Vec<String>>);

impl Authorize for Guard {
    fn authorize(&self, need: Need<'_>) -> Result<(), Response> {
        let asked = format!("{} {} {:?}", need.method, need.target.path(), need.acl());
        self.0.lock().unwrap().push(asked);
        Err(respond::empty(http::StatusCode::FORBIDDEN))
    }
}

#[tokio::test]
async fn the_guard_sees_the_containers_rules() {
    let cluster = Cluster::start().await;
    let rules = [("x-container-read", ".r:*"), ("x-container-write", "u")];
    assert_eq!(
        cluster
            .send(Method::POST, "a/c", &rules, Body::empty())
            .await
            .status,
        204
    );
    let guard = Guard::default();
    for (method, path) in [
        ("GET", "a/c/o"),
        ("PUT", "a/c/o"),
        ("POST", "a/c/o"),
        ("DELETE", "a/c/o"),
        ("HEAD", "a/c"),
        ("PUT", "a/c"),
        ("GET", "a"),
    ] {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method.parse().unwrap();
        let target = martlet_protocol::name::Target::parse(path).unwrap();
        assert_eq!(
            cluster.core.handle(request, target, &guard).await.status(),
            403,
            "{method} {path}"
        );
    }
    assert_eq!(
        *guard.0.lock().unwrap(),
        [
            "GET /a/c/o Some(\".r:*\")",
            "PUT /a/c/o Some(\"u\")",
            "POST /a/c/o Some(\"u\")",
            "DELETE /a/c/o Some(\"u\")",
            "HEAD /a/c Some(\".r:*\")",
            "PUT /a/c None",
            "GET /a None",
        ]
    );
}
