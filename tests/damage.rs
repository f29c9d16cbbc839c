//! Disks lie: a flipped bit is never served, the damaged copy is put aside and comes back from another device.

mod support;

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use support::copies::Placement;
use support::http::Swift;
use support::{Cluster, files};

/// Turns over one bit of every place in a file where `needle` stands; how many there were.
fn flip_bits(path: &Path, needle: &[u8]) -> usize {
    let mut content = Vec::new();
    let mut file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .expect("the file opens");
    file.read_to_end(&mut content).expect("it can be read");
    let places: Vec<usize> = content
        .windows(needle.len())
        .enumerate()
        .filter(|(_, window)| *window == needle)
        .map(|(at, _)| at)
        .collect();
    for at in &places {
        file.seek(SeekFrom::Start(*at as u64)).expect("it can be sought");
        file.write_all(&[content[*at] ^ 1]).expect("it can be written");
    }
    file.sync_all().expect("it can be synced");
    places.len()
}

/// Flips the needle wherever it stands below a folder.
fn damage(folder: &Path, needle: &[u8]) -> usize {
    files::below(folder)
        .iter()
        .map(|path| flip_bits(path, needle))
        .sum()
}

fn quarantined(folder: &Path) -> Vec<PathBuf> {
    let quarantine = folder.join("quarantine");
    if quarantine.is_dir() {
        files::below(&quarantine)
    } else {
        Vec::new()
    }
}

/// Writes an object, damages the copy on its first primary's disk while that node is down, and looks what happens.
async fn a_damaged_copy_comes_back(body: Vec<u8>, needle: &[u8]) {
    let mut cluster = Cluster::start_processes();
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    assert_eq!(user.call("PUT", "/box", &[], "").await.status, 201);
    assert_eq!(
        user.call("PUT", "/box/object", &[], body.clone()).await.status,
        201
    );
    let placement = Placement::of(&cluster);
    let damaged = placement.primaries("AUTH_test", "box", "object")[0];
    // The needle stands in body files; small bodies are in the index's files once the node has ended.
    cluster.stop();
    let disk = cluster.node_folder(damaged).join("disk");
    assert!(
        damage(&disk, needle) > 0,
        "the body is not on the disk as it was sent"
    );
    cluster.start_again();

    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    let placement = Placement::of(&cluster);
    let seen = placement.copy(damaged, "AUTH_test", "box", "object").await;
    assert_ne!(seen.body, body, "the damage was not seen by the test itself");
    assert_ne!(seen.status, 200, "a damaged copy was served");
    for _ in 0..8 {
        let answer = user.call("GET", "/box/object", &[], "").await;
        assert_eq!(answer.status, 200);
        assert!(answer.body == body, "the client got wrong bytes");
    }
    assert!(!quarantined(&disk).is_empty(), "nothing was put aside");
    cluster.pass();
    let copies = placement.copies("AUTH_test", "box", "object").await;
    assert!(
        copies.iter().all(|copy| copy.status == 200 && copy.body == body),
        "the copy did not come back"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_body_file() {
    let needle = b"the bytes on which the light shall fall";
    let mut body = vec![b'.'; 300_000];
    body[200_000..200_000 + needle.len()].copy_from_slice(needle);
    a_damaged_copy_comes_back(body, needle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_small_body() {
    let needle = b"a small body that lives in the index";
    a_damaged_copy_comes_back(needle.to_vec(), needle).await;
}

/// The devices that lost the copy had proved that they lack nothing: from then on they must not be believed, and a
/// round that would begin an hour later begins at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_lost_in_the_middle_of_the_day_is_never_a_404_and_comes_back_soon() {
    let mut cluster = Cluster::start_processes();
    cluster.stop();
    cluster.set_worker("replicate_interval_ms", toml::Value::Integer(3_600_000));
    cluster.start_again();
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    assert_eq!(user.call("PUT", "/box", &[], "").await.status, 201);
    let needle = b"the bytes on which the light shall fall";
    let mut body = vec![b'.'; 300_000];
    body[200_000..200_000 + needle.len()].copy_from_slice(needle);
    assert_eq!(
        user.call("PUT", "/box/object", &[], body.clone()).await.status,
        201
    );
    cluster.pass();
    let placement = Placement::of(&cluster);
    for primary in &placement.primaries("AUTH_test", "box", "object")[..2] {
        let disk = cluster.node_folder(*primary).join("disk");
        assert!(damage(&disk, needle) > 0);
    }
    for _ in 0..60 {
        let answer = user.call("GET", "/box/object", &[], "").await;
        assert_eq!(answer.status, 200);
        assert!(answer.body == body, "the client got wrong bytes");
    }
    support::until("both copies are back by themselves", async || {
        let copies = placement.copies("AUTH_test", "box", "object").await;
        copies.iter().all(|copy| copy.status == 200 && copy.body == body)
    })
    .await;
}
