//! Bytes from anywhere give a ring or an error, never a panic, and never a ring that panics when asked.

mod random;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use martlet_ring::{Builder, Ring, RingFileError, file};
use random::Random;
use std::io::{Read, Write};

fn vector(name: &str) -> Vec<u8> {
    std::fs::read(format!(
        "{}/tests/vectors/{name}.ring.gz",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap()
}

fn unpack(file: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    GzDecoder::new(file).read_to_end(&mut content).unwrap();
    content
}

fn pack(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Asks everything there is to ask of a few partitions.
fn ask(ring: &Ring) {
    let count = ring.partition_count();
    for partition in [0, 1, count / 2, count - 1, count, u32::MAX] {
        let primaries = ring.primaries(partition);
        for handoff in ring.handoffs(partition) {
            assert!(primaries.iter().all(|primary| primary.id != handoff.id));
        }
    }
    assert!(ring.replica_count() > 0.0);
    let _ = file::write_v1(ring);
}

/// Changes, cuts, doubles or overwrites with extreme numbers at random places.
fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes.truncate(at),
            3 => {
                let copy = bytes[at..].to_vec();
                bytes.extend_from_slice(&copy);
            }
            4 => {
                let end = bytes.len().min(at + 1 + random.below(9));
                bytes[at..end].fill(0xff);
            }
            _ => {
                // A digit of the JSON, where the numbers are that matter.
                let digits: Vec<usize> = (0..bytes.len())
                    .filter(|at| bytes[*at].is_ascii_digit())
                    .collect();
                if let Some(at) = digits.get(random.below(digits.len().max(1))) {
                    bytes[*at] = b'0' + random.below(10) as u8;
                }
            }
        }
    }
}

fn mutated_content_never_panics(name: &str) {
    let content = unpack(&vector(name));
    for seed in 0..3000 {
        let mut changed = content.clone();
        mutate(&mut Random(seed), &mut changed);
        let file = pack(&changed);
        let outcome = std::panic::catch_unwind(|| {
            if let Ok(ring) = file::read(&file) {
                ask(&ring);
            }
        });
        assert!(outcome.is_ok(), "{name}: panic with seed {seed}");
    }
}

#[test]
fn version_1_content() {
    mutated_content_never_panics("four");
    mutated_content_never_panics("fractional");
}

#[test]
fn version_2_content() {
    mutated_content_never_panics("fractional-v2");
    mutated_content_never_panics("wide-v2");
}

#[test]
fn packed_files() {
    let file = vector("holes");
    for seed in 0..3000 {
        let mut changed = file.clone();
        mutate(&mut Random(seed), &mut changed);
        if let Ok(ring) = file::read(&changed) {
            ask(&ring);
        }
    }
}

#[test]
fn a_flipped_bit_in_a_version_2_section_is_noticed() {
    let content = unpack(&vector("fractional-v2"));
    // The table of assignments ends where the index begins.
    let tail: [u8; 8] = content[content.len() - 16..][..8].try_into().unwrap();
    let index = u64::from_be_bytes(tail) as usize;
    let mut changed = content.clone();
    changed[index - 1] ^= 1;
    let refused = file::read(&pack(&changed)).unwrap_err();
    assert!(matches!(
        refused,
        RingFileError::ChecksumMismatch("swift/ring/assignments")
    ));
}

#[test]
fn other_files_are_named_for_what_they_are() {
    let refused = |content: &[u8]| file::read(&pack(content)).unwrap_err();
    assert!(matches!(file::read(b"").unwrap_err(), RingFileError::Gzip(_)));
    assert!(matches!(
        file::read(b"plain text").unwrap_err(),
        RingFileError::Gzip(_)
    ));
    assert!(matches!(refused(b""), RingFileError::NotARing));
    assert!(
        matches!(refused(b"\x80\x02}q\x01(U\x04devs"), RingFileError::NotARing),
        "a pickle"
    );
    assert!(matches!(refused(b"R1NG"), RingFileError::Truncated(_)));
    assert!(matches!(refused(b"R1NG\x00\x03"), RingFileError::Version(3)));
    assert!(matches!(
        refused(b"R1NG\x00\x01\xff\xff\xff\xff{}"),
        RingFileError::Truncated(_)
    ));
    assert!(matches!(
        refused(b"R1NG\x00\x01\x00\x00\x00\x02{}"),
        RingFileError::Json { .. }
    ));
    assert!(matches!(refused(b"R1NG\x00\x02"), RingFileError::Truncated(_)));
    let v1 = |json: &str| {
        let mut content = b"R1NG\x00\x01".to_vec();
        content.extend_from_slice(&(json.len() as u32).to_be_bytes());
        content.extend_from_slice(json.as_bytes());
        file::read(&pack(&content)).unwrap_err()
    };
    let huge = r#"{"devs": [], "part_shift": 1, "replica_count": 3, "byteorder": "little"}"#;
    assert!(matches!(v1(huge), RingFileError::Ring(_)));
    let many = r#"{"devs": [], "part_shift": 32, "replica_count": 4000000000}"#;
    assert!(matches!(v1(many), RingFileError::Ring(_)));
    let shift = r#"{"devs": [], "part_shift": 99, "replica_count": 3}"#;
    assert!(matches!(v1(shift), RingFileError::PartShift(99)));
    let order = r#"{"devs": [], "part_shift": 30, "replica_count": 3, "byteorder": "middle"}"#;
    assert!(matches!(v1(order), RingFileError::ByteOrder(_)));
}

#[test]
fn a_gzip_bomb_is_refused() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(b"R1NG\x00\x01").unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..=file::MAX_UNPACKED_BYTES >> 20 {
        encoder.write_all(&zeros).unwrap();
    }
    let refused = file::read(&encoder.finish().unwrap()).unwrap_err();
    assert!(matches!(refused, RingFileError::TooLarge { .. }), "{refused}");
}

#[test]
fn mutated_builder_states() {
    let mut builder = Builder::create(3, 2.0, 1).unwrap();
    for number in 0..4u16 {
        builder
            .add_device(martlet_ring::NewDevice {
                region: 1,
                zone: u32::from(number) % 2,
                ip: "10.0.0.1".into(),
                port: 6200,
                replication_ip: None,
                replication_port: None,
                device: format!("d{number}"),
                weight: 10.0,
                meta: String::new(),
            })
            .unwrap();
    }
    builder.rebalance(1, 1_000_000).unwrap();
    builder.remove_device(3).unwrap();
    let saved = builder.to_file();
    let mut survivors = 0;
    for seed in 0..3000 {
        let mut changed = saved.clone();
        mutate(&mut Random(seed), &mut changed);
        if let Ok(mut builder) = Builder::from_file(&changed)
            && builder.part_power() < 10
            && builder.rebalance(seed, 2_000_000).is_ok()
        {
            ask(&builder.to_ring().unwrap());
            survivors += 1;
        }
    }
    assert!(
        survivors > 100,
        "only {survivors} states were good enough to be rebalanced"
    );
}
