//! Transaction ids in Swift's form: they tie one request's log lines together through every hop.

use std::time::{SystemTime, UNIX_EPOCH};

/// A new id: `tx`, 21 random hexadecimal digits, a dash, the second of its making in ten hexadecimal digits.
pub fn new() -> String {
    let random: u128 = rand::random();
    let secs = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let mut id = String::with_capacity(34);
    id.push_str("tx");
    // Each request makes one: the machinery of `format!` would cost ten times as much.
    push_hex(&mut id, random, 21);
    id.push('-');
    push_hex(&mut id, u128::from(secs), 10);
    id
}

/// The lowest `digits` hexadecimal digits of a number.
fn push_hex(text: &mut String, number: u128, digits: u32) {
    for place in (0..digits).rev() {
        let digit = (number >> (4 * place)) & 15;
        text.push(char::from(b"0123456789abcdef"[digit as usize]));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn has_swifts_form() {
        let id = super::new();
        assert_eq!(id.len(), 34);
        assert!(id.starts_with("tx") && &id[23..24] == "-");
        let secs = u64::from_str_radix(&id[24..], 16).unwrap();
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        assert!(secs <= now && now - secs < 60);
        assert!(u128::from_str_radix(&id[2..23], 16).is_ok());
        assert_ne!(id[..23], super::new()[..23]);
    }
}
