//! Takes what another cluster sends to a container of this one, when both clusters share a realm's key and both
//! containers their owner's key.
//!
//! See "Container to Container Synchronization" in Swift's documentation. The other way, from here to there, is the work
//! of the storage nodes.

use super::answer;
use super::symlink::TrustedTarget;
use crate::Edge;
use crate::context::{self, PreAuthorized, Synced, target};
use crate::pipeline::Next;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, StatusCode};
use martlet_protocol::header;
use martlet_protocol::name::Target;
use martlet_protocol::percent;
use martlet_protocol::sync::{Realms, Signed};
use martlet_service::{Request, Response, headers};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use subtle::ConstantTimeEq;

/// Whom this cluster trusts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContainerSyncConfig {
    /// Swift's `container-sync-realms.conf`. Without it nobody is trusted.
    pub realms_conf: Option<PathBuf>,
    /// `//REALM/CLUSTER`: which of the clusters in the file this one is.
    pub current: Option<String>,
    /// Whether containers may name their other end by a whole address instead of realm and cluster.
    pub allow_full_urls: bool,
    /// Hosts that whole addresses may name.
    pub allowed_sync_hosts: Vec<String>,
}

impl Default for ContainerSyncConfig {
    fn default() -> Self {
        ContainerSyncConfig {
            realms_conf: None,
            current: None,
            allow_full_urls: true,
            allowed_sync_hosts: vec!["127.0.0.1".into()],
        }
    }
}

const SYNC_TO: &str = "x-container-sync-to";
const SYNC_AUTH: &str = "x-container-sync-auth";

/// Adds what `/info` says of this step.
pub async fn describe(edge: &Edge, sections: &mut Map<String, Value>) {
    if let Some(config) = &edge.config.container_sync {
        let realms = edge.realms.current().await;
        let shown = shown_realms(&realms, config.current.as_deref());
        sections.insert("container_sync".into(), json!({"realms": shown}));
    }
}

/// Realms and the names of their clusters; nothing of keys and addresses.
fn shown_realms(realms: &Realms, current: Option<&str>) -> Value {
    let current = current.map(|text| text.trim_matches('/').to_uppercase());
    let mut shown = Map::new();
    for (name, realm) in realms.iter().filter(|(_, realm)| !realm.clusters.is_empty()) {
        let mut clusters = Map::new();
        for cluster in realm.clusters.keys() {
            let is_current = current.as_deref() == Some(format!("{name}/{cluster}").as_str());
            let about = if is_current {
                json!({"current": true})
            } else {
                json!({})
            };
            clusters.insert(cluster.clone(), about);
        }
        shown.insert(name.to_owned(), json!({"clusters": clusters}));
    }
    Value::Object(shown)
}

/// Only requests that carry one of its headers.
pub fn concerns(request: &Request, _: &Edge) -> bool {
    request.headers().contains_key(SYNC_TO) || request.headers().contains_key(SYNC_AUTH)
}

pub async fn run(mut request: Request, next: Next) -> Response {
    let Some(target) = target(&request) else {
        return next.run(request).await;
    };
    let edge = next.edge();
    let (Some(config), Some(container)) = (&edge.config.container_sync, target.container_path()) else {
        return next.run(request).await;
    };
    let is_change = matches!(*request.method(), Method::PUT | Method::POST);
    if is_change
        && matches!(*target, Target::Container(_))
        && let Some(sync_to) = headers::text(request.headers(), SYNC_TO).filter(|value| !value.is_empty())
    {
        let realms = edge.realms.current().await;
        if let Err(problem) = check_sync_to(config, &realms, sync_to) {
            return answer::words(StatusCode::BAD_REQUEST, problem);
        }
        let info = edge.core.container_info(&container).await;
        if info.sysmeta.contains_key("versions-enabled") {
            return answer::words(
                StatusCode::BAD_REQUEST,
                "Cannot configure container sync on a container with object versioning configured.",
            );
        }
    }
    let Some(given) = headers::text(request.headers(), SYNC_AUTH).map(str::to_owned) else {
        return next.run(request).await;
    };
    let info = edge.core.container_info(&container).await;
    let realms = edge.realms.current().await;
    let sent_at = headers::text(request.headers(), header::X_BACKEND_INBOUND_X_TIMESTAMP)
        .or_else(|| headers::text(request.headers(), header::X_TIMESTAMP))
        .unwrap_or("0")
        .to_owned();
    let path = signed_path(&request);
    let signed = Signed {
        method: request.method().as_str(),
        path: &path,
        timestamp: &sent_at,
        nonce: "",
        user_key: info.sync_key.as_deref().unwrap_or(""),
    };
    let outcome = check_auth(&realms, &given, signed);
    if let Some(context) = context::context(&request) {
        context.note(outcome.note());
    }
    if outcome != Outcome::Valid {
        return refuse(target.account());
    }
    let map = request.headers_mut();
    if let Some(moment) = map.remove(header::X_BACKEND_INBOUND_X_TIMESTAMP) {
        map.insert(HeaderName::from_static(header::X_TIMESTAMP), moment);
    }
    request.extensions_mut().insert(PreAuthorized);
    request.extensions_mut().insert(Synced);
    request.extensions_mut().insert(TrustedTarget);
    next.run(request).await
}

/// The path as the other cluster signed it: quoted once, in one way.
fn signed_path(request: &Request) -> String {
    let path = request.uri().path();
    percent::unquote(path).map_or_else(|_| path.to_owned(), |path| percent::quote(&path))
}

