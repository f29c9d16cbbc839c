//! What a device knows of an object, and of a container or account. Newest wins, data and metadata separately.

use crate::header;
use crate::policy::PolicyIndex;
use crate::timestamp::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Header names in lower case with their values.
pub type Metadata = Vec<(String, String)>;

/// An object, or the tombstone that says it is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRecord {
    pub account: String,
    pub container: String,
    pub object: String,
    /// When the data was written, or the object deleted.
    pub timestamp: Timestamp,
    /// `None`: a tombstone.
    pub data: Option<ObjectData>,
    /// The newest POST, when it is newer than the data. Never there on a tombstone.
    pub meta: Option<ObjectMeta>,
}

/// What a PUT stored beside the body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectData {
    /// Bytes.
    pub length: u64,
    /// MD5 of the body, lower-case hexadecimal, without quotes.
    pub etag: String,
    pub content_type: String,
    /// Everything else kept from the PUT: user metadata, sysmeta, content headers.
    pub metadata: Metadata,
    /// Seconds since 1970.
    pub delete_at: Option<u64>,
    /// BLAKE3 of the body: what replicas compare.
    pub blake3: [u8; 32],
}

/// What a POST replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectMeta {
    pub timestamp: Timestamp,
    pub metadata: Metadata,
    /// Seconds since 1970.
    pub delete_at: Option<u64>,
    /// The newest content type a POST gave, and when: it outlives later POSTs that give none.
    pub content_type: Option<(String, Timestamp)>,
}

/// What [`ObjectRecord::merge`] took from the other record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Merged {
    /// Data (or a tombstone) was taken: the other's body is now this record's.
    pub data: bool,
    pub meta: bool,
}

impl Merged {
    /// Anything was taken.
    pub fn any(self) -> bool {
        self.data || self.meta
    }
}

impl ObjectRecord {
    pub fn is_tombstone(&self) -> bool {
        self.data.is_none()
    }

    /// When user-visible metadata last changed.
    pub fn meta_timestamp(&self) -> Timestamp {
        self.meta.as_ref().map_or(self.timestamp, |meta| meta.timestamp)
    }

    /// When the content type last changed.
    pub fn content_type_timestamp(&self) -> Timestamp {
        let posted = self.meta.as_ref().and_then(|meta| meta.content_type.as_ref());
        posted.map_or(self.timestamp, |(_, at)| *at)
    }

    /// The newest change of any part.
    pub fn newest(&self) -> Timestamp {
        self.timestamp.max(self.meta_timestamp())
    }

    /// The content type in force; empty on a tombstone.
    pub fn content_type(&self) -> &str {
        let posted = self.meta.as_ref().and_then(|meta| meta.content_type.as_ref());
        match (posted, &self.data) {
            (Some((content_type, _)), _) => content_type,
            (None, Some(data)) => &data.content_type,
            (None, None) => "",
        }
    }

    /// When the object expires, in seconds since 1970.
    pub fn delete_at(&self) -> Option<u64> {
        match (&self.meta, &self.data) {
            (Some(meta), _) => meta.delete_at,
            (None, Some(data)) => data.delete_at,
            (None, None) => None,
        }
    }

