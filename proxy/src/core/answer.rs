//! The small answers of the proxy itself, in the words Swift's clients know.

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use martlet_service::{Body, Response};

/// Swift's status for a client that left in the middle of its request.
pub const CLIENT_DISCONNECT: u16 = 499;

/// The status as Swift shows it: a title and a sentence in HTML, or nothing for statuses that need no words.
pub fn page(status: StatusCode) -> Response {
    let (title, sentence) = match status.as_u16() {
        202 => ("Accepted", "The request is accepted for processing."),
        400 => (
            "Bad Request",
            "The server could not comply with the request since it is either malformed or otherwise incorrect.",
        ),
        401 => (
            "Unauthorized",
            "This server could not verify that you are authorized to access the document you requested.",
        ),
        403 => ("Forbidden", "Access was denied to this resource."),
        404 => ("Not Found", "The resource could not be found."),
        405 => (
            "Method Not Allowed",
            "The method is not allowed for this resource.",
        ),
        408 => (
            "Request Timeout",
            "The server has waited too long for the request to be sent by the client.",
        ),
        409 => (
            "Conflict",
            "There was a conflict when trying to complete your request.",
        ),
        410 => ("Gone", "This resource is no longer available."),
        411 => ("Length Required", "Content-Length header required."),
        412 => (
            "Precondition Failed",
            "A precondition for this request was not met.",
        ),
        413 => (
            "Request Entity Too Large",
            "The body of your request was too large for this server.",
        ),
        416 => (
            "Requested Range Not Satisfiable",
            "The Range requested is not available.",
        ),
        422 => (
            "Unprocessable Entity",
            "Unable to process the contained instructions",
        ),
        499 => ("Client Disconnect", "The client was disconnected during request."),
        500 => (
            "Internal Error",
            "The server has either erred or is incapable of performing the requested operation.",
        ),
        501 => (
            "Not Implemented",
            "The requested method is not implemented by this server.",
        ),
        503 => (
            "Service Unavailable",
            "The server is currently unavailable. Please try again at a later time.",
        ),
        _ => return with_type(status, Body::empty(), "text/html; charset=UTF-8"),
    };
    let body = format!("<html><h1>{title}</h1><p>{sentence}</p></html>");
    with_type(status, Body::full(body), "text/html; charset=UTF-8")
}

/// The status with a reason in plain text.
pub fn said(status: StatusCode, reason: impl Into<String>) -> Response {
    with_type(status, Body::full(reason.into()), "text/plain")
}

pub fn bad_request(reason: impl Into<String>) -> Response {
    said(StatusCode::BAD_REQUEST, reason)
}

pub fn not_found() -> Response {
    page(StatusCode::NOT_FOUND)
}

pub fn unavailable() -> Response {
    page(StatusCode::SERVICE_UNAVAILABLE)
}

pub fn client_disconnect() -> Response {
    page(StatusCode::from_u16(CLIENT_DISCONNECT).unwrap_or(StatusCode::BAD_REQUEST))
}

/// 405 with the methods that would do.
pub fn method_not_allowed(allowed: &'static str) -> Response {
    let mut response = page(StatusCode::METHOD_NOT_ALLOWED);
    response
        .headers_mut()
        .insert(http::header::ALLOW, HeaderValue::from_static(allowed));
    response
}

fn with_type(status: StatusCode, body: Body, content_type: &'static str) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
