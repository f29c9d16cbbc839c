//! What replicators say to each other: paths, headers and the packed form of digests, versions and changes.
//!
//! All paths stand below `/<device>/martlet/`. A space is `objects-<policy>`, `containers` or `accounts`; a hash is 32
//! hexadecimal digits, a prefix four. Numbers in packed lists are big-endian.
//!
//! | request | answer |
//! |---|---|
//! | GET `ping` | 200 when the device is there, also in doubt; a header says up to when it has forgotten deletions |
//! | GET `digests/<space>?prefixes=` | packed digests, of the given prefixes (four digits each, together) or of all |
//! | GET `versions/<space>/<prefix>?after=&limit=` | packed versions |
//! | the same with `also=` (further prefixes, four digits each) | versions below all of them, each with its bytes; a header says so |
//! | GET `changes/<space>?since=&limit=` | packed changes; headers say where the log ends and begins |
//! | GET `object/<space>/<hash>?have=` | a record, then its body unless data of moment `have` is as new; 404 |
//! | PUT `objects/<space>` | takes hashes as JSON; records with their bodies, one behind the other, of those that are there and small |
//! | PUT `object/<space>/<hash>` | 204 merged; 428: send it again with its body |
//! | GET, PUT `container/<space>/<hash>` | a container's or account's record as JSON; PUT 204 |
//! | GET `rows/<space>/<hash>?after=&until=&have=` | rows in order, or 204 when they equal the digest `have` |
//! | PUT `rows/<space>/<hash>` | 204 merged; 404 when there is no such container |
//! | GET `row/<space>/<hash>?name=` | that one row, as a page; empty when there is none; 404 when there is no such container |
//! | PUT `buried/<space>` | takes graves as JSON, answers what is there instead of each: `same`, `nothing` or `other` |
//! | PUT `reclaim/<space>` | takes graves as JSON and forgets those that are the same; 204 |

use bytes::{BufMut, Bytes, BytesMut};
use martlet_protocol::hash::PathHash;
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::row::{ContainerRow, ObjectRow};
use martlet_protocol::timestamp::Timestamp;
use martlet_storage::{Buried, Change, Grave, Row, Space, Version};
use serde::{Deserialize, Serialize};

use crate::planner::Digest;

/// One life of a device as its server saw it: sequences of its change log compare only within it.
pub const INSTANCE: &str = "x-backend-martlet-instance";
/// The newest sequence of the change log, taken before the digests were.
pub const SEQUENCE: &str = "x-backend-martlet-sequence";
/// Changes before this sequence are no longer listed.
pub const TRIMMED_BEFORE: &str = "x-backend-martlet-trimmed-before";
/// The newest deletion that this device has forgotten.
pub const RECLAIMED: &str = "x-backend-martlet-reclaimed";
/// Bytes at the head of the body that are the record, as JSON.
pub const RECORD_LENGTH: &str = "x-backend-martlet-record-length";
/// `1` when each version in the list has its bytes. Who says so answers `objects` too.
pub const SIZED: &str = "x-backend-martlet-sized";
/// `1` when clients were served by the answering node a moment ago.
pub const CLIENTS: &str = "x-backend-martlet-clients";
/// `1` when the object's body follows the record.
pub const WITH_BODY: &str = "x-backend-martlet-with-body";

/// Longest record taken from a peer, bytes. Names, metadata and types together stay far below it.
pub const MAX_RECORD_BYTES: usize = 4 << 20;
/// Longest packed list or page of rows, bytes. Digests of all prefixes take 1.2 MB.
pub const MAX_LIST_BYTES: usize = 64 << 20;
/// Most prefixes asked for by name; more than that and all digests are asked for.
pub const MAX_NAMED_PREFIXES: usize = 512;
/// Most versions in one answer.
pub const MAX_VERSIONS: usize = 10_000;
/// Most changes in one answer.
pub const MAX_CHANGES: usize = 10_000;
/// Most graves in one question.
pub const MAX_GRAVES: usize = 1_000;
/// Most objects in one answer, and the longest body of one of them, bytes.
pub const MAX_PACKED: usize = 32;
pub const MAX_PACKED_BODY: u64 = 64 << 10;
/// Longest answer with many objects, bytes. What has no room in it is asked for alone.
pub const MAX_PACK_BYTES: usize = 1 << 20;
/// Most rows in one answer, and in one push.
pub const MAX_ROWS: usize = 1_000;

