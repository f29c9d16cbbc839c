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
    strip_identity(inbound);
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

/// Takes away what only an identity service may say about a user, so that nothing behind could ever take a client's word
/// for it. These are the headers that keystonemiddleware sets, old names included.
fn strip_identity(headers: &mut HeaderMap) {
    const SAID: [&str; 13] = [
        "identity-status",
        "domain-id",
        "domain-name",
        "project-id",
        "project-name",
        "project-domain-id",
        "project-domain-name",
        "user-id",
        "user-name",
        "user-domain-id",
        "user-domain-name",
        "roles",
        "tenant",
    ];
    const ALONE: [&str; 8] = [
        "x-is-admin-project",
        "x-service-catalog",
        "x-openstack-system-scope",
        "x-tenant-id",
        "x-tenant-name",
        "x-user",
        "x-role",
        "x-project-domain",
    ];
    let is_said = |name: &str| {
        let rest = name.strip_prefix("x-").unwrap_or("");
        ALONE.contains(&name) || SAID.contains(&rest.strip_prefix("service-").unwrap_or(rest))
    };
    let said: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_said(name.as_str()))
        .cloned()
        .collect();
    for name in said {
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
    fn nobody_says_who_he_is() {
        let mut headers = HeaderMap::new();
        let said = [
            "x-identity-status",
            "x-service-identity-status",
            "x-user-id",
            "x-service-user-name",
            "x-project-domain-id",
            "x-roles",
            "x-service-roles",
            "x-tenant-id",
            "x-tenant",
            "x-user",
            "x-role",
            "x-service-catalog",
            "x-is-admin-project",
        ];
        let kept = [
            "x-auth-token",
            "x-service-token",
            "x-storage-user",
            "x-auth-user",
            "x-object-meta-user-id",
        ];
        for name in said.into_iter().chain(kept) {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("a"));
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("b"));
        }
        strip_identity(&mut headers);
        assert_eq!(headers.keys_len(), kept.len());
        assert!(kept.iter().all(|name| headers.get_all(*name).iter().count() == 2));
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
