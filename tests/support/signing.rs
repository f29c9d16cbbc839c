//! Signatures of temporary URLs and forms, made as a client makes them.

use hmac::{Hmac, KeyInit, Mac};
use std::time::{SystemTime, UNIX_EPOCH};

/// HMAC-SHA256 in hexadecimal.
pub fn sign(key: &str, message: &str) -> String {
    let mut mac = <Hmac<sha2::Sha256> as KeyInit>::new_from_slice(key.as_bytes()).expect("any key will do");
    mac.update(message.as_bytes());
    let bytes = mac.finalize().into_bytes();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// So many seconds from now, since 1970.
pub fn in_seconds(seconds: i64) -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock after 1970");
    now.as_secs() as i64 + seconds
}

/// The query of a temporary URL for a decoded path that ends in an hour.
pub fn temp_url(key: &str, method: &str, path: &str) -> String {
    let expires = in_seconds(3_600);
    let signature = sign(key, &format!("{method}\n{expires}\n{path}"));
    format!("temp_url_sig={signature}&temp_url_expires={expires}")
}
