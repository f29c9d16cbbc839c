//! Signatures over a request: HMACs in hexadecimal, or named and in base64.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use subtle::ConstantTimeEq;

/// A digest an operator may allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Digest {
    /// Deprecated; for links made long ago.
    Sha1,
    Sha256,
    Sha512,
}

/// What Swift documents as its default.
pub const DEFAULT_DIGESTS: [Digest; 2] = [Digest::Sha256, Digest::Sha512];

impl Digest {
    const ALL: [Digest; 3] = [Digest::Sha1, Digest::Sha256, Digest::Sha512];

    pub fn name(self) -> &'static str {
        match self {
            Digest::Sha1 => "sha1",
            Digest::Sha256 => "sha256",
            Digest::Sha512 => "sha512",
        }
    }

    fn bytes(self) -> usize {
        match self {
            Digest::Sha1 => 20,
            Digest::Sha256 => 32,
            Digest::Sha512 => 64,
        }
    }

    fn hmac(self, key: &str, message: &str) -> Vec<u8> {
        match self {
            Digest::Sha1 => hmac::<Hmac<sha1::Sha1>>(key, message),
            Digest::Sha256 => hmac::<Hmac<sha2::Sha256>>(key, message),
            Digest::Sha512 => hmac::<Hmac<sha2::Sha512>>(key, message),
        }
    }
}

fn hmac<M: Mac + KeyInit>(key: &str, message: &str) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key.as_bytes()).expect("an HMAC takes a key of any length");
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// What `/info` says of the allowed digests.
pub fn shown(allowed: &[Digest]) -> Map<String, Value> {
    let mut sorted = allowed.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let names: Vec<&str> = sorted.iter().map(|digest| digest.name()).collect();
    let mut section = Map::new();
    section.insert("allowed_digests".into(), json!(names));
    if sorted.contains(&Digest::Sha1) {
        section.insert("deprecated_digests".into(), json!([Digest::Sha1.name()]));
    }
    section
}

/// A signature as a client gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    pub digest: Digest,
    bytes: Vec<u8>,
}

impl Signature {
    /// Reads hexadecimal, whose length names the digest, or `<digest>:<base64>`, standard or URL-safe, padded or not.
    pub fn parse(text: &str) -> Option<Self> {
        let Some((name, encoded)) = text.split_once(':') else {
            let bytes = hex::decode(text).ok()?;
            let digest = Digest::ALL
                .into_iter()
                .find(|digest| digest.bytes() == bytes.len())?;
            return Some(Signature { digest, bytes });
        };
        let digest = Digest::ALL.into_iter().find(|digest| digest.name() == name)?;
        let unpadded = encoded.trim_end_matches('=');
        if encoded.len() - unpadded.len() > 2 {
            return None;
        }
        let bytes = if unpadded.contains(['-', '_']) {
            URL_SAFE_NO_PAD.decode(unpadded).ok()?
        } else {
            STANDARD_NO_PAD.decode(unpadded).ok()?
        };
        Some(Signature { digest, bytes })
    }

    /// Whether this key signs the message so. Takes as long for a wrong signature as for the right one.
    pub fn is_of(&self, key: &str, message: &str) -> bool {
        self.digest.hmac(key, message).ct_eq(&self.bytes).into()
    }

    pub fn hex(&self) -> String {
        hex::encode(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of Swift's documentation.
    #[test]
    fn documented_examples_verify() {
        for (message, signature) in [
            (
                "GET\n1512508563\n/v1/AUTH_account/container/object",
                "732fcac368abb10c78a4cbe95c3fab7f311584532bf779abd5074e13cbe8b88b",
            ),
            (
                "GET\n1516741234\n/v1/AUTH_account/container/object",
                "sha512:ZrSijn0GyDhsv1ltIj9hWUTrbAeE45NcKXyBaz7aPbSMvROQ4jtYH4nRAmm5ErY2X11Yc1Yhy2OMCyN3yueeXg==",
            ),
            (
                "ip=1.2.3.4\nGET\n1648082711\n/v1/AUTH_account/container/object",
                "3f48476acaf5ec272acd8e99f7b5bad96c52ddba53ed27c60613711774a06f0c",
            ),
            (
                "ip=1.2.3.0/24\nGET\n1648082711\n/v1/AUTH_account/container/object",
                "6ff81256b8a3ba11d239da51a703b9c06a56ffddeb8caab74ca83af8f73c9c83",
            ),
        ] {
            let signature = Signature::parse(signature).unwrap();
            assert!(signature.is_of("mykey", message), "{message}");
            assert!(!signature.is_of("mykey2", message));
            assert!(!signature.is_of("mykey", &format!("{message}x")));
        }
    }

    #[test]
    fn every_encoding_is_read_and_nothing_else() {
        let digest = |text: &str| Signature::parse(text).map(|signature| signature.digest.name());
        let bytes = [0xfbu8; 32];
        let plain = base64::engine::general_purpose::STANDARD.encode(bytes);
        let url_safe = base64::engine::general_purpose::URL_SAFE.encode(bytes);
        assert!(plain.contains('+') && url_safe.contains('-'));
        for (text, expected) in [
            ("ab".repeat(20), Some("sha1")),
            ("ab".repeat(32), Some("sha256")),
            ("ab".repeat(64), Some("sha512")),
            (format!("sha256:{plain}"), Some("sha256")),
            (format!("sha256:{}", plain.trim_end_matches('=')), Some("sha256")),
            (format!("sha256:{url_safe}"), Some("sha256")),
            ("ab".repeat(16), None),
            ("zz".repeat(32), None),
            ("a".repeat(63), None),
            (format!("md5:{plain}"), None),
            (format!("sha256:{plain}=="), None),
            (format!("sha256: {plain}"), None),
            (format!("sha256:{plain}!"), None),
            (String::new(), None),
        ] {
            assert_eq!(digest(&text), expected, "{text}");
        }
        let shortened = Signature::parse("sha256:qqqq").unwrap();
        assert!(!shortened.is_of("k", "m"));
    }

    #[test]
    fn info_names_the_deprecated() {
        let section = shown(&[Digest::Sha512, Digest::Sha1]);
        assert_eq!(
            Value::Object(section),
            json!({"allowed_digests": ["sha1", "sha512"], "deprecated_digests": ["sha1"]})
        );
        assert!(!shown(&DEFAULT_DIGESTS).contains_key("deprecated_digests"));
    }
}
