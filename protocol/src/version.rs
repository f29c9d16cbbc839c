//! Versions of objects: what they are called, and what stands under an object's own name while one of them is current.
//!
//! A version of object `o` is a record of its own in the same container, named `\0o\0moment`. The moment is that of the
//! version, counted down from the largest, so that the newest comes first among the versions of a name. No client can
//! say such a name. [`HashSalt::hash`](crate::hash::HashSalt::hash) puts it beside the object: on the same devices, in
//! the same range of the index. Under the object's own name stands a *pointer*: a record without a body that says which
//! version is current, since when and until when, and what a listing shows of it.

use crate::header::{CURRENT_VERSION, OVERRIDE_CONTENT_TYPE, OVERRIDE_ETAG, OVERRIDE_SIZE};
use crate::record::{ObjectData, ObjectMeta, ObjectRecord};
use crate::timestamp::{Timestamp, TimestampError, UNITS_PER_SECOND};
use serde::{Deserialize, Serialize};

/// Starts the names that only the cluster itself may use.
const RESERVED: char = '\0';

/// The largest moment that Swift can write, in hundred-thousandths of a second.
const MAX_RAW: u64 = 10_000_000_000 * UNITS_PER_SECOND - 1;

/// Bits in which the hash of a version holds the offset of its moment; a moment itself takes fifty.
const OFFSET_BITS: u32 = 14;

/// The content type of a delete marker. No client can set it: parameters that begin with `swift_` are refused.
pub const DELETE_MARKER: &str = "application/x-deleted;swift_versions_deleted=1";

/// MD5 of no bytes.
pub const MD5_OF_NOTHING: &str = "d41d8cd98f00b204e9800998ecf8427e";

/// BLAKE3 of no bytes.
pub const BLAKE3_OF_NOTHING: [u8; 32] = [
    0xaf, 0x13, 0x49, 0xb9, 0xf5, 0xf9, 0xa1, 0xa6, 0xa0, 0x40, 0x4d, 0xea, 0x36, 0xdc, 0xc9, 0x49, 0x9b,
    0xcb, 0x25, 0xc9, 0xad, 0xc1, 0x12, 0xb7, 0xcc, 0x9a, 0x93, 0xca, 0xe4, 0x1f, 0x32, 0x62,
];

/// Whether a content type is that of a delete marker.
pub fn is_delete_marker(content_type: &str) -> bool {
    let mut items = content_type.split(';').map(str::trim);
    items.next() == Some("application/x-deleted") && items.any(|item| item == "swift_versions_deleted=1")
}

/// Which version of an object: the moment it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "Timestamp", try_from = "Timestamp")]
pub struct VersionId(Timestamp);

impl From<VersionId> for Timestamp {
    fn from(version: VersionId) -> Timestamp {
        version.0
    }
}

impl TryFrom<Timestamp> for VersionId {
    type Error = TimestampError;
    fn try_from(moment: Timestamp) -> Result<Self, TimestampError> {
        VersionId::at(moment).ok_or(TimestampError)
    }
}

impl VersionId {
    /// The version that a write of this moment makes. An offset does not count.
    pub fn of(moment: Timestamp) -> Self {
        VersionId(moment.with_offset(0))
    }

    /// What a client says: any of Swift's forms of a timestamp, with a small offset at most.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        Self::at(Timestamp::parse(text)?).ok_or(TimestampError)
    }

    /// The version of exactly this moment. `None`: its offset is too large for one.
    pub fn at(moment: Timestamp) -> Option<Self> {
        (moment.offset() >> OFFSET_BITS == 0).then_some(VersionId(moment))
    }

    /// What a client is told.
    pub fn text(self) -> String {
        self.0.internal()
    }

    /// The moment the version was written.
    pub fn moment(self) -> Timestamp {
        self.0
    }

    /// Later moments come first.
    fn inverted(self) -> Timestamp {
        let raw = MAX_RAW - self.0.raw().min(MAX_RAW);
        match self.0.offset() {
            0 => Timestamp::from_raw(raw),
            offset => Timestamp::from_raw(raw.saturating_sub(1)).with_offset(offset.wrapping_neg()),
        }
    }

    fn from_inverted(inverted: Timestamp) -> Option<Self> {
        // Inverting twice gives the same.
        Self::at(VersionId(inverted).inverted())
    }

    /// Tells the versions of an object apart; the newest has the least.
    pub(crate) fn number(self) -> u64 {
        let raw = MAX_RAW - self.0.raw().min(MAX_RAW);
        (raw << OFFSET_BITS) | (((1 << OFFSET_BITS) - 1) - self.0.offset())
    }
}

