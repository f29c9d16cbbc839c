//! The headers in which an object shows itself.

use crate::metadata::KeptHeaders;
use crate::raw_value;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED};
use martlet_protocol::header;
use martlet_protocol::record::{ObjectData, ObjectRecord};
use martlet_service::headers;

/// Everything a 200 says of an object but its length.
pub(crate) fn object_headers(record: &ObjectRecord, data: &ObjectData, kept: &KeptHeaders) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(16 + data.metadata.len());
    for (name, value) in record.live_metadata() {
        if kept.is_kept(name) {
            set(&mut map, name, value);
        }
    }
    if let Some(delete_at) = record.delete_at() {
        map.insert(
            HeaderName::from_static(header::X_DELETE_AT),
            HeaderValue::from(delete_at),
        );
    }
    headers::set(&mut map, CONTENT_TYPE.as_str(), content_type(record));
    headers::set(&mut map, ETAG.as_str(), &data.etag);
    let newest = record.newest();
    headers::set(&mut map, LAST_MODIFIED.as_str(), &newest.http_date());
    headers::set(&mut map, header::X_TIMESTAMP, &newest.normal());
    headers::set(&mut map, header::X_BACKEND_TIMESTAMP, &newest.internal());
    let written = record.timestamp.internal();
    headers::set(&mut map, header::X_BACKEND_DATA_TIMESTAMP, &written);
    headers::set(&mut map, header::X_BACKEND_DURABLE_TIMESTAMP, &written);
    map
}

/// As `headers::set`, for values that may stand for bytes.
fn set(map: &mut HeaderMap, name: &str, value: &str) {
    let name_and_value = (
        HeaderName::from_bytes(name.as_bytes()),
        HeaderValue::from_bytes(&raw_value::show(value)),
    );
    match name_and_value {
        (Ok(name), Ok(value)) => {
            map.insert(name, value);
        }
        _ => tracing::warn!(header = name, "header left out: HTTP cannot carry it"),
    }
}

pub(crate) fn content_type(record: &ObjectRecord) -> &str {
    match record.content_type() {
        "" => "application/octet-stream",
        content_type => content_type,
    }
}

pub(crate) fn set_content_length(map: &mut HeaderMap, length: u64) {
    map.insert(CONTENT_LENGTH, HeaderValue::from(length));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ObjectServerConfig;
    use martlet_protocol::hash::HashSalt;
    use martlet_protocol::policy::Policies;
    use martlet_protocol::timestamp::Timestamp;

    #[test]
    fn damaged_metadata_costs_a_header_not_the_answer() {
        let salt = HashSalt {
            prefix: String::new(),
            suffix: "s".into(),
        };
        let kept = KeptHeaders::new(&ObjectServerConfig::new(salt, Policies::single("gold")));
        let data = ObjectData {
            length: 1,
            etag: "e".into(),
            content_type: String::new(),
            metadata: vec![
                ("x-object-meta-bad".into(), "line\nend".into()),
                ("x-object-meta-good".into(), "grün".into()),
                ("set-cookie".into(), "never stored by this server".into()),
            ],
            delete_at: Some(7),
            blake3: [0; 32],
        };
        let record = ObjectRecord {
            account: "a".into(),
            container: "c".into(),
            object: "o".into(),
            timestamp: Timestamp::from_secs(5),
            data: Some(data.clone()),
            meta: None,
        };
        let map = object_headers(&record, &data, &kept);
        assert!(!map.contains_key("x-object-meta-bad") && !map.contains_key("set-cookie"));
        assert_eq!(headers::text(&map, "x-object-meta-good"), Some("grün"));
        assert_eq!(
            headers::text(&map, "content-type"),
            Some("application/octet-stream")
        );
        assert_eq!(headers::text(&map, "x-delete-at"), Some("7"));
    }
}
