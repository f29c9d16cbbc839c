//! Rows of listings: an object in its container, a container in its account. Newest wins, part by part.

use crate::policy::PolicyIndex;
use crate::timestamp::Timestamp;
use crate::version::{VersionId, parse_version_name};
use serde::{Deserialize, Serialize};

/// An object as its container knows it. A deleted row stays as a tombstone until all replicas agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRow {
    pub name: String,
    /// When the data was written, or deleted.
    pub timestamp: Timestamp,
    pub deleted: bool,
    /// Bytes.
    pub size: u64,
    pub content_type: String,
    pub etag: String,
    pub content_type_timestamp: Timestamp,
    pub meta_timestamp: Timestamp,
    pub policy: PolicyIndex,
    /// The version that is current, of a name that has versions: its bytes are counted by its own row.
    #[serde(default)]
    pub version: Option<VersionId>,
}

impl ObjectRow {
    /// A version, which listings show only when they are asked for versions.
    pub fn is_version(&self) -> bool {
        parse_version_name(&self.name).is_some()
    }

    /// The newest of data, content type and metadata: what a listing shows as `last_modified`.
    pub fn last_modified(&self) -> Timestamp {
        self.timestamp
            .max(self.content_type_timestamp)
            .max(self.meta_timestamp)
    }

    /// Joins two accounts of one object: data, content type and metadata each from whichever is newer. The result does
    /// not depend on the order of the two. When data of one moment is told both deleted and not, deleted wins.
    pub fn merge(self, other: ObjectRow) -> ObjectRow {
        type DataKey<'r> = (Timestamp, bool, u64, &'r str, PolicyIndex, Option<VersionId>);
        fn data_key(row: &ObjectRow) -> DataKey<'_> {
            (
                row.timestamp,
                row.deleted,
                row.size,
                &row.etag,
                row.policy,
                row.version,
            )
        }
        let (mut newer, older) = if data_key(&other) > data_key(&self) {
            (other, self)
        } else {
            (self, other)
        };
        if newer.deleted || older.timestamp.max(older.content_type_timestamp) < newer.timestamp {
            // Newer data brings its own content type; a newer deletion needs none.
        } else if (older.content_type_timestamp, &older.content_type)
            > (newer.content_type_timestamp, &newer.content_type)
        {
            newer.content_type = older.content_type;
            newer.content_type_timestamp = older.content_type_timestamp;
        }
        newer.meta_timestamp = newer.meta_timestamp.max(older.meta_timestamp);
        newer
    }
}

/// A container as its account knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRow {
    pub name: String,
    pub put_timestamp: Timestamp,
    pub delete_timestamp: Timestamp,
    pub object_count: u64,
    pub bytes_used: u64,
    /// When the counts were taken: the container server's moment of the report.
    #[serde(default)]
    pub stats_timestamp: Timestamp,
    pub policy: PolicyIndex,
}

impl ContainerRow {
    /// Deleted later than created, and empty: a container that holds objects is listed, as in Swift.
    pub fn deleted(&self) -> bool {
        self.delete_timestamp > self.put_timestamp && self.object_count == 0
    }

    /// Joins two accounts of one container: newest creation, newest deletion, counts of the newest report.
    pub fn merge(self, other: ContainerRow) -> ContainerRow {
        let key = |row: &ContainerRow| {
            (
                row.stats_timestamp,
                row.put_timestamp,
                row.delete_timestamp,
                row.object_count,
                row.bytes_used,
            )
        };
        let (mut newer, older) = if key(&other) > key(&self) {
            (other, self)
        } else {
            (self, other)
        };
        newer.put_timestamp = newer.put_timestamp.max(older.put_timestamp);
        newer.delete_timestamp = newer.delete_timestamp.max(older.delete_timestamp);
        newer
    }
}

/// A line of a listing: a row, or what rows share up to the delimiter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListingEntry<T> {
    Row(T),
    Subdir(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(at: u64, deleted: bool, type_at: u64, content_type: &str, meta_at: u64) -> ObjectRow {
        ObjectRow {
            name: "o".into(),
            timestamp: Timestamp::from_secs(at),
            deleted,
            size: at,
            content_type: content_type.into(),
            etag: format!("e{at}"),
            content_type_timestamp: Timestamp::from_secs(type_at),
            meta_timestamp: Timestamp::from_secs(meta_at),
            policy: PolicyIndex(0),
            version: None,
        }
    }

    #[test]
    fn merging_does_not_depend_on_order() {
        let rows = [
            row(1, false, 1, "a", 1),
            row(1, false, 3, "b", 4),
            row(2, false, 2, "c", 2),
            row(5, true, 5, "", 5),
            row(6, false, 6, "d", 6),
        ];
        for a in &rows {
            for b in &rows {
                assert_eq!(
                    a.clone().merge(b.clone()),
                    b.clone().merge(a.clone()),
                    "{a:?} {b:?}"
                );
            }
        }
        let merged = rows[1].clone().merge(rows[2].clone());
        assert_eq!((merged.size, merged.content_type.as_str()), (2, "b"));
        assert_eq!(merged.last_modified(), Timestamp::from_secs(4));
        assert!(rows[0].clone().merge(rows[3].clone()).deleted);
        assert_eq!(rows[4].clone().merge(rows[3].clone()).content_type, "d");
    }
}
