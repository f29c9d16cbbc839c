//! A dev cluster with Keystone beside tempauth: Swift tokens, S3 credentials, and the command line that turns it on.

#[path = "../proxy/tests/keystone_server/mod.rs"]
mod keystone_server;
mod support;

use keystone_server::{FakeKeystone, PASSWORD, PROJECT, USER, scoped};
use martlet_s3_shim::signature::v4::{ChunkSeed, signing_key};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use sha2::{Digest, Sha256};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};
use support::Cluster;
use support::http::{Answer, Swift, request};

/// Chunks but the last have 8 KiB at least.
const FIRST_CHUNK: &str = "first chunk, ";
const HOUR: Duration = Duration::from_secs(3600);

/// A cluster that asks this Keystone.
async fn cluster(keystone: &FakeKeystone) -> Cluster {
    let url = keystone.url();
    // The cluster is waited for on a thread of its own: Keystone runs on this one.
    let arguments = move || {
        Cluster::start_with(&[
            "--keystone",
            &url,
            "--keystone-user",
            USER,
            "--keystone-password",
            PASSWORD,
            "--keystone-project",
            PROJECT,
        ])
    };
    tokio::task::spawn_blocking(arguments).await.unwrap()
}

async fn send(cluster: &Cluster, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let answer = request(cluster.address(), method, target, headers, body.to_owned()).await;
    answer.expect("the proxy answers")
}

#[tokio::test]
async fn keystone_and_tempauth_live_beside_each_other() {
    let keystone = FakeKeystone::start().await;
    keystone.give("operator", scoped("ann", "demo", &["admin"]));
    keystone.give("member", scoped("bob", "demo", &["member"]));
    let cluster = cluster(&keystone).await;
    let token = [("x-auth-token", "operator")];
    for (method, target, body, expected) in [
        ("PUT", "/v1/AUTH_demo-id/c", "", 201),
        ("PUT", "/v1/AUTH_demo-id/c/o", "hello", 201),
        ("GET", "/v1/AUTH_demo-id/c/o", "", 200),
        ("GET", "/v1/AUTH_test", "", 403),
    ] {
        assert_eq!(
            send(&cluster, method, target, &token, body).await.status,
            expected,
            "{target}"
        );
    }
    let member = [("x-auth-token", "member")];
    assert_eq!(
        send(&cluster, "GET", "/v1/AUTH_demo-id/c/o", &member, "")
            .await
            .status,
        403
    );
    assert_eq!(
        send(&cluster, "GET", "/v1/AUTH_demo-id/c/o", &[], "")
            .await
            .status,
        401
    );
    let tester = Swift::login(cluster.address(), "test:tester", "testing").await;
    assert_eq!(tester.call("PUT", "/c", &[], "").await.status, 201);
    let foreign = [("x-auth-token", tester.token.as_str())];
    assert_eq!(
        send(&cluster, "GET", "/v1/AUTH_demo-id/c/o", &foreign, "")
            .await
            .status,
        403
    );
    // Made by the container's PUT, with the domain of its project.
    let head = send(&cluster, "HEAD", "/v1/AUTH_demo-id", &token, "").await;
    assert_eq!(head.header("x-account-project-domain-id"), "default");
    // A key of the account signs for whoever has the link.
    let key = [("x-auth-token", "operator"), ("x-account-meta-temp-url-key", "k")];
    assert_eq!(
        send(&cluster, "POST", "/v1/AUTH_demo-id", &key, "").await.status,
        204
    );
    let query = support::signing::temp_url("k", "GET", "/v1/AUTH_demo-id/c/o");
    let linked = send(&cluster, "GET", &format!("/v1/AUTH_demo-id/c/o?{query}"), &[], "").await;
    assert_eq!((linked.status, linked.text().as_str()), (200, "hello"));
    assert_eq!(keystone.asked("token"), 2);
}

/// Path and query of a presigned URL.
fn target(url: &impl ToString) -> String {
    let url = url.to_string();
    let from = url.find("/photos").expect("the bucket's name");
    url[from..].to_owned()
}

