//! Builds rings: devices and weights in, a table out, as unique as possible and moving as little as possible.
//!
//! A builder keeps what a ring needs to grow: the devices with those about to be removed, the table, and when each
//! partition last moved. [`Builder::rebalance`] works in four steps:
//!
//! 1. [`tree`] arranges the devices as regions, zones, servers, devices.
//! 2. [`plan`] decides how many replicas of a partition each domain may hold at most, and how many partitions in all.
//! 3. [`table`] keeps the table, the wishes of the devices and what may move in step with each other.
//! 4. [`rebalance`] takes replicas from devices that leave, stand too close or have too many, and places them.
//!
//! The words and rules are those of `swift-ring-builder`
//! (<https://docs.openstack.org/swift/latest/overview_ring.html#building-the-ring>); the tables are not the same as
//! Swift's for equal input, only equally good.

mod dispersion;
mod error;
mod file;
mod part_power;
mod plan;
mod random;
mod rebalance;
mod report;
mod table;
mod tree;
mod validate;

pub use dispersion::{DispersionGraph, TierName, TierReport};
pub use error::BuilderError;
pub use random::seed_of;
pub use report::{Imbalance, MAX_BALANCE_PERCENT, RebalanceReport};

use crate::MAX_DEVICES;
use crate::device::Device;
use crate::ring::{Ring, RingParts, Row};
use crate::syntax::DeviceChange;

/// Largest partition power a builder takes: 16.7 million partitions, some 200 MB while it works.
pub const MAX_BUILDER_PART_POWER: u32 = 24;

/// Largest number of replicas a builder takes.
pub const MAX_BUILDER_REPLICAS: f64 = 128.0;

/// Stands in the table where no device is assigned; no device has this id.
pub(crate) const UNASSIGNED: u32 = u32::MAX;

/// Hours since a partition's last move are counted up to here, as Swift's files hold them in one byte.
const LONG_AGO_HOURS: u8 = u8::MAX;

/// A device to add; see [`Device`] for the fields. Without a replication address the public one serves.
#[derive(Clone, Debug, PartialEq)]
pub struct NewDevice {
    pub region: u32,
    pub zone: u32,
    pub ip: String,
    pub port: u16,
    pub replication_ip: Option<String>,
    pub replication_port: Option<u16>,
    pub device: String,
    pub weight: f64,
    pub meta: String,
}

/// A ring under construction.
///
/// Changes take effect with the next [`Builder::rebalance`]; several may be gathered into one.
#[derive(Clone, Debug, PartialEq)]
pub struct Builder {
    part_power: u32,
    /// Set while an operator increases the partition power.
    next_part_power: Option<u32>,
    replicas: f64,
    min_part_hours: u32,
    overload: f64,
    version: u64,
    devices: Vec<Option<Device>>,
    /// A change was made that only a rebalance brings into the table.
    changed: bool,
    /// Ids that leave with the next rebalance; their weight is 0.
    removed: Vec<u32>,
    /// Device ids by replica and partition; empty before the first rebalance.
    rows: Vec<Vec<u32>>,
    /// Bytes of a device id in files, 2 or 4, once there are rows.
    id_bytes: u8,
    /// By partition: hours from its last move to `epoch_secs`, at most [`LONG_AGO_HOURS`].
    hours_since_move: Vec<u8>,
    /// Unix time in seconds up to which `hours_since_move` is counted; 0 for the beginning of time.
    epoch_secs: u64,
    /// Where Swift's builder began its last search; kept for it.
    gather_start: u32,
    /// Percent of replicas that stand too close, as of the last count; unknown for rings without one.
    dispersion: Option<f64>,
    /// What the last count of dispersion found.
    dispersion_graph: DispersionGraph,
    /// Names the builder in composite rings; given when it is first saved.
    id: Option<String>,
}

