//! Small responses.

use crate::{Body, Response};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};

/// A status and nothing else.
pub fn empty(status: StatusCode) -> Response {
    with_body(status, Body::empty())
}

/// A status with a line of plain text.
pub fn text(status: StatusCode, text: impl Into<String>) -> Response {
    typed(status, "text/plain; charset=utf-8", text.into())
}

/// A status with a body of a type.
pub fn typed(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = with_body(status, body.into());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A status with a value as JSON.
pub fn json(status: StatusCode, value: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => typed(
            status,
            "application/json; charset=utf-8",
            bytes::Bytes::from(bytes),
        ),
        Err(error) => {
            tracing::error!(%error, "a response could not be written as JSON");
            empty(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// A status with headers and a body.
pub fn with(status: StatusCode, headers: HeaderMap, body: Body) -> Response {
    let mut response = with_body(status, body);
    *response.headers_mut() = headers;
    response
}

fn with_body(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