const DIGEST_BYTES: usize = 2 + 16;
const VERSION_BYTES: usize = 16 + 8 + 8 + 16;
const SIZED_BYTES: usize = VERSION_BYTES + 8;
const CHANGE_BYTES: usize = 8 + 16;

/// A packed list has a piece at its end that is no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("malformed list")
    }
}

impl std::error::Error for Malformed {}

/// A space as it stands in a path.
pub fn space_name(space: Space) -> String {
    match space {
        Space::Objects(policy) => format!("objects-{}", policy.0),
        Space::Containers => "containers".into(),
        Space::Accounts => "accounts".into(),
    }
}

/// Reads [`space_name`] back.
pub fn parse_space(text: &str) -> Option<Space> {
    match text {
        "containers" => Some(Space::Containers),
        "accounts" => Some(Space::Accounts),
        _ => {
            let index = text.strip_prefix("objects-")?;
            let plain = index.bytes().all(|b| b.is_ascii_digit());
            let policy = index.parse().ok().filter(|_| plain)?;
            Some(Space::Objects(PolicyIndex(policy)))
        }
    }
}

/// Four hexadecimal digits.
pub fn parse_prefix(text: &str) -> Option<u16> {
    let plain = text.len() == 4 && text.bytes().all(|b| b.is_ascii_hexdigit());
    plain.then(|| u16::from_str_radix(text, 16).ok()).flatten()
}

/// Prefixes written together, four digits each.
pub fn parse_prefixes(text: &str) -> Option<Vec<u16>> {
    if text.len() > 4 * MAX_NAMED_PREFIXES || !text.is_ascii() {
        return None;
    }
    text.as_bytes()
        .chunks(4)
        .map(|digits| parse_prefix(std::str::from_utf8(digits).ok()?))
        .collect()
}

/// What [`parse_prefixes`] reads.
pub fn write_prefixes<'a>(prefixes: impl IntoIterator<Item = &'a u16>) -> String {
    prefixes
        .into_iter()
        .map(|prefix| format!("{prefix:04x}"))
        .collect()
}

pub fn pack_digests(digests: &[Digest]) -> Bytes {
    let mut out = BytesMut::with_capacity(digests.len() * DIGEST_BYTES);
    for (prefix, sum) in digests {
        out.put_u16(*prefix);
        out.put_slice(sum);
    }
    out.freeze()
}

/// Digests in ascending order, whatever order they came in, without prefixes that hold nothing.
pub fn unpack_digests(bytes: &[u8]) -> Result<Vec<Digest>, Malformed> {
    let (entries, rest) = bytes.as_chunks::<DIGEST_BYTES>();
    let mut digests: Vec<Digest> = entries
        .iter()
        .map(|entry| (u16::from_be_bytes([entry[0], entry[1]]), array(&entry[2..])))
        .collect();
    settle(&mut digests);
    if rest.is_empty() {
        Ok(digests)
    } else {
        Err(Malformed)
    }
}

/// Sorts, and leaves out prefixes that hold nothing any more: their sum is 0.
pub fn settle(digests: &mut Vec<Digest>) {
    digests.retain(|(_, sum)| *sum != [0; 16]);
    digests.sort_unstable();
}

pub fn pack_versions(versions: &[Version]) -> Bytes {
    let mut out = BytesMut::with_capacity(versions.len() * VERSION_BYTES);
    for version in versions {
        put_version(&mut out, version);
    }
    out.freeze()
}