impl Builder {
    /// An empty builder of 2^`part_power` partitions. At most one replica of a partition moves within `min_part_hours`
    /// hours, so that the others are found while it is copied.
    pub fn create(part_power: u32, replicas: f64, min_part_hours: u32) -> Result<Builder, BuilderError> {
        if part_power > MAX_BUILDER_PART_POWER {
            return Err(BuilderError::PartPower(part_power));
        }
        check_replicas(replicas)?;
        Ok(Builder {
            part_power,
            next_part_power: None,
            replicas,
            min_part_hours,
            overload: 0.0,
            version: 0,
            devices: Vec::new(),
            changed: false,
            removed: Vec::new(),
            rows: Vec::new(),
            id_bytes: 2,
            hours_since_move: vec![0; 1 << part_power],
            epoch_secs: 0,
            gather_start: 0,
            dispersion: Some(0.0),
            dispersion_graph: DispersionGraph::new(),
            id: None,
        })
    }

    /// Adds a device and returns its id: the first hole of the device list, else the next number.
    pub fn add_device(&mut self, new: NewDevice) -> Result<u32, BuilderError> {
        check_weight(new.weight)?;
        check_place(&new.ip, new.port, &new.device)?;
        if let Some(ip) = &new.replication_ip {
            check_address(ip)?;
        }
        if self.next_part_power.is_some() {
            return Err(BuilderError::PartPowerChanging);
        }
        self.check_free(None, &new.ip, new.port, &new.device)?;
        let slot = match self.devices.iter().position(Option::is_none) {
            Some(hole) => hole,
            None => self.devices.len(),
        };
        if slot >= MAX_DEVICES {
            return Err(BuilderError::TooManyDevices);
        }
        let id = slot as u32;
        if slot == self.devices.len() {
            self.devices.push(None);
        }
        self.devices[slot] = Some(Device {
            id,
            region: new.region,
            zone: new.zone,
            replication_ip: new.replication_ip.unwrap_or_else(|| new.ip.clone()),
            replication_port: new.replication_port.unwrap_or(new.port),
            ip: new.ip,
            port: new.port,
            device: new.device,
            weight: new.weight,
            meta: new.meta,
        });
        self.id_bytes = self.id_bytes.max(bytes_for_id(id));
        self.note_change();
        Ok(id)
    }

    /// Changes a device's relative share; 0 drains it while it stays in the ring.
    pub fn set_weight(&mut self, id: u32, weight: f64) -> Result<(), BuilderError> {
        check_weight(weight)?;
        self.staying_device(id, "weight")?.weight = weight;
        self.note_change();
        Ok(())
    }

    /// Puts a device into another region.
    pub fn set_region(&mut self, id: u32, region: u32) -> Result<(), BuilderError> {
        self.staying_device(id, "region")?.region = region;
        self.note_change();
        Ok(())
    }

    /// Puts a device into another zone.
    pub fn set_zone(&mut self, id: u32, zone: u32) -> Result<(), BuilderError> {
        self.staying_device(id, "zone")?.zone = zone;
        self.note_change();
        Ok(())
    }

    /// Changes where a device is found and what is noted of it. No partition moves for it, so it needs no rebalance, and
    /// the version stays, as in Swift.
    pub fn set_info(&mut self, id: u32, change: &DeviceChange) -> Result<(), BuilderError> {
        let mut device = self.device(id).ok_or(BuilderError::NoSuchDevice(id))?.clone();
        change.apply(&mut device);
        check_place(&device.ip, device.port, &device.device)?;
        check_address(&device.replication_ip)?;
        self.check_free(Some(id), &device.ip, device.port, &device.device)?;
        self.devices[id as usize] = Some(device);
        Ok(())
    }

    /// Marks a device as gone. The next rebalance places its partitions elsewhere at once, whenever they last moved. A
    /// device that is marked already stays so.
    pub fn remove_device(&mut self, id: u32) -> Result<(), BuilderError> {
        if self.next_part_power.is_some() {
            return Err(BuilderError::PartPowerChanging);
        }
        let device = self.devices.get_mut(id as usize).and_then(Option::as_mut);
        device.ok_or(BuilderError::NoSuchDevice(id))?.weight = 0.0;
        if !self.removed.contains(&id) {
            self.removed.push(id);
            self.note_change();
        }
        Ok(())
    }

    /// Changes the number of replicas; with a fraction, that part of all partitions has one replica more.
    pub fn set_replicas(&mut self, replicas: f64) -> Result<(), BuilderError> {
        check_replicas(replicas)?;
        let before = self.row_lengths();
        self.replicas = replicas;
        self.changed |= self.row_lengths() != before;
        Ok(())
    }

