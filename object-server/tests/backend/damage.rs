//! A damaged copy is never served: 404 when it shows at once, a broken body when it shows later.

use crate::house::{House, ask, eventually, get, put};
use martlet_service::BodyError;
use std::fs;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const LENGTH: usize = 4_000_000;

/// A body whose every piece says where it is.
fn body() -> Vec<u8> {
    (0..LENGTH as u32 / 4).flat_map(|at| at.to_le_bytes()).collect()
}

/// All files at this moment. What moves meanwhile may be missing: the index renames its files, and a body moves from
/// `incoming/` to its place after its PUT was answered.
fn files_below(directory: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Changes the byte of the stored body that is `offset` bytes in. False when the body was not found this time.
fn flip(house: &House, offset: usize) -> bool {
    let mut files = Vec::new();
    files_below(house.directory.path(), &mut files);
    let marks = body()[offset..offset + 64].to_vec();
    files.iter().any(|path| {
        let open = fs::OpenOptions::new().read(true).write(true).open(path);
        let Ok(mut file) = open else { return false };
        let mut stored = Vec::new();
        file.read_to_end(&mut stored).unwrap();
        let Some(at) = stored.windows(marks.len()).position(|window| window == marks) else {
            return false;
        };
        file.write_all_at(&[!marks[0]], at as u64).unwrap();
        true
    })
}

async fn damaged_at(offset: usize) -> House {
    let house = House::new();
    assert_eq!(put("5").body(body()).send(&house).await.status, 201);
    assert!(
        eventually(async || flip(&house, offset)).await,
        "no file holds the body"
    );
    house
}

#[tokio::test]
async fn damage_at_the_start_is_a_404_and_a_quarantine() {
    let house = damaged_at(100).await;
    assert_eq!(get(&house).await.status, 404);
    assert!(eventually(async || house.device.stats().await.unwrap().quarantined == 1).await);
    // What is quarantined is not here any more, and a repaired copy is welcome.
    assert_eq!(ask("HEAD").send(&house).await.status, 404);
    assert_eq!(put("5").body(body()).send(&house).await.status, 201);
    assert_eq!(get(&house).await.status, 200);
}

#[tokio::test]
async fn damage_further_in_breaks_the_body_off() {
    let house = damaged_at(LENGTH - 1_000).await;
    let answer = get(&house).await;
    assert_eq!((answer.status, answer.broken), (200, Some(BodyError::Corrupt)));
    assert!(body().starts_with(&answer.body) && answer.body.len() < LENGTH);
    assert_eq!(get(&house).await.status, 404);
}

#[tokio::test]
async fn damage_in_a_range_is_found_and_outside_it_is_not() {
    let house = damaged_at(LENGTH - 1_000).await;
    let first = ask("GET").with("range", "bytes=0-99").send(&house).await;
    assert_eq!((first.status, first.body.as_slice()), (206, &body()[..100]));
    let last = ask("GET").with("range", "bytes=-10").send(&house).await;
    assert_eq!(last.status, 404);
    assert!(eventually(async || house.device.stats().await.unwrap().quarantined == 1).await);
}
