//! The value of a row. Its name is in the key.

use super::container::policy;
use super::{Damaged, Decoded, Decoder, Encoder};
use crate::container::Row;
use martlet_protocol::row::{ContainerRow, ObjectRow};
use martlet_protocol::version::VersionId;

const VERSION: u8 = 1;
const OBJECT: u8 = 1;
const CONTAINER: u8 = 2;
const DELETED: u8 = 1;
const OWN_TYPE_TIME: u8 = 2;
const OWN_META_TIME: u8 = 4;
const HAS_VERSION: u8 = 8;

/// Bytes of a row key before the name.
const NAME_AT: usize = 17;

pub(crate) fn encode(key: &[u8], row: &Row) -> Vec<u8> {
    let mut out = Encoder::new(VERSION, 96);
    match row {
        Row::Object(row) => {
            out.byte(OBJECT);
            let flag = |set: bool, flag: u8| if set { flag } else { 0 };
            let own_type_time = row.content_type_timestamp != row.timestamp;
            let own_meta_time = row.meta_timestamp != row.timestamp;
            out.byte(
                flag(row.deleted, DELETED)
                    | flag(own_type_time, OWN_TYPE_TIME)
                    | flag(own_meta_time, OWN_META_TIME)
                    | flag(row.version.is_some(), HAS_VERSION),
            );
            out.timestamp(row.timestamp);
            if own_type_time {
                out.timestamp(row.content_type_timestamp);
            }
            if own_meta_time {
                out.timestamp(row.meta_timestamp);
            }
            out.number(row.size);
            out.text(&row.content_type);
            out.etag(&row.etag);
            out.number(u64::from(row.policy.0));
            if let Some(version) = row.version {
                out.timestamp(version.moment());
            }
        }
        Row::Container(row) => {
            out.byte(CONTAINER);
            out.timestamp(row.put_timestamp);
            out.timestamp(row.delete_timestamp);
            out.number(row.object_count);
            out.number(row.bytes_used);
            out.timestamp(row.stats_timestamp);
            out.number(u64::from(row.policy.0));
        }
    }
    out.seal(key)
}

pub(crate) fn decode(key: &[u8], value: &[u8]) -> Decoded<Row> {
    let name = key.get(NAME_AT..).ok_or(Damaged)?;
    let name = std::str::from_utf8(name).map_err(|_| Damaged)?.to_owned();
    let mut from = Decoder::open(key, value, VERSION)?;
    let row = match from.byte()? {
        OBJECT => {
            let flags = from.byte()?;
            let timestamp = from.timestamp()?;
            let mut own = |flag: u8| {
                if flags & flag != 0 {
                    from.timestamp()
                } else {
                    Ok(timestamp)
                }
            };
            let (content_type_timestamp, meta_timestamp) = (own(OWN_TYPE_TIME)?, own(OWN_META_TIME)?);
            Row::Object(ObjectRow {
                name,
                timestamp,
                deleted: flags & DELETED != 0,
                content_type_timestamp,
                meta_timestamp,
                size: from.number()?,
                content_type: from.text()?,
                etag: from.etag()?,
                policy: policy(&mut from)?,
                version: match flags & HAS_VERSION {
                    0 => None,
                    _ => Some(VersionId::at(from.timestamp()?).ok_or(Damaged)?),
                },
            })
        }
        CONTAINER => Row::Container(ContainerRow {
            name,
            put_timestamp: from.timestamp()?,
            delete_timestamp: from.timestamp()?,
            object_count: from.number()?,
            bytes_used: from.number()?,
            stats_timestamp: from.timestamp()?,
            policy: policy(&mut from)?,
        }),
        _ => return Err(Damaged),
    };
    from.end()?;
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::keys;
    use martlet_protocol::hash::PathHash;
    use martlet_protocol::policy::PolicyIndex;
    use martlet_protocol::timestamp::Timestamp;

    #[test]
    fn rows_read_back() {
        let at = Timestamp::from_secs(9);
        let mut object = ObjectRow {
            name: "a/ö".into(),
            timestamp: at,
            deleted: false,
            size: 1 << 40,
            content_type: "t".into(),
            etag: "not-an-md5".into(),
            content_type_timestamp: at,
            meta_timestamp: at,
            policy: PolicyIndex(1),
            version: None,
        };
        let plain = Row::Object(object.clone());
        object.version = Some(VersionId::of(at));
        object.content_type_timestamp = at.next();
        object.meta_timestamp = at.next().next();
        object.deleted = true;
        let container = ContainerRow {
            name: "c".into(),
            put_timestamp: at,
            delete_timestamp: Timestamp::ZERO,
            object_count: 5,
            bytes_used: 6,
            stats_timestamp: at.next(),
            policy: PolicyIndex(0),
        };
        for row in [plain, Row::Object(object), Row::Container(container)] {
            let container = keys::container(crate::Space::Containers, PathHash([1; 16])).unwrap();
            let key = keys::row(&container, row.name());
            assert_eq!(decode(&key, &encode(&key, &row)), Ok(row));
        }
    }
}
