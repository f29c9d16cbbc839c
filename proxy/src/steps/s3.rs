//! Hands requests that are signed the S3 way to the S3 door.

use crate::pipeline::Next;
use http::Uri;
use http::header::{AUTHORIZATION, HeaderMap};
use martlet_service::{Request, Response, headers};

pub async fn run(request: Request, next: Next) -> Response {
    if !looks_like_s3(request.headers(), request.uri()) {
        return next.run(request).await;
    }
    match next.edge().s3() {
        Some(door) => door.call(request).await,
        None => next.run(request).await,
    }
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
