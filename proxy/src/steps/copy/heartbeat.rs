//! `heartbeat=on`: a client that waits for a long copy hears a space now and then, and at the end what became of it.

use crate::pipeline::StepFuture;
use crate::steps::report::Report;
use crate::steps::{accept, answer, heartbeat};
use bytes::Bytes;
use http::StatusCode;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use martlet_protocol::header;
use martlet_service::{Response, collect, headers, respond};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

const OFFERS: [&str; 2] = ["text/plain", "application/json"];
/// Bytes of the answer that the report repeats; the core's answers to a PUT are a line or two.
const MAX_BODY_BYTES: usize = 64 << 10;

/// How a client wants to wait.
pub struct Heartbeat {
    format: &'static str,
    every: Duration,
}

impl Heartbeat {
    pub fn new(asked: &HeaderMap, seconds: u64) -> Self {
        let accepted = headers::text(asked, ACCEPT.as_str());
        let format = accept::best_match(accepted, &OFFERS).ok().flatten();
        Heartbeat {
            format: format.unwrap_or(OFFERS[0]),
            every: Duration::from_secs(seconds.max(1)),
        }
    }

    /// 202 at once; the copy goes on while the body is read. `shown` is what the answer says of the copy.
    pub async fn answer(self, copy: StepFuture, shown: HeaderMap) -> Response {
        let mut map = HeaderMap::new();
        headers::set(&mut map, CONTENT_TYPE.as_str(), self.format);
        let work = async move {
            let response = copy.await;
            Bytes::from(report(self.format, response, &shown).await)
        };
        let body = heartbeat::Heartbeat::at_once(self.every).body(work).await;
        respond::with(StatusCode::ACCEPTED, map, body)
    }
}

async fn report(format: &str, response: Response, shown: &HeaderMap) -> String {
    let (parts, body) = response.into_parts();
    let body = collect(body, MAX_BODY_BYTES).await.unwrap_or_default();
    let line = answer::line(parts.status);
    // What the copy's answer says of itself counts more than what was known before.
    let mut fields: BTreeMap<String, Value> = BTreeMap::new();
    fields.insert("Response Status".into(), line.as_str().into());
    fields.insert("Response Body".into(), String::from_utf8_lossy(&body).into());
    for (name, value) in shown.iter().chain(&parts.headers) {
        let is_inside = header::is_sysmeta(name.as_str()) || name.as_str().starts_with("x-backend");
        if let (false, Some(text)) = (is_inside, headers::value_text(value)) {
            fields.insert(title(name.as_str()), text.into());
        }
    }
    let mut errors = Vec::new();
    if !parts.status.is_success() {
        let from = headers::text(shown, "x-copied-from").unwrap_or("");
        errors.push((from.to_owned(), line));
    }
    let fields = fields.into_iter().collect();
    Report { fields, errors }.write(format, "copy")
}

/// `x-copied-from` as `X-Copied-From`, which is how reports name headers.
fn title(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let mut letters = word.chars();
        match letters.next() {
            Some(first) => first.to_ascii_uppercase().to_string() + letters.as_str(),
            None => String::new(),
        }
    });
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[tokio::test]
    async fn the_end_says_what_became_of_the_copy() {
        let mut shown = HeaderMap::new();
        headers::set(&mut shown, "x-copied-from", "c/o");
        headers::set(&mut shown, "x-object-sysmeta-a", "b");
        let done = respond::empty(StatusCode::CREATED);
        assert_eq!(
            report("text/plain", done, &shown).await,
            "Response Body: \nResponse Status: 201 Created\nX-Copied-From: c/o\nErrors:\n"
        );
        let failed = respond::empty(StatusCode::SERVICE_UNAVAILABLE);
        let json: Value = serde_json::from_str(&report("application/json", failed, &shown).await).unwrap();
        let errors = json!([["c/o", "503 Service Unavailable"]]);
        assert_eq!(
            json,
            json!({"Response Status": "503 Service Unavailable", "Response Body": "", "X-Copied-From": "c/o", "Errors": errors})
        );
    }

    #[tokio::test]
    async fn a_space_comes_first() {
        let copy: StepFuture = Box::pin(async { respond::empty(StatusCode::CREATED) });
        let response = Heartbeat::new(&HeaderMap::new(), 10)
            .answer(copy, HeaderMap::new())
            .await;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        let mut body = response.into_body();
        assert_eq!(body.next().await.unwrap().unwrap(), " ");
        let rest = collect(body, MAX_BODY_BYTES).await.unwrap();
        assert!(rest.ends_with(b"Response Status: 201 Created\nErrors:\n"));
    }
}
