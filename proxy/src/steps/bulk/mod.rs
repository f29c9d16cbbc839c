//! Many things in one request: archives that become objects, and lists of names to delete.
//!
//! See "Bulk Operations" in Swift's middleware documentation. What is asked is done by requests through the steps below,
//! with the client's own token, so that every rule holds as if the client had made them itself. The answer is always
//! 200; what became of it stands in the report at its end.
//!
//! - `delete`: `?bulk-delete`; `names` reads its list.
//! - `extract`: `?extract-archive`; `source` unpacks the upload, `tar` reads the archive.

mod delete;
mod extract;
mod names;
mod outcome;
mod source;
mod tar;

use super::heartbeat::Heartbeat;
use super::report::{OFFERS, Report};
use super::{accept, answer};
use crate::Edge;
use crate::context::{self, Origin, target};
use crate::pipeline::Next;
use bytes::Bytes;
use http::header::{
    ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING, USER_AGENT,
};
use http::{Method, StatusCode};
use martlet_protocol::header;
use martlet_protocol::limits::Limits;
use martlet_protocol::name::Target;
use martlet_service::{Request, Response, headers, respond};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use source::Packing;
use std::time::Duration;

/// Bounds of bulk requests.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BulkConfig {
    /// Containers one archive may make.
    pub max_containers_per_extraction: usize,
    /// Failures after which an archive is given up.
    pub max_failed_extractions: usize,
    pub max_deletes_per_request: usize,
    /// Failures after which a list is given up.
    pub max_failed_deletes: usize,
    /// Seconds between two signs of life.
    pub yield_frequency: u64,
    /// Names of one list deleted together.
    pub delete_concurrency: usize,
    /// How often the deletion of a container that is not empty yet is tried again.
    pub delete_container_retry_count: u32,
    /// Small files of one archive stored together. Swift stores one after the other.
    pub extract_concurrency: usize,
}

impl Default for BulkConfig {
    fn default() -> Self {
        BulkConfig {
            max_containers_per_extraction: 10_000,
            max_failed_extractions: 1_000,
            max_deletes_per_request: 10_000,
            max_failed_deletes: 1_000,
            yield_frequency: 10,
            delete_concurrency: 2,
            delete_container_retry_count: 0,
            extract_concurrency: 8,
        }
    }
}

/// Adds what `/info` says of this step.
pub fn describe(edge: &Edge, sections: &mut Map<String, Value>) {
    let config = &edge.config.bulk;
    let upload = json!({
        "max_containers_per_extraction": config.max_containers_per_extraction,
        "max_failed_extractions": config.max_failed_extractions,
    });
    let delete = json!({
        "max_deletes_per_request": config.max_deletes_per_request,
        "max_failed_deletes": config.max_failed_deletes,
    });
    sections.insert("bulk_upload".into(), upload);
    sections.insert("bulk_delete".into(), delete);
}

/// It is asked for in the query.
pub fn concerns(request: &Request, _: &Edge) -> bool {
    request.uri().query().is_some()
}

pub async fn run(mut request: Request, next: Next) -> Response {
    let query = context::query(&request);
    let Some(target) = target(&request) else {
        return next.run(request).await;
    };
    let kind = match *request.method() {
        Method::PUT => match query.get("extract-archive") {
            None => return next.run(request).await,
            Some(format) => match packing(format) {
                Some(packing) => Kind::Extract(packing),
                None => return answer::words(StatusCode::BAD_REQUEST, "Unsupported archive format"),
            },
        },
        Method::POST | Method::DELETE if query.has("bulk-delete") => Kind::Delete,
        _ => return next.run(request).await,
    };
    let format = accept::best_match(headers::text(request.headers(), ACCEPT.as_str()), &OFFERS);
    let edge = next.edge();
    let every = Duration::from_secs(edge.config.bulk.yield_frequency);
    let patience = Duration::from_millis(edge.config.app.client_timeout_ms);
    let caller = Caller {
        origin: Origin::of(&request),
        tokens: tokens(request.headers()),
    };
    let body = std::mem::take(request.body_mut());
    let refusal = match format {
        Ok(Some(_)) if !says_length(request.headers()) => Some(StatusCode::LENGTH_REQUIRED),
        Ok(Some(_)) => None,
        _ => Some(StatusCode::NOT_ACCEPTABLE),
    };
    let shown = format.ok().flatten().unwrap_or(OFFERS[0]);
    match kind {
        Kind::Delete => {
            let refusal = refusal.or_else(|| delete::refused_type(request.headers()));
            let work = delete::delete(next, caller, (*target).clone(), body, patience, refusal);
            tell(shown, "delete", every, work).await
        }
        Kind::Extract(packing) => {
            let archive = extract::Upload {
                source: source::Source::new(body, packing, patience),
                base: base(&target),
                target: (*target).clone(),
                headers: extract::headers_for_all(request.headers()),
            };
            let work = extract::extract(next, caller, archive, refusal);
            tell(shown, "extract", every, work).await
        }
    }
}

