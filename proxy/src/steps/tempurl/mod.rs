//! Temporary URLs: a signature in the query opens what it signs, for whoever has the link, until it ends.
//!
//! See "TempURL" in Swift's middleware documentation. The signature is an HMAC with a key that stands in the account's or
//! the container's metadata. What it opens is a [`Grant`], which the last step judges in the place of a user.

mod disposition;
mod filter;
pub mod keys;
mod params;
pub mod signature;

use super::answer;
use crate::Edge;
use crate::context::{self, target};
use crate::grant::{Grant, Scope};
use crate::pipeline::Next;
use http::header::{CONTENT_DISPOSITION, EXPIRES, HeaderMap};
use http::{Method, StatusCode};
use keys::Keys;
use martlet_protocol::date::format_http_date;
use martlet_protocol::name::{ContainerPath, Target};
use martlet_service::{Body, Peer, Request, Response, headers};
use params::Params;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use signature::{DEFAULT_DIGESTS, Digest, Signature};
use std::sync::Arc;

/// The user that logs name for whoever came with a temporary URL.
const USER: &str = ".wsgi.tempurl";
/// Headers that would make an object a pointer to data its signature does not open.
const POINTERS: [(&str, &str); 3] = [
    ("x-object-manifest", "X-Object-Manifest"),
    ("x-symlink-target", "X-Symlink-Target"),
    ("x-copy-from", "X-Copy-From"),
];
/// Tells this step, and the one that formats listings, which step made an answer; clients never see it.
pub const CONTENT_GENERATOR: &str = "x-backend-content-generator";

/// What temporary URLs may do, and which headers cross them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TempUrlConfig {
    pub methods: Vec<String>,
    /// Taken from requests; a name may end in `*`.
    pub incoming_remove_headers: Vec<String>,
    /// Exceptions to `incoming_remove_headers`.
    pub incoming_allow_headers: Vec<String>,
    /// Taken from answers.
    pub outgoing_remove_headers: Vec<String>,
    /// Exceptions to `outgoing_remove_headers`.
    pub outgoing_allow_headers: Vec<String>,
    pub allowed_digests: Vec<Digest>,
}

impl Default for TempUrlConfig {
    fn default() -> Self {
        let list = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
        TempUrlConfig {
            methods: list(&["GET", "HEAD", "PUT", "POST", "DELETE"]),
            incoming_remove_headers: list(&["x-timestamp", "x-open-expired"]),
            incoming_allow_headers: Vec::new(),
            outgoing_remove_headers: list(&["x-object-meta-*"]),
            outgoing_allow_headers: list(&["x-object-meta-public-*"]),
            allowed_digests: DEFAULT_DIGESTS.to_vec(),
        }
    }
}

/// This step in `/info`.
pub fn info(config: &TempUrlConfig) -> Value {
    let mut section = signature::shown(&config.allowed_digests);
    for (name, list) in [
        ("methods", &config.methods),
        ("incoming_remove_headers", &config.incoming_remove_headers),
        ("incoming_allow_headers", &config.incoming_allow_headers),
        ("outgoing_remove_headers", &config.outgoing_remove_headers),
        ("outgoing_allow_headers", &config.outgoing_allow_headers),
    ] {
        section.insert(name.into(), json!(list));
    }
    Value::Object(section)
}

/// A valid temporary URL, for steps that make links of the same kind.
#[derive(Clone, Debug)]
pub struct Link {
    pub prefix: Option<String>,
    /// As the client wrote it.
    pub expires: String,
    /// In hexadecimal.
    pub signature: String,
    pub ip_range: Option<String>,
    pub is_inline: bool,
}

/// Why a URL opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Invalid,
    /// Too few servers answered to know the keys.
    Unknown,
}

impl Refusal {
    /// Says nothing of what was wrong: the words would help those who guess.
    fn response(self, account: &str, is_head: bool) -> Response {
        let status = match self {
            Refusal::Invalid => StatusCode::UNAUTHORIZED,
            Refusal::Unknown => return answer::status(StatusCode::SERVICE_UNAVAILABLE),
        };
        let mut response = answer::unauthorized(account);
        if is_head {
            *response.body_mut() = Body::empty();
            return response;
        }
        let (parts, body) = answer::words(status, "401 Unauthorized: Temp URL invalid\n").into_parts();
        response.headers_mut().extend(parts.headers);
        *response.body_mut() = body;
        response
    }
}

