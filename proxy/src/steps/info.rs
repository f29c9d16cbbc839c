//! `/info`: what this cluster can do and where its limits are, for clients that ask before they act.

use super::answer;
use crate::Edge;
use crate::context;
use crate::pipeline::Next;
use hmac::{Hmac, KeyInit, Mac};
use http::header::{HeaderValue, ORIGIN};
use http::{Method, StatusCode};
use martlet_protocol::query::Query;
use martlet_service::{Request, Response, respond};
use serde_json::{Map, Value, json};
use subtle::ConstantTimeEq;

/// The release of OpenStack Swift whose API this proxy speaks; clients compare it with what they need.
const SWIFT_API_RELEASE: &str = "2.38.3";

pub fn concerns(request: &Request, _: &Edge) -> bool {
    request.uri().path() == "/info"
}

pub async fn run(request: Request, next: Next) -> Response {
    let edge = next.edge();
    match *request.method() {
        Method::GET | Method::HEAD => {}
        Method::OPTIONS => {
            let mut response = respond::empty(StatusCode::OK);
            response.headers_mut().insert(
                http::header::ALLOW,
                HeaderValue::from_static("HEAD, GET, OPTIONS"),
            );
            return response;
        }
        _ => return answer::method_not_allowed("HEAD, GET, OPTIONS"),
    }
    let config = &edge.config.info;
    if !config.expose_info {
        return answer::status(StatusCode::FORBIDDEN);
    }
    let query = context::query(&request);
    let is_admin = query.has("swiftinfo_sig") || query.has("swiftinfo_expires");
    if is_admin && let Err(status) = check_signature(&config.admin_key, &query, edge.clock.now().secs()) {
        return answer::status(status);
    }
    let mut response = respond::json(StatusCode::OK, &sections(edge, is_admin).await);
    if let Some(origin) = request.headers().get(ORIGIN) {
        let out = response.headers_mut();
        out.insert(http::header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        out.insert(
            http::header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("x-trans-id"),
        );
    }
    response
}

/// `swiftinfo_sig` is an HMAC over method, expiry and path with the operator's key. A GET's signature is good for HEAD.
fn check_signature(admin_key: &str, query: &Query, now_secs: u64) -> Result<(), StatusCode> {
    if admin_key.is_empty() {
        return Err(StatusCode::FORBIDDEN);
    }
    let expires = query
        .get("swiftinfo_expires")
        .and_then(|text| text.parse::<u64>().ok());
    let expires = expires
        .filter(|expires| *expires >= now_secs)
        .ok_or(StatusCode::UNAUTHORIZED)?;
    let given = query.get("swiftinfo_sig").unwrap_or("");
    let is_right = |method: &str| {
        let message = format!("{method}\n{expires}\n/info");
        let digests = [
            hmac_hex::<Hmac<sha1::Sha1>>(admin_key, &message),
            hmac_hex::<Hmac<sha2::Sha256>>(admin_key, &message),
            hmac_hex::<Hmac<sha2::Sha512>>(admin_key, &message),
        ];
        digests
            .iter()
            .any(|digest| bool::from(digest.as_bytes().ct_eq(given.as_bytes())))
    };
    if is_right("GET") || is_right("HEAD") {
        Ok(())
    } else {
        Err(StatusCode::UNAUTHORIZED)
    }
}

fn hmac_hex<M: Mac + KeyInit>(key: &str, message: &str) -> String {
    let mut mac = <M as KeyInit>::new_from_slice(key.as_bytes()).expect("an HMAC takes a key of any length");
    mac.update(message.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

async fn sections(edge: &Edge, is_admin: bool) -> Value {
    let mut all = Map::new();
    all.insert("swift".into(), swift_section(edge));
    all.insert("tempauth".into(), json!({"account_acls": true}));
    all.insert("formpost".into(), super::formpost::info(&edge.config.formpost));
    all.insert("staticweb".into(), super::staticweb::info());
    all.insert("tempurl".into(), super::tempurl::info(&edge.config.tempurl));
    all.insert("slo".into(), super::slo::info(&edge.config.slo));
    all.insert(
        "etag_quoter".into(),
        super::etag_quoter::info(&edge.config.etag_quoter),
    );
    all.insert("symlink".into(), super::symlink::info(&edge.config.symlink));
    edge.config.versioned_writes.show(&mut all);
    super::bulk::describe(edge, &mut all);
    super::ratelimit::describe(edge, &mut all);
    super::container_sync::describe(edge, &mut all).await;
    super::cname_lookup::describe(edge, &mut all);
    super::crossdomain::describe(edge, &mut all);
    super::name_check::describe(edge, &mut all);
    super::read_only::describe(edge, &mut all);
    super::container_quotas::describe(&mut all);
    super::account_quotas::describe(&mut all);
    let remap = &edge.config.domain_remap;
    if !remap.storage_domain.is_empty() {
        let section = json!({"default_reseller_prefix": remap.default_reseller_prefix});
        all.insert("domain_remap".into(), section);
    }
    if let Some(door) = edge.s3() {
        all.insert("s3api".into(), door.info.clone());
    }
    all.insert("martlet".into(), json!({"version": env!("CARGO_PKG_VERSION")}));
    if !is_admin {
        hide(&mut all, &edge.config.info.disallowed_sections);
    }
    Value::Object(all)
}

fn swift_section(edge: &Edge) -> Value {
    let policies: Vec<Value> = edge
        .policies
        .iter()
        .filter(|policy| !policy.is_deprecated)
        .map(|policy| {
            let mut names = vec![policy.name.clone()];
            names.extend(policy.aliases.iter().cloned());
            let mut shown = json!({"name": policy.name, "aliases": names.join(", ")});
            if policy.is_default {
                shown["default"] = Value::Bool(true);
            }
            shown
        })
        .collect();
    let mut section = serde_json::to_value(&edge.config.constraints).unwrap_or_default();
    section["version"] = json!(SWIFT_API_RELEASE);
    section["strict_cors_mode"] = json!(edge.config.cors.strict_cors_mode);
    section["policies"] = json!(policies);
    section["allow_account_management"] = json!(edge.config.app.allow_account_management);
    section["account_autocreate"] = json!(edge.config.app.account_autocreate);
    section["allow_open_expired"] = json!(edge.config.app.allow_open_expired);
    section["valid_api_versions"] = json!(["v1", "v1.0"]);
    section
}

/// Takes out `section` or `section.key`.
fn hide(all: &mut Map<String, Value>, disallowed: &[String]) {
    for name in disallowed {
        match name.split_once('.') {
            None => {
                all.remove(name);
            }
            Some((section, key)) => {
                if let Some(Value::Object(section)) = all.get_mut(section) {
                    section.remove(key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_checked_and_expire() {
        let sig = hmac_hex::<Hmac<sha2::Sha256>>("secret", "GET\n100\n/info");
        let check = |key: &str, expires: &str, sig: &str, now: u64| {
            let query = format!("swiftinfo_expires={expires}&swiftinfo_sig={sig}");
            check_signature(key, &Query::parse(&query).unwrap(), now).map_err(|status| status.as_u16())
        };
        assert_eq!(check("secret", "100", &sig, 100), Ok(()));
        assert_eq!(check("secret", "100", &sig, 101), Err(401));
        assert_eq!(check("secret", "101", &sig, 100), Err(401));
        assert_eq!(check("other", "100", &sig, 100), Err(401));
        assert_eq!(check("secret", "junk", &sig, 100), Err(401));
        assert_eq!(check("", "100", &sig, 100), Err(403));
    }

    #[test]
    fn hidden_parts_are_gone() {
        let Value::Object(mut all) = json!({"a": {"b": 1, "c": 2}, "d": {}}) else {
            panic!()
        };
        hide(&mut all, &["a.b".into(), "d".into(), "x.y".into()]);
        assert_eq!(Value::Object(all), json!({"a": {"c": 2}}));
    }
}