    /// Hours that a partition rests after a move.
    pub fn set_min_part_hours(&mut self, hours: u32) {
        self.min_part_hours = hours;
    }

    /// How far a device may be filled above its weight's share for the sake of dispersion; 0.1 means 10 %.
    pub fn set_overload(&mut self, overload: f64) -> Result<(), BuilderError> {
        check_overload(overload)?;
        self.overload = overload;
        Ok(())
    }

    /// Lets every partition move with the next rebalance.
    pub fn pretend_min_part_hours_passed(&mut self) {
        self.hours_since_move.fill(LONG_AGO_HOURS);
        self.epoch_secs = 0;
    }

    /// Seconds until all partitions have rested for `min_part_hours` since the last rebalance that counted hours.
    pub fn min_part_seconds_left(&self, now_secs: u64) -> u64 {
        let rest = u64::from(self.min_part_hours) * 3600;
        rest.saturating_sub(now_secs.saturating_sub(self.epoch_secs))
    }

    /// Takes whole hours that have passed into account; what is left of an hour counts the next time.
    pub fn count_hours(&mut self, now_secs: u64) {
        let hours = now_secs.saturating_sub(self.epoch_secs) / 3600;
        if hours == 0 {
            return;
        }
        let hours = u8::try_from(hours).unwrap_or(LONG_AGO_HOURS);
        for since in &mut self.hours_since_move {
            *since = since.saturating_add(hours);
        }
        self.epoch_secs = now_secs;
    }

    /// What the ring of this builder is made of; without rows before the first rebalance.
    pub fn to_parts(&self) -> RingParts {
        let narrow = self.id_bytes() == 2;
        let row = |row: &Vec<u32>| {
            if narrow {
                // Ids that fit two bytes is what `id_bytes` says.
                Row::Narrow(row.iter().map(|id| *id as u16).collect())
            } else {
                Row::Wide(row.clone())
            }
        };
        RingParts {
            part_power: self.part_power,
            devices: self.devices.clone(),
            rows: self.rows.iter().map(row).collect(),
            version: Some(self.version),
            next_part_power: self.next_part_power.filter(|_| !self.rows.is_empty()),
        }
    }

    /// The ring of the last rebalance.
    pub fn to_ring(&self) -> Result<Ring, BuilderError> {
        Ring::new(self.to_parts()).map_err(BuilderError::Ring)
    }

