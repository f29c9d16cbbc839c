//! Swift's `.builder` files are read as Swift reads them, and go on from there; see `vectors/generate.py`.

use martlet_ring::{Builder, BuilderError, Device, Ring, Row, file};
use serde::Deserialize;

/// What Swift says of one builder.
#[derive(Deserialize)]
struct Answers {
    id: String,
    part_power: u32,
    next_part_power: Option<u32>,
    replicas: f64,
    min_part_hours: u32,
    overload: f64,
    version: u64,
    devs_changed: bool,
    dev_id_bytes: u8,
    dispersion: f64,
    removed: Vec<u32>,
    devices: Vec<Option<Device>>,
    parts: Vec<u32>,
    rows: Vec<Vec<u32>>,
    balance: f64,
    required_overload: f64,
    /// Tier, replicas within, percent too close, most that is good, partitions by replicas.
    report: Vec<(String, u64, f64, u32, Vec<u32>)>,
}

const NAMES: [&str; 5] = ["fresh", "grown", "leaving", "doubled", "wide"];

fn bytes(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn builder(name: &str) -> Builder {
    Builder::from_file(&bytes(&format!("{name}.builder"))).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn assert_near(found: f64, swift: f64, what: &str) {
    assert!((found - swift).abs() < 1e-6, "{what}: {found}, Swift has {swift}");
}

#[test]
fn swifts_builders_are_read() {
    for name in NAMES {
        let swift: Answers = serde_json::from_slice(&bytes(&format!("{name}.builder.json"))).unwrap();
        let builder = builder(name);
        assert_eq!(builder.id(), Some(swift.id.as_str()), "{name}");
        assert_eq!(builder.part_power(), swift.part_power, "{name}");
        assert_eq!(builder.next_part_power(), swift.next_part_power, "{name}");
        assert_eq!(builder.replicas(), swift.replicas, "{name}");
        assert_eq!(builder.min_part_hours(), swift.min_part_hours, "{name}");
        assert_eq!(builder.overload(), swift.overload, "{name}");
        assert_eq!(builder.version(), swift.version, "{name}");
        assert_eq!(builder.is_changed(), swift.devs_changed, "{name}");
        assert_eq!(builder.id_bytes(), swift.dev_id_bytes, "{name}");
        assert_eq!(builder.dispersion(), Some(swift.dispersion), "{name}");
        assert_eq!(builder.removed(), swift.removed, "{name}");
        assert_eq!(builder.device_slots(), swift.devices, "{name}");
        assert_eq!(builder.partitions_by_device(), swift.parts, "{name}");
        assert_eq!(builder.rows(), swift.rows, "{name}");
        assert_near(builder.balance().unwrap(), swift.balance, name);
        assert_near(
            builder.required_overload().unwrap(),
            swift.required_overload,
            name,
        );
        let report = builder.dispersion_report();
        assert_eq!(report.len(), swift.report.len(), "{name}");
        for (found, (tier, placed, percent, max, counts)) in report.iter().zip(&swift.report) {
            assert_eq!(
                (&found.name, found.placed, found.max),
                (tier, *placed, *max),
                "{name}"
            );
            assert_eq!(&found.counts, counts, "{name} {tier}");
            assert_near(found.dispersion_percent, *percent, tier);
        }
    }
}

#[test]
fn what_is_written_reads_back_equal() {
    for name in NAMES {
        let first = builder(name);
        let second = Builder::from_file(&first.to_file()).unwrap();
        assert_eq!(first, second, "{name}");
    }
}

#[test]
fn swifts_builders_go_on_here() {
    let mut leaving = builder("leaving");
    let report = leaving.rebalance(1, 1_800_000_000).unwrap();
    assert_eq!(report.removed_devices, 2);
    leaving.validate().unwrap();
    assert!(leaving.device(5).is_none() && leaving.device(6).is_none());
    let mut doubled = builder("doubled");
    assert!(matches!(
        doubled.rebalance(1, 0),
        Err(BuilderError::PartPowerChanging)
    ));
    assert!(!doubled.increase_partition_power(0), "it is done already");
    assert!(doubled.finish_increase_partition_power());
    doubled.rebalance(1, 1_800_000_000).unwrap();
}

#[test]
fn doubling_the_partitions_moves_nothing() {
    let mut builder = builder("grown");
    let before = builder.to_ring().unwrap();
    assert!(builder.prepare_increase_partition_power().unwrap());
    assert!(
        !builder.prepare_increase_partition_power().unwrap(),
        "it is prepared already"
    );
    assert_eq!(
        builder.to_ring().unwrap().next_part_power(),
        Some(before.part_power() + 1)
    );
    assert!(!builder.finish_increase_partition_power(), "it is only prepared");
    assert!(builder.increase_partition_power(0));
    assert!(builder.finish_increase_partition_power());
    let after: Ring = builder.to_ring().unwrap();
    assert_eq!(after.part_power(), before.part_power() + 1);
    assert_eq!(after.replica_count(), before.replica_count());
    for partition in 0..after.partition_count() {
        let ids = |devices: Vec<&Device>| devices.iter().map(|device| device.id).collect::<Vec<_>>();
        assert_eq!(
            ids(after.primaries(partition)),
            ids(before.primaries(partition / 2))
        );
    }
    builder.validate().unwrap();
}

#[test]
fn a_cancelled_change_of_the_partition_power_is_finished() {
    let mut builder = builder("grown");
    let power = builder.part_power();
    assert!(!builder.cancel_increase_partition_power(), "nothing is prepared");
    builder.prepare_increase_partition_power().unwrap();
    assert!(builder.cancel_increase_partition_power());
    assert!(!builder.increase_partition_power(0), "it was given up");
    assert_eq!(builder.next_part_power(), Some(power));
    assert!(builder.finish_increase_partition_power());
    assert_eq!((builder.part_power(), builder.next_part_power()), (power, None));
}

#[test]
fn a_lost_builder_is_made_from_its_ring() {
    let first = builder("grown");
    for version in [file::FormatVersion::V1, file::FormatVersion::V2] {
        let bytes = file::write(&first.to_parts(), version).unwrap();
        let (_, parts) = file::read_parts(&bytes).unwrap();
        let second = Builder::from_ring_parts(parts, 24).unwrap();
        assert_eq!(second.rows(), first.rows());
        assert_eq!(second.device_slots(), first.device_slots());
        assert_eq!(second.replicas(), first.replicas());
        assert_eq!((second.min_part_hours(), second.version()), (24, first.version()));
    }
}

#[test]
fn long_ids_are_kept_in_both_files() {
    let wide = builder("wide");
    let parts = wide.to_parts();
    assert!(parts.rows.iter().all(|row| matches!(row, Row::Wide(_))));
    let bytes = file::write(&parts, file::FormatVersion::V2).unwrap();
    assert_eq!(file::read_parts(&bytes).unwrap().1, parts);
}

#[test]
fn other_pickles_and_broken_ones_are_refused() {
    let good = bytes("grown.builder");
    for end in (0..good.len()).step_by(7) {
        assert!(Builder::from_file(&good[..end]).is_err(), "cut at {end}");
    }
    for bad in [&b""[..], b"\x80\x02}.", b"\x80\x02K\x01.", b"\x80\x02].", b"{}"] {
        assert!(Builder::from_file(bad).is_err(), "{bad:?}");
    }
    let calls = b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R.";
    assert!(matches!(Builder::from_file(calls), Err(BuilderError::Pickle(_))));
}
