//! `/endpoints/...`: where things lie, for programs inside the cluster that bring work to the data.
//!
//! See "List Endpoints" in Swift's middleware documentation. Off unless its section is there: whoever reaches it may ask,
//! without a token.

use super::answer;
use crate::Edge;
use crate::pipeline::Next;
use http::{Method, StatusCode};
use martlet_protocol::name::Target;
use martlet_protocol::percent;
use martlet_service::{Request, Response, respond};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Where it is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListEndpointsConfig {
    pub list_endpoints_path: String,
}

impl Default for ListEndpointsConfig {
    fn default() -> Self {
        ListEndpointsConfig {
            list_endpoints_path: "/endpoints/".into(),
        }
    }
}

/// Only where the operator switched it on.
pub fn concerns(_: &Request, edge: &Edge) -> bool {
    edge.config.list_endpoints.is_some()
}

pub async fn run(request: Request, next: Next) -> Response {
    let edge = next.edge();
    let rest = edge.config.list_endpoints.as_ref().and_then(|config| {
        let rest = request
            .uri()
            .path()
            .strip_prefix(config.list_endpoints_path.trim_end_matches('/'))?;
        rest.strip_prefix('/').map(str::to_owned)
    });
    let Some(rest) = rest else {
        return next.run(request).await;
    };
    if *request.method() != Method::GET {
        return answer::method_not_allowed("GET");
    }
    match parse(&rest) {
        Ok((version, target)) => Box::pin(list(edge, version, &target)).await,
        Err(words) => answer::words(StatusCode::BAD_REQUEST, words),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

async fn list(edge: &Edge, version: Version, target: &Target) -> Response {
    let policy = match target {
        Target::Object(path) => Some(edge.core.container_info(&path.container_path()).await.policy),
        _ => None,
    };
    let Some((partition, nodes)) = edge.core.primaries(target, policy) else {
        return answer::status(StatusCode::NOT_FOUND);
    };
    let endpoints: Vec<String> = nodes
        .iter()
        .map(|node| {
            format!(
                "http://{}:{}/{}/{partition}{}",
                bracketed(&node.ip),
                node.port,
                node.device,
                target.path()
            )
        })
        .collect();
    match version {
        Version::One => respond::json(StatusCode::OK, &endpoints),
        Version::Two => {
            let mut headers = Map::new();
            if let Some(policy) = policy {
                let index = Value::String(policy.0.to_string());
                headers.insert("X-Backend-Storage-Policy-Index".into(), index);
            }
            respond::json(
                StatusCode::OK,
                &json!({"endpoints": endpoints, "headers": headers}),
            )
        }
    }
}

/// Addresses of the sixth version stand in brackets in a URL.
fn bracketed(ip: &str) -> String {
    match ip.contains(':') {
        true => format!("[{ip}]"),
        false => ip.to_owned(),
    }
}

/// `[v1/|v2/]account[/container[/object]]`; else the words of the refusal.
fn parse(rest: &str) -> Result<(Version, Target), String> {
    let (first, after) = rest.split_once('/').unwrap_or((rest, ""));
    let version = first
        .trim_start_matches('v')
        .parse::<f64>()
        .ok()
        .and_then(|number| match number {
            1.0 => Some(Version::One),
            2.0 => Some(Version::Two),
            _ => None,
        });
    let (version, path) = match version {
        Some(version) => (version, after),
        None if first.starts_with('v') && !first.contains('_') => {
            return Err(format!("Unsupported version '{first}'"));
        }
        None => (Version::One, rest),
    };
    let path = percent::unquote(path).map_err(|_| "Invalid UTF8 or contains NULL".to_owned())?;
    let target = Target::parse(&path).map_err(|_| "No account specified".to_owned())?;
    Ok((version, target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_and_without_a_version() {
        for (rest, expected) in [
            ("a", Ok((Version::One, "/a"))),
            ("a/c/o/p", Ok((Version::One, "/a/c/o/p"))),
            ("v1/a/c", Ok((Version::One, "/a/c"))),
            ("v1.0/a/c", Ok((Version::One, "/a/c"))),
            ("1/a/c", Ok((Version::One, "/a/c"))),
            ("v2/a/c%20d/o", Ok((Version::Two, "/a/c%20d/o"))),
            ("v_3/a", Ok((Version::One, "/v_3/a"))),
            ("v3/a", Err("Unsupported version 'v3'")),
            ("vx/a", Err("Unsupported version 'vx'")),
            ("", Err("No account specified")),
            ("v1", Err("No account specified")),
            ("v1/", Err("No account specified")),
            ("/c", Err("No account specified")),
            ("a//o", Err("No account specified")),
            ("a%ff", Err("Invalid UTF8 or contains NULL")),
        ] {
            let found = parse(rest).map(|(version, target)| (version, target.path()));
            let found = found.as_ref().map(|(version, path)| (*version, path.as_str()));
            assert_eq!(found.map_err(String::as_str), expected, "{rest}");
        }
        assert_eq!(
            (bracketed("10.0.0.1"), bracketed("::1")),
            ("10.0.0.1".into(), "[::1]".into())
        );
    }
}
