//! The names under which versions are kept, and back. Pure.
//!
//! The versions of container `c` are in the hidden container `\0versions\0c`, each as `\0name\0moment`. The moment is
//! the version's own, counted down from the largest, so that the newest comes first among the versions of a name. It
//! is Swift's scheme, so that either proxy reads what the other has written.

use super::super::CONTAINER_PREFIX;
use crate::steps::paths::RESERVED;
use martlet_protocol::name::{ContainerName, ObjectName, ObjectPath};
use martlet_protocol::timestamp::{Timestamp, TimestampError, UNITS_PER_SECOND};

/// The largest moment that Swift can write, in hundred-thousandths of a second.
const MAX_RAW: u64 = 10_000_000_000 * UNITS_PER_SECOND - 1;

/// The hidden container of `container`'s versions. `None`: the name is reserved itself, or too long for one.
pub fn versions_container(container: &str) -> Option<ContainerName> {
    if container.contains(RESERVED) {
        return None;
    }
    ContainerName::new(format!("{CONTAINER_PREFIX}{container}")).ok()
}

/// Which version of an object: the moment it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionId(Timestamp);

impl VersionId {
    /// The version that a write of this moment makes. An offset does not count.
    pub fn of(moment: Timestamp) -> Self {
        VersionId(moment.with_offset(0))
    }

    /// What a client says: any of Swift's forms of a timestamp.
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        Timestamp::parse(text).map(VersionId)
    }

    /// What a client is told.
    pub fn text(self) -> String {
        self.0.internal()
    }

    /// Later moments come first.
    fn inverted(self) -> Timestamp {
        let raw = MAX_RAW - self.0.raw().min(MAX_RAW);
        match self.0.offset() {
            0 => Timestamp::from_raw(raw),
            offset => Timestamp::from_raw(raw.saturating_sub(1)).with_offset(offset.wrapping_neg()),
        }
    }

    fn from_inverted(inverted: Timestamp) -> Self {
        // Inverting twice gives the same.
        VersionId(VersionId(inverted).inverted())
    }
}

/// What the names of all versions of an object begin with.
pub fn version_prefix(object: &str) -> String {
    format!("{RESERVED}{object}{RESERVED}")
}

/// The name of one version in the hidden container, as text.
pub fn version_text(object: &str, version: VersionId) -> String {
    format!("{}{}", version_prefix(object), version.inverted().internal())
}

/// The name of one version in the hidden container. `None`: it would be too long.
pub fn version_object(object: &str, version: VersionId) -> Option<ObjectName> {
    ObjectName::new(version_text(object, version)).ok()
}

/// The object and the version that a name in a hidden container stands for.
pub fn parse_version_object(name: &str) -> Option<(&str, VersionId)> {
    let (object, inverted) = name.strip_prefix(RESERVED)?.split_once(RESERVED)?;
    let inverted = Timestamp::parse(inverted).ok()?;
    Some((object, VersionId::from_inverted(inverted)))
}

/// The path of a version.
pub fn version_path(path: &ObjectPath, hidden: &ContainerName, version: VersionId) -> Option<ObjectPath> {
    Some(ObjectPath {
        account: path.account.clone(),
        container: hidden.clone(),
        object: version_object(&path.object, version)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_swifts_names_and_read_back() {
        for (id, name) in [
            ("1234567890.12345", "\0a/b\08765432109.87654"),
            ("0000000000.00000", "\0a/b\09999999999.99999"),
            (
                "1234567890.12345_0000000000000001",
                "\0a/b\08765432109.87653_ffffffffffffffff",
            ),
        ] {
            let version = VersionId::parse(id).unwrap();
            assert_eq!(version_text("a/b", version), name);
            let (object, read) = parse_version_object(name).unwrap();
            assert_eq!((object, read.text().as_str()), ("a/b", id));
        }
        let moment = Timestamp::parse("1234567890.12345_0000000000000001").unwrap();
        assert_eq!(VersionId::of(moment).text(), "1234567890.12345");
    }

    #[test]
    fn newer_versions_come_first() {
        let name = |id: &str| version_text("o", VersionId::parse(id).unwrap());
        let ids = [
            "1234567890.00000",
            "1234567890.00000_00000000000000aa",
            "1234567890.00001",
            "1300000000",
        ];
        for pair in ids.windows(2) {
            assert!(name(pair[1]) < name(pair[0]), "{pair:?}");
        }
    }

    #[test]
    fn what_is_no_version_is_known() {
        for name in ["a", "\0a", "\0a\0", "\0a\0x", "\0a\0b\08765432109.87654"] {
            assert_eq!(parse_version_object(name), None, "{name:?}");
        }
        for id in ["", "null", "nan", "-1", "12345678901", "1_"] {
            assert!(VersionId::parse(id).is_err(), "{id}");
        }
    }

    #[test]
    fn hidden_containers() {
        assert_eq!(versions_container("c").unwrap().as_str(), "\0versions\0c");
        assert_eq!(versions_container("\0versions\0c"), None);
        assert_eq!(versions_container(&"c".repeat(250)), None);
    }
}