/// What the names of all versions of an object begin with.
pub fn version_prefix(object: &str) -> String {
    format!("{RESERVED}{object}{RESERVED}")
}

/// The name of one version.
pub fn version_name(object: &str, version: VersionId) -> String {
    format!("{}{}", version_prefix(object), version.inverted().internal())
}

/// The object and the version that a name stands for. `None`: it is not that of a version.
pub fn parse_version_name(name: &str) -> Option<(&str, VersionId)> {
    let (object, inverted) = name.strip_prefix(RESERVED)?.split_once(RESERVED)?;
    let inverted = Timestamp::parse(inverted).ok()?;
    let version = VersionId::from_inverted(inverted)?;
    (!object.is_empty()).then_some((object, version))
}

/// The same for an object of this container: the cluster's own containers hold no versions, whatever names are like.
pub fn version_in<'n>(container: &str, name: &'n str) -> Option<(&'n str, VersionId)> {
    if container.starts_with(RESERVED) {
        return None;
    }
    parse_version_name(name)
}

/// What the object's own name holds while this version is current: no bytes, and what the row of a listing takes.
pub fn pointer_to(version: &ObjectData, id: VersionId, delete_at: Option<u64>) -> ObjectData {
    let of_row = |name: &str, own: String| {
        let kept = version.metadata.iter().find(|(known, _)| known == name);
        (name.to_owned(), kept.map_or(own, |(_, value)| value.clone()))
    };
    let mut metadata = vec![
        (CURRENT_VERSION.to_owned(), id.text()),
        of_row(OVERRIDE_ETAG, version.etag.clone()),
        of_row(OVERRIDE_SIZE, version.length.to_string()),
    ];
    let own_type = version
        .metadata
        .iter()
        .filter(|(name, _)| name == OVERRIDE_CONTENT_TYPE);
    metadata.extend(own_type.cloned());
    ObjectData {
        length: 0,
        etag: MD5_OF_NOTHING.to_owned(),
        content_type: version.content_type.clone(),
        metadata,
        delete_at,
        blake3: BLAKE3_OF_NOTHING,
    }
}

impl ObjectData {
    /// The version that this is a pointer to.
    pub fn current_version(&self) -> Option<VersionId> {
        if self.length > 0 {
            return None;
        }
        let mut named = self.metadata.iter().filter(|(name, _)| name == CURRENT_VERSION);
        VersionId::parse(&named.next()?.1).ok()
    }
}

impl ObjectRecord {
    /// The version that this is a pointer to.
    pub fn current_version(&self) -> Option<VersionId> {
        self.data.as_ref()?.current_version()
    }

