//! Archives that become objects, and lists of names to delete: what is asked, what is said, what is there afterwards.

mod support;

use bytes::Bytes;
use serde_json::Value;
use std::io::Write;
use std::process::Command;
use support::archive::Tar;
use support::http::{Answer, Swift, request};
use support::{Cluster, resident_bytes, watching_memory};

const JSON: (&str, &str) = ("accept", "application/json");

/// The report of an answer, which is always 200.
fn report(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/json");
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}

async fn extract(user: &Swift, path: &str, archive: impl Into<Bytes>) -> Value {
    report(&user.call("PUT", path, &[JSON], archive).await)
}

async fn delete(user: &Swift, list: &str) -> Value {
    report(
        &user
            .call(
                "POST",
                "?bulk-delete",
                &[JSON, ("content-type", "text/plain")],
                list.to_owned(),
            )
            .await,
    )
}

async fn content(user: &Swift, path: &str) -> (u16, String) {
    let answer = user.call("GET", path, &[], "").await;
    (answer.status, answer.text())
}

fn status(report: &Value) -> &str {
    report["Response Status"].as_str().expect("a status")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut packer = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::default());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_become_objects() {
    let cluster = Cluster::start();
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    let large: Vec<u8> = (0..3_000_000u32).map(|at| (at * 31 + at / 251) as u8).collect();
    let archive = Tar::new()
        .file("base-level file", b"in no container")
        .entry(b"./one/", b'5', b"")
        .file("./one/first", b"1")
        .file("/one/dir/\u{fc} ?", b"2")
        .entry(b"one/link", b'2', b"")
        .file("two/large", &large)
        .file("two/empty", b"")
        .file("two/twice", b"old")
        .file("two/twice", b"new")
        .finish();
    for (kind, bytes) in [
        ("tar", archive.to_vec()),
        ("tar.gz", gzip(&archive)),
        ("tar.bz2", bzip2(&archive)),
    ] {
        let said = extract(&user, &format!("?extract-archive={kind}"), bytes).await;
        assert_eq!(
            said,
            serde_json::json!({
                "Number Files Created": 6,
                "Response Status": "201 Created",
                "Response Body": "",
                "Errors": [],
            }),
            "{kind}"
        );
        assert_eq!(content(&user, "/one/first").await, (200, "1".into()));
        assert_eq!(content(&user, "/one/dir/%C3%BC%20%3F").await, (200, "2".into()));
        assert_eq!(content(&user, "/two/twice").await, (200, "new".into()));
        assert_eq!(user.call("GET", "/two/large", &[], "").await.body, large);
        assert_eq!(
            user.call("GET", "/one", &[], "").await.text(),
            "dir/\u{fc} ?\nfirst\n"
        );
        let list =
            "/one/first\none/dir/%C3%BC%20%3F\ntwo/large\ntwo/empty\ntwo/twice\ntwo/none\n/two\n/one\n";
        let said = delete(&user, list).await;
        assert_eq!(
            said,
            serde_json::json!({
                "Number Deleted": 7,
                "Number Not Found": 1,
                "Response Status": "200 OK",
                "Response Body": "",
                "Errors": [],
            })
        );
        assert_eq!(content(&user, "").await.0, 204);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_go_below_a_path_and_bring_metadata() {
    let cluster = Cluster::start();
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    let archive = Tar::new()
        .file("page.html", b"<p>")
        .words(&[
            ("SCHILY.xattr.user.mime_type", "application/python-setup"),
            ("SCHILY.xattr.user.meta.lunch", "burger and fries"),
            ("LIBARCHIVE.xattr.user.meta.dinner", "baked ziti"),
            ("SCHILY.xattr.user.stuff", "whee"),
        ])
        .file("setup.py", b"x")
        .finish();
    let headers = [JSON, ("x-object-meta-all", "yes"), ("x-delete-after", "3600")];
    let path = "/box/some/dir/?extract-archive=tar";
    let said = report(&user.call("PUT", path, &headers, archive.clone()).await);
    assert_eq!(
        (status(&said), &said["Number Files Created"]),
        ("201 Created", &2.into())
    );
    let page = user.call("HEAD", "/box/some/dir/page.html", &[], "").await;
    assert_eq!(page.header("content-type"), "text/html");
    assert_eq!(page.header("x-object-meta-all"), "yes");
    assert!(!page.header("x-delete-at").is_empty());
    let setup = user.call("HEAD", "/box/some/dir/setup.py", &[], "").await;
    assert_eq!(setup.header("content-type"), "application/python-setup");
    assert_eq!(setup.header("x-object-meta-lunch"), "burger and fries");
    assert_eq!(setup.header("x-object-meta-dinner"), "baked ziti");
    assert_eq!(setup.header("x-object-meta-stuff"), "");
    assert_eq!(setup.header("x-object-meta-all"), "yes");

    // A type given with the archive is every file's; asked to detect, it is nobody's.
    let headers = [JSON, ("content-type", "application/x-mine")];
    report(
        &user
            .call("PUT", "/box?extract-archive=tar", &headers, archive.clone())
            .await,
    );
    let page = user.call("HEAD", "/box/page.html", &[], "").await;
    assert_eq!(page.header("content-type"), "application/x-mine");
    let headers = [
        JSON,
        ("content-type", "application/x-mine"),
        ("x-detect-content-type", "true"),
    ];
    report(
        &user
            .call("PUT", "/box?extract-archive=tar", &headers, archive)
            .await,
    );
    let page = user.call("HEAD", "/box/page.html", &[], "").await;
    assert_eq!(page.header("content-type"), "text/html");
}

/// What GNU tar writes, with names too long for a plain header, in both of its formats.
#[tokio::test(flavor = "multi_thread")]
async fn archives_of_gnu_tar() {
    let cluster = Cluster::start();
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    let folder = tempfile::tempdir().unwrap();
    let name = format!("{}/{}", "d".repeat(120), "f".repeat(140));
    std::fs::create_dir_all(folder.path().join("long").join("d".repeat(120))).unwrap();
    std::fs::write(folder.path().join("long").join(&name), b"deep").unwrap();
    for format in ["gnu", "pax", "ustar"] {
        let output = Command::new("tar")
            .arg(format!("--format={format}"))
            .args(["-cz", "-C"])
            .arg(folder.path())
            .arg("./long")
            .output()
            .expect("tar is installed");
        let said = extract(&user, "?extract-archive=tar.gz", output.stdout).await;
        if format == "ustar" {
            // It cannot hold such a name and leaves the file out.
            assert_eq!(status(&said), "400 Bad Request");
            continue;
        }
        assert_eq!(status(&said), "201 Created", "{format}: {said}");
        assert_eq!(
            content(&user, &format!("/long/{name}")).await,
            (200, "deep".into())
        );
        delete(&user, &format!("long/{name}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_archives_are_told() {
    let cluster = Cluster::start();
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    let good = Tar::new().file("c/o", b"content").finish();
    let cut = gzip(&Tar::new().file("c/cut", &[7; 100_000]).finish());
    let long = "n".repeat(98);
    let deep = Tar::new()
        .words(&[("path", &format!("c/{}", "n".repeat(1_025)))])
        .file(&long, b"x")
        .file("c/fine", b"y");
    for (path, bytes, expected, words) in [
        (
            "?extract-archive=tar",
            Bytes::from("not an archive"),
            "400 Bad Request",
            "Invalid Tar File",
        ),
        (
            "?extract-archive=tar",
            Bytes::new(),
            "400 Bad Request",
            "Invalid Tar File: empty file",
        ),
        (
            "?extract-archive=tar.gz",
            good.clone(),
            "400 Bad Request",
            "Invalid Tar File",
        ),
        (
            "?extract-archive=tar.bz2",
            good.clone(),
            "400 Bad Request",
            "Invalid Tar File",
        ),
        (
            "?extract-archive=tar.gz",
            Bytes::from(cut[..cut.len() / 2].to_vec()),
            "400 Bad Request",
            "Invalid Tar File",
        ),
        (
            "?extract-archive=tar",
            Tar::new().finish(),
            "400 Bad Request",
            "Invalid Tar File: No Valid Files",
        ),
        (
            "?extract-archive=tar",
            Tar::new().file("only-base", b"x").finish(),
            "400 Bad Request",
            "Invalid Tar File: No Valid Files",
        ),
        ("?extract-archive=tar", deep.finish(), "400 Bad Request", ""),
        (
            "?extract-archive=tar",
            Tar::new().entry(b"c/\xff", b'0', b"x").finish(),
            "400 Bad Request",
            "",
        ),
    ] {
        let said = extract(&user, path, bytes).await;
        assert_eq!(status(&said), expected, "{said}");
        let body = said["Response Body"].as_str().unwrap();
        assert!(body.starts_with(words), "{words}: {said}");
        let failed = said["Errors"].as_array().unwrap();
        let is_cut = body.contains("incomplete");
        assert_eq!(failed.is_empty(), !words.is_empty() && !is_cut, "{said}");
    }
    // One bad name does not hold up the others.
    assert_eq!(content(&user, "/c/fine").await.0, 200);
    assert_eq!(content(&user, "/c/cut").await.0, 404);

    let unknown = user
        .call("PUT", "?extract-archive=zip", &[JSON], good.clone())
        .await;
    assert_eq!(
        (unknown.status, unknown.text().as_str()),
        (400, "Unsupported archive format")
    );
    let picky = [("accept", "image/png")];
    let refused = user
        .call("PUT", "?extract-archive=tar", &picky, good.clone())
        .await;
    assert!(
        refused.text().contains("406 Not Acceptable"),
        "{}",
        refused.text()
    );
    // Nobody in particular may not, and no file is tried after the first refusal.
    let address = cluster.address();
    let two = Tar::new().file("c/1", b"").file("d/2", b"").finish();
    let anonymous = request(address, "PUT", "/v1/AUTH_test?extract-archive=tar", &[JSON], two)
        .await
        .unwrap();
    assert_eq!(status(&report(&anonymous)), "401 Unauthorized");
    assert_eq!(content(&user, "/d").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_lists_are_told() {
    let cluster = Cluster::start();
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    for path in ["/full", "/full/o"] {
        assert_eq!(user.call("PUT", path, &[], "").await.status, 201);
    }
    let too_many = "x/o\n".repeat(10_001);
    let long_line = "n".repeat(3_000);
    for (list, expected, words, errors) in [
        ("", "400 Bad Request", "Invalid bulk delete.", 0),
        ("\n\n", "400 Bad Request", "Invalid bulk delete.", 0),
        (
            &too_many,
            "413 Request Entity Too Large",
            "Maximum Bulk Deletes: 10000 per request",
            0,
        ),
        (&long_line, "400 Bad Request", "Invalid File Name", 0),
        ("/full", "400 Bad Request", "", 1),
        ("/full/%ff\n/full/none", "400 Bad Request", "", 1),
        ("/", "400 Bad Request", "", 1),
        ("none\nnone/o", "200 OK", "", 0),
    ] {
        let said = delete(&user, list).await;
        assert_eq!(status(&said), expected, "{said}");
        assert_eq!(said["Response Body"], words, "{said}");
        assert_eq!(said["Errors"].as_array().unwrap().len(), errors, "{said}");
    }
    let said = delete(&user, "/full").await;
    assert_eq!(said["Errors"], serde_json::json!([["/full", "409 Conflict"]]));
    assert_eq!(content(&user, "/full/o").await.0, 200);

    let kinds = [("content-type", "application/json"), JSON];
    let refused = user.call("POST", "?bulk-delete", &kinds, "full/o").await;
    assert_eq!(status(&report(&refused)), "406 Not Acceptable");
    let anonymous = request(
        cluster.address(),
        "POST",
        "/v1/AUTH_test?bulk-delete",
        &[JSON],
        "full/o",
    )
    .await
    .unwrap();
    let said = report(&anonymous);
    assert_eq!(
        said["Errors"],
        serde_json::json!([["full/o", "401 Unauthorized"]])
    );
    // DELETE with the same query does the same, and never deletes what its own path names.
    let said = report(
        &user
            .call("DELETE", "/full/o?bulk-delete", &[JSON], "full/none")
            .await,
    );
    assert_eq!(said["Number Not Found"], 1);
    assert_eq!(content(&user, "/full/o").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_in_every_format() {
    let cluster = Cluster::start();
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    for (accept, expected) in [
        (
            "text/plain",
            "Number Deleted: 0\nNumber Not Found: 1\nResponse Body: \nResponse Status: 200 OK\nErrors:\n",
        ),
        (
            "application/xml",
            "<delete>\n<number_deleted>0</number_deleted>\n<number_not_found>1</number_not_found>\n\
             <response_body></response_body>\n<response_status>200 OK</response_status>\n<errors>\n</errors>\n\
             </delete>\n",
        ),
    ] {
        let answer = user
            .call("POST", "?bulk-delete", &[("accept", accept)], "none")
            .await;
        assert_eq!(answer.text(), expected);
        assert_eq!(answer.header("content-type"), accept);
    }
}

/// How many files the large archive has: a hundred thousand when `MARTLET_TEST_LARGE=1` (`make test-large`).
fn files_of_a_large_archive() -> usize {
    match std::env::var_os("MARTLET_TEST_LARGE") {
        Some(_) => 100_000,
        None => 2_000,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_archive_takes_no_memory() {
    let files = files_of_a_large_archive();
    let cluster = Cluster::start_processes();
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    let mut archive = Tar::new();
    for at in 0..files {
        archive = archive.file(
            &format!("box{}/file-{at:06}", at % 3),
            format!("content {at}").as_bytes(),
        );
    }
    // Holes and zeros pack well: a small upload that is large when it is unpacked.
    archive = archive.file("box0/zeros", &vec![0; 64 << 20]);
    let packed = gzip(&archive.finish());
    let before = resident_bytes(cluster.pid());
    let extraction = extract(&user, "?extract-archive=tar.gz", packed);
    let begun = std::time::Instant::now();
    let (said, most) = watching_memory(&cluster.pids(), extraction).await;
    assert_eq!(status(&said), "201 Created", "{said}");
    assert_eq!(said["Number Files Created"], files + 1);
    assert_eq!(said["Errors"], serde_json::json!([]));
    let most: Vec<u64> = most.into_iter().map(|bytes| bytes >> 20).collect();
    println!(
        "{files} files in {} s; the proxy: {} MiB before; at most, proxy and nodes: {most:?} MiB",
        begun.elapsed().as_secs(),
        before >> 20,
    );
    // The proxy keeps nothing of what has passed; a node's tables in memory are bounded by its budget.
    assert!(most[0] < 128, "{most:?} MiB were resident");
    assert!(most.iter().all(|node| *node < 320), "{most:?} MiB were resident");
    let last = files - 1;
    let path = format!("/box{}/file-{last:06}", last % 3);
    assert_eq!(content(&user, &path).await, (200, format!("content {last}")));
}
