//! The ring in memory: checked once when made, then only asked.

use crate::device::Device;
use crate::placement::{Handoffs, Tiers};
use martlet_protocol::hash::PathHash;
use md5::{Digest, Md5};
use std::fmt;

/// Largest partition power: 2^31 partitions. Swift allows 32, which no table could hold.
pub const MAX_PART_POWER: u32 = 31;

/// Largest number of rows of the table, that is of replicas (or erasure-code fragments) of a partition.
pub const MAX_REPLICAS: usize = 1024;

/// The devices of one replica, by partition. Ring files hold two bytes for an id, or four when a version 2 ring has
/// more than 65,536 device slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    Narrow(Vec<u16>),
    Wide(Vec<u32>),
}

impl Row {
    /// How many partitions the row names a device for.
    pub fn len(&self) -> usize {
        match self {
            Row::Narrow(ids) => ids.len(),
            Row::Wide(ids) => ids.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The device id of a partition; `None` past the end of a row of a fractional replica.
    pub fn get(&self, partition: u32) -> Option<u32> {
        let partition = partition as usize;
        match self {
            Row::Narrow(ids) => ids.get(partition).copied().map(u32::from),
            Row::Wide(ids) => ids.get(partition).copied(),
        }
    }

    /// All ids of the row in the order of partitions.
    pub fn ids(&self) -> impl Iterator<Item = u32> + '_ {
        let (narrow, wide): (&[u16], &[u32]) = match self {
            Row::Narrow(ids) => (ids, &[]),
            Row::Wide(ids) => (&[], ids),
        };
        narrow.iter().copied().map(u32::from).chain(wide.iter().copied())
    }
}

/// What a ring is made of, not yet checked.
#[derive(Clone, Debug, PartialEq)]
pub struct RingParts {
    /// The ring has 2^`part_power` partitions.
    pub part_power: u32,
    /// Devices by id; ids of removed devices are holes.
    pub devices: Vec<Option<Device>>,
    /// One row for each replica. All rows but the last are full; the last is shorter when the replica count is fractional.
    pub rows: Vec<Row>,
    /// Counts the builder's changes; rings of very old builders have none.
    pub version: Option<u64>,
    /// Set while an operator increases the partition power.
    pub next_part_power: Option<u32>,
}

/// Why parts do not make a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RingError {
    PartPower(u32),
    TooManyDevices(usize),
    TooManyReplicas(usize),
    /// There is no row at all: the builder was never rebalanced.
    NoReplicas,
    /// A device does not stand in the slot of its id.
    Misplaced {
        slot: u32,
        id: u32,
    },
    /// A row has too few or too many partitions.
    RowLength {
        replica: usize,
        partitions: usize,
    },
    /// The table names a device that the list does not have.
    UnknownDevice {
        replica: usize,
        partition: u32,
        id: u32,
    },
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RingError::PartPower(power) => {
                write!(f, "partition power {power} is not within 0 and {MAX_PART_POWER}")
            }
            RingError::TooManyDevices(count) => write!(f, "{count} device slots are too many"),
            RingError::TooManyReplicas(count) => write!(f, "{count} replicas are too many"),
            RingError::NoReplicas => f.write_str("no partition is assigned: the ring was never rebalanced"),
            RingError::Misplaced { slot, id } => {
                write!(f, "device {id} stands in slot {slot} of the device list")
            }
            RingError::RowLength { replica, partitions } => {
                write!(f, "replica {replica} names devices for {partitions} partitions")
            }
            RingError::UnknownDevice {
                replica,
                partition,
                id,
            } => write!(
                f,
                "replica {replica} of partition {partition} is on device {id}, which the ring does not have"
            ),
        }
    }
}

impl std::error::Error for RingError {}

/// A ring: every id in its table names a device of its list.
///
/// See <https://docs.openstack.org/swift/latest/overview_ring.html>.
#[derive(Clone, Debug)]
pub struct Ring {
    part_power: u32,
    devices: Vec<Option<Device>>,
    rows: Vec<Row>,
    version: Option<u64>,
    next_part_power: Option<u32>,
    tiers: Tiers,
    fingerprint: [u8; 16],
}

