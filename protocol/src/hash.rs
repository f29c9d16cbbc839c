//! The hash that places a path in the ring, equal to Swift's `hash_path`.

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// 128 bits that name an account, container or object everywhere inside the cluster.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PathHash(pub [u8; 16]);

impl PathHash {
    /// The first 16 bits: the unit in which digests are kept.
    pub fn prefix(&self) -> u16 {
        u16::from_be_bytes([self.0[0], self.0[1]])
    }
}

impl fmt::Display for PathHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PathHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text was not 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathHashError;

impl fmt::Display for PathHashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a path hash")
    }
}

impl std::error::Error for PathHashError {}

impl FromStr for PathHash {
    type Err = PathHashError;
    fn from_str(text: &str) -> Result<Self, PathHashError> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| PathHashError)?;
        Ok(PathHash(bytes))
    }
}

impl From<PathHash> for String {
    fn from(hash: PathHash) -> String {
        hash.to_string()
    }
}

impl TryFrom<String> for PathHash {
    type Error = PathHashError;
    fn try_from(text: String) -> Result<Self, PathHashError> {
        text.parse()
    }
}

/// The cluster's secret prefix and suffix (`swift_hash_path_prefix`, `swift_hash_path_suffix` of `swift.conf`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashSalt {
    pub prefix: String,
    pub suffix: String,
}

impl HashSalt {
    /// MD5 of prefix, `/account[/container[/object]]`, suffix. An object without a container is not a path: the
    /// container is then taken as empty, which no stored name is.
    pub fn hash(&self, account: &str, container: Option<&str>, object: Option<&str>) -> PathHash {
        let mut md5 = Md5::new();
        md5.update(self.prefix.as_bytes());
        for part in [Some(account), container.or(object.map(|_| "")), object]
            .into_iter()
            .flatten()
        {
            md5.update(b"/");
            md5.update(part.as_bytes());
        }
        md5.update(self.suffix.as_bytes());
        PathHash(md5.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_md5_of_the_salted_path() {
        let salt = HashSalt {
            prefix: String::new(),
            suffix: "endcap".into(),
        };
        // md5("/aendcap") and md5("/a/c/oendcap")
        let direct = |text: &str| PathHash(Md5::digest(text.as_bytes()).into());
        assert_eq!(salt.hash("a", None, None), direct("/aendcap"));
        assert_eq!(salt.hash("a", Some("c"), Some("o")), direct("/a/c/oendcap"));
        let hash = salt.hash("a", Some("c"), None);
        assert_eq!(hash.to_string().parse::<PathHash>().unwrap(), hash);
        assert!("xyz".parse::<PathHash>().is_err());
    }
}
