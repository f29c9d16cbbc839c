//! Addresses of servers in the one form in which they are compared.

use super::SyntaxError;
use std::net::{Ipv4Addr, Ipv6Addr};

/// An IP address, IPv6 in its canonical form.
pub fn normalize_ip(ip: &str) -> Result<String, SyntaxError> {
    let ip = ip.to_lowercase();
    if ip.parse::<Ipv4Addr>().is_ok() {
        return Ok(ip);
    }
    match ip.parse::<Ipv6Addr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => Err(SyntaxError(format!("Invalid ip {ip}"))),
    }
}

/// An IP address, in brackets or not, or the name of a host.
pub fn normalize_address(address: &str) -> Result<String, SyntaxError> {
    if let Some(ip) = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return normalize_ip(ip);
    }
    let lower = address.to_lowercase();
    if let Ok(ip) = normalize_ip(&lower) {
        return Ok(ip);
    }
    if is_host_name(&lower) {
        Ok(lower)
    } else {
        Err(SyntaxError(format!("Invalid address {address}")))
    }
}

/// Labels of letters, digits and inner hyphens; one dot may stand at the end.
fn is_host_name(name: &str) -> bool {
    if name.is_empty() || name.len() > 255 {
        return false;
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    name.split('.').all(|label| {
        let letters = label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (1..=63).contains(&label.len()) && letters && !label.starts_with('-') && !label.ends_with('-')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_one_form() {
        for (given, normal) in [
            ("10.0.0.1", Some("10.0.0.1")),
            ("2001:DB8:0:0::7334", Some("2001:db8::7334")),
            ("[::1]", Some("::1")),
            ("Storage-1.Example.com", Some("storage-1.example.com")),
            ("example.", Some("example.")),
            ("", None),
            ("-a", None),
            ("a..b", None),
            ("[example]", None),
            ("a_b", None),
        ] {
            assert_eq!(normalize_address(given).ok().as_deref(), normal, "{given}");
        }
        assert!(normalize_ip("example").is_err());
        assert!(normalize_ip("1.2.3").is_err());
    }
}
