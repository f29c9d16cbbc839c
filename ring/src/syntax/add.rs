//! A whole device as `add` takes it.

use super::{SyntaxError, normalize_ip, scan::Scan};
use crate::builder::NewDevice;

/// Reads `[r1]z2-10.0.0.1:6200[R10.0.1.1:6300]/sdb1[_remarks]`. The region is `None` when it is not given.
pub fn parse_device(text: &str, weight: f64) -> Result<(Option<u32>, NewDevice), SyntaxError> {
    let invalid = || SyntaxError(format!("Invalid add value: {text}"));
    let mut scan = Scan::new(text);
    let region = scan.number('r')?;
    let zone = scan.number('z')?.ok_or_else(invalid)?;
    if !scan.skip('-') {
        return Err(invalid());
    }
    let (ip, port) = place(&mut scan)?;
    let replication = match scan.skip('R') {
        true => Some(place(&mut scan)?),
        false => None,
    };
    if !scan.skip('/') {
        return Err(invalid());
    }
    let device = scan.take_while(|letter| letter != '_');
    if device.is_empty() || device.starts_with(' ') || device.ends_with(' ') {
        return Err(SyntaxError("Invalid device name".into()));
    }
    scan.skip('_');
    let (replication_ip, replication_port) = replication.unzip();
    let new = NewDevice {
        region: region.unwrap_or(1),
        zone,
        ip,
        port,
        replication_ip,
        replication_port,
        device: device.to_owned(),
        weight,
        meta: scan.take_rest().to_owned(),
    };
    Ok((region, new))
}

/// An address and a port, up to the `R` or `/` that follows.
fn place(scan: &mut Scan) -> Result<(String, u16), SyntaxError> {
    let text = scan.take_while(|letter| letter != 'R' && letter != '/');
    let (ip, port) = text
        .rsplit_once(':')
        .ok_or_else(|| SyntaxError("Invalid port in add value".into()))?;
    let port = port
        .parse()
        .map_err(|_| SyntaxError(format!("Invalid port :{port} in add value")))?;
    let bare = ip
        .strip_prefix('[')
        .and_then(|ip| ip.strip_suffix(']'))
        .unwrap_or(ip);
    Ok((normalize_ip(bare)?, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read() {
        let (region, device) = parse_device("r3z2-[::1]:6200R10.0.0.9:6300/sdb1_my disk", 5.0).unwrap();
        assert_eq!((region, device.region, device.zone), (Some(3), 3, 2));
        assert_eq!((device.ip.as_str(), device.port), ("::1", 6200));
        assert_eq!(
            (device.replication_ip.as_deref(), device.replication_port),
            (Some("10.0.0.9"), Some(6300))
        );
        assert_eq!(
            (device.device.as_str(), device.meta.as_str(), device.weight),
            ("sdb1", "my disk", 5.0)
        );
        let (region, device) = parse_device("z2-10.0.0.1:6200/sdb1", 5.0).unwrap();
        assert_eq!((region, device.region, device.replication_ip), (None, 1, None));
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "r1-1.2.3.4:1/sda",
            "z1.2.3.4:1/sda",
            "z1-1.2.3.4/sda",
            "z1-1.2.3.4:x/sda",
            "z1-1.2.3.4:99999/sda",
            "z1-host:6200/sda",
            "z1-1.2.3.4:6200",
            "z1-1.2.3.4:6200/",
            "z1-1.2.3.4:6200/ sda",
            "z1-1.2.3.4:6200R/sda",
            "zx-1.2.3.4:6200/sda",
        ] {
            assert!(parse_device(text, 1.0).is_err(), "{text}");
        }
    }
}
