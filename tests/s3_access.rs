//! S3's access lists, with the real `aws` CLI: users of one account who own buckets, share them, and are kept out.

mod support;

use std::path::Path;
use support::clients::{aws_as, refused, run, swift};
use support::http::request;
use support::{Cluster, files};

/// Owns what the tests make; an admin of the account.
const TESTER: (&str, &str) = ("test:tester", "testing");
/// An admin of the same account.
const TESTER2: (&str, &str) = ("test:tester2", "testing2");
/// A user of the same account with no rights of its own.
const TESTER3: (&str, &str) = ("test:tester3", "testing3");

struct Users<'a> {
    url: String,
    folder: &'a Path,
}

impl Users<'_> {
    fn may(&self, user: (&str, &str), arguments: &[&str]) -> String {
        run(aws_as(&self.url, self.folder, user.0, user.1).args(arguments))
    }

    /// The S3 error that a user gets.
    fn may_not(&self, user: (&str, &str), arguments: &[&str], error: &str) {
        let words = refused(aws_as(&self.url, self.folder, user.0, user.1).args(arguments));
        assert!(words.contains(error), "{user:?} {arguments:?}: {words}");
    }
}

fn api<'a>(operation: &'a str, bucket: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["s3api", operation, "--bucket", bucket];
    arguments.extend_from_slice(more);
    arguments
}

#[test]
fn a_bucket_is_its_owners_until_it_is_shared() {
    let cluster = Cluster::start();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("note"), "for some").unwrap();
    let users = Users {
        url: cluster.url(),
        folder: folder.path(),
    };
    let put = ["--key", "note", "--body", "note"];
    let get = ["--key", "note", "got"];
    users.may(TESTER, &api("create-bucket", "shared", &[]));
    users.may(TESTER, &api("put-object", "shared", &put));

    // Nobody else sees it, admins of the account not excepted.
    assert!(users.may(TESTER, &["s3", "ls"]).contains("shared"));
    assert_eq!(users.may(TESTER2, &["s3", "ls"]), "");
    for user in [TESTER2, TESTER3] {
        users.may_not(user, &api("list-objects-v2", "shared", &[]), "AccessDenied");
        users.may_not(user, &api("get-object", "shared", &get), "AccessDenied");
        users.may_not(user, &api("head-object", "shared", &["--key", "note"]), "403");
        users.may_not(user, &api("put-object", "shared", &put), "AccessDenied");
        users.may_not(
            user,
            &api("delete-object", "shared", &["--key", "note"]),
            "AccessDenied",
        );
        users.may_not(user, &api("get-bucket-acl", "shared", &[]), "AccessDenied");
        users.may_not(user, &api("delete-bucket", "shared", &[]), "AccessDenied");
        // Who may not list does not learn what there is.
        users.may_not(
            user,
            &api("get-object", "shared", &["--key", "none", "got"]),
            "AccessDenied",
        );
    }
    users.may_not(
        TESTER2,
        &api("create-bucket", "shared", &[]),
        "BucketAlreadyExists",
    );
    users.may_not(TESTER3, &api("create-bucket", "shared", &[]), "AccessDenied");
    users.may_not(TESTER3, &api("create-bucket", "other", &[]), "AccessDenied");

    // To read the bucket is not to read the object, nor to write to either.
    users.may(
        TESTER,
        &api("put-bucket-acl", "shared", &["--grant-read", "id=test:tester3"]),
    );
    assert!(users.may(TESTER3, &["s3", "ls", "s3://shared"]).contains("note"));
    users.may_not(TESTER2, &api("list-objects-v2", "shared", &[]), "AccessDenied");
    users.may_not(TESTER3, &api("get-object", "shared", &get), "AccessDenied");
    users.may_not(
        TESTER3,
        &api("get-object", "shared", &["--key", "none", "got"]),
        "NoSuchKey",
    );
    users.may(
        TESTER,
        &api(
            "put-object-acl",
            "shared",
            &["--key", "note", "--acl", "public-read"],
        ),
    );
    users.may(TESTER3, &api("get-object", "shared", &get));
    assert_eq!(
        std::fs::read_to_string(folder.path().join("got")).unwrap(),
        "for some"
    );
    users.may_not(
        TESTER3,
        &api("put-object-acl", "shared", &["--key", "note", "--acl", "private"]),
        "AccessDenied",
    );
    let grants = users.may(
        TESTER,
        &api(
            "get-object-acl",
            "shared",
            &[
                "--key",
                "note",
                "--query",
                "Grants[].[Permission,Grantee.Type]",
                "--output",
                "text",
            ],
        ),
    );
    assert_eq!(grants, "READ\tGroup\nFULL_CONTROL\tCanonicalUser\n");

    // What another writes to a shared bucket is that user's own, unless it is given away.
    users.may(
        TESTER,
        &api("put-bucket-acl", "shared", &["--acl", "public-read-write"]),
    );
    users.may(
        TESTER3,
        &api("put-object", "shared", &["--key", "own", "--body", "note"]),
    );
    users.may_not(
        TESTER,
        &api("get-object", "shared", &["--key", "own", "got"]),
        "AccessDenied",
    );
    users.may(
        TESTER3,
        &api(
            "put-object",
            "shared",
            &[
                "--key",
                "given",
                "--body",
                "note",
                "--acl",
                "bucket-owner-full-control",
            ],
        ),
    );
    users.may(TESTER, &api("get-object", "shared", &["--key", "given", "got"]));
    users.may_not(
        TESTER3,
        &api(
            "copy-object",
            "shared",
            &["--key", "copy", "--copy-source", "shared/secret"],
        ),
        "NoSuchKey",
    );
    users.may(
        TESTER,
        &api("put-object", "shared", &["--key", "secret", "--body", "note"]),
    );
    users.may_not(
        TESTER3,
        &api(
            "copy-object",
            "shared",
            &["--key", "copy", "--copy-source", "shared/secret"],
        ),
        "AccessDenied",
    );
    users.may(TESTER, &api("put-bucket-acl", "shared", &["--acl", "private"]));
    let deletion = "Objects=[{Key=note},{Key=given}]";
    let refused = users.may(TESTER2, &api("delete-objects", "shared", &["--delete", deletion]));
    assert!(
        refused.contains("AccessDenied") && !refused.contains("Deleted"),
        "{refused}"
    );
    users.may(TESTER, &["s3", "rb", "--force", "s3://shared"]);
}