impl Ring {
    /// Checks the parts and joins them.
    pub fn new(parts: RingParts) -> Result<Ring, RingError> {
        check(&parts)?;
        let RingParts {
            part_power,
            devices,
            rows,
            version,
            next_part_power,
        } = parts;
        let tiers = Tiers::new(&devices, &rows);
        let fingerprint = fingerprint(part_power, &devices, &rows);
        Ok(Ring {
            part_power,
            devices,
            rows,
            version,
            next_part_power,
            tiers,
            fingerprint,
        })
    }

    /// What the ring is made of.
    pub fn to_parts(&self) -> RingParts {
        RingParts {
            part_power: self.part_power,
            devices: self.devices.clone(),
            rows: self.rows.clone(),
            version: self.version,
            next_part_power: self.next_part_power,
        }
    }

    /// The ring has 2^`part_power` partitions.
    pub fn part_power(&self) -> u32 {
        self.part_power
    }

    /// How far the first 32 bits of a path hash are shifted right to give the partition.
    pub fn part_shift(&self) -> u32 {
        32 - self.part_power
    }

    pub fn partition_count(&self) -> u32 {
        1 << self.part_power
    }

    /// Replicas of a partition; fractional when only the first partitions have the last replica.
    pub fn replica_count(&self) -> f64 {
        let last = self.rows.last().map_or(0, Row::len);
        (self.rows.len() - 1) as f64 + last as f64 / f64::from(self.partition_count())
    }

    /// Counts the builder's changes; rings of very old builders have none.
    pub fn version(&self) -> Option<u64> {
        self.version
    }

    /// Set while an operator increases the partition power.
    pub fn next_part_power(&self) -> Option<u32> {
        self.next_part_power
    }

    /// All devices in the order of their ids, those without partitions too.
    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter().flatten()
    }

    /// The device list with its holes; the index is the id.
    pub fn device_slots(&self) -> &[Option<Device>] {
        &self.devices
    }

    pub fn device(&self, id: u32) -> Option<&Device> {
        self.devices.get(id as usize)?.as_ref()
    }

    /// The table: one row for each replica.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The partition that a path falls into: the first `part_power` bits of its hash.
    pub fn partition(&self, hash: &PathHash) -> u32 {
        let [a, b, c, d, ..] = hash.0;
        self.partition_of_bits(u32::from_be_bytes([a, b, c, d]))
    }

    /// The leading bits of `bits`; of no bits at all there is one partition, 0.
    pub(crate) fn partition_of_bits(&self, bits: u32) -> u32 {
        bits.checked_shr(self.part_shift()).unwrap_or(0)
    }

    /// The devices that should hold a partition, in the order of replicas. A device that has several replicas is named
    /// once. Empty for a partition that the ring does not have.
    pub fn primaries(&self, partition: u32) -> Vec<&Device> {
        let mut primaries: Vec<&Device> = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            let device = row.get(partition).and_then(|id| self.device(id));
            if let Some(device) = device
                && !primaries.iter().any(|seen| seen.id == device.id)
            {
                primaries.push(device);
            }
        }
        primaries
    }

    /// The other devices that have partitions, in the order in which they stand in for the primaries: first one of each
    /// region without a copy, then of each zone, then of each server, then the rest. Found while it is iterated.
    pub fn handoffs(&self, partition: u32) -> Handoffs<'_> {
        Handoffs::new(self, partition)
    }

    /// Equal for rings that place everything on the same devices.
    pub(crate) fn fingerprint(&self) -> [u8; 16] {
        self.fingerprint
    }

    pub(crate) fn tiers(&self) -> &Tiers {
        &self.tiers
    }
}

/// Where things are, without what does not matter for it: weights, remarks, versions, the bytes of an id.
fn fingerprint(part_power: u32, devices: &[Option<Device>], rows: &[Row]) -> [u8; 16] {
    let mut md5 = Md5::new();
    md5.update(part_power.to_be_bytes());
    for device in devices.iter().flatten() {
        let Device {
            id,
            region,
            zone,
            ip,
            port,
            device,
            ..
        } = device;
        md5.update(format!("{id}/{region}/{zone}/{ip}/{port}/{device}\n"));
    }
    let mut buffer = Vec::with_capacity(1 << 16);
    for row in rows {
        md5.update((row.len() as u64).to_be_bytes());
        for id in row.ids() {
            buffer.extend_from_slice(&id.to_be_bytes());
            if buffer.len() >= 1 << 16 {
                md5.update(&buffer);
                buffer.clear();
            }
        }
        md5.update(&buffer);
        buffer.clear();
    }
    md5.finalize().into()
}

