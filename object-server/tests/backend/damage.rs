//! A damaged copy is never served: 404 when it shows at once, a broken body when it shows later.

use crate::house::{House, ask, eventually, get, put};
use martlet_service::BodyError;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const LENGTH: usize = 4_000_000;

/// A body whose every piece says where it is.
fn body() -> Vec<u8> {
    (0..LENGTH as u32 / 4).flat_map(|at| at.to_le_bytes()).collect()
}

fn files_below(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Changes the byte of the stored body that is `offset` bytes in.
fn flip(house: &House, offset: usize) {
    let mut files = Vec::new();
    files_below(house.directory.path(), &mut files);
    let marks = body()[offset..offset + 64].to_vec();
    for path in files {
        // The index renames its own files meanwhile.
        let Ok(stored) = fs::read(&path) else { continue };
        if stored.len() < LENGTH {
            continue;
        }
        if let Some(at) = stored.windows(marks.len()).position(|window| window == marks) {
            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
            file.write_all_at(&[!marks[0]], at as u64).unwrap();
            return;
        }
    }
    panic!("no file holds the body");
}

async fn damaged_at(offset: usize) -> House {
    let house = House::new();
    assert_eq!(put("5").body(body()).send(&house).await.status, 201);
    flip(&house, offset);
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
