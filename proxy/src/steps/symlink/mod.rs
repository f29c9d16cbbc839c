//! Symbolic links: objects that stand for another object, wherever in the cluster that is.
//!
//! See "Symlink" in Swift's middleware documentation. A link is an object of no bytes whose system metadata names its
//! target; a static link also names the target's ETag, and holds only while the target still has it.
//!
//! - `link`: what a client asks for and what is kept, as values. Pure.
//! - `follow`: GET and HEAD. `make`: PUT. `listing`: the rows of links in a container.

mod follow;
pub mod link;
mod listing;
mod make;

use super::answer;
use crate::context::{self, target};
use crate::pipeline::Next;
use follow::Follow;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Method, StatusCode};
use link::Link;
use martlet_protocol::header;
use martlet_protocol::name::{ObjectPath, Target};
use martlet_service::{Body, Request, Response, headers};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How far links are followed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SymlinkConfig {
    /// Links followed one after the other before a request is refused; 0 means the default.
    pub symloop_max: usize,
}

impl SymlinkConfig {
    const DEFAULT_SYMLOOP_MAX: usize = 2;

    fn symloop_max(&self) -> usize {
        match self.symloop_max {
            0 => Self::DEFAULT_SYMLOOP_MAX,
            max => max,
        }
    }
}

impl Default for SymlinkConfig {
    fn default() -> Self {
        SymlinkConfig {
            symloop_max: Self::DEFAULT_SYMLOOP_MAX,
        }
    }
}

/// The step's part of `/info`.
pub fn info(config: &SymlinkConfig) -> Value {
    json!({"symloop_max": config.symloop_max(), "static_links": true})
}

/// Marks a PUT of a static link whose target another step has just looked at: ETag and length are believed. Never set
/// from anything a client sent.
#[derive(Clone, Copy, Debug)]
pub struct TrustedTarget;

pub async fn run(mut request: Request, next: Next) -> Response {
    let Some(target) = target(&request) else {
        return next.run(request).await;
    };
    let path = match &*target {
        Target::Object(path) => path.clone(),
        Target::Container(path) if *request.method() == Method::GET => {
            let account = path.account.clone();
            return Box::pin(listing::get(request, next, &account)).await;
        }
        Target::Container(_) | Target::Account(_) => return next.run(request).await,
    };
    let makes_link = request.headers().contains_key(link::TARGET);
    match *request.method() {
        Method::GET | Method::HEAD if context::query(&request).get("symlink") == Some("get") => {
            let mut response = next.run(request).await;
            link::show(response.headers_mut());
            response
        }
        Method::GET | Method::HEAD => {
            super::slo::ignore_range_if(request.headers_mut(), link::STORED_TARGET);
            let follow = Follow::new(next, path.account.clone());
            follow.run(request).await.unwrap_or_else(|refusal| *refusal)
        }
        Method::PUT if makes_link => Box::pin(make::put(request, next, path))
            .await
            .unwrap_or_else(|refusal| *refusal),
        Method::POST if makes_link => answer::words(
            StatusCode::BAD_REQUEST,
            "A PUT request is required to set a symlink target",
        ),
        Method::POST => {
            let response = next.run(request).await;
            redirected(response, &path)
        }
        _ => next.run(request).await,
    }
}

/// A POST has changed the link itself, since storage nodes do not know links. Its client is told where the target is.
fn redirected(response: Response, path: &ObjectPath) -> Response {
    if !response.status().is_success() {
        return response;
    }
    let Some(link) = Link::of(response.headers()) else {
        return response;
    };
    let words = "The requested POST was applied to a symlink. POST directly to the target to apply requested metadata.";
    let (mut parts, _) = response.into_parts();
    parts.status = StatusCode::TEMPORARY_REDIRECT;
    headers::set(
        &mut parts.headers,
        LOCATION.as_str(),
        &link.location(&path.account),
    );
    if let Some(etag) = &link.etag {
        headers::set(&mut parts.headers, link::TARGET_ETAG, etag);
    }
    parts.headers.remove(header::X_TIMESTAMP);
    parts
        .headers
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    parts
        .headers
        .insert(CONTENT_LENGTH, HeaderValue::from(words.len()));
    Response::from_parts(parts, Body::full(words))
}