fn check(parts: &RingParts) -> Result<(), RingError> {
    if parts.part_power > MAX_PART_POWER {
        return Err(RingError::PartPower(parts.part_power));
    }
    if parts.devices.len() > crate::MAX_DEVICES {
        return Err(RingError::TooManyDevices(parts.devices.len()));
    }
    if parts.rows.len() > MAX_REPLICAS {
        return Err(RingError::TooManyReplicas(parts.rows.len()));
    }
    for (slot, device) in (0u32..).zip(&parts.devices) {
        if let Some(device) = device
            && device.id != slot
        {
            return Err(RingError::Misplaced { slot, id: device.id });
        }
    }
    let full = 1usize << parts.part_power;
    let last = parts.rows.len().checked_sub(1).ok_or(RingError::NoReplicas)?;
    for (replica, row) in parts.rows.iter().enumerate() {
        let partitions = row.len();
        let may_be_short = replica == last && replica > 0;
        if partitions > full || (partitions < full && !may_be_short) {
            return Err(RingError::RowLength { replica, partitions });
        }
        for (partition, id) in (0u32..).zip(row.ids()) {
            if !matches!(parts.devices.get(id as usize), Some(Some(_))) {
                return Err(RingError::UnknownDevice {
                    replica,
                    partition,
                    id,
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(id: u32) -> Device {
        Device {
            id,
            region: 1,
            zone: id,
            ip: "127.0.0.1".into(),
            port: 6200,
            replication_ip: "127.0.0.1".into(),
            replication_port: 6200,
            device: format!("d{id}"),
            weight: 1.0,
            meta: String::new(),
        }
    }

    fn parts(devices: Vec<Option<Device>>, rows: Vec<Vec<u16>>) -> RingParts {
        RingParts {
            part_power: 1,
            devices,
            rows: rows.into_iter().map(Row::Narrow).collect(),
            version: None,
            next_part_power: None,
        }
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let two = || vec![Some(device(0)), None, Some(device(2))];
        let refused = |parts| Ring::new(parts).expect_err("must be refused");
        assert_eq!(refused(parts(two(), vec![])), RingError::NoReplicas);
        let unknown = |id| RingError::UnknownDevice {
            replica: 0,
            partition: 1,
            id,
        };
        assert_eq!(refused(parts(two(), vec![vec![0, 1]])), unknown(1));
        assert_eq!(refused(parts(two(), vec![vec![0, 65535]])), unknown(65535));
        let length = |replica, partitions| RingError::RowLength { replica, partitions };
        assert_eq!(refused(parts(two(), vec![vec![0]])), length(0, 1));
        assert_eq!(
            refused(parts(two(), vec![vec![0, 2], vec![2], vec![0, 0]])),
            length(1, 1)
        );
        assert_eq!(refused(parts(two(), vec![vec![0, 2, 0]])), length(0, 3));
        let misplaced = parts(vec![Some(device(1))], vec![vec![0, 0]]);
        assert_eq!(refused(misplaced), RingError::Misplaced { slot: 0, id: 1 });
        let huge = RingParts {
            part_power: 32,
            ..parts(two(), vec![vec![0, 0]])
        };
        assert_eq!(refused(huge), RingError::PartPower(32));
    }

    #[test]
    fn a_device_with_two_replicas_is_named_once() {
        let devices = vec![Some(device(0)), None, Some(device(2))];
        let ring = Ring::new(parts(devices, vec![vec![2, 0], vec![2, 2], vec![0]])).unwrap();
        let ids = |partition| ring.primaries(partition).iter().map(|d| d.id).collect::<Vec<_>>();
        assert_eq!(ids(0), [2, 0]);
        assert_eq!(ids(1), [0, 2]);
        assert!(ids(2).is_empty());
        assert_eq!(ring.replica_count(), 2.5);
    }
}
