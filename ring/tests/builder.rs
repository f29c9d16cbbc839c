//! What the builder promises: balance, dispersion, no doubles, few moves, the same table for the same seed.

mod random;

use martlet_ring::file::{self, FormatVersion};
use martlet_ring::{Builder, BuilderError, Device, NewDevice, Ring, RingFileError, RingParts, Row};
use random::Random;
use std::collections::{BTreeMap, BTreeSet};

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 86_400;

fn device(region: u32, zone: u32, server: u32, disk: u32, weight: f64) -> NewDevice {
    NewDevice {
        region,
        zone,
        ip: format!("10.{region}.{zone}.{server}"),
        port: 6200,
        replication_ip: None,
        replication_port: None,
        device: format!("sd{disk}"),
        weight,
        meta: String::new(),
    }
}

fn builder(part_power: u32, replicas: f64, devices: impl IntoIterator<Item = NewDevice>) -> Builder {
    let mut builder = Builder::create(part_power, replicas, 1).unwrap();
    for device in devices {
        builder.add_device(device).unwrap();
    }
    builder
}

/// `regions` x `zones` x `servers` x `disks` devices of weight 100.
fn grid(regions: u32, zones: u32, servers: u32, disks: u32) -> Vec<NewDevice> {
    let mut devices = Vec::new();
    for region in 0..regions {
        for zone in 0..zones {
            for server in 0..servers {
                devices.extend((0..disks).map(|disk| device(region, zone, server, disk, 100.0)));
            }
        }
    }
    devices
}

fn partitions(ring: &Ring) -> impl Iterator<Item = (u32, Vec<&Device>)> {
    (0..ring.partition_count()).map(|partition| (partition, ring.primaries(partition)))
}

/// Every row's entry is on a device of its own.
fn assert_no_doubles(ring: &Ring) {
    for (partition, primaries) in partitions(ring) {
        let rows = ring.rows().iter().filter(|row| row.get(partition).is_some());
        assert_eq!(primaries.len(), rows.count(), "partition {partition}");
    }
}

/// The least number of different domains that a partition's replicas are in.
fn fewest<K: Ord>(ring: &Ring, domain: impl Fn(&Device) -> K) -> usize {
    partitions(ring)
        .map(|(_, primaries)| primaries.into_iter().map(&domain).collect::<BTreeSet<K>>().len())
        .min()
        .unwrap()
}

fn moved(before: &Ring, after: &Ring) -> usize {
    let pairs = before.rows().iter().zip(after.rows());
    pairs
        .map(|(old, new)| old.ids().zip(new.ids()).filter(|(old, new)| old != new).count())
        .sum()
}

#[test]
fn four_devices_and_three_replicas() {
    let mut builder = builder(10, 3.0, (0..4).map(|disk| device(1, disk + 1, 1, disk, 1.0)));
    let report = builder.rebalance(1, NOW).unwrap();
    assert_eq!(report.moved_replicas, 3072);
    assert_eq!(report.imbalance.balance_percent, 0.0);
    assert_eq!(report.imbalance.dispersion_percent, 0.0);
    let ring = builder.to_ring().unwrap();
    assert_no_doubles(&ring);
    assert_eq!(fewest(&ring, |device| device.zone), 3);
    for id in 0..4 {
        assert_eq!(builder.partitions_on(id), 768);
    }
}

