//! Files and folders that a test makes and compares.

use rand::RngCore;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Size of a "large" file: 2 GiB when `MARTLET_TEST_LARGE=1` (`make test-large`), else small enough for every day.
pub fn large_size_bytes() -> u64 {
    match std::env::var_os("MARTLET_TEST_LARGE") {
        Some(_) => 2 << 30,
        None => 256 << 20,
    }
}

/// All files below a folder, in an order that does not depend on the file system.
pub fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        let mut entries: Vec<_> = std::fs::read_dir(&folder).expect("a folder").flatten().collect();
        entries.sort_by_key(|entry| entry.file_name());
        for entry in entries {
            let kind = entry.file_type().expect("a file type");
            if kind.is_dir() {
                waiting.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found
}

/// Writes so many random bytes.
pub fn write_random(path: &Path, bytes: u64) {
    let mut file = File::create(path).expect("the file can be made");
    let mut random = rand::rng();
    let mut block = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        random.fill_bytes(&mut block);
        let now = left.min(block.len() as u64);
        file.write_all(&block[..now as usize])
            .expect("the file can be written");
        left -= now;
    }
}

/// Fails unless two files hold the same bytes.
pub fn assert_equal(a: &Path, b: &Path) {
    let (mut left, mut right) = (
        File::open(a).expect("it is there"),
        File::open(b).expect("it is there"),
    );
    let length = |file: &File| file.metadata().expect("a length").len();
    assert_eq!(
        length(&left),
        length(&right),
        "{} and {} differ in length",
        a.display(),
        b.display()
    );
    let (mut ours, mut theirs) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut rest = length(&left);
    while rest > 0 {
        let now = rest.min(1 << 20) as usize;
        left.read_exact(&mut ours[..now]).expect("it can be read");
        right.read_exact(&mut theirs[..now]).expect("it can be read");
        assert!(
            ours[..now] == theirs[..now],
            "{} and {} differ",
            a.display(),
            b.display()
        );
        rest -= now as u64;
    }
}

/// Fails unless two folders hold the same files with the same bytes.
pub fn assert_equal_trees(a: &Path, b: &Path) {
    let names = |folder: &Path| -> Vec<PathBuf> {
        let mut names: Vec<_> = below(folder)
            .into_iter()
            .map(|path| path.strip_prefix(folder).expect("below it").to_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(a), names(b));
    for name in names(a) {
        assert_equal(&a.join(&name), &b.join(&name));
    }
}
