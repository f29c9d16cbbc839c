//! Versions through the S3 door, with the real `aws` CLI.

mod support;

use std::path::Path;
use support::clients::{aws, refused, run, swift};
use support::http::Swift;
use support::{Cluster, files};

struct Bucket<'a> {
    url: String,
    folder: &'a Path,
}

impl Bucket<'_> {
    /// An operation of `aws s3api` on the bucket; its output as text.
    fn call(&self, operation: &str, more: &[&str]) -> String {
        let mut command = aws(&self.url, self.folder);
        command.args(["s3api", operation, "--bucket", "bucket", "--output", "text"]);
        run(command.args(more)).trim().to_owned()
    }

    fn refuses(&self, operation: &str, more: &[&str], error: &str) {
        let mut command = aws(&self.url, self.folder);
        let words = refused(
            command
                .args(["s3api", operation, "--bucket", "bucket"])
                .args(more),
        );
        assert!(words.contains(error), "{operation} {more:?}: {words}");
    }

    fn switch(&self, status: &str) {
        let status = format!("Status={status}");
        self.call("put-bucket-versioning", &["--versioning-configuration", &status]);
    }

    /// Stores words under a key; the version they are.
    fn put(&self, key: &str, words: &str) -> String {
        std::fs::write(self.folder.join("words"), words).unwrap();
        self.call(
            "put-object",
            &["--key", key, "--body", "words", "--query", "VersionId"],
        )
    }

    fn get(&self, more: &[&str]) -> String {
        let mut all = vec!["--key", "note"];
        all.extend_from_slice(more);
        all.push("got");
        self.call("get-object", &all);
        std::fs::read_to_string(self.folder.join("got")).unwrap()
    }

    /// Versions as listed: whether each is the latest.
    fn versions(&self) -> Vec<(String, bool)> {
        let query = "Versions[].[VersionId,IsLatest]";
        let text = self.call("list-object-versions", &["--query", query]);
        let rows = text.lines().filter_map(|line| line.split_once('\t'));
        rows.map(|(version, latest)| (version.to_owned(), latest == "True"))
            .collect()
    }
}

#[test]
fn every_version_stays_until_it_is_named() {
    let cluster = Cluster::start();
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket {
        url: cluster.url(),
        folder: folder.path(),
    };
    bucket.call("create-bucket", &[]);
    assert_eq!(
        bucket.call("get-bucket-versioning", &["--query", "Status"]),
        "None"
    );
    bucket.put("note", "zero");
    bucket.refuses(
        "get-object",
        &["--key", "note", "--version-id", "1700000000.00000", "got"],
        "NoSuchVersion",
    );
    bucket.switch("Enabled");
    assert_eq!(
        bucket.call("get-bucket-versioning", &["--query", "Status"]),
        "Enabled"
    );
    let one = bucket.put("note", "one");
    let two = bucket.put("note", "two");
    // What was replaced first has a version of its own from then on.
    let versions = bucket.versions();
    let zero = versions[2].0.clone();
    assert_eq!(
        versions,
        [(two.clone(), true), (one.clone(), false), (zero.clone(), false)]
    );
    assert_eq!(bucket.get(&[]), "two");
    assert_eq!(bucket.get(&["--version-id", &one]), "one");
    assert_eq!(bucket.get(&["--version-id", &zero]), "zero");
    bucket.refuses(
        "get-object",
        &["--key", "note", "--version-id", "nonsense", "got"],
        "InvalidArgument",
    );
    bucket.refuses(
        "get-object",
        &["--key", "note", "--version-id", "1700000000.00000", "got"],
        "NoSuchVersion",
    );

    // Pages end between the versions of one key.
    let first = bucket.call(
        "list-object-versions",
        &[
            "--max-keys",
            "1",
            "--no-paginate",
            "--query",
            "[NextKeyMarker,NextVersionIdMarker]",
        ],
    );
    assert_eq!(first, format!("note\t{two}"));
    let rest = bucket.call(
        "list-object-versions",
        &[
            "--key-marker",
            "note",
            "--version-id-marker",
            &two,
            "--query",
            "Versions[].VersionId",
        ],
    );
    assert_eq!(rest, format!("{one}\t{zero}"));

    // A deletion is a mark, and goes as any version does.
    let mark = bucket.call(
        "delete-object",
        &["--key", "note", "--query", "[DeleteMarker,VersionId]"],
    );
    let mark = mark.strip_prefix("True\t").expect("a deletion makes a mark");
    bucket.refuses("get-object", &["--key", "note", "got"], "NoSuchKey");
    let listed = bucket.call(
        "list-object-versions",
        &["--query", "DeleteMarkers[].[VersionId,IsLatest]"],
    );
    assert_eq!(listed, format!("{mark}\tTrue"));
    bucket.refuses("delete-bucket", &[], "BucketNotEmpty");
    bucket.call("delete-object", &["--key", "note", "--version-id", mark]);
    assert_eq!(bucket.get(&[]), "two");
    // Without its newest version an object is the one before.
    bucket.call("delete-object", &["--key", "note", "--version-id", &two]);
    assert_eq!(bucket.get(&[]), "one");

    let source = format!("bucket/note?versionId={one}");
    bucket.call("copy-object", &["--key", "copy", "--copy-source", &source]);
    bucket.switch("Suspended");
    assert_eq!(bucket.put("note", "plain"), "None");
    assert_eq!(bucket.get(&["--version-id", &one]), "one");
    assert_eq!(bucket.get(&[]), "plain");

    let all = bucket.call("list-object-versions", &["--query", "Versions[].[Key,VersionId]"]);
    for line in all.lines() {
        let (key, version) = line.split_once('\t').unwrap();
        let named = format!("Objects=[{{Key={key},VersionId={version}}}]");
        bucket.call("delete-objects", &["--delete", &named]);
    }
    bucket.call("delete-bucket", &[]);
}

