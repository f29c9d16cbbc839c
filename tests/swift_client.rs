//! The real `swift` client from PyPI: what a person types, byte for byte.

mod support;

use std::path::{Path, PathBuf};
use support::clients::{run, swift};
use support::{Cluster, files};

/// Every source file of the crates this is built from: thousands of real files in real folders.
fn crate_sources() -> PathBuf {
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cargo"));
    let registries = std::fs::read_dir(cargo_home.join("registry/src")).expect("cargo keeps sources");
    registries
        .flatten()
        .map(|entry| entry.path())
        .next()
        .expect("one registry at least")
}

/// Links a few thousand files into a folder of the test's own.
fn sample_tree(into: &Path, at_most: usize) -> usize {
    let mut count = 0;
    let source = crate_sources();
    for file in files::below(&source) {
        if count == at_most {
            break;
        }
        let target = into.join(file.strip_prefix(&source).expect("below it"));
        std::fs::create_dir_all(target.parent().expect("it has a folder")).expect("a folder can be made");
        std::fs::copy(&file, &target).expect("a file can be copied");
        count += 1;
    }
    count
}

#[test]
fn a_tree_of_thousands_of_files_comes_back_equal() {
    let cluster = Cluster::start();
    let folder = tempfile::tempdir().unwrap();
    let count = sample_tree(&folder.path().join("tree"), 4_000);
    assert!(count > 1_000, "only {count} files to try with");
    run(swift(&cluster.url(), folder.path()).args(["upload", "sources", "tree"]));
    let listed = run(swift(&cluster.url(), folder.path()).args(["list", "sources"]));
    assert_eq!(listed.lines().count(), count);
    let back = folder.path().join("back");
    run(swift(&cluster.url(), folder.path())
        .args(["download", "sources", "--output-dir"])
        .arg(&back));
    files::assert_equal_trees(&folder.path().join("tree"), &back.join("tree"));
    let stat = run(swift(&cluster.url(), folder.path()).args(["stat", "sources"]));
    assert!(stat.contains(&format!("Objects: {count}")), "{stat}");
    run(swift(&cluster.url(), folder.path()).args(["delete", "sources"]));
    assert_eq!(run(swift(&cluster.url(), folder.path()).arg("list")), "");
}

#[test]
fn a_large_file_in_segments_comes_back_equal() {
    let cluster = Cluster::start_processes();
    let folder = tempfile::tempdir().unwrap();
    let size = files::large_size_bytes();
    files::write_random(&folder.path().join("large"), size);
    let segment = (size / 8).to_string();
    for (container, way) in [("static", "--use-slo"), ("dynamic", "--use-dlo")] {
        run(swift(&cluster.url(), folder.path()).args(["upload", container, "large", "-S", &segment, way]));
        let back = folder.path().join("back");
        run(swift(&cluster.url(), folder.path())
            .args(["download", container, "large", "-o"])
            .arg(&back));
        files::assert_equal(&folder.path().join("large"), &back);
        run(swift(&cluster.url(), folder.path()).args(["delete", container, "large"]));
        let left = run(swift(&cluster.url(), folder.path()).args(["list", &format!("{container}_segments")]));
        assert_eq!(left, "", "segments were left behind");
    }
}

#[test]
fn metadata_acls_and_copies_work_from_the_command_line() {
    let cluster = Cluster::start();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a file"), "contents").unwrap();
    let swift = || swift(&cluster.url(), folder.path());
    run(swift().args(["upload", "box", "a file", "-H", "X-Object-Meta-Colour: blue"]));
    run(swift().args(["post", "box", "-r", ".r:*,.rlistings", "-m", "Shelf: 3"]));
    let stat = run(swift().args(["stat", "box"]));
    assert!(
        stat.contains("Read ACL: .r:*,.rlistings") && stat.contains("Meta Shelf: 3"),
        "{stat}"
    );
    run(swift().args(["copy", "-d", "/box/copied", "box", "a file"]));
    let stat = run(swift().args(["stat", "box", "copied"]));
    assert!(stat.contains("Meta Colour: blue"), "{stat}");
    run(swift().args(["post", "box", "copied", "-m", "Colour: green"]));
    let stat = run(swift().args(["stat", "box", "copied"]));
    assert!(
        stat.contains("Meta Colour: green") && stat.contains("Content Length: 8"),
        "{stat}"
    );
    let capabilities = run(swift().arg("capabilities"));
    assert!(
        capabilities.contains("slo") && capabilities.contains("tempauth"),
        "{capabilities}"
    );
}
