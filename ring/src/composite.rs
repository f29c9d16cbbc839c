//! Joins the rings of several builders into one, whose every partition has its replicas in each of them.
//!
//! See <https://docs.openstack.org/swift/latest/ring.html#composite-rings>.

use crate::builder::Builder;
use crate::device::Device;
use crate::ring::{RingParts, Row};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What is kept of a builder in the file of a composite ring: enough to know it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Component {
    pub id: String,
    pub replicas: f64,
    pub version: u64,
}

/// Why builders do not make a composite ring: one line for each reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompositeError(pub String);

impl fmt::Display for CompositeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CompositeError {}

fn error<T>(text: impl Into<String>) -> Result<T, CompositeError> {
    Err(CompositeError(text.into()))
}

/// The components that the builders are. Each must have been saved, and stand there once.
pub fn components(builders: &[Builder]) -> Result<Vec<Component>, CompositeError> {
    let mut errors = Vec::new();
    let mut components = Vec::new();
    let mut indexes: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (index, builder) in builders.iter().enumerate() {
        let Some(id) = builder.id() else {
            errors.push(format!(
                "Problem with builder at index {index}: it has no id, which it gets when it is saved"
            ));
            continue;
        };
        indexes.entry(id).or_default().push(index.to_string());
        components.push(Component {
            id: id.to_owned(),
            replicas: builder.replicas(),
            version: builder.version(),
        });
    }
    for (id, indexes) in indexes.iter().filter(|(_, indexes)| indexes.len() > 1) {
        errors.push(format!(
            "Builder id {id:?} used at indexes {}",
            indexes.join(", ")
        ));
    }
    match errors.is_empty() {
        true => Ok(components),
        false => error(errors.join("\n")),
    }
}

/// Compares the components of an existing composite ring with new ones: the same builders in the same order, none of
/// them older. `true` when one of them is newer.
pub fn check_same(old: &[Component], new: &[Component]) -> Result<bool, CompositeError> {
    let mut errors = Vec::new();
    let mut newer = false;
    for (index, old) in old.iter().enumerate() {
        let Some(new) = new.get(index) else {
            errors.push(format!("Missing builder at index {index}"));
            continue;
        };
        let mut wrong = |why: String| errors.push(format!("Invalid builder change at index {index}: {why}"));
        if old.replicas != new.replicas {
            wrong(format!(
                "Attribute mismatch for replicas: {:?} != {:?}",
                old.replicas, new.replicas
            ));
        } else if old.id != new.id {
            wrong(format!("Attribute mismatch for id: {:?} != {:?}", old.id, new.id));
        } else if new.version < old.version {
            wrong(format!(
                "Older builder version: {} < {}",
                new.version, old.version
            ));
        }
        newer |= new.version > old.version;
    }
    for index in old.len()..new.len() {
        errors.push(format!("Unexpected extra builder at index {index}"));
    }
    match errors.is_empty() {
        true => Ok(newer),
        false => error(errors.join("\n")),
    }
}

/// The composite ring of the builders, in their order.
pub fn compose(builders: &[Builder]) -> Result<RingParts, CompositeError> {
    check_builders(builders)?;
    let mut devices: Vec<Option<Device>> = Vec::new();
    let mut rows: Vec<Vec<u32>> = Vec::new();
    for builder in builders {
        let offset = devices.len() as u32;
        for row in builder.rows() {
            rows.push(row.iter().map(|id| id + offset).collect());
        }
        let moved = |device: &Device| Device {
            id: device.id + offset,
            ..device.clone()
        };
        devices.extend(builder.device_slots().iter().map(|slot| slot.as_ref().map(moved)));
    }
    let narrow = devices.len() < usize::from(u16::MAX);
    let row = |ids: Vec<u32>| match narrow {
        true => Row::Narrow(ids.iter().map(|id| *id as u16).collect()),
        false => Row::Wide(ids),
    };
    Ok(RingParts {
        part_power: builders[0].part_power(),
        devices,
        rows: rows.into_iter().map(row).collect(),
        version: None,
        next_part_power: None,
    })
}

fn check_builders(builders: &[Builder]) -> Result<(), CompositeError> {
    if builders.len() < 2 {
        return error("Two or more component builders are required.");
    }
    let powers: BTreeSet<u32> = builders.iter().map(Builder::part_power).collect();
    if powers.len() > 1 {
        return error(format!(
            "All builders must have same value for 'part_power', these have {powers:?}"
        ));
    }
    let mut errors = Vec::new();
    for (index, builder) in builders.iter().enumerate() {
        if builder.replicas().fract() != 0.0 {
            errors.push(format!(
                "Non integer replica count {:?} found at index {index}",
                builder.replicas()
            ));
        }
        if builder.is_changed() || !builder.is_rebalanced() {
            errors.push(format!(
                "Builder needs rebalance to apply changes at index {index}"
            ));
        }
    }
    if !errors.is_empty() {
        return error(format!("Problem with builders.\n{}", errors.join("\n  ")));
    }
    let mut regions: BTreeMap<u32, usize> = BTreeMap::new();
    let mut places: BTreeMap<(&str, u16, &str), usize> = BTreeMap::new();
    for (index, builder) in builders.iter().enumerate() {
        for device in builder.devices() {
            if *regions.entry(device.region).or_insert(index) != index {
                return error("Same region found in different rings");
            }
            let place = (device.ip.as_str(), device.port, device.device.as_str());
            let first = *places.entry(place).or_insert(index);
            if first != index {
                return error(format!(
                    "Duplicate ip/port/device combination {}/{}/{} found in builders at indexes {first} and {index}",
                    place.0, place.1, place.2
                ));
            }
        }
    }
    Ok(())
}