#[test]
fn an_upload_in_parts_keeps_the_list_it_was_begun_with() {
    let cluster = Cluster::start();
    let folder = tempfile::tempdir().unwrap();
    files::write_random(&folder.path().join("large"), 12 * 1024 * 1024);
    let users = Users {
        url: cluster.url(),
        folder: folder.path(),
    };
    users.may(TESTER, &["s3", "mb", "s3://bucket"]);
    let large = [
        "s3",
        "cp",
        "large",
        "s3://bucket/large",
        "--no-progress",
        "--acl",
        "authenticated-read",
    ];
    users.may(TESTER, &large);
    let get = api("get-object", "bucket", &["--key", "large", "back"]);
    users.may(TESTER3, &get);
    files::assert_equal(&folder.path().join("large"), &folder.path().join("back"));
    users.may_not(
        TESTER3,
        &api("put-object", "bucket", &["--key", "x", "--body", "large"]),
        "AccessDenied",
    );

    // Its list changes without the data moving: the parts are the same ones.
    let etag = ["--key", "large", "--query", "ETag"];
    let before = users.may(TESTER, &api("head-object", "bucket", &etag));
    users.may(
        TESTER,
        &api(
            "put-object-acl",
            "bucket",
            &["--key", "large", "--acl", "private"],
        ),
    );
    users.may_not(TESTER3, &get, "AccessDenied");
    assert_eq!(users.may(TESTER, &api("head-object", "bucket", &etag)), before);
    users.may(TESTER, &get);
    files::assert_equal(&folder.path().join("large"), &folder.path().join("back"));
    let listed = users.may(
        TESTER,
        &api("list-objects-v2", "bucket", &["--query", "Contents[].ETag"]),
    );
    assert!(
        listed.contains(before.trim().trim_matches('"')),
        "{listed} {before}"
    );

    // Through Swift's door the parts can be looked at, where Swift has them, and not touched.
    let parts = run(swift(&cluster.url(), folder.path()).args(["list", "bucket+segments"]));
    assert_eq!(parts.lines().count(), 2, "{parts}");
    let part = parts.lines().next().unwrap();
    refused(swift(&cluster.url(), folder.path()).args(["delete", "bucket+segments", part]));
    users.may(TESTER, &get);
}

#[test]
fn a_container_of_swifts_is_under_swifts_rules() {
    let cluster = Cluster::start();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("note"), "from swift").unwrap();
    let users = Users {
        url: cluster.url(),
        folder: folder.path(),
    };
    let swift = |arguments: &[&str]| run(swift(&cluster.url(), folder.path()).args(arguments));
    swift(&["upload", "plain", "note"]);
    let get = api("get-object", "plain", &["--key", "note", "got"]);
    // Admins own the account; others are let in by the container's ACL alone.
    users.may(TESTER2, &get);
    assert!(users.may(TESTER2, &["s3", "ls"]).contains("plain"));
    users.may_not(TESTER3, &get, "AccessDenied");
    users.may_not(
        TESTER3,
        &api("get-object", "plain", &["--key", "none", "got"]),
        "AccessDenied",
    );
    swift(&["post", "plain", "-r", "test:tester3"]);
    users.may(TESTER3, &get);
    users.may_not(
        TESTER3,
        &api("put-object", "plain", &["--key", "x", "--body", "note"]),
        "AccessDenied",
    );
    swift(&["post", "plain", "-w", "test:tester3"]);
    users.may(
        TESTER3,
        &api("put-object", "plain", &["--key", "x", "--body", "note"]),
    );
    users.may_not(
        TESTER3,
        &api("put-bucket-acl", "plain", &["--acl", "public-read"]),
        "AccessDenied",
    );

    // With a list of its own it becomes S3's.
    users.may(TESTER, &api("put-bucket-acl", "plain", &["--acl", "private"]));
    users.may_not(TESTER2, &api("list-objects-v2", "plain", &[]), "AccessDenied");
    users.may(TESTER, &api("list-objects-v2", "plain", &[]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_may_ask_beforehand() {
    let cluster = Cluster::start();
    let asked = [
        ("origin", "http://shop.example"),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "Authorization, X-Amz-Date"),
    ];
    let ask = async |headers: &[(&str, &str)]| {
        request(cluster.address(), "OPTIONS", "/bucket/key", headers, "")
            .await
            .unwrap()
    };
    let allowed = ask(&asked).await;
    assert_eq!(allowed.status, 200);
    assert_eq!(
        allowed.header("access-control-allow-origin"),
        "http://shop.example"
    );
    assert_eq!(
        allowed.header("access-control-allow-headers"),
        "authorization, x-amz-date"
    );
    // Without a word of a signature it is no question to the S3 door.
    let other = ask(&asked[..2]).await;
    assert_eq!(other.header("access-control-allow-origin"), "");
}
