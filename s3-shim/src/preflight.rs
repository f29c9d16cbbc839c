//! Browsers' preflight requests to the S3 door. They carry no signature, so nothing tells whose bucket they are about:
//! the operator says once which origins may send signed requests.

use http::StatusCode;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_REQUEST_HEADERS, ALLOW, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use martlet_service::headers::{set, text};
use martlet_service::{Body, Response};
use std::collections::BTreeSet;

const METHODS: &str = "GET, HEAD, PUT, POST, DELETE, OPTIONS";

/// The answer: the origin may, or may not.
pub fn answer(allowed: &[String], headers: &HeaderMap) -> Response {
    let mut response = Response::new(Body::empty());
    let origin = headers.get(ORIGIN).cloned();
    let is_allowed = origin.as_ref().is_some_and(|origin| {
        allowed
            .iter()
            .any(|one| one == "*" || one.as_bytes() == origin.as_bytes())
    });
    let out = response.headers_mut();
    out.insert(ALLOW, HeaderValue::from_static(METHODS));
    if let (true, Some(origin)) = (is_allowed, origin) {
        out.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        out.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        out.insert(
            VARY,
            HeaderValue::from_static("Origin, Access-Control-Request-Headers"),
        );
        let asked = text(headers, ACCESS_CONTROL_REQUEST_HEADERS.as_str()).unwrap_or_default();
        let asked = asked.to_ascii_lowercase();
        let names: BTreeSet<&str> = asked
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .collect();
        if !names.is_empty() {
            let names: Vec<&str> = names.into_iter().collect();
            set(out, ACCESS_CONTROL_ALLOW_HEADERS.as_str(), &names.join(", "));
        }
    } else {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_service::headers::of as map;

    #[test]
    fn only_allowed_origins_may() {
        let asked = map(&[
            ("origin", "http://a.example"),
            ("access-control-request-headers", "X-Amz-Date,Authorization"),
        ]);
        let allowed = answer(&["*".into()], &asked);
        assert_eq!(allowed.status(), 200);
        assert_eq!(
            allowed.headers()["access-control-allow-origin"],
            "http://a.example"
        );
        assert_eq!(
            allowed.headers()["access-control-allow-headers"],
            "authorization, x-amz-date"
        );
        let refused = answer(&["http://b.example".into()], &asked);
        assert_eq!(refused.status(), 401);
        assert!(!refused.headers().contains_key("access-control-allow-origin"));
        assert_eq!(answer(&["http://a.example".into()], &asked).status(), 200);
    }
}
