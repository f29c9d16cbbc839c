//! What devices are looked for by.

use super::{DeviceChange, SyntaxError, normalize_address, scan::Scan};
use crate::device::Device;

/// All that is given must be equal, but for `meta`, which must be contained.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceSearch {
    pub id: Option<u32>,
    pub region: Option<u32>,
    pub zone: Option<u32>,
    pub ip: Option<String>,
    pub port: Option<u16>,
    pub replication_ip: Option<String>,
    pub replication_port: Option<u16>,
    pub device: Option<String>,
    pub weight: Option<f64>,
    pub meta: Option<String>,
}

impl DeviceSearch {
    /// Reads `d74r4z1-1.2.3.4:5678R5.6.7.8:5679/sdb1_remarks`, of which every part may be left out.
    pub fn parse(text: &str) -> Result<DeviceSearch, SyntaxError> {
        let mut scan = Scan::new(text);
        let id = scan.number('d')?;
        let region = scan.number('r')?;
        let zone = scan.number('z')?;
        scan.skip('-');
        let place = DeviceChange::scan(&mut scan)?;
        if !scan.rest().is_empty() {
            return Err(SyntaxError(format!("Invalid <search-value>: {:?}", scan.whole())));
        }
        Ok(DeviceSearch {
            id,
            region,
            zone,
            ip: place.ip,
            port: place.port,
            replication_ip: place.replication_ip,
            replication_port: place.replication_port,
            device: place.device,
            weight: None,
            meta: place.meta,
        })
    }

    pub fn matches(&self, device: &Device) -> bool {
        let address = |wanted: &Option<String>, given: &str| match wanted {
            None => true,
            Some(wanted) => normalize_address(given).is_ok_and(|given| given == *wanted),
        };
        self.id.is_none_or(|id| id == device.id)
            && self.region.is_none_or(|region| region == device.region)
            && self.zone.is_none_or(|zone| zone == device.zone)
            && address(&self.ip, &device.ip)
            && self.port.is_none_or(|port| port == device.port)
            && address(&self.replication_ip, &device.replication_ip)
            && self
                .replication_port
                .is_none_or(|port| port == device.replication_port)
            && self.device.as_ref().is_none_or(|name| *name == device.device)
            && self.weight.is_none_or(|weight| weight == device.weight)
            && self.meta.as_ref().is_none_or(|meta| device.meta.contains(meta))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_may_be_left_out() {
        let none = DeviceSearch::default;
        let text = |text: &str| Some(text.to_owned());
        let cases = [
            (
                "d74",
                DeviceSearch {
                    id: Some(74),
                    ..none()
                },
            ),
            (
                "r4",
                DeviceSearch {
                    region: Some(4),
                    ..none()
                },
            ),
            (
                "z1",
                DeviceSearch {
                    zone: Some(1),
                    ..none()
                },
            ),
            (
                "1.2.3.4",
                DeviceSearch {
                    ip: text("1.2.3.4"),
                    ..none()
                },
            ),
            (
                "-1.2.3.4",
                DeviceSearch {
                    ip: text("1.2.3.4"),
                    ..none()
                },
            ),
            (
                ":5678",
                DeviceSearch {
                    port: Some(5678),
                    ..none()
                },
            ),
            (
                "R5.6.7.8",
                DeviceSearch {
                    replication_ip: text("5.6.7.8"),
                    ..none()
                },
            ),
            (
                "R:5678",
                DeviceSearch {
                    replication_port: Some(5678),
                    ..none()
                },
            ),
            (
                "/sdb1",
                DeviceSearch {
                    device: text("sdb1"),
                    ..none()
                },
            ),
            (
                "_shiny",
                DeviceSearch {
                    meta: text("shiny"),
                    ..none()
                },
            ),
            (
                "[0::1]",
                DeviceSearch {
                    ip: text("::1"),
                    ..none()
                },
            ),
            ("", none()),
            (
                "d74r4z1-[::1]:5678R[::2]:5679/sdb1_snet: 5.6.7.8",
                DeviceSearch {
                    id: Some(74),
                    region: Some(4),
                    zone: Some(1),
                    ip: text("::1"),
                    port: Some(5678),
                    replication_ip: text("::2"),
                    replication_port: Some(5679),
                    device: text("sdb1"),
                    weight: None,
                    meta: text("snet: 5.6.7.8"),
                },
            ),
        ];
        for (given, wanted) in cases {
            assert_eq!(DeviceSearch::parse(given), Ok(wanted), "{given}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for given in [
            "d",
            "rx",
            "z1-host",
            "1.2.3",
            "[::g]",
            ":99999",
            "d99999999999",
            "sdb1",
            "z1 ",
        ] {
            assert!(DeviceSearch::parse(given).is_err(), "{given}");
        }
    }

    #[test]
    fn devices_match_what_is_given() {
        let mut device = Device::at("2001:DB8::1", 6200, "sdb1");
        device.meta = "a shiny disk".into();
        device.weight = 7.0;
        let matches = |text: &str| DeviceSearch::parse(text).unwrap().matches(&device);
        assert!(matches("[2001:db8:0::1]") && matches("_shiny") && matches("r1z1") && matches(""));
        assert!(!matches("_dull") && !matches("/sdb") && !matches("d1") && !matches(":6201"));
        let weight = |weight| DeviceSearch {
            weight: Some(weight),
            ..Default::default()
        };
        assert!(weight(7.0).matches(&device) && !weight(8.0).matches(&device));
    }
}
