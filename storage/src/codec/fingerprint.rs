//! Sixteen bytes that are equal on two devices exactly when a record or row is.

use super::container::StoredContainer;
use crate::container::Row;
use martlet_protocol::record::ObjectRecord;
use martlet_protocol::timestamp::Timestamp;

/// The beginning of a BLAKE3.
pub(crate) type Fingerprint = [u8; 16];

pub(crate) fn xor(into: &mut Fingerprint, other: &Fingerprint) {
    *into = (u128::from_ne_bytes(*into) ^ u128::from_ne_bytes(*other)).to_ne_bytes();
}

/// Gathers the fields in one buffer: for such short input one hash call beats many updates.
struct Fields(Vec<u8>);

impl Fields {
    fn text(&mut self, text: &str) {
        self.0.extend_from_slice(&(text.len() as u32).to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn timestamp(&mut self, at: Timestamp) {
        self.number(at.raw());
        self.number(at.offset());
    }

    fn finish(self) -> Fingerprint {
        let hash = blake3::hash(&self.0);
        let mut first = [0; 16];
        first.copy_from_slice(&hash.as_bytes()[..16]);
        first
    }
}

/// Identity, timestamps and what tells bodies apart. Metadata follows from its timestamp.
pub(crate) fn object(record: &ObjectRecord) -> Fingerprint {
    let mut fields = Fields(Vec::with_capacity(256));
    fields.text(&record.account);
    fields.text(&record.container);
    fields.text(&record.object);
    fields.timestamp(record.timestamp);
    fields.timestamp(record.meta_timestamp());
    fields.timestamp(record.content_type_timestamp());
    match &record.data {
        None => fields.text("tombstone"),
        Some(data) => {
            fields.text(&data.etag);
            fields.number(data.length);
            fields.0.extend_from_slice(&data.blake3);
        }
    }
    fields.finish()
}

/// The record without its counts (they follow from the rows), and all its rows.
pub(crate) fn container(stored: &StoredContainer) -> Fingerprint {
    let record = &stored.record;
    let mut fields = Fields(Vec::with_capacity(256));
    fields.text(&record.account);
    fields.text(&record.container);
    for at in [
        record.created_at,
        record.put_timestamp,
        record.delete_timestamp,
        record.status_changed_at,
    ] {
        fields.timestamp(at);
    }
    fields.number(u64::from(record.policy.0));
    for (name, (value, at)) in &record.metadata {
        fields.text(name);
        fields.text(value);
        fields.timestamp(*at);
    }
    let mut fingerprint = fields.finish();
    xor(&mut fingerprint, &stored.rows_digest);
    fingerprint
}

pub(crate) fn row(row: &Row) -> Fingerprint {
    let mut fields = Fields(Vec::with_capacity(192));
    match row {
        Row::Object(row) => {
            fields.text(&row.name);
            fields.timestamp(row.timestamp);
            fields.timestamp(row.content_type_timestamp);
            fields.timestamp(row.meta_timestamp);
            fields.number(u64::from(row.deleted));
            fields.number(row.size);
            fields.text(&row.content_type);
            fields.text(&row.etag);
            fields.number(u64::from(row.policy.0));
            if let Some(version) = row.version {
                fields.timestamp(version.moment());
            }
        }
        Row::Container(row) => {
            fields.text(&row.name);
            fields.timestamp(row.put_timestamp);
            fields.timestamp(row.delete_timestamp);
            fields.timestamp(row.stats_timestamp);
            fields.number(row.object_count);
            fields.number(row.bytes_used);
            fields.number(u64::from(row.policy.0));
        }
    }
    fields.finish()
}
