//! Holds containers to the bytes and objects that their owners allow them.
//!
//! See "Container Quotas" in Swift's middleware documentation. As there, counts are as old as what this proxy remembers
//! of a container, and an upload that does not say its length is judged as if it were empty.

use super::answer;
use super::dispatch::Judge;
use crate::Edge;
use crate::context::target;
use crate::core::ContainerInfo;
use crate::pipeline::Next;
use http::header::{CONTENT_LENGTH, HeaderMap};
use http::{Method, StatusCode};
use martlet_protocol::name::Target;
use martlet_service::{Request, Response, headers};
use serde_json::{Map, Value, json};

/// Adds what `/info` says of this step.
pub fn describe(sections: &mut Map<String, Value>) {
    sections.insert("container_quotas".into(), json!({}));
}

/// Only what may add to a container, or set its quotas.
pub fn concerns(request: &Request, _: &Edge) -> bool {
    matches!(*request.method(), Method::PUT | Method::POST)
}

pub async fn run(request: Request, next: Next) -> Response {
    let Some(target) = target(&request) else {
        return next.run(request).await;
    };
    match &*target {
        Target::Container(_) if matches!(*request.method(), Method::PUT | Method::POST) => {
            if let Some(problem) = bad_quota(request.headers()) {
                return answer::words(StatusCode::BAD_REQUEST, problem);
            }
        }
        Target::Object(path) if *request.method() == Method::PUT => {
            let info = next.edge().core.container_info(&path.container_path()).await;
            let length = announced_length(&request);
            if info.exists() && exceeds(&info, length) {
                // Who may not upload at all hears that, and nothing of the container.
                let verdict = Judge::of(&request, &next, path).verdict().await;
                return verdict.map_or_else(|refusal| *refusal, |()| exceeded());
            }
        }
        _ => {}
    }
    next.run(request).await
}

/// Bytes an upload says it has; 0 when it does not say.
pub fn announced_length(request: &Request) -> u64 {
    headers::text(request.headers(), CONTENT_LENGTH.as_str())
        .and_then(|text| text.trim().parse().ok())
        .or_else(|| request.body().content_length())
        .unwrap_or(0)
}

fn exceeded() -> Response {
    answer::words(StatusCode::PAYLOAD_TOO_LARGE, "Upload exceeds quota.")
}

/// A quota that is no number; an empty one takes the quota away.
fn bad_quota(map: &HeaderMap) -> Option<&'static str> {
    let is_bad = |name: &str| {
        map.get(name)
            .is_some_and(|value| !value.as_bytes().iter().all(u8::is_ascii_digit))
    };
    if is_bad("x-container-meta-quota-bytes") {
        return Some("Invalid bytes quota.");
    }
    is_bad("x-container-meta-quota-count").then_some("Invalid count quota.")
}

fn exceeds(info: &ContainerInfo, length: u64) -> bool {
    let quota = |name: &str| {
        let text = info.metadata.get(name)?;
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // More than 64 bits can hold is no limit at all.
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    quota("quota-bytes").is_some_and(|most| info.bytes_used.saturating_add(length) > most)
        || quota("quota-count").is_some_and(|most| info.object_count.saturating_add(1) > most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_numbers() {
        for (name, value, expected) in [
            ("x-container-meta-quota-bytes", "100", None),
            ("x-container-meta-quota-bytes", "", None),
            (
                "x-container-meta-quota-bytes",
                "abc",
                Some("Invalid bytes quota."),
            ),
            ("x-container-meta-quota-bytes", "-1", Some("Invalid bytes quota.")),
            (
                "x-container-meta-quota-bytes",
                "1.5",
                Some("Invalid bytes quota."),
            ),
            ("x-container-meta-quota-count", "7", None),
            (
                "x-container-meta-quota-count",
                "many",
                Some("Invalid count quota."),
            ),
            ("x-container-meta-other", "abc", None),
        ] {
            let mut map = HeaderMap::new();
            headers::set(&mut map, name, value);
            assert_eq!(bad_quota(&map), expected, "{name}: {value}");
        }
    }

    #[test]
    fn what_is_over_a_quota() {
        for (name, quota, length, expected) in [
            ("quota-bytes", "100", 50, false),
            ("quota-bytes", "100", 51, true),
            ("quota-bytes", "0", 0, true),
            ("quota-bytes", "abc", 1_000, false),
            ("quota-bytes", "", 1_000, false),
            ("quota-bytes", "99999999999999999999999", 1_000, false),
            ("quota-count", "2", 1_000, false),
            ("quota-count", "1", 0, true),
            ("other", "0", 1_000, false),
        ] {
            let mut info = ContainerInfo {
                bytes_used: 50,
                object_count: 1,
                ..ContainerInfo::default()
            };
            info.metadata.insert(name.into(), quota.into());
            assert_eq!(exceeds(&info, length), expected, "{name}: {quota}, {length} more");
        }
        assert!(!exceeds(&ContainerInfo::default(), u64::MAX));
    }
}
