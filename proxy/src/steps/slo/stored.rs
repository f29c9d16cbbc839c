//! A manifest as it is kept: JSON in Swift's own form, so that a Swift proxy reads ours and we read Swift's. Pure.

use crate::context::is_true;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use martlet_protocol::name::{AccountName, ContainerName, ObjectName, ObjectPath};
use martlet_protocol::range::ByteRange;
use md5::{Digest, Md5};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// One segment of a kept manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// `/container/object`; empty for data.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Length of the whole segment.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "number")]
    pub bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// `first-last`, both inclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
    #[serde(
        default,
        skip_serializing_if = "std::ops::Not::not",
        deserialize_with = "flag"
    )]
    pub sub_slo: bool,
    /// Base64 of bytes that stand in the manifest itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

/// Old releases of Swift kept lengths as clients wrote them, as text too.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let number = match Value::deserialize(from)? {
        Value::Null => return Ok(None),
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number
        .map(Some)
        .ok_or_else(|| serde::de::Error::custom("a length is not one"))
}

/// Likewise.
fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Bool(flag) => flag,
        Value::String(text) => is_true(&text),
        _ => false,
    })
}

/// What a kept segment gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    Data(Bytes),
    Object {
        path: Arc<ObjectPath>,
        etag: Option<Arc<str>>,
        size: u64,
        range: ByteRange,
        is_manifest: bool,
    },
}

impl Content {
    /// Bytes it adds to the large object.
    pub fn len(&self) -> u64 {
        match self {
            Content::Data(bytes) => bytes.len() as u64,
            Content::Object { range, .. } => range.len(),
        }
    }
}

/// Reads kept segments; `None` if they are not what this proxy or Swift's has written.
pub fn parse(json: &[u8]) -> Option<Vec<Segment>> {
    serde_json::from_slice(json).ok()
}