#[test]
fn replicas_lie_as_far_apart_as_the_cluster_allows() {
    let far = |devices: Vec<NewDevice>, replicas| {
        let mut builder = builder(9, replicas, devices);
        let report = builder.rebalance(7, NOW).unwrap();
        assert!(report.imbalance.balance_percent < 1.0, "{report:?}");
        assert_eq!(report.imbalance.dispersion_percent, 0.0, "{report:?}");
        let ring = builder.to_ring().unwrap();
        assert_no_doubles(&ring);
        (
            fewest(&ring, |device| device.region),
            fewest(&ring, |device| (device.region, device.zone)),
            fewest(&ring, |device| device.ip.clone()),
        )
    };
    assert_eq!(far(grid(3, 2, 2, 2), 3.0), (3, 3, 3));
    assert_eq!(far(grid(2, 2, 2, 2), 3.0), (2, 3, 3));
    assert_eq!(far(grid(1, 2, 3, 2), 3.0), (1, 2, 3));
    assert_eq!(far(grid(1, 1, 2, 4), 3.0), (1, 1, 2));
    assert_eq!(far(grid(1, 1, 1, 5), 3.0), (1, 1, 1));
    assert_eq!(far(grid(2, 3, 1, 4), 6.0), (2, 6, 6));
    assert_eq!(far(grid(2, 3, 2, 3), 9.0), (2, 6, 9));
}

#[test]
fn partitions_follow_weights() {
    let weights = [100.0, 200.0, 300.0, 400.0];
    let devices = (0..24).map(|n| device(1, n % 3, n % 6, n, weights[n as usize % 4]));
    let mut builder = builder(12, 3.0, devices);
    let report = builder.rebalance(3, NOW).unwrap();
    assert!(report.imbalance.balance_percent < 1.0, "{report:?}");
    assert_no_doubles(&builder.to_ring().unwrap());
}

#[test]
fn weight_goes_before_dispersion_until_overload_lets_it() {
    // Zone 0 has half the weight of the others, so it can hold a replica of only 60 % of the partitions.
    let devices = || {
        (0..3).flat_map(|zone| {
            (0..4).map(move |disk| device(1, zone, 1, disk, if zone == 0 { 50.0 } else { 100.0 }))
        })
    };
    let mut plain = builder(10, 3.0, devices());
    let report = plain.rebalance(5, NOW).unwrap();
    assert!(report.imbalance.balance_percent < 1.0, "{report:?}");
    assert!(report.imbalance.dispersion_percent > 10.0, "{report:?}");
    let mut overloaded = builder(10, 3.0, devices());
    overloaded.set_overload(10.0).unwrap();
    let report = overloaded.rebalance(5, NOW).unwrap();
    assert_eq!(report.imbalance.dispersion_percent, 0.0, "{report:?}");
    assert_eq!(fewest(&overloaded.to_ring().unwrap(), |device| device.zone), 3);
}

#[test]
fn a_fraction_of_the_partitions_has_one_replica_more() {
    let mut builder = builder(8, 3.25, grid(1, 3, 1, 4));
    let report = builder.rebalance(2, NOW).unwrap();
    assert!(report.imbalance.balance_percent < 2.0, "{report:?}");
    let ring = builder.to_ring().unwrap();
    assert_eq!(ring.replica_count(), 3.25);
    assert_no_doubles(&ring);
    assert_eq!(ring.primaries(63).len(), 4);
    assert_eq!(ring.primaries(64).len(), 3);
    assert_eq!(fewest(&ring, |device| device.zone), 3);
    builder.set_replicas(2.0).unwrap();
    let report = builder.rebalance(2, NOW + DAY).unwrap();
    assert!(report.imbalance.balance_percent < 2.0, "{report:?}");
    assert_eq!(builder.to_ring().unwrap().replica_count(), 2.0);
}

#[test]
fn the_same_seed_gives_the_same_table() {
    let rows = |seed| {
        let mut builder = builder(8, 3.0, grid(2, 2, 2, 2));
        builder.rebalance(seed, NOW).unwrap();
        builder.to_ring().unwrap().rows().to_vec()
    };
    assert_eq!(rows(1), rows(1));
    assert_ne!(rows(1), rows(2));
}