fn bucket(cluster: &Cluster) -> Bucket {
    let endpoint = cluster.url().parse().expect("a URL");
    Bucket::new(endpoint, UrlStyle::Path, "photos", "us-east-1").expect("a bucket")
}

#[tokio::test]
async fn ten_thousand_s3_reads_ask_keystone_once_for_each_cache_time() {
    let keystone = FakeKeystone::start().await;
    keystone.give_credential("access1", "secret1", scoped("ann", "demo", &["admin"]));
    let cluster = cluster(&keystone).await;
    let bucket = bucket(&cluster);
    let ann = Credentials::new("access1", "secret1");
    let started = Instant::now();
    let url = bucket.create_bucket(&ann).sign(HOUR);
    assert_eq!(send(&cluster, "PUT", &target(&url), &[], "").await.status, 200);
    let url = bucket.put_object(Some(&ann), "cat").sign(HOUR);
    assert_eq!(
        send(&cluster, "PUT", &target(&url), &[], "miau").await.status,
        200
    );
    let readers = (0..16).map(|reader| {
        let (bucket, ann, cluster) = (&bucket, &ann, &cluster);
        async move {
            for number in 0..625 {
                // Each with a signature of its own.
                let url = bucket
                    .get_object(Some(ann), "cat")
                    .sign(HOUR + Duration::from_secs(reader * 625 + number));
                let answer = send(cluster, "GET", &target(&url), &[], "").await;
                assert_eq!((answer.status, answer.text().as_str()), (200, "miau"));
            }
        }
    });
    futures_util::future::join_all(readers).await;
    let cache_times = 1 + started.elapsed().as_secs() as usize / 60;
    assert!(
        keystone.asked("s3token") <= cache_times,
        "{}",
        keystone.asked("s3token")
    );
    assert!(keystone.asked("secret") <= cache_times);
    // The same object through the other door, in the account of the project.
    keystone.give("operator", scoped("ann", "demo", &["admin"]));
    let token = [("x-auth-token", "operator")];
    let answer = send(&cluster, "GET", "/v1/AUTH_demo-id/photos/cat", &token, "").await;
    assert_eq!(answer.text(), "miau");
    for (access, secret, status, code) in [
        ("access1", "wrong", 403, "SignatureDoesNotMatch"),
        ("nobody", "secret1", 403, "SignatureDoesNotMatch"),
        ("test:nobody", "secret1", 403, "InvalidAccessKeyId"),
    ] {
        let url = bucket
            .get_object(Some(&Credentials::new(access, secret)), "cat")
            .sign(HOUR);
        let answer = send(&cluster, "GET", &target(&url), &[], "").await;
        assert_eq!(answer.status, status, "{access}");
        assert!(answer.text().contains(code), "{access}: {}", answer.text());
    }
    let tester = Credentials::new("test:tester", "testing");
    let url = bucket.create_bucket(&tester).sign(HOUR);
    assert_eq!(
        send(&cluster, "PUT", &target(&url), &[], "").await.status,
        200,
        "tempauth's keys stay good"
    );
    keystone.set_down(true);
    keystone.give_credential("access2", "secret2", scoped("bob", "demo", &["admin"]));
    let url = bucket
        .get_object(Some(&Credentials::new("access2", "secret2")), "cat")
        .sign(HOUR);
    let answer = send(&cluster, "GET", &target(&url), &[], "").await;
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("ServiceUnavailable"));
}

