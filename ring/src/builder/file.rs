//! Swift's `.builder` file: a pickled dictionary, read without running anything, and written so that Swift opens it.
//!
//! | key | holds |
//! |---|---|
//! | `part_power`, `next_part_power`, `replicas`, `min_part_hours`, `overload`, `version`, `id`, `parts` | as named |
//! | `devs` | by id, a dictionary as in ring files plus `parts`, or `None` for a hole |
//! | `devs_changed` | a rebalance is due |
//! | `_replica2part2dev` | an array of device ids for each replica, or `None` |
//! | `_last_part_moves`, `_last_part_moves_epoch` | hours since each partition moved, counted up to that time |
//! | `_remove_devs` | the devices that leave with the next rebalance |
//! | `_dispersion_graph`, `dispersion`, `_last_part_gather_start`, `dev_id_bytes` | what the last rebalance left |

use super::{
    Builder, BuilderError, DispersionGraph, MAX_BUILDER_PART_POWER, TierName, UNASSIGNED, bytes_for_id,
    check_overload, check_replicas, check_weight,
};
use crate::device::Device;
use crate::pickle::{self, Pickle, Value, Writer};
use crate::{MAX_DEVICES, MAX_REPLICAS};

type Result<T> = std::result::Result<T, BuilderError>;

impl Builder {
    /// Reads a `.builder` file of Swift or Martlet and checks that it holds together.
    pub fn from_file(bytes: &[u8]) -> Result<Builder> {
        let pickle = pickle::read(bytes).map_err(BuilderError::Pickle)?;
        Reader(&pickle).builder()
    }

    /// A builder for a ring whose own builder is lost. What a ring does not hold starts anew: all partitions may move,
    /// there is no overload, and the id is new.
    pub fn from_ring_parts(parts: crate::RingParts, min_part_hours: u32) -> Result<Builder> {
        let replicas = match parts.rows.split_last() {
            None => 0.0,
            Some((last, full)) => full.len() as f64 + last.len() as f64 / f64::from(1u32 << parts.part_power),
        };
        let mut builder = Builder::create(parts.part_power, replicas, min_part_hours)?;
        check_devices(&parts.devices)?;
        builder.devices = parts.devices;
        builder.version = parts.version.unwrap_or(0);
        builder.rows = parts.rows.iter().map(|row| row.ids().collect()).collect();
        let narrow = matches!(parts.rows.first(), None | Some(crate::Row::Narrow(_)));
        builder.id_bytes = if narrow { 2 } else { 4 };
        builder.dispersion = None;
        builder.check_rows()?;
        Ok(builder)
    }

    /// The `.builder` file, as Swift's tools read it.
    pub fn to_file(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.open_dict();
        self.write_numbers(&mut writer);
        writer.text("devs");
        self.write_devices(&mut writer);
        writer.text("_remove_devs");
        writer.open_list();
        self.removed.iter().for_each(|id| writer.recall(*id));
        writer.close_list();
        writer.text("_replica2part2dev");
        self.write_rows(&mut writer);
        writer.text("_last_part_moves");
        writer.array('B', self.hours_since_move.iter().copied().map(u32::from));
        writer.text("_dispersion_graph");
        self.write_graph(&mut writer);
        writer.close_dict();
        writer.finish()
    }

    fn write_numbers(&self, writer: &mut Writer) {
        let int = |writer: &mut Writer, name: &str, number: u64| {
            writer.text(name);
            writer.int(number);
        };
        int(writer, "part_power", self.part_power.into());
        int(writer, "parts", self.partitions() as u64);
        int(writer, "min_part_hours", self.min_part_hours.into());
        int(writer, "version", self.version);
        int(writer, "dev_id_bytes", self.id_bytes().into());
        int(writer, "_last_part_moves_epoch", self.epoch_secs);
        int(writer, "_last_part_gather_start", self.gather_start.into());
        writer.text("next_part_power");
        match self.next_part_power {
            Some(power) => writer.int(power.into()),
            None => writer.none(),
        }
        writer.text("replicas");
        writer.float(self.replicas);
        writer.text("overload");
        writer.float(self.overload);
        writer.text("dispersion");
        match self.dispersion {
            Some(percent) => writer.float(percent),
            None => writer.none(),
        }
        writer.text("devs_changed");
        writer.bool(self.changed);
        writer.text("id");
        match &self.id {
            Some(id) => writer.text(id),
            None => writer.none(),
        }
    }

    /// Each device is remembered under its id.
    fn write_devices(&self, writer: &mut Writer) {
        let held = self.partitions_by_device();
        writer.open_list();
        for (slot, held) in self.devices.iter().zip(held) {
            let Some(device) = slot else {
                writer.none();
                continue;
            };
            writer.open_dict();
            let numbers: [(&str, u32); 6] = [
                ("id", device.id),
                ("region", device.region),
                ("zone", device.zone),
                ("port", device.port.into()),
                ("replication_port", device.replication_port.into()),
                ("parts", held),
            ];
            for (name, number) in numbers {
                writer.text(name);
                writer.int(number.into());
            }
            let texts = [
                ("ip", &device.ip),
                ("replication_ip", &device.replication_ip),
                ("device", &device.device),
                ("meta", &device.meta),
            ];
            for (name, text) in texts {
                writer.text(name);
                writer.text(text);
            }
            writer.text("weight");
            writer.float(device.weight);
            writer.close_dict();
            writer.remember(device.id);
        }
        writer.close_list();
    }