#[test]
fn a_new_device_gets_its_share_and_nothing_else_moves() {
    let mut builder = builder(10, 3.0, grid(1, 4, 2, 3));
    builder.rebalance(1, NOW).unwrap();
    let before = builder.to_ring().unwrap();
    let id = builder.add_device(device(1, 2, 1, 9, 100.0)).unwrap();
    let report = builder.rebalance(2, NOW + DAY).unwrap();
    assert!(report.imbalance.balance_percent < 2.0, "{report:?}");
    let after = builder.to_ring().unwrap();
    assert_no_doubles(&after);
    let share = builder.partitions_on(id);
    assert!((120..=124).contains(&share), "{share} of 3072 / 25");
    let moved = moved(&before, &after);
    assert_eq!(moved as u64, report.moved_replicas);
    // Zone 2 may hold more now, so some go there from other zones; none goes anywhere else.
    assert!(moved <= share + share / 10, "{moved} moved for {share}");
    let idle = builder.rebalance(3, NOW + 2 * DAY).unwrap();
    assert!(
        idle.moved_replicas <= 5,
        "a balanced ring stays as it is: {idle:?}"
    );
}

#[test]
fn at_most_one_replica_of_a_partition_moves_within_min_part_hours() {
    let mut builder = builder(8, 3.0, grid(1, 3, 1, 1));
    builder.rebalance(1, NOW).unwrap();
    let before = builder.to_ring().unwrap();
    for zone in 0..3 {
        for disk in 1..4 {
            builder.add_device(device(0, zone, 0, disk, 100.0)).unwrap();
        }
    }
    let early = builder.rebalance(2, NOW + 1800).unwrap();
    assert_eq!(early.moved_replicas, 0, "half an hour is less than one");
    builder.rebalance(2, NOW + 3600).unwrap();
    let after = builder.to_ring().unwrap();
    let changed = |partition: u32| {
        let pairs = before.rows().iter().zip(after.rows());
        pairs
            .filter(|(old, new)| old.get(partition) != new.get(partition))
            .count()
    };
    assert!((0..256).all(|partition| changed(partition) <= 1));
    assert_eq!((0..256).map(changed).sum::<usize>(), 256, "each moves one");
    for hour in 2..6 {
        builder.rebalance(hour, NOW + hour * 3600).unwrap();
    }
    let report = builder.imbalance();
    assert!(report.balance_percent < 2.0, "{report:?}");
    assert_eq!(report.dispersion_percent, 0.0);
}

#[test]
fn removed_devices_lose_everything_at_once_and_leave_a_hole() {
    let mut builder = builder(8, 3.0, grid(1, 3, 2, 2));
    builder.rebalance(1, NOW).unwrap();
    let held = builder.partitions_on(4);
    builder.remove_device(4).unwrap();
    assert!(matches!(
        builder.set_weight(4, 1.0),
        Err(BuilderError::BeingRemoved { id: 4, .. })
    ));
    let report = builder.rebalance(2, NOW + 1).unwrap();
    assert_eq!(report.removed_devices, 1);
    assert!(report.moved_replicas as usize >= held);
    let ring = builder.to_ring().unwrap();
    assert!(ring.device(4).is_none());
    assert_no_doubles(&ring);
    assert!(matches!(
        builder.remove_device(4),
        Err(BuilderError::NoSuchDevice(4))
    ));
    assert_eq!(
        builder.add_device(device(1, 1, 1, 77, 100.0)).unwrap(),
        4,
        "the hole is filled first"
    );
}

#[test]
fn a_device_of_weight_zero_is_drained() {
    let mut builder = builder(8, 3.0, grid(1, 4, 1, 3));
    builder.rebalance(1, NOW).unwrap();
    builder.set_weight(5, 0.0).unwrap();
    let report = builder.rebalance(2, NOW + DAY).unwrap();
    assert_eq!(builder.partitions_on(5), 0);
    assert!(report.imbalance.balance_percent < 2.5, "{report:?}");
    assert!(builder.to_ring().unwrap().device(5).is_some());
}