    /// Expired at `now`: to clients it is gone although the record is still there.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.delete_at().is_some_and(|at| at <= now.secs())
    }

    /// The metadata in force: from the newest POST what a POST replaces, the rest from the PUT.
    pub fn metadata(&self) -> Metadata {
        let live = self.live_metadata();
        live.map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// The same without a copy.
    pub fn live_metadata(&self) -> impl Iterator<Item = (&str, &str)> {
        let is_posted = self.meta.is_some();
        let put = self.data.iter().flat_map(|data| &data.metadata);
        let posted = self.meta.iter().flat_map(|meta| &meta.metadata);
        let kept = put.filter(move |(name, _)| !is_posted || !header::is_postable(name));
        let replaced = posted.filter(|(name, _)| header::is_postable(name));
        kept.chain(replaced)
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Drops a POST that the data has overtaken, and what a tombstone must not carry.
    fn settle(&mut self) {
        let overtaken = self
            .meta
            .as_ref()
            .is_some_and(|meta| meta.timestamp <= self.timestamp);
        if overtaken || self.data.is_none() {
            self.meta = None;
        }
        if let Some(meta) = &mut self.meta
            && meta
                .content_type
                .as_ref()
                .is_some_and(|(_, at)| *at <= self.timestamp)
        {
            meta.content_type = None;
        }
    }

    /// Takes whatever is newer in `other`, for data, metadata and content type separately. The outcome does not depend
    /// on the order in which records are merged; at equal timestamps a tombstone wins over data.
    pub fn merge(&mut self, other: ObjectRecord) -> Merged {
        let before_meta = self.meta.clone();
        let key = |record: &ObjectRecord| (record.timestamp, record.is_tombstone());
        let data = key(&other) > key(self);
        let (their_data, their_meta) = (other.data, other.meta);
        if data {
            self.timestamp = other.timestamp;
            self.data = their_data;
        }
        self.meta = match (self.meta.take(), their_meta) {
            (Some(ours), Some(theirs)) => Some(ours.merge(theirs)),
            (ours, theirs) => ours.or(theirs),
        };
        self.settle();
        Merged {
            data,
            meta: self.meta != before_meta,
        }
    }

    /// Lays a POST over this record. `false`: it is not newer than what is there, nothing changed. Tombstones take none.
    pub fn post(&mut self, meta: ObjectMeta) -> bool {
        if self.is_tombstone() || meta.timestamp <= self.meta_timestamp() {
            return false;
        }
        let known = self.meta.take();
        self.meta = Some(match known {
            Some(known) => known.merge(meta),
            None => meta,
        });
        self.settle();
        true
    }
}

impl ObjectMeta {
    fn merge(self, other: ObjectMeta) -> ObjectMeta {
        let (mut newer, older) = if other.timestamp > self.timestamp {
            (other, self)
        } else {
            (self, other)
        };
        let at = |meta: &ObjectMeta| meta.content_type.as_ref().map(|(_, at)| *at);
        if at(&older) > at(&newer) {
            newer.content_type = older.content_type;
        }
        newer
    }
}

/// What a container holds under one policy, or an account under one policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyStat {
    /// Objects; versions are none.
    pub count: i64,
    /// Those of versions are among them.
    pub bytes: i64,
    /// Of an account: its containers. Of a container: versions of its objects.
    pub inner: i64,
}

/// A container, or (with an empty container name) an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRecord {
    pub account: String,
    pub container: String,
    pub created_at: Timestamp,
    pub put_timestamp: Timestamp,
    pub delete_timestamp: Timestamp,
    pub status_changed_at: Timestamp,
    pub policy: PolicyIndex,
    /// Items with the moment each was set; an empty value is a removal that replicas must learn.
    pub metadata: BTreeMap<String, (String, Timestamp)>,
    pub stats: BTreeMap<PolicyIndex, PolicyStat>,
}

impl ContainerRecord {
    /// Deleted later than created. A container that holds objects is not deleted whatever its timestamps say: a replica
    /// that took a deletion while a row was still on its way to it would otherwise take the container from all others.
    pub fn is_deleted(&self) -> bool {
        let is_account = self.container.is_empty();
        self.delete_timestamp > self.put_timestamp && (is_account || self.is_empty())
    }

    /// Holds no objects, nor versions of any (or, of an account, no objects in its containers).
    pub fn is_empty(&self) -> bool {
        self.object_count() == 0 && (self.container.is_empty() || self.version_count() == 0)
    }

    /// Objects over all policies.
    pub fn object_count(&self) -> u64 {
        self.sum(|stat| stat.count)
    }

    /// Bytes over all policies.
    pub fn bytes_used(&self) -> u64 {
        self.sum(|stat| stat.bytes)
    }

    /// Containers over all policies, of an account.
    pub fn container_count(&self) -> u64 {
        self.sum(|stat| stat.inner)
    }

