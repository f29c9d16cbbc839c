//! What a log must not tell: secrets are cut short, and what may point at a person can be hashed. Pure.

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

/// Parameters that open things.
const SECRET_PARAMETERS: [&str; 4] = ["temp_url_sig", "Signature", "X-Amz-Signature", "swiftinfo_sig"];

/// Headers that open things, in lower case.
pub const SECRET_HEADERS: [&str; 4] = [
    "x-auth-token",
    "x-storage-token",
    "x-service-token",
    "authorization",
];

/// Hashes that Swift knows and that are at hand here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HashMethod {
    #[default]
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// How values are hashed.
#[derive(Clone, Debug, Default)]
pub struct Anonymizer {
    pub method: HashMethod,
    pub salt: String,
}

impl Anonymizer {
    /// `{MD5}digest`, or `{SMD5}digest` when salted. Nothing stays nothing.
    pub fn hide(&self, value: &str) -> String {
        if value.is_empty() {
            return String::new();
        }
        let (name, digest) = match self.method {
            HashMethod::Md5 => ("MD5", self.digest::<Md5>(value)),
            HashMethod::Sha1 => ("SHA1", self.digest::<sha1::Sha1>(value)),
            HashMethod::Sha224 => ("SHA224", self.digest::<sha2::Sha224>(value)),
            HashMethod::Sha256 => ("SHA256", self.digest::<sha2::Sha256>(value)),
            HashMethod::Sha384 => ("SHA384", self.digest::<sha2::Sha384>(value)),
            HashMethod::Sha512 => ("SHA512", self.digest::<sha2::Sha512>(value)),
        };
        let salted = if self.salt.is_empty() { "" } else { "S" };
        format!("{{{salted}{name}}}{digest}")
    }

    fn digest<D: Digest>(&self, value: &str) -> String {
        let mut hasher = D::new();
        hasher.update(self.salt.as_bytes());
        hasher.update(value.as_bytes());
        hex::encode(hasher.finalize())
    }
}

/// A secret cut to so many characters: enough to find it again, too little to use it.
pub fn cut(secret: &str, shown: usize) -> String {
    match secret.char_indices().nth(shown) {
        Some((at, _)) => format!("{}...", &secret[..at]),
        None => secret.to_owned(),
    }
}

/// A query whose secrets are cut.
pub fn cut_query(query: &str, shown: usize) -> String {
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, value)) if SECRET_PARAMETERS.contains(&name) => {
            format!("{name}={}", cut(value, shown))
        }
        _ => pair.to_owned(),
    });
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_hashed_as_swift_does() {
        let hide = |method, salt: &str| {
            let anonymizer = Anonymizer {
                method,
                salt: salt.into(),
            };
            anonymizer.hide("abc")
        };
        assert_eq!(hide(HashMethod::Md5, ""), "{MD5}900150983cd24fb0d6963f7d28e17f72");
        // MD5 of "salt" and "abc" in one.
        assert_eq!(
            hide(HashMethod::Md5, "salt"),
            format!("{{SMD5}}{}", hex::encode(Md5::digest(b"saltabc")))
        );
        assert_eq!(
            hide(HashMethod::Sha1, ""),
            "{SHA1}a9993e364706816aba3e25717850c26c9cd0d89d"
        );
        assert_eq!(
            hide(HashMethod::Sha256, ""),
            "{SHA256}ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(hide(HashMethod::Sha512, "s").starts_with("{SSHA512}"));
        assert_eq!(Anonymizer::default().hide(""), "");
        assert!(serde_json::from_str::<HashMethod>("\"crc32\"").is_err());
        assert_eq!(
            serde_json::from_str::<HashMethod>("\"sha384\"").unwrap(),
            HashMethod::Sha384
        );
    }

    #[test]
    fn secrets_are_cut() {
        assert_eq!(cut("AUTH_tk0123456789abcdef", 16), "AUTH_tk012345678...");
        assert_eq!(cut("short", 16), "short");
        assert_eq!(cut("", 0), "");
        assert_eq!(cut("ü\u{20ac}x", 2), "ü\u{20ac}...");
        assert_eq!(
            cut_query(
                "temp_url_sig=0123456789&temp_url_expires=12345678&x&Signature=",
                4
            ),
            "temp_url_sig=0123...&temp_url_expires=12345678&x&Signature="
        );
    }
}
