//! Hands requests that are signed the S3 way to the S3 door, and browsers' questions about such requests.

use crate::Edge;
use crate::pipeline::Next;
use http::header::{ACCESS_CONTROL_REQUEST_HEADERS, AUTHORIZATION, HeaderMap, ORIGIN};
use http::{Method, Uri};
use martlet_service::{Request, Response, headers};

pub fn concerns(request: &Request, edge: &Edge) -> bool {
    edge.s3().is_some_and(|door| {
        let (uri, headers) = (request.uri(), request.headers());
        door.answers_preflights && is_preflight(request.method(), uri, headers) || looks_like_s3(headers, uri)
    })
}

pub async fn run(request: Request, next: Next) -> Response {
    match next.edge().s3() {
        Some(door) => door.handler.call(request).await,
        None => next.run(request).await,
    }
}

/// Whether a request asks beforehand about one that will be signed the S3 way.
fn is_preflight(method: &Method, uri: &Uri, map: &HeaderMap) -> bool {
    if *method != Method::OPTIONS || headers::text(map, ORIGIN.as_str()).is_none_or(str::is_empty) {
        return false;
    }
    let is_swift_path = uri.path().starts_with("/v1/") || uri.path().starts_with("/v1.0/");
    let asks_to_sign = headers::text(map, ACCESS_CONTROL_REQUEST_HEADERS.as_str())
        .is_some_and(|names| names.to_ascii_lowercase().contains("authorization"));
    let is_presigned = uri.query().unwrap_or_default().split('&').any(|pair| {
        matches!(
            pair.split('=').next(),
            Some("AWSAccessKeyId" | "X-Amz-Credential")
        )
    });
    (asks_to_sign && !is_swift_path) || is_presigned
}

/// Signature V2 or V4, in the header or in the query.
fn looks_like_s3(headers: &HeaderMap, uri: &Uri) -> bool {
    if let Some(authorization) = headers::text(headers, AUTHORIZATION.as_str()) {
        return authorization.starts_with("AWS ") || authorization.starts_with("AWS4-HMAC-SHA256");
    }
    let Some(query) = uri.query() else { return false };
    let has = |name: &str| {
        query.split('&').any(|pair| {
            pair.split('=')
                .next()
                .is_some_and(|own| own.eq_ignore_ascii_case(name))
        })
    };
    has("X-Amz-Algorithm") || has("X-Amz-Credential") || (has("AWSAccessKeyId") && has("Signature"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn which_requests_are_preflights() {
        let origin = ("origin", "http://a.example");
        let signed = ("access-control-request-headers", "X-Amz-Date, Authorization");
        for (method, uri, pairs, expected) in [
            ("OPTIONS", "/bucket/key", vec![origin, signed], true),
            ("OPTIONS", "/bucket", vec![origin], false),
            ("OPTIONS", "/bucket", vec![signed], false),
            ("GET", "/bucket", vec![origin, signed], false),
            ("OPTIONS", "/v1/AUTH_test/c", vec![origin, signed], false),
            ("OPTIONS", "/b/k?X-Amz-Credential=x&a=b", vec![origin], true),
            ("OPTIONS", "/b/k?AWSAccessKeyId=x", vec![origin], true),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in &pairs {
                headers::set(&mut map, name, value);
            }
            let found = is_preflight(&method.parse().unwrap(), &uri.parse().unwrap(), &map);
            assert_eq!(found, expected, "{method} {uri} {pairs:?}");
        }
    }

    #[test]
    fn signed_requests_are_known_by_their_marks() {
        let check = |authorization: Option<&'static str>, uri: &str| {
            let mut headers = HeaderMap::new();
            if let Some(value) = authorization {
                headers.insert(AUTHORIZATION, HeaderValue::from_static(value));
            }
            looks_like_s3(&headers, &uri.parse().unwrap())
        };
        assert!(check(Some("AWS test:tester:xyz="), "/bucket"));
        assert!(check(Some("AWS4-HMAC-SHA256 Credential=a/b"), "/"));
        assert!(check(None, "/b/o?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=1"));
        assert!(check(None, "/b/o?AWSAccessKeyId=a&Signature=s&Expires=1"));
        assert!(!check(None, "/b/o?AWSAccessKeyId=a"));
        assert!(!check(Some("Bearer x"), "/v1/a?X-Amz-Algorithm=1"));
        assert!(!check(None, "/v1/AUTH_test/c/o?temp_url_sig=1"));
    }
}