#[test]
fn saved_and_read_back_it_goes_on_the_same() {
    let mut first = builder(7, 3.0, grid(2, 2, 1, 2));
    first.rebalance(1, NOW).unwrap();
    first.remove_device(2).unwrap();
    let mut second = Builder::from_file(&first.to_file()).unwrap();
    assert_eq!(first, second);
    assert_eq!(
        first.rebalance(2, NOW + DAY).unwrap(),
        second.rebalance(2, NOW + DAY).unwrap()
    );
    assert_eq!(first, second);
}

/// Ids past 65,534 need four bytes in files, and a version 2 ring.
#[test]
fn a_ring_may_have_more_than_65536_devices() {
    const DEVICES: u32 = 66_000;
    let slot = |id: u32| {
        let new = device(1, id % 10, id % 500, id, 100.0);
        Some(Device {
            id,
            region: new.region,
            zone: new.zone,
            device: new.device,
            weight: new.weight,
            ..Device::at(&new.ip, new.port, "")
        })
    };
    let parts = RingParts {
        part_power: 15,
        devices: (0..DEVICES).map(slot).collect(),
        rows: (0..3)
            .map(|replica| Row::Narrow(vec![replica; 1 << 15]))
            .collect(),
        version: None,
        next_part_power: None,
    };
    let mut builder = Builder::from_ring_parts(parts, 1).unwrap();
    builder.rebalance(1, NOW).unwrap();
    // A replica of each partition moves a day.
    for day in 1..3 {
        builder.rebalance(day, NOW + day * DAY).unwrap();
    }
    builder.validate().unwrap();
    assert_eq!(builder.id_bytes(), 4);
    let held = builder.partitions_by_device();
    assert!(held.iter().all(|held| (1..=2).contains(held)), "each wants 1.49");
    let parts = builder.to_parts();
    assert!(matches!(
        file::write(&parts, FormatVersion::V1),
        Err(RingFileError::NeedsVersion2)
    ));
    let written = file::write(&parts, FormatVersion::V2).unwrap();
    assert_eq!(file::read_parts(&written).unwrap().1, parts);
    assert_eq!(Builder::from_file(&builder.to_file()).unwrap(), builder);
    assert_no_doubles(&builder.to_ring().unwrap());
}

#[test]
fn what_cannot_be_built_is_refused() {
    assert!(matches!(
        Builder::create(25, 3.0, 1),
        Err(BuilderError::PartPower(25))
    ));
    for replicas in [0.0, 0.99, f64::NAN, f64::INFINITY, 129.0] {
        assert!(
            matches!(Builder::create(8, replicas, 1), Err(BuilderError::Replicas(_))),
            "{replicas}"
        );
    }
    let mut builder = builder(4, 3.0, grid(1, 2, 1, 1));
    let few = builder.rebalance(1, NOW).unwrap_err();
    assert!(matches!(
        few,
        BuilderError::TooFewDevices {
            weighted_devices: 2,
            ..
        }
    ));
    assert!(
        matches!(builder.to_ring(), Err(BuilderError::Ring(_))),
        "never rebalanced"
    );
    for weight in [-1.0, f64::NAN, f64::INFINITY] {
        let refused = builder.add_device(device(1, 1, 1, 5, weight));
        assert!(matches!(refused, Err(BuilderError::Weight(_))));
    }
    let same = builder.add_device(device(0, 0, 0, 0, 1.0));
    assert!(matches!(same, Err(BuilderError::DeviceExists { id: 0, .. })));
    let mut slash = device(1, 1, 1, 1, 1.0);
    slash.device = "../etc".into();
    assert!(matches!(
        builder.add_device(slash),
        Err(BuilderError::BadDevice(_))
    ));
}

