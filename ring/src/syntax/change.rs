//! What `set_info` changes of a device.

use super::{SyntaxError, scan::Scan};
use crate::device::Device;

/// What is given is set, the rest stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceChange {
    pub ip: Option<String>,
    pub port: Option<u16>,
    pub replication_ip: Option<String>,
    pub replication_port: Option<u16>,
    pub device: Option<String>,
    pub meta: Option<String>,
}

impl DeviceChange {
    /// Reads `10.0.0.1:6200R10.0.1.1:6300/sdb1_remarks`, of which at least one part must be given.
    pub fn parse(text: &str) -> Result<DeviceChange, SyntaxError> {
        let mut scan = Scan::new(text);
        let change = DeviceChange::scan(&mut scan)?;
        if !scan.rest().is_empty() || change == DeviceChange::default() {
            return Err(SyntaxError(format!("Invalid set info change value: {text:?}")));
        }
        Ok(change)
    }

    /// Takes all parts that stand next.
    pub(super) fn scan(scan: &mut Scan) -> Result<DeviceChange, SyntaxError> {
        let mut change = DeviceChange {
            ip: scan.ip()?,
            port: scan.number(':')?,
            ..DeviceChange::default()
        };
        if scan.skip('R') {
            change.replication_ip = scan.ip()?;
            change.replication_port = scan.number(':')?;
        }
        if scan.skip('/') {
            change.device = Some(scan.take_while(|letter| letter != '_').to_owned());
        }
        if scan.skip('_') {
            change.meta = Some(scan.take_rest().to_owned());
        }
        Ok(change)
    }

    pub fn apply(&self, device: &mut Device) {
        let set = |to: &mut String, from: &Option<String>| {
            if let Some(from) = from {
                to.clone_from(from);
            }
        };
        set(&mut device.ip, &self.ip);
        set(&mut device.replication_ip, &self.replication_ip);
        set(&mut device.device, &self.device);
        set(&mut device.meta, &self.meta);
        device.port = self.port.unwrap_or(device.port);
        device.replication_port = self.replication_port.unwrap_or(device.replication_port);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_given_changes() {
        let mut device = Device::at("10.0.0.1", 6200, "sdb1");
        DeviceChange::parse("R10.9.9.9/sdc1_new")
            .unwrap()
            .apply(&mut device);
        let shown = format!(
            "{}:{} {}:{}",
            device.ip, device.port, device.replication_ip, device.replication_port
        );
        assert_eq!(shown, "10.0.0.1:6200 10.9.9.9:6200");
        assert_eq!((device.device.as_str(), device.meta.as_str()), ("sdc1", "new"));
        for bad in ["", "x", "10.0.0", "/sdb1/x_", ":x"] {
            // A device name may hold a slash here; the builder refuses it.
            assert_eq!(DeviceChange::parse(bad).is_err(), bad != "/sdb1/x_", "{bad}");
        }
    }
}
