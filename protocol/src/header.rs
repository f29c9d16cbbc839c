//! Names of the headers on the wire, in lower case, and the families they fall into.

macro_rules! headers {
    ($($name:ident = $text:literal;)*) => {
        $(pub const $name: &str = $text;)*
    };
}

headers! {
    X_TIMESTAMP = "x-timestamp";
    X_PUT_TIMESTAMP = "x-put-timestamp";
    X_DELETE_TIMESTAMP = "x-delete-timestamp";
    X_TRANS_ID = "x-trans-id";
    X_TRANS_ID_EXTRA = "x-trans-id-extra";
    X_OPENSTACK_REQUEST_ID = "x-openstack-request-id";
    X_AUTH_TOKEN = "x-auth-token";
    X_STORAGE_TOKEN = "x-storage-token";
    X_SERVICE_TOKEN = "x-service-token";
    X_STORAGE_URL = "x-storage-url";
    X_STORAGE_POLICY = "x-storage-policy";
    X_NEWEST = "x-newest";
    X_DELETE_AT = "x-delete-at";
    X_DELETE_AFTER = "x-delete-after";
    X_IF_DELETE_AT = "x-if-delete-at";
    X_OPEN_EXPIRED = "x-open-expired";
    X_COPY_FROM = "x-copy-from";
    X_COPY_FROM_ACCOUNT = "x-copy-from-account";
    X_FRESH_METADATA = "x-fresh-metadata";
    DESTINATION = "destination";
    DESTINATION_ACCOUNT = "destination-account";
    X_OBJECT_MANIFEST = "x-object-manifest";
    X_STATIC_LARGE_OBJECT = "x-static-large-object";
    X_CONTAINER_READ = "x-container-read";
    X_CONTAINER_WRITE = "x-container-write";
    X_ACCOUNT_ACCESS_CONTROL = "x-account-access-control";
    X_CONTAINER_OBJECT_COUNT = "x-container-object-count";
    X_CONTAINER_BYTES_USED = "x-container-bytes-used";
    X_ACCOUNT_CONTAINER_COUNT = "x-account-container-count";
    X_ACCOUNT_OBJECT_COUNT = "x-account-object-count";
    X_ACCOUNT_BYTES_USED = "x-account-bytes-used";
    X_ACCOUNT_STATUS = "x-account-status";
    X_ACCOUNT_OVERRIDE_DELETED = "x-account-override-deleted";

    // Between proxy and storage servers (Swift's backend protocol).
    X_BACKEND_STORAGE_POLICY_INDEX = "x-backend-storage-policy-index";
    X_BACKEND_STORAGE_POLICY_DEFAULT = "x-backend-storage-policy-default";
    X_BACKEND_TIMESTAMP = "x-backend-timestamp";
    X_BACKEND_DATA_TIMESTAMP = "x-backend-data-timestamp";
    X_BACKEND_DURABLE_TIMESTAMP = "x-backend-durable-timestamp";
    X_BACKEND_PUT_TIMESTAMP = "x-backend-put-timestamp";
    X_BACKEND_DELETE_TIMESTAMP = "x-backend-delete-timestamp";
    X_BACKEND_STATUS_CHANGED_AT = "x-backend-status-changed-at";
    X_BACKEND_ETAG_IS_AT = "x-backend-etag-is-at";
    X_BACKEND_OPEN_EXPIRED = "x-backend-open-expired";
    X_BACKEND_REPLICATION = "x-backend-replication";
    X_BACKEND_ALLOW_RESERVED_NAMES = "x-backend-allow-reserved-names";
    X_BACKEND_CONTAINER_PATH = "x-backend-container-path";
    X_BACKEND_INBOUND_X_TIMESTAMP = "x-backend-inbound-x-timestamp";
    X_CONTAINER_HOST = "x-container-host";
    X_CONTAINER_PARTITION = "x-container-partition";
    X_CONTAINER_DEVICE = "x-container-device";
    X_ACCOUNT_HOST = "x-account-host";
    X_ACCOUNT_PARTITION = "x-account-partition";
    X_ACCOUNT_DEVICE = "x-account-device";
    X_SIZE = "x-size";
    X_CONTENT_TYPE = "x-content-type";
    X_ETAG = "x-etag";
    X_CONTENT_TYPE_TIMESTAMP = "x-content-type-timestamp";
    X_META_TIMESTAMP = "x-meta-timestamp";
    X_OBJECT_COUNT = "x-object-count";
    X_BYTES_USED = "x-bytes-used";

    // Martlet's own additions between its nodes; a peer that does not know them still interoperates.
    X_BACKEND_MARTLET_CLOCK = "x-backend-martlet-clock";
    X_BACKEND_MARTLET_SERVER = "x-backend-martlet-server";
    X_BACKEND_MARTLET_SYNCED = "x-backend-martlet-synced";
    X_BACKEND_MARTLET_RINGS = "x-backend-martlet-rings";
    X_BACKEND_MARTLET_MISSED = "x-backend-martlet-missed";
    X_BACKEND_MARTLET_ETAG = "x-backend-martlet-etag";
    X_BACKEND_MARTLET_ETAG_TRAILER = "x-backend-martlet-etag-trailer";
    X_BACKEND_MARTLET_LENGTH = "x-backend-martlet-length";
    X_BACKEND_MARTLET_ROWS = "x-backend-martlet-rows";
    X_BACKEND_MARTLET_RECORD = "x-backend-martlet-record";
    // A write of an object: what it writes is a version. A row, a POST, a DELETE of a version: which one is current.
    X_BACKEND_MARTLET_VERSIONED = "x-backend-martlet-versioned";
    X_BACKEND_MARTLET_VERSION_ID = "x-backend-martlet-version-id";
    // A read is of the pointer, not of the version that it points to.
    X_BACKEND_MARTLET_POINTER = "x-backend-martlet-pointer";

    // Whether writes of a container make versions, and which version of an object is current (see `version`).
    VERSIONS_ENABLED = "x-container-sysmeta-versions-enabled";
    CURRENT_VERSION = "x-object-sysmeta-martlet-version";

    // Sysmeta that container listings take in place of the object's own values.
    OVERRIDE_ETAG = "x-object-sysmeta-container-update-override-etag";
    OVERRIDE_SIZE = "x-object-sysmeta-container-update-override-size";
    OVERRIDE_CONTENT_TYPE = "x-object-sysmeta-container-update-override-content-type";
}

