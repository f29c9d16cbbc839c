//! Static large objects: a manifest names segments with their sizes and ETags, and stands for their bytes in order.
//!
//! See "Static Large Objects" in Swift's middleware documentation. S3 multipart uploads are kept the same way: their
//! manifests, written from inside only, name parts in a container of a reserved name, and carry the upload's id in
//! [`MULTIPART`]. When such an object goes or is replaced, `parts`, a step of its own further down, deletes its parts.
//!
//! - `manifest`: what a client sends, checked. `stored`: what is kept. `facts`: what headers tell of it. `plan`: which
//!   bytes of which segment. All pure.
//! - `put`, `get`, `walk`, `delete`, `later`, `listing`: the requests.

mod config;
mod delete;
mod facts;
mod get;
mod later;
mod listing;
mod manifest;
pub mod parts;
mod plan;
mod put;
mod stored;
mod walk;

pub use config::{SloConfig, info};

use super::answer;
use crate::context::{self, is_true, target};
use crate::pipeline::Next;
use http::header::{HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH, RANGE};
use http::{Method, StatusCode};
use martlet_protocol::header;
use martlet_protocol::name::Target;
use martlet_service::{Request, Response, headers};

/// Keeps the large object's ETag beside the manifest's own.
pub const SLO_ETAG: &str = "x-object-sysmeta-slo-etag";
/// Keeps the large object's length.
pub const SLO_SIZE: &str = "x-object-sysmeta-slo-size";
/// Marks the manifest of an S3 multipart upload; its value is the upload's id.
pub const MULTIPART: &str = "x-object-sysmeta-martlet-multipart";

pub async fn run(request: Request, next: Next) -> Response {
    let Some(target) = target(&request) else {
        return next.run(request).await;
    };
    let path = match &*target {
        Target::Object(path) => path.clone(),
        Target::Container(_) if *request.method() == Method::GET => {
            return Box::pin(listing::get(request, next)).await;
        }
        Target::Container(_) | Target::Account(_) => return next.run(request).await,
    };
    if request.extensions().get::<context::Synced>().is_some() {
        // A manifest of another cluster comes as it is kept there, maybe before its segments.
        return next.run(request).await;
    }
    let query = context::query(&request);
    let verb = query.get("multipart-manifest").unwrap_or("");
    match (request.method().as_str(), verb) {
        ("PUT", "put") => Box::pin(put::put(request, next, path)).await,
        ("DELETE", "delete") => Box::pin(delete::delete(request, next, path)).await,
        ("GET" | "HEAD", "get") => {
            Box::pin(get::manifest(request, next, query.get("format") == Some("raw"))).await
        }
        ("GET" | "HEAD", _) => get::object(request, next, path, &query).await,
        _ if request.headers().contains_key(header::X_STATIC_LARGE_OBJECT) => answer::words(
            StatusCode::BAD_REQUEST,
            "X-Static-Large-Object is a reserved header. To create a static large object add query param \
             multipart-manifest=put.",
        ),
        _ => next.run(request).await,
    }
}

/// Whether an answer is that of a static large object's manifest.
fn is_slo(map: &HeaderMap) -> bool {
    headers::text(map, header::X_STATIC_LARGE_OBJECT).is_some_and(is_true)
}

/// Asks the storage nodes to send the whole of objects that carry a header, whatever range is asked, if one is.
pub fn ignore_range_if(map: &mut HeaderMap, name: &'static str) {
    if map.contains_key(RANGE) {
        add_to_list(map, "x-backend-ignore-range-if-metadata-present", name);
    }
}

/// Asks the storage nodes to judge conditions, if there are any, by an ETag kept in metadata, unless another was named
/// before.
fn etag_is_at(map: &mut HeaderMap, name: &'static str) {
    if map.contains_key(IF_MATCH) || map.contains_key(IF_NONE_MATCH) {
        add_to_list(map, header::X_BACKEND_ETAG_IS_AT, name);
    }
}

fn add_to_list(map: &mut HeaderMap, list: &'static str, item: &'static str) {
    let value = match headers::text(map, list) {
        Some(value) if !value.is_empty() => HeaderValue::try_from([value, ",", item].concat()),
        _ => Ok(HeaderValue::from_static(item)),
    };
    // What was a value and what we add to it are one.
    if let Ok(value) = value {
        map.insert(HeaderName::from_static(list), value);
    }
}
