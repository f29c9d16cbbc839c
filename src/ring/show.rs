//! Commands that only look.

use super::devices::{found, matching};
use super::options::DeviceArgs;
use super::session::{Exit, Failure, Session, bracketed, read_file, span};
use super::{Outcome, help};
use martlet_ring::builder::{Builder, BuilderError, MAX_BALANCE_PERCENT};
use martlet_ring::file::{FormatVersion, read_parts};
use martlet_ring::{Device, RingParts, Row};
use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::path::Path;

/// The report on a builder and its devices.
pub fn default(session: &mut Session, _: &[String]) -> Outcome {
    let now_secs = session.now_secs;
    let builder_path = session.paths.builder.display().to_string();
    let ring_path = session.paths.ring.clone();
    let builder = session.builder()?;
    let parts = builder.to_parts();
    let (ring_line, up_to_date) = compare(&ring_path, &parts);
    let mut lines = head(builder, &builder_path, now_secs);
    lines.push(ring_line);
    let balance = builder.balance_by_device();
    let empty = balance.as_ref().err().map(BuilderError::to_string);
    lines.extend(device_table(builder, &balance.unwrap_or_default()));
    lines.extend(power_lines(builder, up_to_date));
    lines.extend(empty);
    lines.iter().for_each(|line| session.say(line));
    Ok(Exit::Success)
}

fn head(builder: &Builder, path: &str, now_secs: u64) -> Vec<String> {
    let regions: BTreeSet<u32> = builder.devices().map(|device| device.region).collect();
    let zones: BTreeSet<(u32, u32)> = builder
        .devices()
        .map(|device| (device.region, device.zone))
        .collect();
    let dispersion = builder.dispersion();
    vec![
        format!(
            "{path}, build version {}, id {}",
            builder.version(),
            builder.id().unwrap_or("(not assigned)")
        ),
        format!(
            "{} partitions, {:.6} replicas, {} regions, {} zones, {} devices, {}-byte IDs, {:.2} balance{}",
            1u64 << builder.part_power(),
            builder.replicas(),
            regions.len(),
            zones.len(),
            builder.devices().count(),
            builder.id_bytes(),
            builder.balance().unwrap_or(0.0),
            dispersion.map_or(String::new(), |percent| format!(", {percent:.2} dispersion"))
        ),
        format!(
            "The minimum number of hours before a partition can be reassigned is {} ({} remaining)",
            builder.min_part_hours(),
            span(builder.min_part_seconds_left(now_secs))
        ),
        format!(
            "The overload factor is {:.2}% ({:.6})",
            builder.overload() * 100.0,
            builder.overload()
        ),
    ]
}

/// Whether the ring's file holds what the builder would write.
fn compare(path: &Path, parts: &RingParts) -> (String, bool) {
    let shown = path.display();
    let bytes = match read_file(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let line = format!("Ring file {shown} not found, probably it hasn't been written yet");
            return (line, false);
        }
        Err(error) => return (format!("Ring file {shown} cannot be read: {error}"), false),
    };
    match read_parts(&bytes) {
        Err(error) => (format!("Ring file {shown} is invalid: {error}"), false),
        Ok((_, written)) if is_same(&written, parts) => (format!("Ring file {shown} is up-to-date"), true),
        Ok(_) => (format!("Ring file {shown} is obsolete"), false),
    }
}

/// The bytes of an id do not matter.
fn is_same(left: &RingParts, right: &RingParts) -> bool {
    let ids = |left: &Row, right: &Row| left.ids().eq(right.ids());
    left.part_power == right.part_power
        && left.next_part_power == right.next_part_power
        && left.version == right.version
        && left.devices == right.devices
        && left.rows.len() == right.rows.len()
        && left
            .rows
            .iter()
            .zip(&right.rows)
            .all(|(left, right)| ids(left, right))
}

