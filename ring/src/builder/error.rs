//! Why a builder refuses a change, in words that operators know from `swift-ring-builder`.

use super::{MAX_BUILDER_PART_POWER, MAX_BUILDER_REPLICAS};
use crate::MAX_DEVICES;
use crate::pickle::PickleError;
use crate::ring::RingError;
use std::fmt;

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
        ip: String,
        port: u16,
        device: String,
    },
    NoSuchDevice(u32),
    /// The device is marked for removal.
    BeingRemoved {
        id: u32,
        what: &'static str,
    },
    TooManyDevices,
    /// Each replica of a partition needs a device of its own.
    TooFewDevices {
        replicas: f64,
        weighted_devices: usize,
    },
    /// No device has a weight, so shares cannot be told.
    Empty,
    /// The builder was never rebalanced.
    NotRebalanced,
    /// The partition power is being changed.
    PartPowerChanging,
    /// The table does not hold what a table must.
    Invalid(String),
    /// A saved state does not hold together.
    BadState(&'static str),
    Pickle(PickleError),
    Ring(RingError),
}

impl fmt::Display for BuilderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuilderError::PartPower(power) => {
                write!(
                    f,
                    "part_power must be at most {MAX_BUILDER_PART_POWER} (was {power})"
                )
            }
            BuilderError::Replicas(replicas) => write!(
                f,
                "replicas must be at least 1 and at most {MAX_BUILDER_REPLICAS} (was {replicas:.6})"
            ),
            BuilderError::Weight(weight) => write!(f, "weight {weight} is not a number from 0 up"),
            BuilderError::Overload(overload) => write!(f, "overload {overload} is not a number from 0 up"),
            BuilderError::BadDevice(why) => write!(f, "Invalid device: {why}"),
            BuilderError::DeviceExists { id, ip, port, device } => {
                write!(f, "Device {id} already uses {ip}:{port}/{device}.")
            }
            BuilderError::NoSuchDevice(id) => write!(f, "there is no device {id}"),
            BuilderError::BeingRemoved { id, what } => write!(
                f,
                "Can not set {what} of dev_id {id} because it is marked for removal"
            ),
            BuilderError::TooManyDevices => write!(f, "a builder holds at most {MAX_DEVICES} devices"),
            BuilderError::TooFewDevices {
                replicas,
                weighted_devices,
            } => write!(
                f,
                "Replica count of {replicas:?} requires more than {weighted_devices} devices"
            ),
            BuilderError::Empty => {
                f.write_str("There are no devices in this ring, or all devices have been deleted")
            }
            BuilderError::NotRebalanced => {
                f.write_str("no partition is assigned; did you forget to rebalance?")
            }
            BuilderError::PartPowerChanging => f.write_str("Partition power increase in progress."),
            BuilderError::Invalid(why) => f.write_str(why),
            BuilderError::BadState(why) => write!(f, "not the state of a builder: {why}"),
            BuilderError::Pickle(error) => write!(f, "not the file of a builder: {error}"),
            BuilderError::Ring(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for BuilderError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BuilderError::Pickle(error) => Some(error),
            BuilderError::Ring(error) => Some(error),
            _ => None,
        }
    }
}