/// Where a container may be sent.
fn check_sync_to(config: &ContainerSyncConfig, realms: &Realms, value: &str) -> Result<(), String> {
    if !config.allow_full_urls && !value.starts_with("//") {
        return Err(
            "Full URLs are not allowed for X-Container-Sync-To values. Only realm values of the format \
             //realm/cluster/account/container are allowed.\n"
                .into(),
        );
    }
    realms.destination(value, &config.allowed_sync_hosts).map(|_| ())
}

/// What became of a signature; the words go to the log, never to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Valid,
    NotThreeParts,
    NoRealmKey,
    NoUserKey,
    WrongSignature,
}

impl Outcome {
    fn note(self) -> &'static str {
        match self {
            Outcome::Valid => "cs:valid",
            Outcome::NotThreeParts => "cs:not-3-args",
            Outcome::NoRealmKey => "cs:no-local-realm-key",
            Outcome::NoUserKey => "cs:no-local-user-key",
            Outcome::WrongSignature => "cs:invalid-sig",
        }
    }
}

/// Checks `REALM NONCE SIGNATURE` with both of the realm's keys.
fn check_auth(realms: &Realms, given: &str, signed: Signed<'_>) -> Outcome {
    let parts: Vec<&str> = given.split_whitespace().collect();
    let [realm, nonce, signature] = parts[..] else {
        return Outcome::NotThreeParts;
    };
    let Some(realm) = realms.get(realm) else {
        return Outcome::NoRealmKey;
    };
    let Some(key) = realm.key.as_deref().filter(|key| !key.is_empty()) else {
        return Outcome::NoRealmKey;
    };
    if signed.user_key.is_empty() {
        return Outcome::NoUserKey;
    }
    let signed = Signed { nonce, ..signed };
    let is_right = |key: &str| signed.signature(key).as_bytes().ct_eq(signature.as_bytes());
    let second = realm.key2.as_deref().filter(|key| !key.is_empty()).unwrap_or(key);
    match bool::from(is_right(key) | is_right(second)) {
        true => Outcome::Valid,
        false => Outcome::WrongSignature,
    }
}

fn refuse(account: &str) -> Response {
    let mut response = answer::words(
        StatusCode::UNAUTHORIZED,
        "X-Container-Sync-Auth header not valid; contact cluster operator for support.",
    );
    let out = response.headers_mut();
    out.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    let realm = format!("SwiftContainerSync realm=\"{}\"", percent::quote(account));
    headers::set(out, WWW_AUTHENTICATE.as_str(), &realm);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_protocol::sync::RealmsFile;

    fn realms() -> Realms {
        let text = "[us]\nkey = one\nkey2 = two\ncluster_here = http://here/v1\ncluster_there = http://there/v1\n\
                    [keyless]\ncluster_x = http://x/v1\n[alone]\nkey = k\n";
        RealmsFile::parse(text).unwrap().realms
    }

    const SIGNED: Signed<'_> = Signed {
        method: "PUT",
        path: "/v1/AUTH_a/c/o",
        timestamp: "1700000000.00000",
        nonce: "nonce",
        user_key: "user",
    };

    #[test]
    fn signatures_of_both_keys_are_good() {
        for (given, expected) in [
            (format!("US nonce {}", SIGNED.signature("one")), Outcome::Valid),
            (format!("us  nonce {}", SIGNED.signature("two")), Outcome::Valid),
            (
                format!("US other {}", SIGNED.signature("one")),
                Outcome::WrongSignature,
            ),
            (
                format!("US nonce {}", SIGNED.signature("three")),
                Outcome::WrongSignature,
            ),
            ("US nonce".into(), Outcome::NotThreeParts),
            ("US nonce sig more".into(), Outcome::NotThreeParts),
            (String::new(), Outcome::NotThreeParts),
            ("FR nonce sig".into(), Outcome::NoRealmKey),
            ("keyless nonce sig".into(), Outcome::NoRealmKey),
        ] {
            assert_eq!(check_auth(&realms(), &given, SIGNED), expected, "{given}");
        }
        let keyless = Signed {
            user_key: "",
            ..SIGNED
        };
        let given = format!("US nonce {}", keyless.signature("one"));
        assert_eq!(check_auth(&realms(), &given, keyless), Outcome::NoUserKey);
    }

    #[test]
    fn other_ends_are_checked_when_they_are_set() {
        let mut config = ContainerSyncConfig::default();
        for (value, problem) in [
            ("//us/there/AUTH_a/c", None),
            ("//US/HERE/AUTH_a/c/", None),
            ("http://127.0.0.1:8080/v1/AUTH_a/c", None),
            ("//fr/there/AUTH_a/c", Some("No realm key for 'FR'")),
            ("//keyless/x/AUTH_a/c", Some("No realm key for 'KEYLESS'")),
            (
                "//us/nowhere/AUTH_a/c",
                Some("No cluster endpoint for 'US' 'NOWHERE'"),
            ),
            (
                "http://evil.example/v1/AUTH_a/c",
                Some("Invalid host 'evil.example' in X-Container-Sync-To"),
            ),
            (
                "//us/there",
                Some("Invalid X-Container-Sync-To format \"//us/there\""),
            ),
        ] {
            let found = check_sync_to(&config, &realms(), value).err();
            assert_eq!(found.as_deref(), problem, "{value}");
        }
        config.allow_full_urls = false;
        assert!(check_sync_to(&config, &realms(), "http://127.0.0.1/v1/AUTH_a/c").is_err());
        assert!(check_sync_to(&config, &realms(), "//us/there/AUTH_a/c").is_ok());
    }

    #[test]
    fn info_shows_names_only() {
        assert_eq!(
            shown_realms(&realms(), Some("//us/here")),
            json!({
                "US": {"clusters": {"HERE": {"current": true}, "THERE": {}}},
                "KEYLESS": {"clusters": {"X": {}}},
            })
        );
    }
}
