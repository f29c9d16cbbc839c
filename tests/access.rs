//! Who may do what, as users of a whole cluster see it: resellers, services, account ACLs, and objects whose time is over.

mod support;

use support::http::{Answer, Swift, request};
use support::{Cluster, until};

async fn login(cluster: &Cluster, user: &str, key: &str) -> Swift {
    Swift::login(cluster.address(), user, key).await
}

/// A request to any path in a user's name.
async fn at(cluster: &Cluster, user: &Swift, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut all = vec![("x-auth-token", user.token.as_str())];
    all.extend_from_slice(headers);
    let answer = request(cluster.address(), method, path, &all, "").await;
    answer.expect("the proxy answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_made_and_deleted_by_resellers() {
    let cluster = Cluster::start();
    let reseller = login(&cluster, "admin:admin", "admin").await;
    let owner = login(&cluster, "test:tester", "testing").await;
    let path = "/v1/AUTH_made";
    for (user, method, expected) in [
        (&owner, "PUT", 403),
        (&reseller, "PUT", 201),
        (&reseller, "PUT", 202),
        (&owner, "HEAD", 403),
        (&reseller, "HEAD", 204),
        (&owner, "DELETE", 403),
        (&reseller, "DELETE", 204),
        (&reseller, "HEAD", 410),
    ] {
        let answer = at(&cluster, user, method, path, &[]).await;
        assert_eq!(answer.status, expected, "{method}");
    }
    // Not even its owner deletes an account, and a query is the sign of someone who meant something else.
    assert_eq!(owner.call("DELETE", "", &[], "").await.status, 403);
    let own = owner.account.clone();
    let meant_otherwise = at(&cluster, &reseller, "DELETE", &format!("{own}?bulk"), &[]).await;
    assert_eq!(meant_otherwise.status, 400);
    assert_eq!(owner.call("HEAD", "", &[], "").await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_acl_gives_what_it_says() {
    let cluster = Cluster::start();
    let owner = login(&cluster, "test:tester", "testing").await;
    let guest = login(&cluster, "test2:tester2", "testing2").await;
    assert_eq!(owner.call("PUT", "/c", &[], "").await.status, 201);
    assert_eq!(owner.call("PUT", "/c/o", &[], "body").await.status, 201);
    let own = owner.account.as_str();
    let name = "x-account-access-control";
    let asked = [
        ("GET", String::new()),
        ("GET", "/c/o".into()),
        ("PUT", "/c/p".into()),
        ("POST", String::new()),
    ];
    for (acl, expected) in [
        ("{}", [403, 403, 403, 403]),
        (r#"{"read-only":["test2:tester2"]}"#, [200, 200, 403, 403]),
        (r#"{"read-write":["test2:tester2"]}"#, [200, 200, 201, 403]),
        (r#"{"admin":["test2:tester2"]}"#, [200, 200, 201, 204]),
        ("", [403, 403, 403, 403]),
    ] {
        let set = owner.call("POST", "", &[(name, acl)], "").await;
        assert_eq!(set.status, 204, "{acl}");
        for ((method, path), expected) in asked.iter().zip(expected) {
            let answer = at(&cluster, &guest, method, &format!("{own}{path}"), &[]).await;
            assert_eq!(answer.status, expected, "{acl}: {method} {path}");
        }
        // Only owners and those made their equals see who may what.
        let seen = at(&cluster, &guest, "HEAD", own, &[]).await;
        assert_eq!(!seen.header(name).is_empty(), acl.contains("admin"), "{acl}");
    }
    for bad in [
        "junk",
        "[]",
        r#"{"owner":[]}"#,
        r#"{"admin":"x"}"#,
        r#"{"admin":[1]}"#,
    ] {
        let refused = owner.call("POST", "", &[(name, bad)], "").await;
        assert_eq!(refused.status, 400, "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_needs_user_and_service() {
    let cluster = Cluster::start();
    let user = login(&cluster, "test:tester", "testing").await;
    let service = login(&cluster, "test5:tester5", "testing5").await;
    let path = "/v1/SERVICE_test/c";
    let with_service = [("x-service-token", service.token.as_str())];
    let with_user = [("x-service-token", user.token.as_str())];
    for (who, headers, expected) in [
        (&user, &[][..], 403),
        (&service, &[][..], 403),
        (&user, &with_user[..], 403),
        (&user, &with_service[..], 201),
    ] {
        let answer = at(&cluster, who, "PUT", path, headers).await;
        assert_eq!(answer.status, expected);
    }
    assert_eq!(at(&cluster, &user, "GET", path, &[]).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_opens_only_on_request() {
    let cluster = Cluster::start();
    let user = login(&cluster, "test:tester", "testing").await;
    assert_eq!(user.call("PUT", "/c", &[], "").await.status, 201);
    let soon = [("x-delete-after", "1"), ("x-object-meta-a", "b")];
    assert_eq!(user.call("PUT", "/c/o", &soon, "body").await.status, 201);
    until("the object to expire", async || {
        user.call("HEAD", "/c/o", &[], "").await.status == 404
    })
    .await;
    let open = [("x-open-expired", "true")];
    let opened = user.call("GET", "/c/o", &open, "").await;
    assert_eq!((opened.status, opened.text().as_str()), (200, "body"));
    assert_eq!(opened.header("x-object-meta-a"), "b");
    assert_eq!(user.call("POST", "/c/o", &[], "").await.status, 404);
    // Through a link and for a copy too: whoever asks, asks for all it takes.
    let link = [("x-symlink-target", "c/o")];
    assert_eq!(user.call("PUT", "/c/link", &link, "").await.status, 201);
    assert_eq!(user.call("GET", "/c/link", &[], "").await.status, 404);
    assert_eq!(user.call("GET", "/c/link", &open, "").await.text(), "body");
    // A POST brings it back for good.
    let back = [open[0], ("x-delete-after", "1000")];
    assert_eq!(user.call("POST", "/c/o", &back, "").await.status, 202);
    assert_eq!(user.call("GET", "/c/o", &[], "").await.text(), "body");
}