/// Signatures stand in the query.
pub fn concerns(request: &Request, _: &Edge) -> bool {
    request.uri().query().is_some()
}

pub async fn run(mut request: Request, next: Next) -> Response {
    if *request.method() == Method::OPTIONS {
        return next.run(request).await;
    }
    let Some(params) = Params::read(&context::query(&request)) else {
        return next.run(request).await;
    };
    let edge = next.edge().clone();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let is_head = *request.method() == Method::HEAD;
    let Some(target) = target(&request) else {
        return Refusal::Invalid.response("unknown", is_head);
    };
    let account = target.account().clone();
    let config = &edge.config.tempurl;
    let now_secs = edge.clock.now().secs();
    let Some(claim) = claim(config, now_secs, &request, &target, &params) else {
        return Refusal::Invalid.response(&account, is_head);
    };
    let scope = match prove(&edge, &claim).await {
        Ok(scope) => scope,
        Err(refusal) => return refusal.response(&account, is_head),
    };
    if !is_read && let Some(name) = pointer(request.headers()) {
        let words = format!("The header '{name}' is not allowed in this tempurl");
        return answer::words(StatusCode::BAD_REQUEST, words);
    }
    filter::clean(
        request.headers_mut(),
        &config.incoming_remove_headers,
        &config.incoming_allow_headers,
    );
    let grant = Grant::new(scope, request.method().clone(), target.clone());
    let link = Link {
        prefix: params.prefix,
        expires: params.expires,
        signature: claim.signature.hex(),
        ip_range: params.ip_range,
        is_inline: params.is_inline,
    };
    request.extensions_mut().insert(Arc::new(grant));
    request.extensions_mut().insert(Arc::new(link));
    // Whatever else the query asked for was not signed.
    context::set_query(&mut request, "");
    if let Some(context) = context::context(&request) {
        context.set_user(USER);
    }

    let mut response = next.run(request).await;
    filter::clean(
        response.headers_mut(),
        &config.outgoing_remove_headers,
        &config.outgoing_allow_headers,
    );
    if !is_read || !response.status().is_success() {
        return response;
    }
    let is_web = headers::text(response.headers(), CONTENT_GENERATOR) == Some("staticweb");
    let Some(object) = target
        .object()
        .map_or(is_web.then_some(""), |object| Some(object))
    else {
        // Only a web page answers for a container: its plain listing was not signed.
        return Refusal::Invalid.response(&account, is_head);
    };
    let out = response.headers_mut();
    let value = disposition::value(
        params.is_inline || is_web,
        params.filename.as_deref(),
        headers::text(out, CONTENT_DISPOSITION.as_str()),
        object,
    );
    headers::set(out, CONTENT_DISPOSITION.as_str(), &value);
    headers::set(out, EXPIRES.as_str(), &format_http_date(claim.expires_secs));
    response
}

/// What a URL claims, when nothing but its keys is left to check.
struct Claim {
    signature: Signature,
    expires_secs: u64,
    container: ContainerPath,
    /// What may have been signed.
    messages: Vec<String>,
}

fn claim(
    config: &TempUrlConfig,
    now_secs: u64,
    request: &Request,
    target: &Target,
    params: &Params,
) -> Option<Claim> {
    let method = request.method();
    let expires_secs = params::parse_expires(&params.expires).filter(|expires| *expires > now_secs)?;
    let signature = Signature::parse(&params.signature)?;
    let is_possible = config.allowed_digests.contains(&signature.digest)
        && config.methods.iter().any(|known| known == method.as_str())
        && request.uri().path().starts_with("/v1/");
    if !is_possible {
        return None;
    }
    let path = signed_path(method, target, params.prefix.as_deref())?;
    if let Some(range) = &params.ip_range {
        let peer = request.extensions().get::<Peer>()?;
        if !params::is_in_range(peer.0.ip(), range) {
            return None;
        }
    }
    // Who may read or write an object may know its head.
    let methods: &[&str] = match *method {
        Method::HEAD => &["HEAD", "GET", "POST", "PUT"],
        _ => &[method.as_str()],
    };
    let messages = methods
        .iter()
        .map(|method| message(method, expires_secs, &path, params.ip_range.as_deref()));
    Some(Claim {
        signature,
        expires_secs,
        container: target.container_path()?,
        messages: messages.collect(),
    })
}

