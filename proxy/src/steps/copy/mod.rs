//! Copies inside the cluster: `COPY` with `Destination`, and `PUT` with `X-Copy-From`. The body streams from the one to
//! the other through this process, never whole in memory.
//!
//! See "Server-side copy" in Swift's middleware documentation.

mod head;
mod heartbeat;

use super::answer;
use crate::Edge;
use crate::context::{self, Origin, is_true, target};
use crate::pipeline::Next;
use head::{Paths, SourceKind};
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, RANGE, TRANSFER_ENCODING};
use http::{Method, StatusCode};
use martlet_protocol::header;
use martlet_protocol::name::{ObjectPath, Target};
use martlet_protocol::percent;
use martlet_protocol::query::Query;
use martlet_service::{Body, Request, Response, headers};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Copies that a client waits for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CopyConfig {
    /// Seconds between heartbeats, when a client asks for them.
    pub yield_frequency: u64,
}

impl Default for CopyConfig {
    fn default() -> Self {
        CopyConfig { yield_frequency: 10 }
    }
}

/// What of the request's own conditions judges the source.
const SOURCE_HEADERS: [HeaderName; 5] = [
    RANGE,
    http::header::IF_MATCH,
    http::header::IF_NONE_MATCH,
    http::header::IF_MODIFIED_SINCE,
    http::header::IF_UNMODIFIED_SINCE,
];

/// Only requests that ask for a copy.
pub fn concerns(request: &Request, _: &Edge) -> bool {
    request.method().as_str() == "COPY" || request.headers().contains_key(header::X_COPY_FROM)
}

pub async fn run(request: Request, next: Next) -> Response {
    let path = match target(&request).as_deref() {
        Some(Target::Object(path)) => path.clone(),
        _ => return next.run(request).await,
    };
    let is_put_copy = *request.method() == Method::PUT
        && headers::text(request.headers(), header::X_COPY_FROM).is_some_and(|value| !value.is_empty());
    let paths = if request.method().as_str() == "COPY" {
        Paths::of_copy(request.headers(), &path)
    } else if is_put_copy {
        if headers::text(request.headers(), CONTENT_LENGTH.as_str())
            .is_some_and(|length| length.trim() != "0")
        {
            return answer::words(StatusCode::BAD_REQUEST, "Copy requests require a zero byte body");
        }
        Paths::of_put(request.headers(), &path)
    } else {
        return next.run(request).await;
    };
    match paths {
        Ok(paths) => Box::pin(copy(request, next, paths)).await,
        Err(problem) => answer::words(StatusCode::PRECONDITION_FAILED, problem),
    }
}

async fn copy(request: Request, next: Next, paths: Paths) -> Response {
    let mut query = context::query(&request);
    let wants_manifest = query.get("multipart-manifest") == Some("get");
    let wants_heartbeat = query.get("heartbeat").is_some_and(is_true);
    let source_request = source_request(&request, &paths.source, &query);
    let max_file_size = next.edge().config.constraints.max_file_size;

    let source = next.clone().run(source_request).await;
    if source.status().as_u16() >= 300 {
        return source;
    }
    let (source_parts, body) = source.into_parts();
    let announced = headers::text(&source_parts.headers, CONTENT_LENGTH.as_str())
        .and_then(|text| text.parse::<u64>().ok());
    let length = match announced.or(body.content_length()) {
        Some(length) if length <= max_file_size => length,
        _ => return answer::status(StatusCode::PAYLOAD_TOO_LARGE),
    };
    let kind = SourceKind::of(&source_parts.headers, source_parts.status, wants_manifest);
    let is_fresh = headers::text(request.headers(), header::X_FRESH_METADATA).is_some_and(is_true);
    let sink_headers = head::sink(request.headers(), &source_parts.headers, kind, is_fresh, length);

    if wants_manifest {
        match kind {
            SourceKind::StaticManifest => {
                query.remove("multipart-manifest");
                query.remove("format");
                query.push("multipart-manifest", "put");
            }
            SourceKind::DynamicManifest => query.remove("multipart-manifest"),
            SourceKind::Whole | SourceKind::Derived => {}
        }
    }
    // It says which version is read; the copy is a new one.
    query.remove("version-id");
    // The copy beats for all of it; a manifest that beat for itself would hide how it ended.
    query.remove("heartbeat");
    let beats = wants_heartbeat.then(|| {
        let seconds = next.edge().config.copy.yield_frequency;
        heartbeat::Heartbeat::new(request.headers(), seconds)
    });
    let mut shown = head::shown(&paths.source, &source_parts.headers, &sink_headers);
    let sink = sink_request(request, sink_headers, &paths.destination, &query.encode(), body);
    if let Some(beats) = beats {
        return beats.answer(next.run(sink), shown).await;
    }
    let mut response = next.run(sink).await;
    if response.status().is_success() {
        let out = response.headers_mut();
        for (name, value) in shown.drain() {
            if let Some(name) = name {
                out.insert(name, value);
            }
        }
    }
    response
}

/// A GET of the source in the client's name, with the client's parameters. `If-None-Match: *` asks that the destination
/// be new and does not concern the source.
fn source_request(request: &Request, source: &ObjectPath, query: &Query) -> Request {
    let mut query = query.clone();
    if query.get("multipart-manifest") == Some("get") {
        query.remove("format");
        query.push("format", "raw");
    }
    let target = Target::Object(source.clone());
    let mut get = Origin::of(request).request(Method::GET, target, &query.encode());
    let map = get.headers_mut();
    for name in SOURCE_HEADERS {
        let Some(value) = request.headers().get(&name) else {
            continue;
        };
        if name != http::header::IF_NONE_MATCH || value.as_bytes() != b"*" {
            map.insert(name, value.clone());
        }
    }
    map.insert(
        HeaderName::from_static(header::X_NEWEST),
        HeaderValue::from_static("true"),
    );
    get
}

fn sink_request(request: Request, map: HeaderMap, to: &ObjectPath, query: &str, body: Body) -> Request {
    let (mut parts, _) = request.into_parts();
    parts.method = Method::PUT;
    parts.headers = map;
    parts.headers.remove(TRANSFER_ENCODING);
    let target = Target::Object(to.clone());
    parts.uri = context::uri(&target, query);
    parts.extensions.insert(Arc::new(target));
    Request::from_parts(parts, body)
}

/// `container/object`, percent-encoded, as `X-Copied-From` shows it.
fn shown_path(path: &ObjectPath) -> String {
    format!(
        "{}/{}",
        percent::quote_segment(&path.container),
        percent::quote(&path.object)
    )
}