fn put_version(out: &mut BytesMut, version: &Version) {
    out.put_slice(&version.hash.0);
    out.put_u64(version.newest.raw());
    out.put_u64(version.newest.offset());
    out.put_slice(&version.fingerprint);
}

pub fn unpack_versions(bytes: &[u8]) -> Result<Vec<Version>, Malformed> {
    let (entries, rest) = bytes.as_chunks::<VERSION_BYTES>();
    let versions = entries.iter().map(|entry| unpack_version(entry, 0));
    if rest.is_empty() {
        Ok(versions.collect())
    } else {
        Err(Malformed)
    }
}

fn unpack_version(entry: &[u8; VERSION_BYTES], bytes: u64) -> Version {
    Version {
        hash: PathHash(array(&entry[..16])),
        newest: Timestamp::from_raw(u64::from_be_bytes(array(&entry[16..24])))
            .with_offset(u64::from_be_bytes(array(&entry[24..32]))),
        fingerprint: array(&entry[32..]),
        bytes,
    }
}

/// Versions with their bytes.
pub fn pack_sized(versions: &[Version]) -> Bytes {
    let mut out = BytesMut::with_capacity(versions.len() * SIZED_BYTES);
    for version in versions {
        put_version(&mut out, version);
        out.put_u64(version.bytes);
    }
    out.freeze()
}

pub fn unpack_sized(bytes: &[u8]) -> Result<Vec<Version>, Malformed> {
    let (entries, rest) = bytes.as_chunks::<SIZED_BYTES>();
    let versions = entries.iter().map(|entry| {
        let (version, size) = entry.split_at(VERSION_BYTES);
        unpack_version(&array(version), u64::from_be_bytes(array(size)))
    });
    if rest.is_empty() {
        Ok(versions.collect())
    } else {
        Err(Malformed)
    }
}

pub fn pack_changes(changes: &[Change]) -> Bytes {
    let mut out = BytesMut::with_capacity(changes.len() * CHANGE_BYTES);
    for change in changes {
        out.put_u64(change.sequence);
        out.put_slice(&change.hash.0);
    }
    out.freeze()
}

pub fn unpack_changes(bytes: &[u8]) -> Result<Vec<Change>, Malformed> {
    let (entries, rest) = bytes.as_chunks::<CHANGE_BYTES>();
    let changes = entries.iter().map(|entry| Change {
        sequence: u64::from_be_bytes(array(&entry[..8])),
        hash: PathHash(array(&entry[8..])),
    });
    if rest.is_empty() {
        Ok(changes.collect())
    } else {
        Err(Malformed)
    }
}

/// Copies a slice whose length the caller knows.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(bytes);
    out
}

/// A deletion as it travels. The space stands in the path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireGrave {
    pub hash: String,
    #[serde(default)]
    pub name: Option<String>,
    pub newest: Timestamp,
}

impl WireGrave {
    pub fn of(grave: &Grave) -> Self {
        WireGrave {
            hash: grave.hash.to_string(),
            name: grave.name.clone(),
            newest: grave.newest,
        }
    }

    /// `None`: the hash is none.
    pub fn read(self, space: Space) -> Option<Grave> {
        Some(Grave {
            space,
            hash: self.hash.parse().ok()?,
            name: self.name,
            newest: self.newest,
        })
    }
}

/// [`Buried`] as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WireBuried {
    Same,
    Nothing,
    Other,
}

impl From<Buried> for WireBuried {
    fn from(buried: Buried) -> Self {
        match buried {
            Buried::Same => WireBuried::Same,
            Buried::Nothing => WireBuried::Nothing,
            Buried::Other => WireBuried::Other,
        }
    }
}

/// Rows of a container or of an account, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowsPage {
    #[serde(default)]
    pub objects: Vec<ObjectRow>,
    #[serde(default)]
    pub containers: Vec<ContainerRow>,
    /// There are more rows in the range that was asked for.
    #[serde(default)]
    pub more: bool,
}

