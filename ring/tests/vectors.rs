//! Placement and files equal Swift's: the answers of the `swift` package for a dozen rings, see `vectors/generate.py`.

use martlet_protocol::hash::HashSalt;
use martlet_ring::{Device, Ring, RingFileError, file};
use serde::Deserialize;
use std::path::PathBuf;

/// What Swift answers for one ring file.
#[derive(Deserialize)]
struct Answers {
    prefix: String,
    suffix: String,
    part_power: u32,
    replica_count: f64,
    version: Option<u64>,
    next_part_power: Option<u32>,
    devices: Vec<Device>,
    /// Account, container, object, partition.
    paths: Vec<(String, Option<String>, Option<String>, u32)>,
    /// Partition, primaries, all handoffs in their order.
    partitions: Vec<(u32, Vec<u32>, Vec<u32>)>,
}

fn bytes(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn ring(name: &str) -> Ring {
    file::read(&bytes(&format!("{name}.ring.gz"))).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn check_answers(name: &str, ring: &Ring) {
    let swift: Answers = serde_json::from_slice(&bytes(&format!("{name}.json"))).unwrap();
    assert_eq!(ring.part_power(), swift.part_power, "{name}");
    assert_eq!(ring.replica_count(), swift.replica_count, "{name}");
    assert_eq!(ring.version(), swift.version, "{name}");
    assert_eq!(ring.next_part_power(), swift.next_part_power, "{name}");
    assert!(ring.devices().eq(&swift.devices), "{name}: devices differ");
    let salt = HashSalt {
        prefix: swift.prefix,
        suffix: swift.suffix,
    };
    assert!(swift.paths.len() > 60);
    for (account, container, object, partition) in &swift.paths {
        let hash = salt.hash(account, container.as_deref(), object.as_deref());
        assert_eq!(
            ring.partition(&hash),
            *partition,
            "{name}: {account} {container:?} {object:?}"
        );
    }
    assert!(!swift.partitions.is_empty());
    let ids = |device: &Device| device.id;
    for (partition, primaries, handoffs) in &swift.partitions {
        let found = ring.primaries(*partition);
        assert!(
            found.into_iter().map(ids).eq(primaries.iter().copied()),
            "{name}: primaries of {partition}"
        );
        let found: Vec<u32> = ring.handoffs(*partition).map(ids).collect();
        assert_eq!(&found, handoffs, "{name}: handoffs of {partition}");
    }
}

/// Reads a ring, asks it, writes it as version 1, reads that and asks again.
fn check(name: &str) {
    let ring = ring(name);
    check_answers(name, &ring);
    let written = file::write_v1(&ring).unwrap();
    check_answers(name, &file::read(&written).unwrap());
    assert_eq!(
        file::write_v1(&ring).unwrap(),
        written,
        "{name}: equal rings, equal bytes"
    );
}

#[test]
fn small_rings() {
    check("four");
    check("one-partition");
}

#[test]
fn hash_prefix_and_suffix() {
    check("prefix-only");
    check("zones");
}

#[test]
fn weights_and_drained_devices() {
    check("weights");
    check("drained");
}

#[test]
fn regions_in_both_file_versions() {
    check("regions");
    check("regions-v2");
}

#[test]
fn holes_in_the_device_list() {
    check("holes");
    let ring = ring("holes");
    for id in [0, 4, 9] {
        assert!(ring.device(id).is_none());
        assert!(ring.device_slots()[id as usize].is_none());
    }
    assert_eq!(ring.device_slots().len(), 14, "the hole at the end is cut off");
}

#[test]
fn fractional_replicas() {
    check("fractional");
    check("fractional-v2");
    let ring = ring("fractional");
    assert_eq!(ring.primaries(63).len(), 4);
    assert_eq!(ring.primaries(64).len(), 3);
}

#[test]
fn many_replicas() {
    check("erasure");
}

#[test]
fn a_partition_power_increase_is_announced() {
    check("next-power");
    assert_eq!(ring("next-power").next_part_power(), Some(6));
}

#[test]
fn a_device_that_holds_two_replicas() {
    check("doubled");
}

#[test]
fn handoffs_of_a_table_that_is_walked_in_strides() {
    check("strides");
}

#[test]
fn the_file_of_an_old_big_endian_machine() {
    check("big-endian");
}

#[test]
fn device_ids_of_four_bytes() {
    let ring = ring("wide-v2");
    check_answers("wide-v2", &ring);
    assert!(matches!(file::write_v1(&ring), Err(RingFileError::NeedsVersion2)));
}

/// `generate.py --check` found with Swift that this file, made by `examples/rewrite.rs`, is the ring `fractional-v2`.
#[test]
fn the_file_that_swift_opened_is_what_is_written_today() {
    let opened = file::read(&bytes("written-by-martlet.ring.gz")).unwrap();
    check_answers("fractional-v2", &opened);
    let unpacked = |file: &[u8]| {
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(file), &mut content).unwrap();
        content
    };
    let written = file::write_v1(&ring("fractional-v2")).unwrap();
    assert_eq!(unpacked(&written), unpacked(&bytes("written-by-martlet.ring.gz")));
}
