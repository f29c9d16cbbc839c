//! The headers that describe an account in every answer about it.

use crate::metadata::Keeper;
use http::HeaderMap;
use martlet_protocol::header;
use martlet_protocol::policy::Policies;
use martlet_protocol::record::ContainerRecord;
use martlet_service::headers::set;
use martlet_storage::Device;

/// Counts in all and by policy, timestamps, metadata. Policies this cluster does not know are left out.
pub fn describe(record: &ContainerRecord, policies: &Policies, device: &Device) -> HeaderMap {
    let mut out = HeaderMap::with_capacity(24);
    set(
        &mut out,
        header::X_ACCOUNT_CONTAINER_COUNT,
        &record.container_count().to_string(),
    );
    set(
        &mut out,
        header::X_ACCOUNT_OBJECT_COUNT,
        &record.object_count().to_string(),
    );
    set(
        &mut out,
        header::X_ACCOUNT_BYTES_USED,
        &record.bytes_used().to_string(),
    );
    set(&mut out, header::X_TIMESTAMP, &record.created_at.normal());
    set(&mut out, header::X_PUT_TIMESTAMP, &record.put_timestamp.normal());
    set(
        &mut out,
        header::X_BACKEND_TIMESTAMP,
        &record.created_at.internal(),
    );
    set(
        &mut out,
        header::X_BACKEND_PUT_TIMESTAMP,
        &record.put_timestamp.internal(),
    );
    set(
        &mut out,
        header::X_BACKEND_DELETE_TIMESTAMP,
        &record.delete_timestamp.internal(),
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
    for (index, stat) in &record.stats {
        let Some(policy) = policies.by_index(*index) else {
            continue;
        };
        let parts = [
            ("container-count", stat.inner),
            ("object-count", stat.count),
            ("bytes-used", stat.bytes),
        ];
        for (part, number) in parts {
            let name = format!(
                "x-account-storage-policy-{}-{part}",
                policy.name.to_ascii_lowercase()
            );
            set(&mut out, &name, &number.max(0).to_string());
        }
    }
    Keeper::Account.show(record, &mut out);
    out
}
