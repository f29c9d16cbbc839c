//! Segments that are more than plain objects of an open container: what they give is what a GET of each would give.

mod support;

use support::http::{Answer, Swift};
use support::{Cluster, until};

/// A cluster with `/segs/b`, `/segs/c`, of twenty letters each, and `/big`.
async fn start() -> (Cluster, Swift) {
    let cluster = Cluster::start();
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    for container in ["/segs", "/big"] {
        done(&user, "PUT", container, &[], "").await;
    }
    for letter in ["b", "c"] {
        let body = letter.repeat(20);
        done(&user, "PUT", &format!("/segs/{letter}"), &[], &body).await;
    }
    (cluster, user)
}

async fn done(user: &Swift, method: &str, path: &str, headers: &[(&str, &str)], body: &str) {
    let answer = user.call(method, path, headers, body.to_owned()).await;
    assert!(
        (200..300).contains(&answer.status),
        "{method} {path}: {} {}",
        answer.status,
        answer.text()
    );
}

async fn put_manifest(user: &Swift, name: &str, manifest: &str) {
    let path = format!("/big/{name}?multipart-manifest=put");
    done(user, "PUT", &path, &[], manifest).await;
}

async fn get(user: &Swift, name: &str, headers: &[(&str, &str)]) -> Answer {
    user.call("GET", &format!("/big/{name}"), headers, "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_open_to_who_may_read_each_of_them() {
    let (cluster, owner) = start().await;
    put_manifest(&owner, "bc", r#"[{"path":"/segs/b"},{"path":"/segs/c"}]"#).await;
    let other = Swift::login(cluster.address(), "test:tester3", "testing3").await;
    let whole = "b".repeat(20) + &"c".repeat(20);
    let read = |acl| [("x-container-read", acl)];
    assert_eq!(get(&other, "bc", &[]).await.status, 403);
    done(&owner, "POST", "/big", &read("test:tester3"), "").await;
    assert_eq!(
        get(&other, "bc", &[]).await.status,
        409,
        "the segments are closed"
    );
    assert_eq!(get(&owner, "bc", &[]).await.text(), whole);
    for acl in ["test:tester3", ".r:*"] {
        done(&owner, "POST", "/segs", &read(acl), "").await;
        let answer = get(&other, "bc", &[]).await;
        assert_eq!((answer.status, answer.text()), (200, whole.clone()), "{acl}");
    }
    done(&owner, "POST", "/segs", &read(".r:example.com"), "").await;
    assert_eq!(get(&other, "bc", &[]).await.status, 409);
    let referer = [("referer", "http://example.com/page")];
    assert_eq!(get(&other, "bc", &referer).await.text(), whole);
    done(&owner, "POST", "/segs", &read(""), "").await;
    assert_eq!(get(&other, "bc", &referer).await.status, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_of_links_and_versions_are_those_of_what_they_stand_for() {
    let (_cluster, user) = start().await;
    done(&user, "PUT", "/segs/link", &[("x-symlink-target", "segs/b")], "").await;
    done(&user, "PUT", "/kept", &[("x-versions-enabled", "true")], "").await;
    done(&user, "PUT", "/kept/d", &[], "dd0123456789").await;
    // A real container of the name under which parts of S3 uploads are shown.
    done(&user, "PUT", "/plus+segments", &[], "").await;
    done(&user, "PUT", "/plus+segments/e", &[], "eeeeee").await;
    put_manifest(
        &user,
        "all",
        r#"[{"path":"/segs/link","range":"17-"},{"path":"/kept/d"},{"path":"/kept/d","range":"2-5"},
            {"path":"/plus+segments/e","range":"-2"}]"#,
    )
    .await;
    assert_eq!(get(&user, "all", &[]).await.text(), "bbbdd01234567890123ee");
    let part = get(&user, "all", &[("range", "bytes=2-6")]).await;
    assert_eq!((part.status, part.text()), (206, "bdd01".to_owned()));
    // Another current version is another segment, the first one again is the first one.
    done(&user, "PUT", "/kept/d", &[], "dd9876543210").await;
    assert_eq!(get(&user, "all?part-number=2", &[]).await.status, 409);
    done(&user, "DELETE", "/kept/d", &[], "").await;
    assert_eq!(get(&user, "all?part-number=2", &[]).await.status, 409);
    done(&user, "PUT", "/kept/d", &[], "dd0123456789").await;
    assert_eq!(get(&user, "all?part-number=3", &[]).await.text(), "0123");
    // A link that has lost its target.
    done(&user, "DELETE", "/segs/b", &[], "").await;
    assert_eq!(get(&user, "all", &[]).await.status, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_whose_time_is_over_opens_only_on_request() {
    let (_cluster, user) = start().await;
    done(&user, "PUT", "/segs/short", &[("x-delete-after", "2")], "ssss").await;
    put_manifest(&user, "over", r#"[{"path":"/segs/short"},{"path":"/segs/c"}]"#).await;
    until("the segment's end", async || {
        get(&user, "over", &[]).await.status == 409
    })
    .await;
    let opened = get(&user, "over", &[("x-open-expired", "true")]).await;
    assert_eq!(
        (opened.status, opened.text()),
        (200, "ssss".to_owned() + &"c".repeat(20))
    );
}