/// Less than this between two signs of life helps nobody.
const SHORTEST: Duration = Duration::from_millis(10);

/// Does `work` while the client is told that it goes on; `root` names the report's element in XML.
async fn tell(
    format: &'static str,
    root: &'static str,
    every: Duration,
    work: impl Future<Output = Report> + Send + 'static,
) -> Response {
    let written = async move { Bytes::from(work.await.write(format, root)) };
    let heartbeat = Heartbeat::when_slow(every.max(SHORTEST), format);
    let body = heartbeat.body(written).await;
    let mut response = respond::with(StatusCode::OK, HeaderMap::new(), body);
    headers::set(response.headers_mut(), CONTENT_TYPE.as_str(), format);
    response
}

enum Kind {
    Extract(Packing),
    Delete,
}

fn packing(format: &str) -> Option<Packing> {
    match format.to_lowercase().trim_matches('.') {
        "tar" => Some(Packing::None),
        "tar.gz" => Some(Packing::Gzip),
        "tar.bz2" => Some(Packing::Bzip2),
        _ => None,
    }
}

/// Whether a request says how its body ends.
fn says_length(map: &HeaderMap) -> bool {
    map.contains_key(CONTENT_LENGTH)
        || headers::text(map, TRANSFER_ENCODING.as_str())
            .is_some_and(|coding| coding.trim().eq_ignore_ascii_case("chunked"))
}

/// Where an archive goes below its account: `""`, `container`, or `container/folder`.
fn base(target: &Target) -> String {
    match target {
        Target::Account(_) => String::new(),
        Target::Container(path) => path.container.to_string(),
        Target::Object(path) => {
            let whole = format!("{}/{}", path.container, path.object);
            whole.trim_end_matches('/').to_owned()
        }
    }
}

/// In whose name the requests below are made.
#[derive(Clone)]
struct Caller {
    origin: Origin,
    tokens: HeaderMap,
}

impl Caller {
    /// A request with the client's tokens; `agent` is added to the name of its program.
    fn request(&self, method: Method, target: Target, agent: &str) -> Request {
        let mut request = self.origin.request(method, target, "");
        let map = request.headers_mut();
        map.extend(self.tokens.clone());
        let program = headers::text(map, USER_AGENT.as_str()).unwrap_or("");
        let program = format!("{program} {agent}");
        headers::set(map, USER_AGENT.as_str(), program.trim());
        request
    }
}

fn tokens(map: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for name in [
        header::X_AUTH_TOKEN,
        header::X_STORAGE_TOKEN,
        header::X_SERVICE_TOKEN,
    ] {
        if let Some(value) = map.get(name) {
            let value: HeaderValue = value.clone();
            kept.insert(HeaderName::from_static(name), value);
        }
    }
    kept
}

/// The longest `container/object` there can be, with its slashes.
fn max_path_length(limits: &Limits) -> usize {
    limits.max_object_name_length + limits.max_container_name_length + 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_and_bases() {
        for (format, expected) in [
            ("tar", Some(Packing::None)),
            ("TAR.GZ", Some(Packing::Gzip)),
            (".tar.bz2.", Some(Packing::Bzip2)),
            ("zip", None),
            ("tgz", None),
            ("", None),
        ] {
            assert_eq!(packing(format), expected, "{format}");
        }
        for (path, expected) in [
            ("a", ""),
            ("a/", ""),
            ("a/c", "c"),
            ("a/c/", "c"),
            ("a/c/dir//", "c/dir"),
            ("a/c/d/e", "c/d/e"),
        ] {
            assert_eq!(base(&Target::parse(path).unwrap()), expected, "{path}");
        }
    }
}
