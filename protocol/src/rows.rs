//! Pages of whole rows as container servers hand them to a proxy that merges replicas: a packed form, since a listing
//! of ten thousand rows is read from several replicas and JSON was most of its price.
//!
//! A page is a version byte, then entries to its end: a tag byte and the fields in the order of the row, each as
//! [`crate::packed`] says. Reading is bounded by the page and answers `None` for anything that is not one.

use crate::packed::{Reader, number, text, timestamp};
use crate::policy::PolicyIndex;
use crate::row::{ContainerRow, ListingEntry, ObjectRow};
use crate::version::VersionId;

/// The content type of a page.
pub const CONTENT_TYPE: &str = "application/x-martlet-rows";

const VERSION: u8 = 2;
const ROW: u8 = 0;
const SUBDIR: u8 = 1;
/// Entries are about this long; a guess too low costs a copy.
const BYTES_PER_ENTRY: usize = 120;

/// A row that can be packed.
pub trait Packed: Sized {
    fn pack(&self, out: &mut Vec<u8>);
    fn unpack(from: &mut Reader<'_>) -> Option<Self>;
}

/// A page of entries.
pub fn pack<T: Packed>(entries: &[ListingEntry<T>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + entries.len() * BYTES_PER_ENTRY);
    out.push(VERSION);
    for entry in entries {
        match entry {
            ListingEntry::Row(row) => {
                out.push(ROW);
                row.pack(&mut out);
            }
            ListingEntry::Subdir(name) => {
                out.push(SUBDIR);
                text(&mut out, name);
            }
        }
    }
    out
}

/// The entries of a page; `None` when it is not one.
pub fn unpack<T: Packed>(page: &[u8]) -> Option<Vec<ListingEntry<T>>> {
    let (&VERSION, rest) = page.split_first()? else {
        return None;
    };
    let mut from = Reader::new(rest);
    let mut entries = Vec::new();
    while from.left() > 0 {
        entries.push(match from.byte()? {
            ROW => ListingEntry::Row(T::unpack(&mut from)?),
            SUBDIR => ListingEntry::Subdir(from.text()?),
            _ => return None,
        });
    }
    Some(entries)
}

impl Packed for ObjectRow {
    fn pack(&self, out: &mut Vec<u8>) {
        text(out, &self.name);
        timestamp(out, self.timestamp);
        out.push(u8::from(self.deleted));
        number(out, self.size);
        text(out, &self.content_type);
        text(out, &self.etag);
        timestamp(out, self.content_type_timestamp);
        timestamp(out, self.meta_timestamp);
        number(out, u64::from(self.policy.0));
        match self.version {
            None => out.push(0),
            Some(version) => {
                out.push(1);
                timestamp(out, version.moment());
            }
        }
    }

    fn unpack(from: &mut Reader<'_>) -> Option<Self> {
        Some(ObjectRow {
            name: from.text()?,
            timestamp: from.timestamp()?,
            deleted: from.byte()? != 0,
            size: from.number()?,
            content_type: from.text()?,
            etag: from.text()?,
            content_type_timestamp: from.timestamp()?,
            meta_timestamp: from.timestamp()?,
            policy: policy(from)?,
            version: match from.byte()? {
                0 => None,
                _ => Some(VersionId::at(from.timestamp()?)?),
            },
        })
    }
}

impl Packed for ContainerRow {
    fn pack(&self, out: &mut Vec<u8>) {
        text(out, &self.name);
        timestamp(out, self.put_timestamp);
        timestamp(out, self.delete_timestamp);
        number(out, self.object_count);
        number(out, self.bytes_used);
        timestamp(out, self.stats_timestamp);
        number(out, u64::from(self.policy.0));
    }

    fn unpack(from: &mut Reader<'_>) -> Option<Self> {
        Some(ContainerRow {
            name: from.text()?,
            put_timestamp: from.timestamp()?,
            delete_timestamp: from.timestamp()?,
            object_count: from.number()?,
            bytes_used: from.number()?,
            stats_timestamp: from.timestamp()?,
            policy: policy(from)?,
        })
    }
}

fn policy(from: &mut Reader<'_>) -> Option<PolicyIndex> {
    Some(PolicyIndex(from.number()?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timestamp::Timestamp;

    fn object_page() -> Vec<ListingEntry<ObjectRow>> {
        let at = Timestamp::from_secs(1_402_440_467);
        vec![
            ListingEntry::Row(ObjectRow {
                name: "ä/b".into(),
                timestamp: at,
                deleted: false,
                size: u64::MAX,
                content_type: "text/plain".into(),
                etag: "e; slo_etag=f".into(),
                content_type_timestamp: at.with_offset(7),
                meta_timestamp: at.next(),
                policy: PolicyIndex(1),
                version: Some(VersionId::of(at)),
            }),
            ListingEntry::Subdir("c/".into()),
        ]
    }

    #[test]
    fn pages_read_back() {
        let page = object_page();
        assert_eq!(unpack(&pack(&page)), Some(page));
        let row = ContainerRow {
            name: "c".into(),
            put_timestamp: Timestamp::from_secs(1),
            delete_timestamp: Timestamp::ZERO,
            object_count: 300,
            bytes_used: 5,
            stats_timestamp: Timestamp::from_secs(2),
            policy: PolicyIndex(0),
        };
        let page = vec![ListingEntry::Row(row)];
        assert_eq!(unpack(&pack(&page)), Some(page));
        assert_eq!(unpack::<ObjectRow>(&pack::<ObjectRow>(&[])), Some(Vec::new()));
    }

    #[test]
    fn what_is_no_page_is_told() {
        let whole = pack(&object_page());
        for junk in [
            &b""[..],
            b"[]",
            b"\x02\x02",
            b"\x02\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        ] {
            assert_eq!(unpack::<ObjectRow>(junk), None, "{junk:?}");
        }
        // A cut between two entries is a shorter page; any other is none.
        let shorter = (1..whole.len()).filter(|cut| unpack::<ObjectRow>(&whole[..*cut]).is_some());
        assert_eq!(shorter.count(), 2);
    }
}