    /// Versions of objects over all policies, of a container.
    pub fn version_count(&self) -> u64 {
        self.sum(|stat| stat.inner)
    }

    fn sum(&self, part: impl Fn(&PolicyStat) -> i64) -> u64 {
        self.stats.values().map(part).sum::<i64>().max(0) as u64
    }

    /// Takes each item that is newer. `true` when something changed.
    pub fn merge_metadata(&mut self, items: impl IntoIterator<Item = (String, (String, Timestamp))>) -> bool {
        let mut changed = false;
        for (name, (value, at)) in items {
            match self.metadata.get(&name) {
                Some((known, known_at)) if (*known_at, known) >= (at, &value) => {}
                _ => {
                    self.metadata.insert(name, (value, at));
                    changed = true;
                }
            }
        }
        changed
    }

    /// Where the container is mirrored to, and the key that both ends know (`X-Container-Sync-To`, `-Key`); `None`: it is
    /// deleted, or one of the two is missing.
    pub fn sync_to(&self) -> Option<(&str, &str)> {
        let item = |name: &str| {
            let (value, _) = self.metadata.get(name)?;
            Some(value.as_str()).filter(|value| !value.is_empty())
        };
        let (to, key) = (item("x-container-sync-to")?, item("x-container-sync-key")?);
        (!self.is_deleted()).then_some((to, key))
    }

    /// Items in force: those whose value is not empty.
    pub fn live_metadata(&self) -> impl Iterator<Item = (&str, &str)> {
        let live = self.metadata.iter().filter(|(_, (value, _))| !value.is_empty());
        live.map(|(name, (value, _))| (name.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn object(put_at: u64, tombstone: bool) -> ObjectRecord {
        let data = ObjectData {
            length: put_at,
            etag: "e".into(),
            content_type: format!("put/{put_at}"),
            metadata: vec![
                ("x-object-meta-a".into(), format!("{put_at}")),
                ("x-object-sysmeta-s".into(), "s".into()),
            ],
            delete_at: None,
            blake3: [0; 32],
        };
        ObjectRecord {
            account: "a".into(),
            container: "c".into(),
            object: "o".into(),
            timestamp: at(put_at),
            data: (!tombstone).then_some(data),
            meta: None,
        }
    }

    fn meta(post_at: u64, content_type: Option<u64>) -> ObjectMeta {
        ObjectMeta {
            timestamp: at(post_at),
            metadata: vec![("x-object-meta-p".into(), format!("{post_at}"))],
            delete_at: None,
            content_type: content_type.map(|t| (format!("post/{t}"), at(t))),
        }
    }

    #[test]
    fn a_late_put_keeps_the_newer_post() {
        let mut early = object(1, false);
        assert!(early.post(meta(5, Some(5))));
        early.merge(object(3, false));
        assert_eq!((early.timestamp, early.content_type()), (at(3), "post/5"));
        let names: Vec<_> = early.metadata().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["x-object-sysmeta-s", "x-object-meta-p"]);
        early.merge(object(7, false));
        assert_eq!((early.content_type(), early.meta.is_none()), ("put/7", true));
    }

    #[test]
    fn merging_does_not_depend_on_order() {
        let mut posted = object(2, false);
        posted.post(meta(4, Some(4)));
        posted.post(meta(6, None));
        assert_eq!(posted.content_type(), "post/4");
        let mut posted_early = object(1, false);
        posted_early.post(meta(9, Some(9)));
        let records = [
            object(1, false),
            object(3, false),
            object(3, true),
            object(8, true),
            posted,
            posted_early,
        ];
        for a in &records {
            for b in &records {
                for c in &records {
                    let join = |order: [&ObjectRecord; 3]| {
                        let mut joined = order[0].clone();
                        joined.merge(order[1].clone());
                        joined.merge(order[2].clone());
                        joined
                    };
                    assert_eq!(join([a, b, c]), join([c, b, a]), "{a:?} {b:?} {c:?}");
                }
            }
        }
    }

    #[test]
    fn tombstones_take_no_post() {
        assert!(!object(1, true).post(meta(2, None)));
    }
}