#[test]
fn versions_made_of_parts_keep_their_parts() {
    let cluster = Cluster::start();
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket {
        url: cluster.url(),
        folder: folder.path(),
    };
    bucket.call("create-bucket", &[]);
    bucket.switch("Enabled");
    for name in ["old", "new"] {
        files::write_random(&folder.path().join(name), 9 * 1024 * 1024);
        run(aws(&cluster.url(), folder.path()).args([
            "s3",
            "cp",
            name,
            "s3://bucket/large",
            "--no-progress",
        ]));
    }
    let versions = bucket.versions();
    let ((new, _), (old, _)) = (&versions[0], &versions[1]);
    for (version, name) in [(old, "old"), (new, "new")] {
        bucket.call("get-object", &["--key", "large", "--version-id", version, "back"]);
        files::assert_equal(&folder.path().join(name), &folder.path().join("back"));
    }
    bucket.refuses(
        "put-object-acl",
        &["--key", "large", "--acl", "public-read"],
        "NotImplemented",
    );
    bucket.call("delete-object", &["--key", "large", "--version-id", old]);
    bucket.call("get-object", &["--key", "large", "back"]);
    files::assert_equal(&folder.path().join("new"), &folder.path().join("back"));
    bucket.refuses(
        "get-object",
        &["--key", "large", "--version-id", old, "back"],
        "NoSuchVersion",
    );
    // The parts of what is gone go soon after.
    support::wait_for("the parts of the old version are gone", || {
        let parts = run(swift(&cluster.url(), folder.path()).args(["list", "bucket+segments"]));
        parts.lines().count() == 2
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn archived_uploads_keep_their_parts() {
    let cluster = Cluster::start();
    let folder = tempfile::tempdir().unwrap();
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    let call = async |method: &str, path: &str, headers: &[(&str, &str)]| {
        let answer = user.call(method, path, headers, "").await;
        assert!(answer.status < 300, "{method} {path}: {}", answer.status);
        answer
    };
    call("PUT", "/archive", &[]).await;
    call("PUT", "/bucket", &[("x-versions-location", "archive")]).await;
    let upload = |name: &str| {
        files::write_random(&folder.path().join(name), 9 * 1024 * 1024);
        let to = ["s3", "cp", name, "s3://bucket/large", "--no-progress"];
        run(aws(&cluster.url(), folder.path()).args(to));
    };
    let wait_for_parts = |count: usize| {
        support::wait_for("the parts of what is gone are gone, and no others", || {
            let parts = run(swift(&cluster.url(), folder.path()).args(["list", "bucket+segments"]));
            parts.lines().count() == count
        });
    };
    let is_whole = async |path: &str, name: &str| {
        let whole = std::fs::read(folder.path().join(name)).unwrap();
        assert!(call("GET", path, &[]).await.body == whole, "{path} is not {name}");
    };
    let archived = async || {
        let listing = call("GET", "/archive", &[]).await.text();
        let names = listing.lines().map(|name| format!("/archive/{name}"));
        names.collect::<Vec<_>>()
    };
    for name in ["first", "second", "third"] {
        upload(name);
    }
    let names = archived().await;
    assert_eq!(names.len(), 2);
    is_whole(&names[0], "first").await;
    wait_for_parts(6);
    // A version goes with its parts, and with nobody else's.
    call("DELETE", &names[0], &[]).await;
    wait_for_parts(4);
    is_whole(&names[1], "second").await;
    is_whole("/bucket/large", "third").await;
    // The version before comes back with its parts.
    call("DELETE", "/bucket/large", &[]).await;
    wait_for_parts(2);
    assert_eq!(archived().await, [""; 0]);
    is_whole("/bucket/large", "second").await;
    call("DELETE", "/bucket/large", &[]).await;
    wait_for_parts(0);
}
