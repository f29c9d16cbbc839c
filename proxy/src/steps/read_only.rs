//! Refuses changes: to the whole cluster, or to accounts that an operator marked.
//!
//! See "Read Only" in Swift's middleware documentation. Off unless its section is there. It stands behind
//! authentication and not before it as in Swift, so that changes through the S3 door are refused as well.

use super::answer;
use crate::Edge;
use crate::context::{is_true, target};
use crate::pipeline::Next;
use http::{Method, StatusCode};
use martlet_protocol::header;
use martlet_protocol::name::{AccountName, Target};
use martlet_protocol::percent;
use martlet_service::{Request, Response, headers};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// What may still be changed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReadOnlyConfig {
    /// The whole cluster, but for accounts marked otherwise.
    pub read_only: bool,
    pub allow_deletes: bool,
}

/// Adds what `/info` says of this step.
pub fn describe(edge: &Edge, sections: &mut Map<String, Value>) {
    if edge
        .config
        .read_only
        .as_ref()
        .is_some_and(|config| config.read_only)
    {
        sections.insert("read_only".into(), json!({}));
    }
}

/// Only where the operator switched it on.
pub fn concerns(_: &Request, edge: &Edge) -> bool {
    edge.config.read_only.is_some()
}

pub async fn run(request: Request, next: Next) -> Response {
    let edge = next.edge();
    let Some(config) = &edge.config.read_only else {
        return next.run(request).await;
    };
    let target = target(&request).filter(|_| is_change(request.method(), config.allow_deletes));
    let Some(account) = target.and_then(|target| changed_account(&request, &target)) else {
        return next.run(request).await;
    };
    let info = edge.core.account_info(&account).await;
    let mark = info.sysmeta.get("read-only").map(String::as_str);
    if is_closed(mark, config.read_only) {
        return answer::words(
            StatusCode::METHOD_NOT_ALLOWED,
            "Writes are disabled for this account.",
        );
    }
    next.run(request).await
}

fn is_change(method: &Method, allow_deletes: bool) -> bool {
    match method.as_str() {
        "COPY" | "POST" | "PUT" => true,
        "DELETE" => !allow_deletes,
        _ => false,
    }
}

/// A COPY changes the account it goes to.
fn changed_account(request: &Request, target: &Target) -> Option<AccountName> {
    let elsewhere = headers::text(request.headers(), header::DESTINATION_ACCOUNT)
        .filter(|_| request.method().as_str() == "COPY");
    match elsewhere {
        // What is no account's name is refused by the copy itself.
        Some(quoted) => percent::unquote(quoted)
            .ok()
            .and_then(|name| AccountName::new(name).ok()),
        None => Some(target.account().clone()),
    }
}

/// An account's own mark wins over the cluster's.
fn is_closed(mark: Option<&str>, cluster: bool) -> bool {
    match mark {
        None | Some("") => cluster,
        Some(mark) => is_true(mark),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_service::Body;

    #[test]
    fn what_is_refused() {
        for (mark, cluster, expected) in [
            (None, false, false),
            (None, true, true),
            (Some(""), true, true),
            (Some("true"), false, true),
            (Some("false"), true, false),
            (Some("junk"), true, false),
        ] {
            assert_eq!(is_closed(mark, cluster), expected, "{mark:?} {cluster}");
        }
        for (method, allow_deletes, expected) in [
            ("GET", false, false),
            ("HEAD", false, false),
            ("OPTIONS", false, false),
            ("PUT", true, true),
            ("POST", true, true),
            ("COPY", true, true),
            ("DELETE", false, true),
            ("DELETE", true, false),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(is_change(&method, allow_deletes), expected, "{method}");
        }
    }

    #[test]
    fn copies_change_the_account_they_go_to() {
        let target = Target::parse("AUTH_a/c/o").unwrap();
        for (method, elsewhere, expected) in [
            ("COPY", None, Some("AUTH_a")),
            ("COPY", Some("AUTH_b"), Some("AUTH_b")),
            ("COPY", Some("AUTH%5Fb"), Some("AUTH_b")),
            ("COPY", Some("AUTH_b/c"), None),
            ("PUT", Some("AUTH_b"), Some("AUTH_a")),
        ] {
            let mut request = Request::new(Body::empty());
            *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
            if let Some(elsewhere) = elsewhere {
                headers::set(request.headers_mut(), "destination-account", elsewhere);
            }
            let found = changed_account(&request, &target);
            assert_eq!(found.as_deref(), expected, "{method} {elsewhere:?}");
        }
    }
}
