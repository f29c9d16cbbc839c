//! The builder's saved form, and the checks when it is read back.

use super::{Builder, BuilderError, MAX_BUILDER_PART_POWER, UNASSIGNED, check_replicas, check_weight};
use crate::device::{Device, DeviceSlots};
use serde::{Deserialize, Serialize};

/// The fields of [`Builder`], as JSON has them.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    part_power: u32,
    replicas: f64,
    min_part_hours: u32,
    overload: f64,
    version: u64,
    #[serde(serialize_with = "slots")]
    devices: DeviceSlots,
    removed: Vec<u32>,
    rows: Vec<Vec<u16>>,
    moved_at_secs: Vec<u64>,
}

fn slots<S: serde::Serializer>(devices: &DeviceSlots, serializer: S) -> Result<S::Ok, S::Error> {
    devices.0.serialize(serializer)
}

impl From<Builder> for State {
    fn from(builder: Builder) -> State {
        State {
            part_power: builder.part_power,
            replicas: builder.replicas,
            min_part_hours: builder.min_part_hours,
            overload: builder.overload,
            version: builder.version,
            devices: DeviceSlots(builder.devices),
            removed: builder.removed,
            rows: builder.rows,
            moved_at_secs: builder.moved_at_secs,
        }
    }
}

impl TryFrom<State> for Builder {
    type Error = BuilderError;

    fn try_from(state: State) -> Result<Builder, BuilderError> {
        if state.part_power > MAX_BUILDER_PART_POWER {
            return Err(BuilderError::PartPower(state.part_power));
        }
        check_replicas(state.replicas)?;
        if !(state.overload.is_finite() && state.overload >= 0.0) {
            return Err(BuilderError::Overload(state.overload));
        }
        let devices = state.devices.0;
        check_devices(&devices)?;
        let known = |id: usize| matches!(devices.get(id), Some(Some(_)));
        let leaves =
            |id: &u32| matches!(devices.get(*id as usize), Some(Some(device)) if device.weight == 0.0);
        if !state.removed.iter().all(leaves) {
            return Err(BuilderError::BadState(
                "a removed device is not there, or has a weight",
            ));
        }
        let partitions = 1 << state.part_power;
        if state.moved_at_secs.len() != partitions {
            return Err(BuilderError::BadState("moved_at_secs has the wrong length"));
        }
        let shapes = state.rows.split_last().is_none_or(|(last, full)| {
            last.len() <= partitions && full.iter().all(|row| row.len() == partitions)
        });
        if !shapes {
            return Err(BuilderError::BadState("a row has the wrong length"));
        }
        if !state.rows.iter().flatten().all(|id| known(usize::from(*id))) {
            return Err(BuilderError::BadState(
                "the table names a device that is not there",
            ));
        }
        Ok(Builder {
            part_power: state.part_power,
            replicas: state.replicas,
            min_part_hours: state.min_part_hours,
            overload: state.overload,
            version: state.version,
            devices,
            removed: state.removed,
            rows: state.rows,
            moved_at_secs: state.moved_at_secs,
        })
    }
}

fn check_devices(devices: &[Option<Device>]) -> Result<(), BuilderError> {
    if devices.len() > usize::from(UNASSIGNED) {
        return Err(BuilderError::TooManyDevices);
    }
    for (slot, device) in devices.iter().enumerate() {
        let Some(device) = device else { continue };
        check_weight(device.weight)?;
        if device.id as usize != slot {
            return Err(BuilderError::BadState(
                "a device stands in a slot that is not its id's",
            ));
        }
    }
    Ok(())
}