fn device_table(builder: &Builder, balance: &[f64]) -> Vec<String> {
    let widths = Widths::of(builder);
    let Widths {
        ip,
        port,
        replication_ip,
        replication_port,
        weight,
    } = widths;
    let mut lines = vec![format!(
        "Devices:{:>5} {:>6} {:>4} {:>ip$}:{:<port$} {:>replication_ip$}:{:<replication_port$} {:>5} {:>weight$} \
         {:>10} {:>7} {:>5} {}",
        "id",
        "region",
        "zone",
        "ip address",
        "port",
        "replication ip",
        "port",
        "name",
        "weight",
        "partitions",
        "balance",
        "flags",
        "meta"
    )];
    let held = builder.partitions_by_device();
    let mut devices: Vec<&Device> = builder.devices().collect();
    devices.sort_by_key(|device| (device.region, device.zone, &device.ip, &device.device));
    for device in devices {
        let id = device.id as usize;
        let flags = if builder.removed().contains(&device.id) {
            "DEL"
        } else {
            ""
        };
        lines.push(format!(
            "{:>13} {:>6} {:>4} {:>ip$}:{:<port$} {:>replication_ip$}:{:<replication_port$} {:>5} {:>weight$.2} \
             {:>10} {:>7.2} {:>5} {}",
            device.id,
            device.region,
            device.zone,
            bracketed(&device.ip),
            device.port,
            bracketed(&device.replication_ip),
            device.replication_port,
            device.device,
            device.weight,
            held[id],
            balance.get(id).copied().unwrap_or(0.0),
            flags,
            device.meta
        ));
    }
    lines
}

/// How wide the columns of the table of devices have to be.
struct Widths {
    ip: usize,
    port: usize,
    replication_ip: usize,
    replication_port: usize,
    weight: usize,
}

impl Widths {
    fn of(builder: &Builder) -> Widths {
        let widest = |least: usize, width: &dyn Fn(&Device) -> usize| {
            builder.devices().map(width).max().unwrap_or(0).max(least)
        };
        // Brackets are room for all addresses when one of them needs them.
        let brackets = |ip: &dyn Fn(&Device) -> &str| match builder
            .devices()
            .any(|device| ip(device).parse::<Ipv6Addr>().is_ok())
        {
            true => 2,
            false => 0,
        };
        Widths {
            ip: widest(10, &|device| device.ip.len()) + brackets(&|device| &device.ip),
            port: widest(4, &|device| device.port.to_string().len()),
            replication_ip: widest(14, &|device| device.replication_ip.len())
                + brackets(&|device| &device.replication_ip),
            replication_port: widest(4, &|device| device.replication_port.to_string().len()),
            weight: widest(6, &|device| format!("{:.2}", device.weight).len()),
        }
    }
}

/// Where a change of the partition power stands, and what comes next.
fn power_lines(builder: &Builder, up_to_date: bool) -> Vec<String> {
    let power = builder.part_power();
    match builder.next_part_power() {
        Some(next) if next == power + 1 => vec![
            format!("\nPreparing increase of partition power ({power} -> {next})"),
            "Next: write_ring, copy the ring to all nodes, increase_partition_power.".into(),
        ],
        Some(next) if next == power => {
            let mut lines = vec![format!("\nIncreased partition power ({power} -> {next})")];
            if !up_to_date {
                lines.push("First: write_ring, and copy the ring to all nodes.".into());
            }
            lines.push("Next: finish_increase_partition_power, write_ring.".into());
            lines
        }
        _ => Vec::new(),
    }
}

