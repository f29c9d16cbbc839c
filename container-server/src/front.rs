//! What both servers do around a request: the answer to OPTIONS, the end of a refusal, the log line.

use crate::errors::{ALLOWED_METHODS, Refusal};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use martlet_protocol::header;
use martlet_service::logging::RequestLine;
use martlet_service::{Response, headers, respond};
use std::time::Instant;

/// Answers OPTIONS: which methods, and which server this is (`swift-recon --validate-servers` asks).
pub fn options(server: &str) -> Response {
    let mut response = respond::empty(StatusCode::OK);
    headers::set(response.headers_mut(), "allow", ALLOWED_METHODS);
    headers::set(
        response.headers_mut(),
        "server",
        &format!("{server}/martlet-{}", env!("CARGO_PKG_VERSION")),
    );
    response
}

/// Turns the outcome into a response and writes the request's line.
pub fn finish(
    server: &'static str,
    head: &Parts,
    started: Instant,
    outcome: Result<Response, Refusal>,
) -> Response {
    let response = outcome.unwrap_or_else(Refusal::into_response);
    let line = RequestLine {
        server,
        method: head.method.as_str(),
        path: head.uri.path(),
        status: response.status().as_u16(),
        trans_id: trans_id(&head.headers),
        duration: started.elapsed(),
    };
    line.emit();
    response
}

/// The transaction id, `-` when the caller sent none.
pub fn trans_id(request: &HeaderMap) -> &str {
    headers::text(request, header::X_TRANS_ID).unwrap_or("-")
}
