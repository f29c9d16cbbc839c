//! The headers in which an object shows itself.

use crate::metadata::KeptHeaders;
use crate::raw_value;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED};
use martlet_protocol::header;
use martlet_protocol::record::{ObjectData, ObjectRecord};

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
    put(&mut map, &CONTENT_TYPE, content_type(record).to_owned());
    put(&mut map, &ETAG, data.etag.clone());
    let newest = record.newest();
    put(&mut map, &LAST_MODIFIED, newest.http_date());
    put(&mut map, &X_TIMESTAMP, newest.normal());
    put(&mut map, &X_BACKEND_TIMESTAMP, newest.internal());
    // Nearly always nothing was posted to it since.
    let known = map
        .get(&X_BACKEND_TIMESTAMP)
        .filter(|_| record.timestamp == newest);
    let written = match known {
        Some(known) => Ok(known.clone()),
        None => HeaderValue::try_from(record.timestamp.internal()),
    };
    if let Ok(written) = written {
        map.insert(X_BACKEND_DATA_TIMESTAMP.clone(), written.clone());
        map.insert(X_BACKEND_DURABLE_TIMESTAMP.clone(), written);
    }
    map
}

// Read as names once, not for each answer.
static X_TIMESTAMP: HeaderName = HeaderName::from_static(header::X_TIMESTAMP);
static X_BACKEND_TIMESTAMP: HeaderName = HeaderName::from_static(header::X_BACKEND_TIMESTAMP);
static X_BACKEND_DATA_TIMESTAMP: HeaderName = HeaderName::from_static(header::X_BACKEND_DATA_TIMESTAMP);
static X_BACKEND_DURABLE_TIMESTAMP: HeaderName = HeaderName::from_static(header::X_BACKEND_DURABLE_TIMESTAMP);

/// Sets a header whose value HTTP can carry; damaged data costs the header, not the answer.
fn put(map: &mut HeaderMap, name: &HeaderName, value: String) {
    match HeaderValue::try_from(value) {
        Ok(value) => {
            map.insert(name.clone(), value);
        }
        Err(_) => tracing::warn!(header = %name, "header left out: HTTP cannot carry it"),
    }
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
    use martlet_service::headers;

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
