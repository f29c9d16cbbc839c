//! Cross-origin requests: answers browsers' preflights, and tells them what a script of that origin may read.
//!
//! See "CORS" in Swift's documentation; a container's rules stand in its `X-Container-Meta-Access-Control-*`.

use super::paths::allowed_methods;
use crate::Edge;
use crate::config::CorsConfig;
use crate::context::target;
use crate::core::Cors;
use crate::pipeline::Next;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ALLOW, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use http::{Method, StatusCode};
use martlet_service::{Request, Response, headers, respond};
use std::collections::BTreeSet;

/// Only requests that name an origin, and those that ask what may be asked.
pub fn concerns(request: &Request, _: &Edge) -> bool {
    *request.method() == Method::OPTIONS || request.headers().contains_key(ORIGIN)
}

pub async fn run(request: Request, next: Next) -> Response {
    let origin = headers::text(request.headers(), ORIGIN.as_str()).map(str::to_owned);
    let is_options = *request.method() == Method::OPTIONS;
    let target = match target(&request) {
        Some(target) if is_options || origin.is_some() => target,
        _ => return next.run(request).await,
    };
    let methods = allowed_methods(&target);
    let (Some(origin), Some(container)) = (origin, target.container_path()) else {
        return if is_options {
            options(methods)
        } else {
            next.run(request).await
        };
    };
    let edge = next.edge().clone();
    let cors = edge.core.container_info(&container).await.cors.clone();
    if is_options {
        return preflight(&edge.config.cors, &cors, &origin, methods, request.headers());
    }
    let mut response = next.run(request).await;
    if !edge.config.cors.strict_cors_mode || is_allowed(&edge.config.cors, &cors, &origin) {
        expose(&edge.config.cors, &cors, &origin, response.headers_mut());
    }
    response
}

fn options(methods: &'static str) -> Response {
    let mut response = respond::empty(StatusCode::OK);
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(methods));
    response
}

/// Origins of a container are a list with spaces; `*` is any.
fn is_allowed(config: &CorsConfig, cors: &Cors, origin: &str) -> bool {
    let of_container = cors.allow_origin.as_deref().unwrap_or("").split_whitespace();
    let of_cluster = config.cors_allow_origin.iter().map(String::as_str);
    of_container
        .chain(of_cluster)
        .any(|allowed| allowed == "*" || allowed == origin)
}

fn preflight(
    config: &CorsConfig,
    cors: &Cors,
    origin: &str,
    methods: &'static str,
    asked: &HeaderMap,
) -> Response {
    let mut response = options(methods);
    let wanted = headers::text(asked, ACCESS_CONTROL_REQUEST_METHOD.as_str()).unwrap_or("");
    if !is_allowed(config, cors, origin) || !methods.split(", ").any(|method| method == wanted) {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        return response;
    }
    let out = response.headers_mut();
    allow_origin(cors, origin, out);
    if let Some(max_age) = &cors.max_age {
        headers::set(out, ACCESS_CONTROL_MAX_AGE.as_str(), max_age);
    }
    out.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    if let Some(wanted) = headers::text(asked, ACCESS_CONTROL_REQUEST_HEADERS.as_str()) {
        let names: BTreeSet<&str> = wanted
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .collect();
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        if !names.is_empty() {
            headers::set(out, ACCESS_CONTROL_ALLOW_HEADERS.as_str(), &names);
            vary(out, "Access-Control-Request-Headers");
        }
    }
    response
}

fn allow_origin(cors: &Cors, origin: &str, out: &mut HeaderMap) {
    if cors
        .allow_origin
        .as_deref()
        .is_some_and(|allowed| allowed.trim() == "*")
    {
        out.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    } else {
        headers::set(out, ACCESS_CONTROL_ALLOW_ORIGIN.as_str(), origin);
        vary(out, "Origin");
    }
}

fn vary(out: &mut HeaderMap, name: &str) {
    let value = match headers::text(out, VARY.as_str()) {
        Some(value) => format!("{value}, {name}"),
        None => name.to_owned(),
    };
    headers::set(out, VARY.as_str(), &value);
}

/// Names the headers a script may read: the simple ones, Swift's, user metadata, and what container and operator add.
fn expose(config: &CorsConfig, cors: &Cors, origin: &str, out: &mut HeaderMap) {
    const ALWAYS: [&str; 10] = [
        "cache-control",
        "content-language",
        "content-type",
        "etag",
        "expires",
        "last-modified",
        "pragma",
        "x-openstack-request-id",
        "x-timestamp",
        "x-trans-id",
    ];
    if !out.contains_key(ACCESS_CONTROL_EXPOSE_HEADERS) {
        let mut names: BTreeSet<String> = ALWAYS.map(String::from).into();
        names.extend(
            config
                .cors_expose_headers
                .iter()
                .map(|name| name.to_ascii_lowercase()),
        );
        let is_meta = |name: &str| name.starts_with("x-container-meta") || name.starts_with("x-object-meta");
        names.extend(
            out.keys()
                .map(|name| name.as_str())
                .filter(|name| is_meta(name))
                .map(str::to_owned),
        );
        let own = cors.expose_headers.as_deref().unwrap_or("").split([' ', ',']);
        names.extend(
            own.map(|name| name.trim().to_ascii_lowercase())
                .filter(|name| !name.is_empty()),
        );
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        headers::set(out, ACCESS_CONTROL_EXPOSE_HEADERS.as_str(), &names);
    }
    if !out.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        allow_origin(cors, origin, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(allow_origin: &str) -> Cors {
        let expose_headers = Some("X-Own x-other".to_owned());
        Cors {
            allow_origin: Some(allow_origin.into()),
            expose_headers,
            max_age: Some("5".into()),
        }
    }

    fn asked(method: &str) -> HeaderMap {
        let mut map = HeaderMap::new();
        headers::set(&mut map, "access-control-request-method", method);
        headers::set(&mut map, "access-control-request-headers", "x-b, x-a");
        map
    }

    #[test]
    fn preflights() {
        let config = CorsConfig::default();
        let check = |origins: &str, method: &str| {
            preflight(
                &config,
                &cors(origins),
                "http://a.com",
                "GET, PUT",
                &asked(method),
            )
        };
        let response = check("http://b.com http://a.com", "PUT");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["access-control-allow-origin"], "http://a.com");
        assert_eq!(
            response.headers()["vary"],
            "Origin, Access-Control-Request-Headers"
        );
        assert_eq!(response.headers()["access-control-allow-headers"], "x-a, x-b");
        assert_eq!(response.headers()["access-control-max-age"], "5");
        assert_eq!(check("*", "GET").headers()["access-control-allow-origin"], "*");
        assert_eq!(check("http://b.com", "PUT").status(), 401);
        assert_eq!(check("*", "DELETE").status(), 401);
    }

    #[test]
    fn scripts_may_read_what_is_named() {
        let mut out = HeaderMap::new();
        headers::set(&mut out, "x-object-meta-a", "1");
        expose(&CorsConfig::default(), &cors("*"), "http://a.com", &mut out);
        let exposed = headers::text(&out, "access-control-expose-headers").unwrap();
        for name in ["etag", "x-object-meta-a", "x-own", "x-other", "x-trans-id"] {
            assert!(exposed.split(", ").any(|own| own == name), "{name} in {exposed}");
        }
    }
}