/// Headers an object keeps beside its metadata families, from PUT and from POST.
pub const KEPT_OBJECT_HEADERS: [&str; 8] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
    "x-delete-at",
    "x-object-manifest",
    "x-robots-tag",
];

/// `x-{account|container|object}-meta-*` with something after the dash.
pub fn is_user_meta(name: &str) -> bool {
    has_family(name, "-meta-")
}

/// `x-{account|container|object}-sysmeta-*`: set by the cluster's own steps, never by a client.
pub fn is_sysmeta(name: &str) -> bool {
    has_family(name, "-sysmeta-")
}

/// `x-object-transient-sysmeta-*`: as sysmeta, but replaced by a POST.
pub fn is_transient_sysmeta(name: &str) -> bool {
    name.len() > 27 && name.starts_with("x-object-transient-sysmeta-")
}

fn has_family(name: &str, family: &str) -> bool {
    ["x-object", "x-container", "x-account"]
        .iter()
        .filter_map(|kind| name.strip_prefix(kind)?.strip_prefix(family))
        .any(|rest| !rest.is_empty())
}

/// Whether a POST replaces this item of an object: user metadata, transient sysmeta and the content headers do change,
/// and where a dynamic large object has its segments; sysmeta and the mark of a static one belong to the data.
pub fn is_postable(name: &str) -> bool {
    !is_sysmeta(name) && name != X_STATIC_LARGE_OBJECT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families() {
        assert!(
            is_user_meta("x-object-meta-a") && !is_user_meta("x-object-meta-") && !is_user_meta("x-meta-a")
        );
        assert!(is_sysmeta("x-container-sysmeta-a") && !is_sysmeta("x-object-transient-sysmeta-a"));
        assert!(is_transient_sysmeta("x-object-transient-sysmeta-a"));
        assert!(!is_postable("x-object-sysmeta-a") && is_postable("content-encoding"));
        assert!(!is_postable(X_STATIC_LARGE_OBJECT) && is_postable(X_OBJECT_MANIFEST));
    }
}
