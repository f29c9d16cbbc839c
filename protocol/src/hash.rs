//! The hash that places a path in the ring, equal to Swift's `hash_path`.

use crate::version::{self, VersionId};
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

    /// Of a version of the object with this hash. The first half is the object's, so that both are in one partition and
    /// beside each other in every index; newer versions come first.
    pub fn version(self, id: VersionId) -> PathHash {
        let mut hash = self.0;
        hash[8..].copy_from_slice(&id.number().to_be_bytes());
        PathHash(hash)
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
    /// container is then taken as empty, which no stored name is. Versions of objects go with their objects
    /// ([`PathHash::version`]).
    pub fn hash(&self, account: &str, container: Option<&str>, object: Option<&str>) -> PathHash {
        if let Some((object, id)) = object.and_then(|name| version::version_in(container?, name)) {
            return self.hash(account, container, Some(object)).version(id);
        }
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

    #[test]
    fn versions_are_beside_their_object() {
        let salt = HashSalt {
            prefix: "p".into(),
            suffix: "s".into(),
        };
        let hash = |name: &str| salt.hash("a", Some("c"), Some(name));
        let object = hash("o");
        let id = |text: &str| VersionId::parse(text).unwrap();
        let (older, newer) = (id("1234567890.12345"), id("1234567890.12346"));
        let version = |id| hash(&version::version_name("o", id));
        assert_eq!(version(older), object.version(older));
        assert_eq!(version(older).0[..8], object.0[..8]);
        assert!(version(newer) < version(older));
        // Other names of the cluster's own, and its own containers, are hashed as they are.
        let direct = |path: &str| PathHash(Md5::digest(format!("p{path}s").as_bytes()).into());
        assert_eq!(hash("\0key\0upload"), direct("/a/c/\0key\0upload"));
        let name = version::version_name("o", older);
        let hidden = salt.hash("a", Some("\0x"), Some(&name));
        assert_eq!(hidden, direct(&format!("/a/\0x/{name}")));
    }
}