/// One PUT whose chunks are each signed, as Amazon's "Signature Calculations for the Authorization Header (chunked upload)"
/// describes it. `spoil` breaks the second chunk's signature.
async fn put_signed_chunks(cluster: &Cluster, access: &str, secret: &str, spoil: bool) -> Answer {
    const HASH: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
    let sha256 = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let date = martlet_s3_shim::signature::canonical::amz_date(now);
    let scope = format!("{}/us-east-1/s3/aws4_request", &date[..8]);
    let chunks = [FIRST_CHUNK.repeat(800), "second chunk".to_owned(), String::new()];
    let length: usize = chunks.iter().map(|chunk| chunk.len()).sum();
    let signed = "host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length";
    let host = cluster.address();
    let canonical = format!(
        "PUT\n/photos/chunked\n\nhost:{host}\nx-amz-content-sha256:{HASH}\nx-amz-date:{date}\n\
         x-amz-decoded-content-length:{length}\n\n{signed}\n{HASH}"
    );
    let text = format!(
        "AWS4-HMAC-SHA256\n{date}\n{scope}\n{}",
        sha256(canonical.as_bytes())
    );
    let mut seed = ChunkSeed {
        key: signing_key(secret, &date[..8], "us-east-1", "s3"),
        date: date.clone(),
        scope: scope.clone(),
        signature: String::new(),
    };
    seed.signature = keystone_server::signature(secret, text.as_bytes());
    let mut previous = seed.signature.clone();
    let mut body = String::new();
    for (at, chunk) in chunks.iter().enumerate() {
        previous = seed.chunk_signature(&previous, &sha256(chunk.as_bytes()));
        let shown = if spoil && at == 1 {
            "0".repeat(64)
        } else {
            previous.clone()
        };
        body.push_str(&format!(
            "{:x};chunk-signature={shown}\r\n{chunk}\r\n",
            chunk.len()
        ));
    }
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={access}/{scope},SignedHeaders={signed},Signature={}",
        seed.signature
    );
    let headers = [
        ("authorization", authorization.as_str()),
        ("x-amz-date", &date),
        ("x-amz-content-sha256", HASH),
        ("x-amz-decoded-content-length", &length.to_string()),
    ];
    send(cluster, "PUT", "/photos/chunked", &headers, &body).await
}

#[tokio::test]
async fn signed_chunks_are_checked_with_keystones_secret() {
    let keystone = FakeKeystone::start().await;
    keystone.give_credential("access1", "secret1", scoped("ann", "demo", &["admin"]));
    let cluster = cluster(&keystone).await;
    let ann = Credentials::new("access1", "secret1");
    let bucket = bucket(&cluster);
    let url = bucket.create_bucket(&ann).sign(HOUR);
    assert_eq!(send(&cluster, "PUT", &target(&url), &[], "").await.status, 200);
    let answer = put_signed_chunks(&cluster, "access1", "secret1", false).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let url = bucket.get_object(Some(&ann), "chunked").sign(HOUR);
    let stored = send(&cluster, "GET", &target(&url), &[], "").await.text();
    assert_eq!(stored, format!("{}second chunk", FIRST_CHUNK.repeat(800)));
    let answer = put_signed_chunks(&cluster, "access1", "secret1", true).await;
    assert_eq!(answer.status, 403, "{}", answer.text());
    // Where the secret is not shown, such a body cannot be checked, and is not taken.
    keystone.hide_secrets();
    keystone.give_credential("access2", "secret2", scoped("ann", "demo", &["admin"]));
    let answer = put_signed_chunks(&cluster, "access2", "secret2", false).await;
    assert_eq!(answer.status, 501, "{}", answer.text());
    let url = bucket
        .get_object(Some(&Credentials::new("access2", "secret2")), "chunked")
        .sign(HOUR);
    assert_eq!(send(&cluster, "GET", &target(&url), &[], "").await.status, 200);
}

#[test]
fn the_command_line_says_what_is_missing() {
    for (arguments, word) in [
        (&["--keystone", "http://127.0.0.1:5000/v3"][..], "--keystone-user"),
        (&["--keystone", "ftp://a", "--keystone-user", "a"], "http://"),
        (&["--keystone-user", "swift"], "--keystone"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_martlet"))
            .arg("dev")
            .args(arguments)
            .output()
            .unwrap();
        assert!(!output.status.success());
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(words.contains(word), "{arguments:?}: {words}");
    }
}
