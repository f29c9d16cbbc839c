//! The real `aws` CLI from PyPI, with its default checksums: every `aws s3` verb.

mod support;

use std::process::Command;
use support::clients::{aws, run, swift};
use support::{Cluster, files, wait_for};

#[test]
fn every_verb_works() {
    let cluster = Cluster::start();
    let folder = tempfile::tempdir().unwrap();
    let aws = |arguments: &[&str]| run(aws(&cluster.url(), folder.path()).arg("s3").args(arguments));
    std::fs::create_dir_all(folder.path().join("tree/deep/er")).unwrap();
    std::fs::write(folder.path().join("tree/a b"), "one").unwrap();
    std::fs::write(folder.path().join("tree/deep/ü"), "two").unwrap();
    std::fs::write(folder.path().join("tree/deep/er/empty"), "").unwrap();

    aws(&["mb", "s3://bucket"]);
    assert!(aws(&["ls"]).contains("bucket"));
    aws(&["sync", "tree", "s3://bucket/tree"]);
    let listed = aws(&["ls", "--recursive", "s3://bucket/"]);
    assert!(
        listed.contains("tree/a b") && listed.contains("tree/deep/ü") && listed.lines().count() == 3,
        "{listed}"
    );
    assert!(aws(&["ls", "s3://bucket/tree/"]).contains("PRE deep/"));
    aws(&["sync", "s3://bucket/tree", "back"]);
    files::assert_equal_trees(&folder.path().join("tree"), &folder.path().join("back"));
    // A second round has nothing to do, either way.
    assert_eq!(aws(&["sync", "tree", "s3://bucket/tree"]), "");

    aws(&["cp", "s3://bucket/tree/a b", "s3://bucket/copied"]);
    aws(&["mv", "s3://bucket/copied", "s3://bucket/moved"]);
    assert_eq!(aws(&["cp", "s3://bucket/moved", "-"]), "one");
    let url = aws(&["presign", "s3://bucket/moved"]);
    let fetched = run(Command::new("curl").args(["-fsS", url.trim()]));
    assert_eq!(fetched, "one");
    aws(&["rm", "s3://bucket/moved"]);
    aws(&["rm", "--recursive", "s3://bucket/tree"]);
    aws(&["rb", "s3://bucket"]);
    assert_eq!(aws(&["ls"]), "");
}

#[test]
fn a_large_file_goes_up_in_parts_and_comes_back_equal() {
    let cluster = Cluster::start_processes();
    let folder = tempfile::tempdir().unwrap();
    files::write_random(&folder.path().join("large"), files::large_size_bytes() / 2);
    let aws = |arguments: &[&str]| run(aws(&cluster.url(), folder.path()).args(arguments));
    aws(&["s3", "mb", "s3://bucket"]);
    aws(&["s3", "cp", "large", "s3://bucket/large", "--no-progress"]);
    let etag = aws(&[
        "s3api",
        "head-object",
        "--bucket",
        "bucket",
        "--key",
        "large",
        "--query",
        "ETag",
    ]);
    assert!(etag.contains('-'), "a multipart ETag says its parts: {etag}");
    aws(&["s3", "cp", "s3://bucket/large", "back", "--no-progress"]);
    files::assert_equal(&folder.path().join("large"), &folder.path().join("back"));
    let uploads = aws(&[
        "s3api",
        "list-multipart-uploads",
        "--bucket",
        "bucket",
        "--query",
        "Uploads",
    ]);
    assert_eq!(uploads.trim(), "null", "an upload was left behind");
    aws(&["s3", "rm", "s3://bucket/large"]);
    aws(&["s3", "rb", "s3://bucket"]);
}

#[test]
fn one_object_is_seen_through_both_doors() {
    let cluster = Cluster::start();
    let folder = tempfile::tempdir().unwrap();
    let aws = |arguments: &[&str]| run(aws(&cluster.url(), folder.path()).args(arguments));
    let swift = |arguments: &[&str]| run(swift(&cluster.url(), folder.path()).args(arguments));
    std::fs::write(folder.path().join("from-s3"), "written through s3").unwrap();
    std::fs::write(folder.path().join("from-swift"), "written through swift").unwrap();
    aws(&["s3", "mb", "s3://both"]);
    aws(&[
        "s3",
        "cp",
        "from-s3",
        "s3://both/from-s3",
        "--metadata",
        "colour=red",
    ]);
    swift(&["upload", "both", "from-swift", "-H", "X-Object-Meta-Colour: blue"]);
    assert_eq!(swift(&["list", "both"]), "from-s3\nfrom-swift\n");
    assert_eq!(
        swift(&["download", "both", "from-s3", "-o", "-"]),
        "written through s3"
    );
    assert!(swift(&["stat", "both", "from-s3"]).contains("Meta Colour: red"));
    assert_eq!(
        aws(&["s3", "cp", "s3://both/from-swift", "-"]),
        "written through swift"
    );
    let colour = aws(&[
        "s3api",
        "head-object",
        "--bucket",
        "both",
        "--key",
        "from-swift",
        "--query",
        "Metadata.colour",
    ]);
    assert_eq!(colour.trim(), "\"blue\"");
    swift(&["delete", "both", "from-s3"]);
    assert!(!aws(&["s3", "ls", "s3://both/"]).contains("from-s3"));
}

#[test]
fn an_upload_in_parts_is_one_object_through_both_doors() {
    let cluster = Cluster::start();
    let folder = tempfile::tempdir().unwrap();
    files::write_random(&folder.path().join("parts"), 20 << 20);
    let aws = |arguments: &[&str]| run(aws(&cluster.url(), folder.path()).arg("s3").args(arguments));
    let swift = |arguments: &[&str]| run(swift(&cluster.url(), folder.path()).args(arguments));
    // The longest key there may be: the names of its parts are longer still.
    let key = "k".repeat(1024);
    let url = format!("s3://both/{key}");
    aws(&["mb", "s3://both"]);
    aws(&["cp", "parts", &url, "--no-progress"]);
    assert!(swift(&["stat", "both", &key]).contains("Content Length: 20971520"));
    swift(&["download", "both", &key, "-o", "through-swift"]);
    files::assert_equal(&folder.path().join("parts"), &folder.path().join("through-swift"));
    let url = aws(&["presign", &url]);
    run(Command::new("curl")
        .current_dir(folder.path())
        .args(["-fsS", "-o", "through-curl", url.trim()]));
    files::assert_equal(&folder.path().join("parts"), &folder.path().join("through-curl"));
    wait_for("the parts to be counted", || {
        swift(&["stat"]).contains("Bytes: 2097")
    });
    // The client sees a static large object and asks that its segments go too: the parts go with it.
    swift(&["delete", "both", &key]);
    assert_eq!(swift(&["list", "both"]), "");
    wait_for("the parts to be gone", || swift(&["stat"]).contains("Bytes: 0\n"));
    aws(&["rb", "s3://both"]);
}