    /// Devices in the order of ids, those about to be removed too.
    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter().flatten()
    }

    pub fn device(&self, id: u32) -> Option<&Device> {
        self.devices.get(id as usize)?.as_ref()
    }

    pub fn part_power(&self) -> u32 {
        self.part_power
    }

    pub fn replicas(&self) -> f64 {
        self.replicas
    }

    /// Hours that a partition rests after a move.
    pub fn min_part_hours(&self) -> u32 {
        self.min_part_hours
    }

    /// Counts the changes made.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Changed since the last rebalance in a way that only a rebalance brings into the table.
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// How far a device may be filled above its weight's share for the sake of dispersion; 0.1 means 10 %.
    pub fn overload(&self) -> f64 {
        self.overload
    }

    /// Set while an operator increases the partition power.
    pub fn next_part_power(&self) -> Option<u32> {
        self.next_part_power
    }

    /// Whether there is a table.
    pub fn is_rebalanced(&self) -> bool {
        !self.rows.is_empty()
    }

    /// The table: device ids by replica and partition.
    pub fn rows(&self) -> &[Vec<u32>] {
        &self.rows
    }

    /// The device list with its holes; the index is the id.
    pub fn device_slots(&self) -> &[Option<Device>] {
        &self.devices
    }

    /// Ids that leave with the next rebalance.
    pub fn removed(&self) -> &[u32] {
        &self.removed
    }

    /// Bytes that a device id has in this builder's files: 2 or 4.
    pub fn id_bytes(&self) -> u8 {
        if self.rows.is_empty() {
            bytes_for_id(self.devices.len().saturating_sub(1) as u32)
        } else {
            self.id_bytes
        }
    }

    /// Has files hold ids in so many bytes. Refused when that is neither 2 nor 4, or too few.
    pub fn set_id_bytes(&mut self, bytes: u8) -> Result<(), BuilderError> {
        let needed = bytes_for_id(self.devices.len().saturating_sub(1) as u32);
        if !matches!(bytes, 2 | 4) || bytes < needed {
            return Err(BuilderError::Invalid(format!(
                "device ids of this builder need {needed} bytes, not {bytes}"
            )));
        }
        self.id_bytes = bytes;
        Ok(())
    }

    /// Names the builder in composite rings; none before it was first saved.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Gives a builder that has no name yet this one, of random hex digits.
    pub fn name_if_unnamed(&mut self, id: impl FnOnce() -> String) {
        if self.id.is_none() {
            self.id = Some(id());
        }
    }

    fn note_change(&mut self) {
        self.changed = true;
        self.version += 1;
    }

    /// Goes back to two bytes only when ids would fit twice over, so that a list near the limit does not swing.
    fn fit_id_bytes(&mut self) {
        let needed = bytes_for_id(self.devices.len().saturating_sub(1) as u32);
        if needed > self.id_bytes || self.devices.len() < usize::from(u16::MAX) / 2 {
            self.id_bytes = needed;
        }
    }

    fn staying_device(&mut self, id: u32, what: &'static str) -> Result<&mut Device, BuilderError> {
        if self.removed.contains(&id) {
            return Err(BuilderError::BeingRemoved { id, what });
        }
        self.devices
            .get_mut(id as usize)
            .and_then(Option::as_mut)
            .ok_or(BuilderError::NoSuchDevice(id))
    }

    /// No other device may have the same address, port and name.
    fn check_free(&self, own: Option<u32>, ip: &str, port: u16, name: &str) -> Result<(), BuilderError> {
        let same = |device: &&Device| {
            Some(device.id) != own && device.ip == ip && device.port == port && device.device == name
        };
        match self.devices().find(same) {
            Some(other) => Err(BuilderError::DeviceExists {
                id: other.id,
                ip: ip.into(),
                port,
                device: name.into(),
            }),
            None => Ok(()),
        }
    }

    fn partitions(&self) -> usize {
        1 << self.part_power
    }

    /// Lengths that the rows of the table should have: whole replicas, then the fractional one.
    fn row_lengths(&self) -> Vec<usize> {
        let whole = self.replicas.floor();
        let fraction = self.replicas - whole;
        let mut lengths = vec![self.partitions(); whole as usize];
        let extra = (self.partitions() as f64 * fraction) as usize;
        if extra > 0 {
            lengths.push(extra);
        }
        lengths
    }
}

fn check_replicas(replicas: f64) -> Result<(), BuilderError> {
    if (1.0..=MAX_BUILDER_REPLICAS).contains(&replicas) {
        Ok(())
    } else {
        Err(BuilderError::Replicas(replicas))
    }
}

/// Weights are summed; the upper bound keeps sums finite.
fn check_weight(weight: f64) -> Result<(), BuilderError> {
    if (0.0..=1e15).contains(&weight) {
        Ok(())
    } else {
        Err(BuilderError::Weight(weight))
    }
}

fn check_overload(overload: f64) -> Result<(), BuilderError> {
    if overload.is_finite() && overload >= 0.0 {
        Ok(())
    } else {
        Err(BuilderError::Overload(overload))
    }
}

fn check_address(ip: &str) -> Result<(), BuilderError> {
    if ip.is_empty() {
        return Err(BuilderError::BadDevice("it needs an address and a port"));
    }
    Ok(())
}

fn check_place(ip: &str, port: u16, name: &str) -> Result<(), BuilderError> {
    check_address(ip)?;
    if port == 0 {
        return Err(BuilderError::BadDevice("it needs an address and a port"));
    }
    let bad = name.is_empty() || name.contains('/') || matches!(name, "." | "..");
    if bad || name.starts_with(' ') || name.ends_with(' ') {
        return Err(BuilderError::BadDevice("its name must be one segment of a path"));
    }
    Ok(())
}

/// Two bytes as long as the id is not the one that stands for "unassigned" there, as in Swift.
fn bytes_for_id(id: u32) -> u8 {
    if id < u32::from(u16::MAX) { 2 } else { 4 }
}
