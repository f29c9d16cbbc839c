//! Transaction ids in Swift's form: they tie one request's log lines together through every hop.

use std::time::{SystemTime, UNIX_EPOCH};

/// A new id: `tx`, 21 random hexadecimal digits, a dash, the second of its making in ten hexadecimal digits.
pub fn new() -> String {
    let random: u128 = rand::random::<u128>() >> 44;
    let secs = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    format!("tx{random:021x}-{secs:010x}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn has_swifts_form() {
        let id = super::new();
        assert_eq!(id.len(), 34);
        assert!(id.starts_with("tx") && &id[23..24] == "-");
    }
}
