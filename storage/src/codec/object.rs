//! The value of an object record: what is known of it, and where its body is.

use super::{Damaged, Decoded, Decoder, Encoder};
use martlet_protocol::record::{ObjectData, ObjectMeta, ObjectRecord};

const VERSION: u8 = 1;
const HAS_DATA: u8 = 1;
const HAS_META: u8 = 2;
const INLINE: u8 = 1;
const FILE: u8 = 2;

/// The name of a body file: unique on the device, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FileId(pub(crate) [u8; 16]);

/// Where a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// A tombstone has none.
    Nowhere,
    /// In the family of bodies, under the data's timestamp; `crc` is over the whole body.
    Inline {
        crc: u32,
    },
    File {
        id: FileId,
        block_bytes: u32,
    },
}

/// An object record as the index keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredObject {
    pub(crate) record: ObjectRecord,
    pub(crate) location: Location,
}

impl StoredObject {
    pub(crate) fn encode(&self, key: &[u8]) -> Vec<u8> {
        let record = &self.record;
        let mut out = Encoder::new(VERSION, 320);
        let data_flag = if record.data.is_some() { HAS_DATA } else { 0 };
        let meta_flag = if record.meta.is_some() { HAS_META } else { 0 };
        out.byte(data_flag | meta_flag);
        out.timestamp(record.timestamp);
        out.text(&record.account);
        out.text(&record.container);
        out.text(&record.object);
        if let Some(data) = &record.data {
            out.number(data.length);
            out.etag(&data.etag);
            out.text(&data.content_type);
            out.pairs(&data.metadata);
            out.option(data.delete_at);
            out.raw(&data.blake3);
            match self.location {
                Location::Nowhere => out.byte(0),
                Location::Inline { crc } => {
                    out.byte(INLINE);
                    out.raw(&crc.to_le_bytes());
                }
                Location::File { id, block_bytes } => {
                    out.byte(FILE);
                    out.raw(&id.0);
                    out.raw(&block_bytes.to_le_bytes());
                }
            }
        }
        if let Some(meta) = &record.meta {
            out.timestamp(meta.timestamp);
            out.pairs(&meta.metadata);
            out.option(meta.delete_at);
            match &meta.content_type {
                None => out.byte(0),
                Some((content_type, at)) => {
                    out.byte(1);
                    out.text(content_type);
                    out.timestamp(*at);
                }
            }
        }
        out.seal(key)
    }

    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Decoded<Self> {
        let mut from = Decoder::open(key, value, VERSION)?;
        let flags = from.byte()?;
        let timestamp = from.timestamp()?;
        let (account, container, object) = (from.text()?, from.text()?, from.text()?);
        let mut location = Location::Nowhere;
        let data = if flags & HAS_DATA != 0 {
            let data = ObjectData {
                length: from.number()?,
                etag: from.etag()?,
                content_type: from.text()?,
                metadata: from.pairs()?,
                delete_at: from.option()?,
                blake3: from.raw()?,
            };
            location = match from.byte()? {
                INLINE => Location::Inline {
                    crc: u32::from_le_bytes(from.raw()?),
                },
                FILE => Location::File {
                    id: FileId(from.raw()?),
                    block_bytes: Some(u32::from_le_bytes(from.raw()?))
                        .filter(|bytes| *bytes > 0)
                        .ok_or(Damaged)?,
                },
                _ => return Err(Damaged),
            };
            Some(data)
        } else {
            None
        };
        let meta = if flags & HAS_META != 0 {
            Some(ObjectMeta {
                timestamp: from.timestamp()?,
                metadata: from.pairs()?,
                delete_at: from.option()?,
                content_type: match from.byte()? {
                    0 => None,
                    1 => Some((from.text()?, from.timestamp()?)),
                    _ => return Err(Damaged),
                },
            })
        } else {
            None
        };
        from.end()?;
        let record = ObjectRecord {
            account,
            container,
            object,
            timestamp,
            data,
            meta,
        };
        Ok(StoredObject { record, location })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_protocol::timestamp::Timestamp;

    #[test]
    fn records_read_back() {
        let at = Timestamp::from_secs(77).with_offset(3);
        let data = ObjectData {
            length: 123_456_789,
            etag: "0123456789abcdef0123456789abcdef".into(),
            content_type: "text/plain; charset=ü".into(),
            metadata: vec![("x-object-meta-a".into(), "ä".into())],
            delete_at: Some(1_900_000_000),
            blake3: [9; 32],
        };
        let meta = ObjectMeta {
            timestamp: at.next(),
            metadata: vec![("x-object-meta-b".into(), String::new())],
            delete_at: None,
            content_type: Some(("x/y".into(), at)),
        };
        let file = Location::File {
            id: FileId([4; 16]),
            block_bytes: 65536,
        };
        let cases = [
            (None, None, Location::Nowhere),
            (Some(data.clone()), None, Location::Inline { crc: 5 }),
            (Some(data), Some(meta), file),
        ];
        for (data, meta, location) in cases {
            let record = ObjectRecord {
                account: "a".into(),
                container: "c".into(),
                object: "o/ö".into(),
                timestamp: at,
                data,
                meta,
            };
            let stored = StoredObject { record, location };
            let value = stored.encode(b"k");
            assert_eq!(StoredObject::decode(b"k", &value), Ok(stored));
        }
    }
}
