//! The one place where headers of the cluster's own are kept from crossing its border, in both directions.

use crate::pipeline::Next;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use martlet_protocol::header;
use martlet_service::{Request, Response};

pub async fn run(mut request: Request, next: Next) -> Response {
    let config = &next.edge().config.gatekeeper;
    let inbound = request.headers_mut();
    strip(inbound);
    if config.shunt_inbound_x_timestamp
        && let Some(value) = inbound.remove(header::X_TIMESTAMP)
    {
        inbound.insert(
            HeaderName::from_static(header::X_BACKEND_INBOUND_X_TIMESTAMP),
            value,
        );
    }
    if config.allow_reserved_names_header && inbound.remove("x-allow-reserved-names").is_some() {
        let name = HeaderName::from_static(header::X_BACKEND_ALLOW_RESERVED_NAMES);
        inbound.insert(name, HeaderValue::from_static("true"));
    }
    let mut response = next.run(request).await;
    strip(response.headers_mut());
    response
}

fn strip(headers: &mut HeaderMap) {
    let internal: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_internal(name.as_str()))
        .cloned()
        .collect();
    for name in internal {
        headers.remove(name);
    }
}

/// Whether a header, by its lower-case name, belongs to the inside of the cluster.
pub fn is_internal(name: &str) -> bool {
    const FAMILIES: [&str; 5] = [
        "x-account-sysmeta-",
        "x-container-sysmeta-",
        "x-object-sysmeta-",
        "x-object-transient-sysmeta-",
        "x-backend",
    ];
    // Where updates go; they are older than the x-backend family.
    const UPDATES: [&str; 11] = [
        "x-account-host",
        "x-account-device",
        "x-account-partition",
        "x-container-host",
        "x-container-device",
        "x-container-partition",
        "x-container-root-db-state",
        "x-delete-at-host",
        "x-delete-at-device",
        "x-delete-at-partition",
        "x-delete-at-container",
    ];
    name.starts_with("x-")
        && (FAMILIES.iter().any(|family| name.starts_with(family)) || UPDATES.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_inside() {
        for name in [
            "x-account-sysmeta-core-access-control",
            "x-container-sysmeta-x",
            "x-object-sysmeta-slo-etag",
            "x-object-transient-sysmeta-crypto",
            "x-backend-storage-policy-index",
            "x-backend-allow-reserved-names",
            "x-container-host",
            "x-delete-at-container",
        ] {
            assert!(is_internal(name), "{name}");
        }
        for name in [
            "x-object-meta-sysmeta",
            "x-container-meta-host",
            "x-auth-token",
            "x-container-hosts",
            "etag",
            "x-timestamp",
        ] {
            assert!(!is_internal(name), "{name}");
        }
    }

    #[test]
    fn every_value_of_a_repeated_header_goes() {
        let mut headers = HeaderMap::new();
        headers.append("x-backend-etag-is-at", HeaderValue::from_static("a"));
        headers.append("x-backend-etag-is-at", HeaderValue::from_static("b"));
        headers.insert("x-object-meta-a", HeaderValue::from_static("c"));
        strip(&mut headers);
        assert_eq!(headers.len(), 1);
    }
}
