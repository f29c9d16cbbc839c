//! Steps that show more in the rows of a container listing than the core does: most pages hold nothing of theirs.

use super::answer;
use crate::pipeline::Next;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, HeaderValue};
use martlet_service::{Body, Request, Response, collect, respond};
use memchr::memmem;
use serde_json::Value;

/// Bytes of the largest page of a listing.
const MAX_PAGE_BYTES: usize = 64 << 20;

/// Whether a page has these bytes anywhere.
pub fn holds(page: &[u8], mark: &str) -> bool {
    memmem::find(page, mark.as_bytes()).is_some()
}

/// Runs the rest, and lets `change` at every row of its page when the page holds `mark`. Other pages are not parsed.
pub async fn rewrite(request: Request, next: Next, mark: &str, change: impl FnMut(&mut Value)) -> Response {
    let response = next.run(request).await;
    if response.status() != StatusCode::OK {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(page) = collect(body, MAX_PAGE_BYTES).await else {
        return answer::status(StatusCode::SERVICE_UNAVAILABLE);
    };
    let changed = holds(&page, mark).then(|| changed(&page, change)).flatten();
    let page = changed.map_or(page, Into::into);
    if parts.headers.contains_key(CONTENT_LENGTH) {
        parts
            .headers
            .insert(CONTENT_LENGTH, HeaderValue::from(page.len()));
    }
    respond::with(parts.status, parts.headers, Body::full(page))
}

/// `None` when the page is no listing: then it is left as it is.
pub fn changed(page: &[u8], change: impl FnMut(&mut Value)) -> Option<Vec<u8>> {
    let mut rows: Vec<Value> = serde_json::from_slice(page).ok()?;
    rows.iter_mut().for_each(change);
    serde_json::to_vec(&rows).ok()
}
