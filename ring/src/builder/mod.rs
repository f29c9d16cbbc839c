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

mod plan;
mod random;
mod rebalance;
mod report;
mod state;
mod table;
mod tree;

pub use report::{Imbalance, RebalanceReport};

use crate::device::Device;
use crate::ring::{Ring, RingError, RingParts, Row};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Largest partition power a builder takes: 16.7 million partitions, some 200 MB while it works.
pub const MAX_BUILDER_PART_POWER: u32 = 24;

/// Largest number of replicas a builder takes.
pub const MAX_BUILDER_REPLICAS: f64 = 128.0;

/// Stands in the table where no device is assigned, as in Swift's builder; no device has this id.
pub(crate) const UNASSIGNED: u16 = u16::MAX;

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

/// Why a builder refuses a change.
#[derive(Debug)]
pub enum BuilderError {
    PartPower(u32),
    Replicas(f64),
    Weight(f64),
    Overload(f64),
    /// A device needs an address, a port, and a name that is one segment of a path.
    BadDevice(&'static str),
    /// Another device has the same address, port and name.
    DeviceExists {
        id: u32,
    },
    NoSuchDevice(u32),
    /// The device is marked for removal.
    BeingRemoved(u32),
    TooManyDevices,
    /// Each replica of a partition needs a device of its own.
    TooFewDevices {
        replicas: f64,
        weighted_devices: usize,
    },
    /// A saved state does not hold together.
    BadState(&'static str),
    Json(serde_json::Error),
    Ring(RingError),
}

impl fmt::Display for BuilderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuilderError::PartPower(power) => {
                write!(
                    f,
                    "partition power {power} is not within 0 and {MAX_BUILDER_PART_POWER}"
                )
            }
            BuilderError::Replicas(replicas) => {
                write!(
                    f,
                    "replica count {replicas} is not within 1 and {MAX_BUILDER_REPLICAS}"
                )
            }
            BuilderError::Weight(weight) => write!(f, "weight {weight} is not a number from 0 up"),
            BuilderError::Overload(overload) => write!(f, "overload {overload} is not a number from 0 up"),
            BuilderError::BadDevice(why) => write!(f, "not a device: {why}"),
            BuilderError::DeviceExists { id } => write!(f, "device {id} has the same address, port and name"),
            BuilderError::NoSuchDevice(id) => write!(f, "there is no device {id}"),
            BuilderError::BeingRemoved(id) => write!(f, "device {id} is marked for removal"),
            BuilderError::TooManyDevices => f.write_str("a builder holds at most 65535 devices"),
            BuilderError::TooFewDevices {
                replicas,
                weighted_devices,
            } => write!(
                f,
                "{replicas} replicas need as many devices with a weight, there are {weighted_devices}"
            ),
            BuilderError::BadState(why) => write!(f, "not the state of a builder: {why}"),
            BuilderError::Json(error) => write!(f, "not the JSON of a builder: {error}"),
            BuilderError::Ring(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for BuilderError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BuilderError::Json(error) => Some(error),
            BuilderError::Ring(error) => Some(error),
            _ => None,
        }
    }
}

