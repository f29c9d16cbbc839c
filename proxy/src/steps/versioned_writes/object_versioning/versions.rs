//! Listings of containers that have, or had, versions: of what is current, and with `?versions` of all.

use super::container::show_enabled;
use super::{Refusal, listing, refuse};
use crate::context::{self, Origin};
use crate::pipeline::Next;
use crate::steps::answer;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};
use martlet_protocol::name::{ContainerPath, Target};
use martlet_service::{Body, Request, Response, collect, headers, respond};
use serde_json::Value;

/// Bytes of the largest page of a listing.
const MAX_PAGE_BYTES: usize = 64 << 20;

/// `?versions`: every version of every object.
pub async fn list(request: Request, next: Next, path: ContainerPath) -> Result<Response, Refusal> {
    let asked = context::query(&request);
    let origin = Origin::of(&request).privileged();
    let response = next.clone().run(request).await;
    if !response.status().is_success() {
        return Ok(response);
    }
    let query = listing::query_of_versions(&asked).map_err(|words| refuse(StatusCode::BAD_REQUEST, words))?;
    let (mut parts, body) = response.into_parts();
    show_enabled(&mut parts.headers);
    let unreadable = || Box::new(answer::status(StatusCode::SERVICE_UNAVAILABLE));
    let own = read(body).await.ok_or_else(unreadable)?;
    let kept = next
        .clone()
        .run(origin.request(Method::GET, Target::Container(path), &query.encode()))
        .await;
    let kept = match kept.status() {
        StatusCode::NOT_FOUND => Vec::new(),
        status if status.is_success() => read(kept.into_body()).await.ok_or_else(unreadable)?,
        _ => return Ok(kept),
    };
    let rows = listing::merge(own, kept, &asked, limit(&next, &asked));
    Ok(written(Response::from_parts(parts, Body::empty()), rows))
}

fn limit(next: &Next, asked: &martlet_protocol::query::Query) -> usize {
    let max = next.edge().config.constraints.container_listing_limit;
    martlet_protocol::listing::ListingQuery::parse(asked, max).map_or(max, |query| query.limit)
}

/// The rows of a page. Nothing at all is a page without rows.
async fn read(body: Body) -> Option<Vec<Value>> {
    let page = collect(body, MAX_PAGE_BYTES).await.ok()?;
    if page.is_empty() {
        return Some(Vec::new());
    }
    serde_json::from_slice(&page).ok()
}

/// The answer with other rows.
fn written(response: Response, rows: Vec<Value>) -> Response {
    let (mut parts, _) = response.into_parts();
    let page = match serde_json::to_vec(&rows) {
        Ok(page) => page,
        Err(error) => {
            tracing::error!(%error, "a listing could not be written");
            return answer::status(StatusCode::INTERNAL_SERVER_ERROR);
        }
    };
    parts
        .headers
        .insert(CONTENT_LENGTH, HeaderValue::from(page.len()));
    if headers::text(&parts.headers, CONTENT_TYPE.as_str()).is_none() {
        let json = HeaderValue::from_static("application/json; charset=utf-8");
        parts.headers.insert(CONTENT_TYPE, json);
    }
    respond::with(StatusCode::OK, parts.headers, Body::full(page))
}