impl Segment {
    /// What the segment gives; `account` is the manifest's.
    pub fn content(&self, account: &AccountName) -> Option<Content> {
        if let Some(data) = &self.data {
            return Some(Content::Data(STANDARD.decode(data).ok()?.into()));
        }
        let size = self.size()?;
        let range = match &self.range {
            None => ByteRange { start: 0, end: size },
            Some(range) => {
                let (first, last) = range.split_once('-')?;
                let (start, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
                ByteRange {
                    start,
                    end: last.checked_add(1).filter(|end| *end > start)?,
                }
            }
        };
        let path = self.path(account)?;
        Some(Content::Object {
            path: path.into(),
            etag: self.hash.as_deref().map(Arc::from),
            size,
            range,
            is_manifest: self.sub_slo,
        })
    }

    /// Swift notes the length of a nested large object in its content type.
    fn size(&self) -> Option<u64> {
        let noted = self
            .content_type
            .as_deref()
            .filter(|_| self.sub_slo)
            .and_then(|kind| {
                kind.split(';')
                    .find_map(|item| item.trim().strip_prefix("swift_bytes=")?.parse().ok())
            });
        noted.or(self.bytes)
    }

    /// Where the segment is; `None` for data.
    pub fn path(&self, account: &AccountName) -> Option<ObjectPath> {
        let (container, object) = self.name.trim_start_matches('/').split_once('/')?;
        Some(ObjectPath {
            account: account.clone(),
            container: ContainerName::new(container).ok()?,
            object: ObjectName::new(object).ok()?,
        })
    }
}

/// The ETag of a large object: the MD5 over what its segments say of themselves.
pub fn etag(segments: &[Segment]) -> String {
    let mut md5 = Md5::new();
    for segment in segments {
        match (&segment.data, &segment.range) {
            (Some(data), _) => {
                let bytes = STANDARD.decode(data).unwrap_or_default();
                md5.update(hex::encode(Md5::digest(&bytes)).as_bytes());
            }
            (None, range) => {
                md5.update(segment.hash.as_deref().unwrap_or("").as_bytes());
                if let Some(range) = range {
                    md5.update(format!(":{range};").as_bytes());
                }
            }
        }
    }
    hex::encode(md5.finalize())
}

/// The form in which a client could send the manifest again (`format=raw`).
pub fn raw(segments: &[Segment]) -> Vec<u8> {
    let shown: Vec<Value> = segments
        .iter()
        .map(|segment| match &segment.data {
            Some(data) => json!({"data": data}),
            None => {
                let mut shown =
                    json!({"path": segment.name, "size_bytes": segment.bytes, "etag": segment.hash});
                if let Some(range) = &segment.range {
                    shown["range"] = json!(range);
                }
                shown
            }
        })
        .collect();
    Value::from(shown).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> AccountName {
        AccountName::new("a").unwrap()
    }

    #[test]
    fn swifts_manifests_are_read() {
        let json = br#"[
            {"name": "/c/o 1", "bytes": 10, "hash": "e1", "content_type": "text/plain",
             "last_modified": "2026-11-23T23:41:06.000000"},
            {"name": "/c/o2", "bytes": "10", "hash": "e2", "content_type": "text/plain", "range": "2-5",
             "last_modified": "2026-11-23T23:41:06.000000"},
            {"name": "/c/sub", "bytes": 300, "hash": "e3", "content_type": "a/b;swift_bytes=77", "sub_slo": "true",
             "last_modified": "2026-11-23T23:41:06.000000"},
            {"data": "YWJj"}
        ]"#;
        let segments = parse(json).unwrap();
        let contents: Vec<Content> = segments
            .iter()
            .map(|segment| segment.content(&account()).unwrap())
            .collect();
        assert_eq!(
            contents.iter().map(Content::len).collect::<Vec<_>>(),
            [10, 4, 77, 3]
        );
        let Content::Object { path, range, .. } = &contents[1] else {
            panic!()
        };
        assert_eq!((path.path().as_str(), range.start, range.end), ("/a/c/o2", 2, 6));
        assert_eq!(contents[3], Content::Data(Bytes::from_static(b"abc")));
        let kept: Vec<Segment> = parse(&serde_json::to_vec(&segments).unwrap()).unwrap();
        assert_eq!(kept, segments);
        assert_eq!(
            String::from_utf8(raw(&segments[..1])).unwrap(),
            r#"[{"etag":"e1","path":"/c/o 1","size_bytes":10}]"#
        );
    }

    #[test]
    fn the_etag_covers_hashes_ranges_and_data() {
        let segment = |hash: &str, range: Option<&str>| Segment {
            hash: Some(hash.into()),
            range: range.map(str::to_owned),
            ..Segment::default()
        };
        // md5("ab:2-5;900150983cd24fb0d6963f7d28e17f72"): the last is md5("abc").
        let data = Segment {
            data: Some("YWJj".into()),
            ..Segment::default()
        };
        let direct = hex::encode(Md5::digest(b"ab:2-5;900150983cd24fb0d6963f7d28e17f72"));
        assert_eq!(
            etag(&[segment("a", None), segment("b", Some("2-5")), data]),
            direct
        );
    }

    #[test]
    fn damaged_manifests_are_no_panic() {
        assert_eq!(parse(b"junk"), None);
        assert_eq!(parse(b"{}"), None);
        assert_eq!(parse(br#"[{"name": "/c/o", "bytes": "ten"}]"#), None);
        for bad in [
            r#"[{"name": "c", "bytes": 1}]"#,
            r#"[{"name": "/c/o"}]"#,
            r#"[{"name": "/c/o", "bytes": 1, "range": "5-2"}]"#,
            r#"[{"name": "/c/o", "bytes": 1, "range": "x"}]"#,
            r#"[{"data": "***"}]"#,
            r#"[{}]"#,
        ] {
            assert_eq!(
                parse(bad.as_bytes()).unwrap()[0].content(&account()),
                None,
                "{bad}"
            );
        }
    }
}