impl RowsPage {
    pub fn new(rows: Vec<Row>, more: bool) -> Self {
        let mut page = RowsPage {
            more,
            ..RowsPage::default()
        };
        for row in rows {
            match row {
                Row::Object(row) => page.objects.push(row),
                Row::Container(row) => page.containers.push(row),
            }
        }
        page
    }

    /// Only rows of the kind that the space holds.
    pub fn fits(&self, space: Space) -> bool {
        match space {
            Space::Containers => self.containers.is_empty(),
            Space::Accounts => self.objects.is_empty(),
            Space::Objects(_) => self.is_empty(),
        }
    }

    pub fn rows(self) -> Vec<Row> {
        let objects = self.objects.into_iter().map(Row::Object);
        objects
            .chain(self.containers.into_iter().map(Row::Container))
            .collect()
    }

    pub fn len(&self) -> usize {
        self.objects.len() + self.containers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The greatest name; where the next page starts.
    pub fn last_name(&self) -> Option<&str> {
        let object = self.objects.last().map(|row| row.name.as_str());
        object.max(self.containers.last().map(|row| row.name.as_str()))
    }

    /// Equal for equal rows: what a peer compares before it sends a page.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let text = serde_json::to_vec(&(&self.objects, &self.containers)).unwrap_or_default();
        hasher.update(&text);
        hasher.finalize().to_hex().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_and_prefixes_read_back() {
        for space in [Space::Objects(PolicyIndex(7)), Space::Containers, Space::Accounts] {
            assert_eq!(parse_space(&space_name(space)), Some(space));
        }
        for bad in [
            "",
            "objects",
            "objects-",
            "objects-x",
            "objects--1",
            "objects-+1",
            "objects-70000",
            "Containers",
        ] {
            assert_eq!(parse_space(bad), None, "{bad}");
        }
        assert_eq!(parse_prefixes("00ffAB01"), Some(vec![0x00ff, 0xab01]));
        assert_eq!(parse_prefixes(""), Some(vec![]));
        for bad in ["1", "00fg", "+0ff", "00ff1", "é0f"] {
            assert_eq!(parse_prefixes(bad), None, "{bad}");
        }
    }

    #[test]
    fn packed_lists_read_back_and_bad_ones_are_refused() {
        let digests = vec![(1, [1; 16]), (0xffff, [2; 16])];
        assert_eq!(unpack_digests(&pack_digests(&digests)), Ok(digests));
        let hash = PathHash([3; 16]);
        let newest = Timestamp::from_secs(5).with_offset(2);
        let packed = pack_versions(&[Version {
            hash,
            newest,
            fingerprint: [4; 16],
            bytes: 7,
        }]);
        let read = unpack_versions(&packed).unwrap();
        assert_eq!(
            (read[0].hash, read[0].newest, read[0].fingerprint),
            (hash, newest, [4; 16])
        );
        let sized = pack_sized(&read);
        assert_eq!(unpack_sized(&sized).unwrap(), read);
        let large = [Version {
            bytes: 1 << 40,
            ..read[0]
        }];
        assert_eq!(unpack_sized(&pack_sized(&large)).unwrap(), large);
        assert!(unpack_sized(&sized[1..]).is_err());
        let packed_changes = pack_changes(&[Change { sequence: 9, hash }]);
        let changes = unpack_changes(&packed_changes).unwrap();
        assert_eq!((changes[0].sequence, changes[0].hash), (9, hash));
        assert_eq!(
            unpack_digests(&pack_digests(&[(2, [1; 16]), (3, [0; 16]), (1, [1; 16])])),
            Ok(vec![(1, [1; 16]), (2, [1; 16])])
        );
        assert!(unpack_digests(&[0; 19]).is_err());
        assert!(unpack_versions(&packed[1..]).is_err());
        assert!(unpack_changes(&packed_changes[..23]).is_err());
    }
}
