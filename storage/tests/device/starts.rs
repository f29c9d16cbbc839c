//! Whose a device is, when it is full, and what a start finds after an end that was none.

use crate::support::*;
use martlet_storage::*;
use std::fs;
use std::path::Path;

#[test]
fn only_the_own_device_opens() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    assert!(matches!(Device::open(config.clone()), Err(OpenError::Missing(_))));
    Device::format(folder.path(), &config.identity).unwrap();
    config.identity.cluster = "other".into();
    assert!(matches!(
        Device::open(config.clone()),
        Err(OpenError::Foreign { .. })
    ));
    let set = DeviceSet::new(vec![("d1".into(), config)]);
    assert!(set.get("d1").is_err() && set.get("d2").is_err());
}

#[test]
fn a_full_device_refuses_bodies_and_takes_deletes() {
    let folder = tempfile::tempdir().unwrap();
    let device = open(folder.path());
    run(async {
        put(&device, 1, 1, body(10, 1)).await;
        device.close().await;
    });
    drop(device);
    let mut full = config(folder.path());
    full.reserve = Reserve::Percent(100.0);
    let device = Device::open(full).unwrap();
    run(async {
        assert_eq!(device.begin_body(Some(1)).await.unwrap_err(), StorageError::Full);
        assert!(matches!(post(&device, 1, 2).await, PostOutcome::Stored { .. }));
        assert!(matches!(
            delete(&device, 1, 3).await,
            DeleteOutcome::Deleted { .. }
        ));
        device.close().await;
    });
}

#[test]
fn an_unfinished_body_is_gone_after_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let device = open(folder.path());
    run(async {
        put(&device, 1, 1, body(100_000, 1)).await;
        device.close().await;
    });
    drop(device);
    let stray = folder
        .path()
        .join("incoming")
        .join("0123456789abcdef0123456789abcdef");
    fs::write(&stray, b"half a body").unwrap();
    let device = open(folder.path());
    assert!(!stray.exists());
    run(async {
        assert_eq!(read(&device, 1, None).await.unwrap().unwrap(), body(100_000, 1));
        device.close().await;
    });
}

#[test]
fn what_was_acknowledged_survives_kill() {
    const CHILD: &str = "MARTLET_STORAGE_TEST_CHILD";
    if let Ok(path) = std::env::var(CHILD) {
        let device = open(Path::new(&path));
        run(async {
            for n in 0..=255u8 {
                let size = if n % 2 == 0 { 100 } else { 80_000 };
                put(&device, n, 1, body(size, n)).await;
                println!("stored {n}");
            }
        });
        std::process::abort();
    }
    let folder = tempfile::tempdir().unwrap();
    let test = std::env::current_exe().unwrap();
    let mut child = std::process::Command::new(test)
        .args([
            "--exact",
            "starts::what_was_acknowledged_survives_kill",
            "--nocapture",
        ])
        .env(CHILD, folder.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut stored = Vec::new();
    let lines = std::io::BufReader::new(child.stdout.take().unwrap());
    for line in std::io::BufRead::lines(lines) {
        let line = line.unwrap();
        if let Some((_, n)) = line.split_once("stored ") {
            stored.push(n.parse::<u8>().unwrap());
        }
        if stored.len() == 40 {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(stored.len() >= 40);
    let device = open(folder.path());
    run(async {
        for n in stored {
            let size = if n % 2 == 0 { 100 } else { 80_000 };
            assert_eq!(
                read(&device, n, None).await.unwrap().unwrap(),
                body(size, n),
                "{n}"
            );
        }
        device.close().await;
    });
}
