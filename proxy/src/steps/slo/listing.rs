//! Container listings: a large object's row keeps two ETags, which are shown apart.

use crate::pipeline::Next;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, HeaderValue};
use martlet_service::{Body, Request, Response, collect, respond};
use serde_json::Value;

/// Bytes of the largest page of a listing.
const MAX_PAGE_BYTES: usize = 64 << 20;
const MARK: &str = "; slo_etag=";

pub async fn get(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if response.status() != StatusCode::OK {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(page) = collect(body, MAX_PAGE_BYTES).await else {
        return super::answer::status(StatusCode::SERVICE_UNAVAILABLE);
    };
    let has_any = page.windows(MARK.len()).any(|window| window == MARK.as_bytes());
    let page = match has_any.then(|| split(&page)).flatten() {
        Some(split) => split.into(),
        None => page,
    };
    if parts.headers.contains_key(CONTENT_LENGTH) {
        parts
            .headers
            .insert(CONTENT_LENGTH, HeaderValue::from(page.len()));
    }
    respond::with(parts.status, parts.headers, Body::full(page))
}

/// `None` when the page is not JSON: then it is left as it is.
fn split(page: &[u8]) -> Option<Vec<u8>> {
    let mut rows: Vec<Value> = serde_json::from_slice(page).ok()?;
    for row in &mut rows {
        let Some(hash) = row.get("hash").and_then(Value::as_str) else {
            continue;
        };
        let Some((own, large)) = hash.split_once(MARK) else {
            continue;
        };
        let (own, large) = (own.to_owned(), format!("\"{large}\""));
        row["hash"] = own.into();
        row["slo_etag"] = large.into();
    }
    serde_json::to_vec(&rows).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_etags_are_shown_apart() {
        let page = br#"[{"name":"a","hash":"e1; slo_etag=e2"},{"subdir":"b/"},{"name":"c","hash":"e3"}]"#;
        let rows: Vec<Value> = serde_json::from_slice(&split(page).unwrap()).unwrap();
        assert_eq!(
            (rows[0]["hash"].as_str(), rows[0]["slo_etag"].as_str()),
            (Some("e1"), Some("\"e2\""))
        );
        assert_eq!(
            (rows[2]["hash"].as_str(), rows[2].get("slo_etag")),
            (Some("e3"), None)
        );
        assert_eq!(split(b"plain text; slo_etag=x"), None);
    }
}