/// A cluster of random shape, weights within a factor of four, changed a few times.
fn random_story(seed: u64) {
    let mut random = Random(seed);
    let replicas = [1.0, 2.0, 2.5, 3.0, 3.0, 3.0, 4.0, 6.0][random.below(8)];
    let mut builder = Builder::create(9, replicas, 1).unwrap();
    let (regions, zones, servers) = (1 + random.below(3), 1 + random.below(4), 1 + random.below(3));
    let mut disk = 0;
    let mut add = |builder: &mut Builder, random: &mut Random| {
        disk += 1;
        let (region, zone) = (random.below(regions) as u32, random.below(zones) as u32);
        let weight = 100.0 + random.below(300) as f64;
        builder
            .add_device(device(region, zone, random.below(servers) as u32, disk, weight))
            .unwrap();
    };
    for _ in 0..replicas.ceil() as usize + 4 + random.below(30) {
        add(&mut builder, &mut random);
    }
    for day in 1..6 {
        let report = builder.rebalance(random.next(), NOW + day * DAY).unwrap();
        let ring = builder.to_ring().unwrap();
        assert_no_doubles(&ring);
        check_balance(&builder, &ring, seed, day);
        assert!(report.imbalance.dispersion_percent <= 100.0);
        match random.below(3) {
            0 => add(&mut builder, &mut random),
            1 => {
                let ids: Vec<u32> = builder.devices().map(|device| device.id).collect();
                builder.set_weight(ids[random.below(ids.len())], 250.0).unwrap();
            }
            _ => {
                let ids: Vec<u32> = builder.devices().map(|device| device.id).collect();
                if ids.len() as f64 > replicas + 3.0 {
                    builder.remove_device(ids[random.below(ids.len())]).unwrap();
                }
            }
        }
    }
}

/// With overload enough, replicas are apart whatever the weights, as far as there are devices.
#[test]
fn random_clusters_are_dispersed() {
    for seed in 0..400 {
        let mut random = Random(seed);
        let replicas = 2.0 + random.below(3) as f64;
        let mut builder = Builder::create(8, replicas, 1).unwrap();
        builder.set_overload(1000.0).unwrap();
        let (regions, zones) = (1 + random.below(3), 1 + random.below(3));
        for disk in 0..(regions * zones * 5) as u32 {
            // Five disks in each zone, so that none has fewer than it needs.
            let place = disk as usize % (regions * zones);
            let (region, zone) = ((place % regions) as u32, (place / regions) as u32);
            let weight = 100.0 + random.below(300) as f64;
            builder
                .add_device(device(region, zone, disk % 2, disk, weight))
                .unwrap();
        }
        let report = builder.rebalance(seed, NOW).unwrap();
        assert_eq!(
            report.imbalance.dispersion_percent, 0.0,
            "seed {seed}: {report:?}"
        );
        assert_no_doubles(&builder.to_ring().unwrap());
    }
}

/// On the first day every device has its share, within a few partitions; a device cannot have more than one replica of
/// each partition, so that very heavy ones are left out. Later days may need several rounds, so they only must not
/// wander off.
fn check_balance(builder: &Builder, ring: &Ring, seed: u64, day: u64) {
    let total: usize = ring.rows().iter().map(|row| row.len()).sum();
    let weights: f64 = builder.devices().map(|device| device.weight).sum();
    let shares: BTreeMap<u32, f64> = builder
        .devices()
        .map(|device| (device.id, total as f64 * device.weight / weights))
        .collect();
    if shares
        .values()
        .any(|share| *share > f64::from(ring.partition_count()))
    {
        return;
    }
    for (id, share) in &shares {
        let held = builder.partitions_on(*id) as f64;
        let slack = if day == 1 {
            2.0 + share / 100.0
        } else {
            3.0 + share / 5.0
        };
        assert!(
            (held - share).abs() <= slack,
            "seed {seed}, day {day}: device {id} has {held} of {share}"
        );
    }
}

#[test]
fn random_clusters_are_balanced_and_without_doubles() {
    for seed in 0..400 {
        random_story(seed);
    }
}