/// The scope of the key that signed.
async fn prove(edge: &Edge, claim: &Claim) -> Result<Scope, Refusal> {
    let keys = Keys::of(&edge.core, &claim.container).await;
    let is_right = |key: &str| {
        let mut messages = claim.messages.iter();
        messages.any(|message| claim.signature.is_of(key, message))
    };
    match keys.find(is_right) {
        Some(scope) => Ok(scope.clone()),
        None if keys.is_complete => Err(Refusal::Invalid),
        None => Err(Refusal::Unknown),
    }
}

/// The path that must have been signed; `None`: no signature opens this. A container's own path is opened only for
/// reading and only by a signature for all that is in it, since a web page may stand there.
fn signed_path(method: &Method, target: &Target, prefix: Option<&str>) -> Option<String> {
    let container = target.container()?;
    let object = target.object().map_or("", |object| object.as_str());
    let is_whole_container = matches!(*method, Method::GET | Method::HEAD) && prefix == Some("");
    if object.trim_matches('/').is_empty() && !is_whole_container {
        return None;
    }
    let account = target.account();
    match prefix {
        None => Some(format!("/v1/{account}/{container}/{object}")),
        Some(prefix) => object
            .starts_with(prefix)
            .then(|| format!("prefix:/v1/{account}/{container}/{prefix}")),
    }
}

/// The range comes first: a path may hold line ends, and must not be able to pass for another part.
fn message(method: &str, expires_secs: u64, path: &str, ip_range: Option<&str>) -> String {
    match ip_range {
        Some(range) => format!("ip={range}\n{method}\n{expires_secs}\n{path}"),
        None => format!("{method}\n{expires_secs}\n{path}"),
    }
}

fn pointer(map: &HeaderMap) -> Option<&'static str> {
    POINTERS
        .iter()
        .find(|(name, _)| map.contains_key(*name))
        .map(|(_, shown)| *shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_have_been_signed() {
        for (method, path, prefix, expected) in [
            (Method::GET, "a/c/o", None, Some("/v1/a/c/o")),
            (Method::PUT, "a/c/o/p ü", None, Some("/v1/a/c/o/p ü")),
            (Method::GET, "a/c/o/", None, Some("/v1/a/c/o/")),
            (Method::GET, "a/c/pre/o", Some("pre"), Some("prefix:/v1/a/c/pre")),
            (Method::PUT, "a/c/o", Some(""), Some("prefix:/v1/a/c/")),
            (Method::GET, "a/c", Some(""), Some("prefix:/v1/a/c/")),
            (Method::HEAD, "a/c", Some(""), Some("prefix:/v1/a/c/")),
            (Method::GET, "a/c/o", Some("p"), None),
            (Method::GET, "a/c", None, None),
            (Method::GET, "a/c", Some("p"), None),
            (Method::PUT, "a/c", Some(""), None),
            (Method::POST, "a/c", Some(""), None),
            (Method::DELETE, "a/c", Some(""), None),
            (Method::GET, "a/c//", None, None),
            (Method::GET, "a", Some(""), None),
        ] {
            let found = signed_path(&method, &Target::parse(path).unwrap(), prefix);
            assert_eq!(found.as_deref(), expected, "{method} {path} {prefix:?}");
        }
    }

    #[test]
    fn pointers_are_named() {
        let mut map = HeaderMap::new();
        assert_eq!(pointer(&map), None);
        headers::set(&mut map, "x-symlink-target", "c/o");
        assert_eq!(pointer(&map), Some("X-Symlink-Target"));
    }

    #[test]
    fn info_shows_what_swift_shows() {
        let shown = info(&TempUrlConfig::default());
        assert_eq!(
            shown,
            json!({
                "methods": ["GET", "HEAD", "PUT", "POST", "DELETE"],
                "incoming_remove_headers": ["x-timestamp", "x-open-expired"],
                "incoming_allow_headers": [],
                "outgoing_remove_headers": ["x-object-meta-*"],
                "outgoing_allow_headers": ["x-object-meta-public-*"],
                "allowed_digests": ["sha256", "sha512"],
            })
        );
    }
}
