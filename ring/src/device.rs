//! One device of a ring, as Swift's ring files describe it.

use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Slots a device list may have; a longer list is refused before it fills the memory.
pub const MAX_DEVICES: usize = 1 << 20;

/// A disk of a node: where its servers listen and how much it wants to hold.
///
/// The JSON form is Swift's. Old rings lack the replication address, which then is the public one, and `meta`; keys that
/// Martlet does not use are passed over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "DeviceJson")]
pub struct Device {
    /// Index in the ring's device list.
    pub id: u32,
    /// Failure domain of the highest level.
    pub region: u32,
    /// Failure domain within the region.
    pub zone: u32,
    /// Address or host name of the server for clients' requests.
    pub ip: String,
    /// TCP port beside `ip`.
    pub port: u16,
    /// Address or host name of the server for replication.
    pub replication_ip: String,
    /// TCP port beside `replication_ip`.
    pub replication_port: u16,
    /// Name of the mount point below the node's `devices` folder, `sdb1` for example.
    pub device: String,
    /// Relative share of all partitions; 0 means the device is being drained.
    pub weight: f64,
    /// The operator's remarks.
    pub meta: String,
}

/// What stands in a file before defaults are filled in.
#[derive(Deserialize)]
struct DeviceJson {
    id: u32,
    #[serde(default)]
    region: Option<u32>,
    zone: u32,
    ip: String,
    port: u16,
    #[serde(default)]
    replication_ip: Option<String>,
    #[serde(default)]
    replication_port: Option<u16>,
    device: String,
    #[serde(default)]
    weight: f64,
    #[serde(default)]
    meta: Option<String>,
}

impl From<DeviceJson> for Device {
    fn from(json: DeviceJson) -> Device {
        Device {
            id: json.id,
            region: json.region.unwrap_or(1),
            zone: json.zone,
            replication_ip: json.replication_ip.unwrap_or_else(|| json.ip.clone()),
            replication_port: json.replication_port.unwrap_or(json.port),
            ip: json.ip,
            port: json.port,
            device: json.device,
            weight: json.weight,
            meta: json.meta.unwrap_or_default(),
        }
    }
}

impl Device {
    /// A device known only by where it is: the target of an update, or a node that an operator named.
    pub fn at(ip: &str, port: u16, device: &str) -> Device {
        Device {
            id: 0,
            region: 1,
            zone: 1,
            ip: ip.into(),
            port,
            replication_ip: ip.into(),
            replication_port: port,
            device: device.into(),
            weight: 0.0,
            meta: String::new(),
        }
    }
}

/// A device list with holes, read with a bound on its length.
#[derive(Debug, PartialEq)]
pub(crate) struct DeviceSlots(pub Vec<Option<Device>>);

impl<'de> Deserialize<'de> for DeviceSlots {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Slots;
        impl<'de> Visitor<'de> for Slots {
            type Value = DeviceSlots;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MAX_DEVICES} devices or nulls")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<DeviceSlots, A::Error> {
                let mut slots = Vec::new();
                while let Some(slot) = list.next_element::<Option<Device>>()? {
                    if slots.len() == MAX_DEVICES {
                        return Err(A::Error::invalid_length(slots.len() + 1, &self));
                    }
                    slots.push(slot);
                }
                Ok(DeviceSlots(slots))
            }
        }
        deserializer.deserialize_seq(Slots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_devices_are_completed() {
        let old = r#"{"id": 3, "zone": 2, "ip": "10.0.0.1", "port": 6200, "device": "sdb1", "weight": 100, "drives": 4}"#;
        let device: Device = serde_json::from_str(old).unwrap();
        assert_eq!(device.region, 1);
        assert_eq!(
            (device.replication_ip.as_str(), device.replication_port),
            ("10.0.0.1", 6200)
        );
        assert_eq!((device.weight, device.meta.as_str()), (100.0, ""));
    }

    #[test]
    fn what_is_written_reads_back_equal() {
        let text = r#"{"id": 0, "region": 1, "zone": 2, "ip": "::1", "port": 6200, "replication_ip": "fd00::1",
            "replication_port": 6300, "device": "d0", "weight": 0.5, "meta": "räck 7"}"#;
        let device: Device = serde_json::from_str(text).unwrap();
        let back: Device = serde_json::from_str(&serde_json::to_string(&device).unwrap()).unwrap();
        assert_eq!(back, device);
        assert_eq!(device.replication_port, 6300);
    }

    #[test]
    fn holes_stay_and_endless_lists_are_refused() {
        let slots: DeviceSlots = serde_json::from_str("[null, null]").unwrap();
        assert_eq!(slots, DeviceSlots(vec![None, None]));
        let endless = format!("[{}null]", "null,".repeat(MAX_DEVICES));
        assert!(serde_json::from_str::<DeviceSlots>(&endless).is_err());
    }
}
