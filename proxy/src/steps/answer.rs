//! Refusals and small answers in the shape Swift's clients know.

use crate::core::answer;
use http::StatusCode;
use http::header::{ALLOW, HeaderValue, WWW_AUTHENTICATE};
use martlet_protocol::percent;
use martlet_service::{Response, headers};

/// A status with its sentence as a small page.
pub fn status(status: StatusCode) -> Response {
    answer::page(status)
}

/// A status with words of our own. Plain text, so that words a client sent are never read as a page.
pub fn words(status: StatusCode, words: impl Into<String>) -> Response {
    answer::said(status, words)
}

/// 401 that names the realm to log in to.
pub fn unauthorized(realm: &str) -> Response {
    let mut response = status(StatusCode::UNAUTHORIZED);
    let value = format!("Swift realm=\"{}\"", percent::quote(realm));
    headers::set(response.headers_mut(), WWW_AUTHENTICATE.as_str(), &value);
    response
}

/// 405 that names what is allowed.
pub fn method_not_allowed(allow: &'static str) -> Response {
    let mut response = status(StatusCode::METHOD_NOT_ALLOWED);
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// `404 Not Found`, as reports and JSON bodies write a status.
pub fn line(status: StatusCode) -> String {
    let title = match status.as_u16() {
        413 => "Request Entity Too Large",
        416 => "Requested Range Not Satisfiable",
        422 => "Unprocessable Entity",
        499 => "Client Disconnect",
        500 => "Internal Error",
        _ => status.canonical_reason().unwrap_or("Unknown"),
    };
    format!("{} {title}", status.as_u16())
}