    fn write_rows(&self, writer: &mut Writer) {
        if self.rows.is_empty() {
            return writer.none();
        }
        let type_code = if self.id_bytes() == 2 { 'H' } else { 'I' };
        writer.open_list();
        for row in &self.rows {
            writer.array(type_code, row.iter().copied());
        }
        writer.close_list();
    }

    fn write_graph(&self, writer: &mut Writer) {
        writer.open_dict();
        for (tier, counts) in &self.dispersion_graph {
            writer.open_tuple();
            writer.int(tier.region.into());
            if let Some(zone) = tier.zone {
                writer.int(zone.into());
            }
            if let Some(ip) = &tier.ip {
                writer.text(ip);
            }
            if let Some(id) = tier.id {
                writer.int(id.into());
            }
            writer.close_tuple();
            writer.open_list();
            counts.iter().for_each(|count| writer.int((*count).into()));
            writer.close_list();
        }
        writer.close_dict();
    }

    /// Rows are as long as they must be, and name devices that are there.
    fn check_rows(&self) -> Result<()> {
        let partitions = self.partitions();
        let shapes = self.rows.split_last().is_none_or(|(last, full)| {
            last.len() <= partitions && full.iter().all(|row| row.len() == partitions)
        });
        if !shapes || self.rows.len() > MAX_REPLICAS {
            return Err(BuilderError::BadState("a row has the wrong length"));
        }
        let known = |id: &u32| self.device(*id).is_some();
        if !self.rows.iter().flatten().all(known) {
            return Err(BuilderError::BadState(
                "the table names a device that is not there",
            ));
        }
        Ok(())
    }
}