/// A ring under construction.
///
/// Changes take effect with the next [`Builder::rebalance`]; several may be gathered into one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "state::State", into = "state::State")]
pub struct Builder {
    part_power: u32,
    replicas: f64,
    min_part_hours: u32,
    overload: f64,
    version: u64,
    devices: Vec<Option<Device>>,
    /// Ids that leave with the next rebalance; their weight is 0.
    removed: Vec<u32>,
    /// Device ids by replica and partition; empty before the first rebalance.
    rows: Vec<Vec<u16>>,
    /// Unix time in seconds of each partition's last move, 0 for never.
    moved_at_secs: Vec<u64>,
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
            replicas,
            min_part_hours,
            overload: 0.0,
            version: 0,
            devices: Vec::new(),
            removed: Vec::new(),
            rows: Vec::new(),
            moved_at_secs: vec![0; 1 << part_power],
        })
    }

    /// Adds a device and returns its id: the first hole of the device list, else the next number.
    pub fn add_device(&mut self, new: NewDevice) -> Result<u32, BuilderError> {
        check_weight(new.weight)?;
        if new.ip.is_empty() || new.port == 0 {
            return Err(BuilderError::BadDevice("it needs an address and a port"));
        }
        if new.device.is_empty() || new.device.contains('/') || matches!(new.device.as_str(), "." | "..") {
            return Err(BuilderError::BadDevice("its name must be one segment of a path"));
        }
        let same =
            |device: &&Device| device.ip == new.ip && device.port == new.port && device.device == new.device;
        if let Some(device) = self.devices().find(same) {
            return Err(BuilderError::DeviceExists { id: device.id });
        }
        let slot = match self.devices.iter().position(Option::is_none) {
            Some(hole) => hole,
            None => self.devices.len(),
        };
        let id = u16::try_from(slot)
            .ok()
            .filter(|id| *id != UNASSIGNED)
            .ok_or(BuilderError::TooManyDevices)?;
        if slot == self.devices.len() {
            self.devices.push(None);
        }
        self.devices[slot] = Some(Device {
            id: id.into(),
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
        self.version += 1;
        Ok(id.into())
    }

    /// Changes a device's relative share; 0 drains it while it stays in the ring.
    pub fn set_weight(&mut self, id: u32, weight: f64) -> Result<(), BuilderError> {
        check_weight(weight)?;
        self.staying_device(id)?.weight = weight;
        self.version += 1;
        Ok(())
    }

    /// Marks a device as gone. The next rebalance places its partitions elsewhere at once, whenever they last moved.
    pub fn remove_device(&mut self, id: u32) -> Result<(), BuilderError> {
        self.staying_device(id)?.weight = 0.0;
        self.removed.push(id);
        self.version += 1;
        Ok(())
    }

    /// Changes the number of replicas; with a fraction, that part of all partitions has one replica more.
    pub fn set_replicas(&mut self, replicas: f64) -> Result<(), BuilderError> {
        check_replicas(replicas)?;
        self.replicas = replicas;
        self.version += 1;
        Ok(())
    }

    /// Hours that a partition rests after a move.
    pub fn set_min_part_hours(&mut self, hours: u32) {
        self.min_part_hours = hours;
        self.version += 1;
    }

    /// How far a device may be filled above its weight's share for the sake of dispersion; 0.1 means 10 %.
    pub fn set_overload(&mut self, overload: f64) -> Result<(), BuilderError> {
        if !(overload.is_finite() && overload >= 0.0) {
            return Err(BuilderError::Overload(overload));
        }
        self.overload = overload;
        self.version += 1;
        Ok(())
    }

    /// Lets every partition move with the next rebalance.
    pub fn pretend_min_part_hours_passed(&mut self) {
        self.moved_at_secs.fill(0);
    }

    /// The ring of the last rebalance.
    pub fn to_ring(&self) -> Result<Ring, BuilderError> {
        Ring::new(RingParts {
            part_power: self.part_power,
            devices: self.devices.clone(),
            rows: self.rows.iter().cloned().map(Row::Narrow).collect(),
            version: Some(self.version),
            next_part_power: None,
        })
        .map_err(BuilderError::Ring)
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

    /// The state as JSON, to be saved.
    pub fn to_json(&self) -> Result<Vec<u8>, BuilderError> {
        serde_json::to_vec(self).map_err(BuilderError::Json)
    }

    /// A saved state, checked.
    pub fn from_json(text: &[u8]) -> Result<Builder, BuilderError> {
        serde_json::from_slice(text).map_err(BuilderError::Json)
    }

    fn staying_device(&mut self, id: u32) -> Result<&mut Device, BuilderError> {
        if self.removed.contains(&id) {
            return Err(BuilderError::BeingRemoved(id));
        }
        self.devices
            .get_mut(id as usize)
            .and_then(Option::as_mut)
            .ok_or(BuilderError::NoSuchDevice(id))
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