    /// This record as a version of its object: data that was written while versions were not kept. A version does not
    /// expire. `None`: there is no data, it has expired by `now`, or it is a pointer.
    pub fn as_version(&self, now: Timestamp) -> Option<(VersionId, ObjectRecord)> {
        let data = self
            .data
            .as_ref()
            .filter(|data| data.current_version().is_none())?;
        if self.is_expired(now) {
            return None;
        }
        let id = VersionId::of(self.timestamp);
        let version = ObjectRecord {
            object: version_name(&self.object, id),
            data: Some(ObjectData {
                delete_at: None,
                ..data.clone()
            }),
            meta: self.meta.as_ref().map(|meta| ObjectMeta {
                delete_at: None,
                ..meta.clone()
            }),
            ..self.clone()
        };
        Some((id, version))
    }
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
            assert_eq!(version_name("a/b", version), name);
            let (object, read) = parse_version_name(name).unwrap();
            assert_eq!((object, read.text().as_str()), ("a/b", id));
        }
        let moment = Timestamp::parse("1234567890.12345_0000000000000001").unwrap();
        assert_eq!(VersionId::of(moment).text(), "1234567890.12345");
    }

    #[test]
    fn newer_versions_come_first() {
        let id = |id: &str| VersionId::parse(id).unwrap();
        let ids = [
            "1234567890.00000",
            "1234567890.00000_00000000000000aa",
            "1234567890.00001",
            "1300000000",
        ];
        for pair in ids.windows(2) {
            let (older, newer) = (id(pair[0]), id(pair[1]));
            assert!(version_name("o", newer) < version_name("o", older), "{pair:?}");
            assert!(newer.number() < older.number(), "{pair:?}");
        }
    }

    #[test]
    fn what_is_no_version_is_known() {
        for name in [
            "a",
            "\0a",
            "\0a\0",
            "\0a\0x",
            "\0a\0b\08765432109.87654",
            "\0\08765432109.87654",
        ] {
            assert_eq!(parse_version_name(name), None, "{name:?}");
        }
        for id in ["", "null", "nan", "-1", "12345678901", "1_", "1_4000"] {
            assert!(VersionId::parse(id).is_err(), "{id}");
        }
        let name = "\0a\08765432109.87654";
        assert!(version_in("c", name).is_some());
        assert_eq!(version_in("\0versions\0c", name), None);
    }

    #[test]
    fn delete_markers_are_known() {
        for (content_type, expected) in [
            (DELETE_MARKER, true),
            ("application/x-deleted; swift_versions_deleted=1", true),
            ("application/x-deleted", false),
            ("text/plain;swift_versions_deleted=1", false),
        ] {
            assert_eq!(is_delete_marker(content_type), expected, "{content_type}");
        }
    }

    fn data(metadata: &[(&str, &str)]) -> ObjectData {
        let metadata = metadata.iter();
        ObjectData {
            length: 7,
            etag: "e".into(),
            content_type: "a/b".into(),
            metadata: metadata
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
            delete_at: Some(9),
            blake3: [3; 32],
        }
    }

    #[test]
    fn a_pointer_says_what_a_listing_shows() {
        let id = VersionId::parse("1234567890.12345").unwrap();
        let of_row = |version: &ObjectData| {
            let pointer = pointer_to(version, id, Some(5));
            assert_eq!((pointer.length, pointer.delete_at), (0, Some(5)));
            assert_eq!(pointer.current_version(), Some(id));
            let find = |name: &str| {
                let found = pointer.metadata.iter().find(|(known, _)| known == name);
                found.map(|(_, value)| value.clone())
            };
            (find(OVERRIDE_ETAG), find(OVERRIDE_SIZE))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(of_row(&data(&[])), (some("e"), some("7")));
        let manifest = data(&[(OVERRIDE_ETAG, "m; slo_etag=s"), (OVERRIDE_SIZE, "70")]);
        assert_eq!(of_row(&manifest), (some("m; slo_etag=s"), some("70")));
        // Only what has no bytes points.
        assert_eq!(
            data(&[(CURRENT_VERSION, "1234567890.12345")]).current_version(),
            None
        );
    }

    #[test]
    fn data_becomes_a_version_once() {
        let record = |data: Option<ObjectData>| ObjectRecord {
            account: "a".into(),
            container: "c".into(),
            object: "o".into(),
            timestamp: Timestamp::from_secs(4),
            data,
            meta: None,
        };
        let (id, version) = record(Some(data(&[])))
            .as_version(Timestamp::from_secs(8))
            .unwrap();
        assert_eq!(version.object, version_name("o", id));
        assert_eq!(version.delete_at(), None);
        let expired = record(Some(data(&[])));
        assert_eq!(expired.as_version(Timestamp::from_secs(9)), None);
        let pointer = pointer_to(&data(&[]), id, None);
        for other in [None, Some(pointer)] {
            assert_eq!(record(other).as_version(Timestamp::from_secs(8)), None);
        }
    }
}