/// The versions that the ring's file has.
pub fn version(session: &mut Session, _: &[String]) -> Outcome {
    let path = session.paths.ring.clone();
    let read = read_file(&path).map_err(|error| Failure::said(format!("{}: {error}", path.display())))?;
    let (format, parts) = read_parts(&read)?;
    let format = match format {
        FormatVersion::V1 => 1,
        FormatVersion::V2 => 2,
    };
    let bytes = match parts.rows.first() {
        Some(Row::Wide(_)) => 4,
        _ => 2,
    };
    let version = parts
        .version
        .map_or("unknown".into(), |version| version.to_string());
    session.say(format_args!(
        "{}: Serialization version: {format} ({bytes}-byte IDs), build version: {version}",
        path.display()
    ));
    Ok(Exit::Success)
}

pub fn search(session: &mut Session, args: &[String]) -> Outcome {
    if args.is_empty() {
        return Err(Failure::said(format!(
            "{}\n\n{}",
            help::of("search"),
            help::SEARCH_VALUES
        )));
    }
    let given = DeviceArgs::parse(args)?;
    if given.args().len() > 1 {
        return Err(Failure::said(help::of("search")));
    }
    let ids = found(session, &given, "search")?;
    if ids.is_empty() {
        return Err(Failure::said("No matching devices found"));
    }
    let builder = session.builder()?;
    let held = builder.partitions_by_device();
    // Without any weight, only devices that still hold something are out of balance.
    let balance = builder.balance_by_device().unwrap_or_else(|_| {
        let infinite = |held: &u32| if *held > 0 { MAX_BALANCE_PERCENT } else { 0.0 };
        held.iter().map(infinite).collect()
    });
    let mut lines = vec![
        "Devices:    id  region  zone      ip address  port  replication ip  replication port      name weight \
         partitions balance meta"
            .to_owned(),
    ];
    for id in ids {
        let device = builder.device(id).ok_or(BuilderError::NoSuchDevice(id))?;
        lines.push(format!(
            "         {:>5} {:>7} {:>5} {:>15} {:>5} {:>15} {:>17} {:>9} {:>6.2} {:>10} {:>7.2} {}",
            device.id,
            device.region,
            device.zone,
            device.ip,
            device.port,
            device.replication_ip,
            device.replication_port,
            device.device,
            device.weight,
            held[id as usize],
            balance[id as usize],
            device.meta
        ));
    }
    lines.iter().for_each(|line| session.say(line));
    Ok(Exit::Success)
}

/// The partitions that devices hold, those with most replicas on them first.
pub fn list_parts(session: &mut Session, args: &[String]) -> Outcome {
    if args.is_empty() {
        return Err(Failure::said(format!(
            "{}\n\n{}",
            help::of("list_parts"),
            help::SEARCH_VALUES
        )));
    }
    let path = session.paths.builder.display().to_string();
    if !session.builder()?.is_rebalanced() {
        return Err(not_rebalanced(&path));
    }
    let given = DeviceArgs::parse(args)?;
    let ids = match given.args().is_empty() {
        true => matching(session.builder()?, &given.search()?),
        false => found(session, &given, "list_parts")?,
    };
    let builder = session.builder()?;
    let mut wanted = vec![false; builder.device_slots().len()];
    ids.iter().for_each(|id| wanted[*id as usize] = true);
    let mut counts = vec![0u32; 1 << builder.part_power()];
    for row in builder.rows() {
        for (count, id) in counts.iter_mut().zip(row) {
            *count += u32::from(wanted[*id as usize]);
        }
    }
    let mut parts: Vec<(usize, u32)> = counts
        .into_iter()
        .enumerate()
        .filter(|(_, count)| *count > 0)
        .collect();
    if parts.is_empty() {
        return Err(Failure::said("No matching devices found"));
    }
    parts.sort_by_key(|(partition, count)| (u32::MAX - count, *partition));
    session.say("Partition   Matches");
    for (partition, count) in parts {
        session.say(format_args!("{partition:>9}   {count:>7}"));
    }
    Ok(Exit::Success)
}

pub fn not_rebalanced(path: &str) -> Failure {
    Failure::said(format!(
        "Specified builder file \"{path}\" is not rebalanced yet. Please rebalance first."
    ))
}
