//! The headers that describe a container in every answer about it.

use crate::metadata::Keeper;
use http::{HeaderMap, HeaderValue};
use martlet_protocol::header;
use martlet_protocol::record::ContainerRecord;
use martlet_protocol::timestamp::Timestamp;
use martlet_service::headers::set;
use martlet_storage::Device;

/// For a container that is there: counts, timestamps, policy, metadata. `Last-Modified` is when it was last PUT or POSTed.
pub fn describe(record: &ContainerRecord, device: &Device) -> HeaderMap {
    let mut out = backend(Some(record), device);
    set(
        &mut out,
        header::X_CONTAINER_OBJECT_COUNT,
        &record.object_count().to_string(),
    );
    set(
        &mut out,
        header::X_CONTAINER_BYTES_USED,
        &record.bytes_used().to_string(),
    );
    set(&mut out, header::X_TIMESTAMP, &record.created_at.normal());
    set(&mut out, header::X_PUT_TIMESTAMP, &record.put_timestamp.normal());
    set(&mut out, "last-modified", &record.put_timestamp.http_date());
    out.insert("x-backend-sharding-state", HeaderValue::from_static("unsharded"));
    Keeper::Container.show(record, &mut out);
    out
}

/// For a container that is not there: only what other servers may know. Zeros when this device never had it.
pub fn absent(record: Option<&ContainerRecord>, device: &Device) -> HeaderMap {
    backend(record, device)
}

fn backend(record: Option<&ContainerRecord>, device: &Device) -> HeaderMap {
    let mut out = HeaderMap::with_capacity(24);
    let timestamps = [
        (
            header::X_BACKEND_TIMESTAMP,
            record.map(|record| record.created_at),
        ),
        (
            header::X_BACKEND_PUT_TIMESTAMP,
            record.map(|record| record.put_timestamp),
        ),
        (
            header::X_BACKEND_DELETE_TIMESTAMP,
            record.map(|record| record.delete_timestamp),
        ),
        (
            header::X_BACKEND_STATUS_CHANGED_AT,
            record.map(|record| record.status_changed_at),
        ),
    ];
    for (name, at) in timestamps {
        set(&mut out, name, &at.unwrap_or(Timestamp::ZERO).internal());
    }
    let policy = record.map(|record| record.policy).unwrap_or_default();
    set(
        &mut out,
        header::X_BACKEND_STORAGE_POLICY_INDEX,
        &policy.to_string(),
    );
    set(
        &mut out,
        header::X_BACKEND_MARTLET_SYNCED,
        &device.synced_at().normal(),
    );
    set(
        &mut out,
        header::X_BACKEND_MARTLET_RINGS,
        &format!("{:016x}", device.synced_rings()),
    );
    out
}
