//! Gives every request its transaction id, and turns a panic below into a 500 that carries it.

use crate::context::Context;
use crate::pipeline::Next;
use futures_util::FutureExt;
use http::StatusCode;
use http::header::{HeaderName, HeaderValue};
use martlet_protocol::header;
use martlet_service::{Request, Response, headers, respond, trans_id};
use std::panic::AssertUnwindSafe;

/// Characters of a client's `X-Trans-Id-Extra` that are taken into the id.
const MAX_EXTRA_CHARS: usize = 32;

static X_TRANS_ID: HeaderName = HeaderName::from_static(header::X_TRANS_ID);
static X_OPENSTACK_REQUEST_ID: HeaderName = HeaderName::from_static(header::X_OPENSTACK_REQUEST_ID);

pub async fn run(mut request: Request, next: Next) -> Response {
    let suffix = &next.edge().config.catch_errors.trans_id_suffix;
    let extra = headers::text(request.headers(), header::X_TRANS_ID_EXTRA);
    let trans_id = compose(trans_id::new(), suffix, extra);
    // A configured suffix may hold what HTTP cannot carry; then the id is only in the log.
    let shown = HeaderValue::try_from(&trans_id).ok();
    if let Some(id) = &shown {
        request.headers_mut().insert(X_TRANS_ID.clone(), id.clone());
    }
    request.extensions_mut().insert(Context::new(trans_id.clone()));
    let mut response = match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            let words = panic
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            tracing::error!(%trans_id, panic = words.unwrap_or("unknown"), "a step panicked");
            respond::text(StatusCode::INTERNAL_SERVER_ERROR, "An error occurred")
        }
    };
    if let Some(id) = shown {
        let map = response.headers_mut();
        map.insert(X_TRANS_ID.clone(), id.clone());
        map.insert(X_OPENSTACK_REQUEST_ID.clone(), id);
    }
    response
}

/// Only letters, digits, dashes, dots and underscores of the extra part are kept: ids are grepped and put in headers.
fn compose(mut id: String, suffix: &str, extra: Option<&str>) -> String {
    id.push_str(suffix);
    let kept: String = extra
        .unwrap_or("")
        .chars()
        .take(MAX_EXTRA_CHARS)
        .filter(|c| c.is_ascii_alphanumeric() || "-_.:".contains(*c))
        .collect();
    if !kept.is_empty() {
        id.push('-');
        id.push_str(&kept);
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extras_are_cut_and_cleaned() {
        let check = |extra: Option<&str>| compose("tx1".into(), "-eu", extra);
        assert_eq!(check(None), "tx1-eu");
        assert_eq!(check(Some("abc")), "tx1-eu-abc");
        assert_eq!(check(Some("a\"b c/d")), "tx1-eu-abcd");
        assert_eq!(check(Some(&"x".repeat(40))).len(), "tx1-eu-".len() + 32);
    }
}