fn check_devices(devices: &[Option<Device>]) -> Result<()> {
    if devices.len() > MAX_DEVICES {
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

/// Takes the parts of a builder out of a pickle.
struct Reader<'a>(&'a Pickle);

impl Reader<'_> {
    fn builder(&self) -> Result<Builder> {
        let root = self.0.root;
        let part_power = self.number(root, "part_power")?;
        if part_power > MAX_BUILDER_PART_POWER {
            return Err(BuilderError::PartPower(part_power));
        }
        let partitions = 1usize << part_power;
        let replicas = self.float(root, "replicas")?;
        check_replicas(replicas)?;
        let overload = match self.get(root, "overload") {
            Value::None => 0.0,
            value => value.as_f64().ok_or(BuilderError::BadState("overload"))?,
        };
        check_overload(overload)?;
        let devices = self.devices(root)?;
        let hours_since_move = match self.get(root, "_last_part_moves") {
            Value::None => vec![0; partitions],
            moves => self.hours(moves, partitions)?,
        };
        let (rows, id_bytes) = self.rows(root, devices.len())?;
        let builder = Builder {
            part_power,
            next_part_power: self.optional(root, "next_part_power")?.filter(|power| *power > 0),
            replicas,
            min_part_hours: self.number(root, "min_part_hours")?,
            overload,
            version: self.long(root, "version")?,
            changed: matches!(self.get(root, "devs_changed"), Value::Bool(true) | Value::Int(1)),
            removed: self.removed(root, &devices)?,
            devices,
            rows,
            id_bytes,
            hours_since_move,
            epoch_secs: self.long(root, "_last_part_moves_epoch")?,
            gather_start: self.optional(root, "_last_part_gather_start")?.unwrap_or(0),
            dispersion: self.get(root, "dispersion").as_f64(),
            dispersion_graph: self.graph(root)?,
            id: self.0.text(self.get(root, "id")).map(str::to_owned),
        };
        builder.check_rows()?;
        Ok(builder)
    }

    /// `None` for a key that is not there.
    fn get(&self, dict: Value, name: &str) -> Value {
        self.0.get(dict, name).unwrap_or(Value::None)
    }

    fn optional(&self, dict: Value, name: &'static str) -> Result<Option<u32>> {
        match self.get(dict, name) {
            Value::None => Ok(None),
            value => value.as_u32().map(Some).ok_or(BuilderError::BadState(name)),
        }
    }

    fn number(&self, dict: Value, name: &'static str) -> Result<u32> {
        self.optional(dict, name)?.ok_or(BuilderError::BadState(name))
    }

    /// A number that may be missing and then is 0.
    fn long(&self, dict: Value, name: &'static str) -> Result<u64> {
        match self.get(dict, name) {
            Value::None => Ok(0),
            // Very old builders have a time with a fraction.
            Value::Float(seconds) if seconds >= 0.0 => Ok(seconds as u64),
            value => {
                let number = value.as_i64().and_then(|number| u64::try_from(number).ok());
                number.ok_or(BuilderError::BadState(name))
            }
        }
    }

    fn float(&self, dict: Value, name: &'static str) -> Result<f64> {
        self.get(dict, name).as_f64().ok_or(BuilderError::BadState(name))
    }

    fn text(&self, dict: Value, name: &'static str) -> Result<String> {
        let text = self.0.text(self.get(dict, name));
        text.map(str::to_owned).ok_or(BuilderError::BadState(name))
    }

    fn devices(&self, root: Value) -> Result<Vec<Option<Device>>> {
        let list = self
            .0
            .list(self.get(root, "devs"))
            .ok_or(BuilderError::BadState("devs"))?;
        if list.len() > MAX_DEVICES {
            return Err(BuilderError::TooManyDevices);
        }
        let slot = |value: &Value| match value {
            Value::None => Ok(None),
            device => self.device(*device).map(Some),
        };
        let devices: Vec<Option<Device>> = list.iter().map(slot).collect::<Result<_>>()?;
        check_devices(&devices)?;
        Ok(devices)
    }

    fn device(&self, dict: Value) -> Result<Device> {
        let port = |name: &'static str| -> Result<Option<u16>> {
            match self.optional(dict, name)? {
                None => Ok(None),
                Some(port) => u16::try_from(port)
                    .map(Some)
                    .map_err(|_| BuilderError::BadState(name)),
            }
        };
        let ip = self.text(dict, "ip")?;
        let own_port = port("port")?.ok_or(BuilderError::BadState("port"))?;
        let replication_ip = self.0.text(self.get(dict, "replication_ip"));
        Ok(Device {
            id: self.number(dict, "id")?,
            region: self.optional(dict, "region")?.unwrap_or(1),
            zone: self.number(dict, "zone")?,
            replication_ip: replication_ip.unwrap_or(&ip).to_owned(),
            replication_port: port("replication_port")?.unwrap_or(own_port),
            ip,
            port: own_port,
            device: self.text(dict, "device")?,
            weight: self.float(dict, "weight")?,
            meta: self.0.text(self.get(dict, "meta")).unwrap_or_default().to_owned(),
        })
    }

    fn removed(&self, root: Value, devices: &[Option<Device>]) -> Result<Vec<u32>> {
        let Some(list) = self.0.list(self.get(root, "_remove_devs")) else {
            return Ok(Vec::new());
        };
        let mut removed = Vec::new();
        for device in list {
            let id = self.number(*device, "id")?;
            let leaves = matches!(devices.get(id as usize), Some(Some(device)) if device.weight == 0.0);
            if !leaves {
                return Err(BuilderError::BadState(
                    "a removed device is not there, or has a weight",
                ));
            }
            if !removed.contains(&id) {
                removed.push(id);
            }
        }
        Ok(removed)
    }

    fn hours(&self, moves: Value, partitions: usize) -> Result<Vec<u8>> {
        let bad = BuilderError::BadState("_last_part_moves");
        let Some(numbers) = self.0.numbers(moves).filter(|list| list.len() == partitions) else {
            return Err(bad);
        };
        let hours: Option<Vec<u8>> = numbers.iter().map(|hours| u8::try_from(*hours).ok()).collect();
        hours.ok_or(bad)
    }

    /// The table, and the bytes that its ids have.
    fn rows(&self, root: Value, devices: usize) -> Result<(Vec<Vec<u32>>, u8)> {
        let needed = bytes_for_id(devices.saturating_sub(1) as u32);
        let bytes = match self.optional(root, "dev_id_bytes")? {
            Some(4) => 4,
            _ => needed,
        };
        let table = self.get(root, "_replica2part2dev");
        if table == Value::None {
            return Ok((Vec::new(), bytes));
        }
        let bad = || BuilderError::BadState("_replica2part2dev");
        let list = self.0.list(table).ok_or_else(bad)?;
        let mut rows = Vec::with_capacity(list.len().min(MAX_REPLICAS));
        for row in list.iter().take(MAX_REPLICAS + 1) {
            let mut row = self.0.numbers(*row).ok_or_else(bad)?;
            for id in &mut row {
                if bytes == 2 && *id == u32::from(u16::MAX) {
                    *id = UNASSIGNED;
                }
            }
            rows.push(row);
        }
        Ok((rows, bytes))
    }

    fn graph(&self, root: Value) -> Result<DispersionGraph> {
        let bad = || BuilderError::BadState("_dispersion_graph");
        let mut graph = DispersionGraph::new();
        for (tier, counts) in self
            .0
            .dict(self.get(root, "_dispersion_graph"))
            .unwrap_or_default()
        {
            let tier = self.0.list(*tier).ok_or_else(bad)?;
            let part = |at: usize| tier.get(at).copied();
            let number = |at: usize| part(at).map(|value| value.as_u32().ok_or_else(bad)).transpose();
            let name = TierName {
                region: number(0)?.ok_or_else(bad)?,
                zone: number(1)?,
                ip: match part(2) {
                    None => None,
                    Some(ip) => Some(self.0.text(ip).ok_or_else(bad)?.to_owned()),
                },
                id: number(3)?,
            };
            graph.insert(name, self.0.numbers(*counts).ok_or_else(bad)?);
        }
        Ok(graph)
    }
}
