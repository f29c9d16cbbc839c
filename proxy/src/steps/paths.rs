//! Reads the path: refuses what names no account, container or object, and says to all below what is asked about.

use super::answer;
use crate::context::{self, allows_reserved_names};
use crate::pipeline::Next;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri};
use martlet_protocol::header;
use martlet_protocol::limits::Limits;
use martlet_protocol::listing::PAST_RESERVED;
use martlet_protocol::name::{AccountName, ContainerName, NameError, ObjectName, ObjectPath, Target};
use martlet_protocol::name::{ContainerPath, MAX_ACCOUNT_BYTES, MAX_CONTAINER_BYTES};
use martlet_protocol::percent;
use martlet_protocol::query::Query;
use martlet_service::{Request, Response};
use std::sync::Arc;

/// Everything about reserved names: they begin with this, and only the inside may say them.
pub const RESERVED: char = '\0';

pub async fn run(mut request: Request, next: Next) -> Response {
    let edge = next.edge();
    if request
        .uri()
        .path()
        .starts_with(edge.config.tempauth.auth_prefix.as_str())
    {
        return next.run(request).await;
    }
    let allows_reserved = allows_reserved_names(request.headers());
    let target = match read(request.uri(), allows_reserved) {
        Ok(target) => target,
        Err(problem) => return problem.response(request.method(), &edge.config.constraints),
    };
    let allow = allowed_methods(&target);
    if !allow
        .split(", ")
        .any(|method| method == request.method().as_str())
    {
        return answer::method_not_allowed(allow);
    }
    if matches!(target, Target::Account(_)) && !allows_reserved && *request.method() == Method::GET {
        skip_reserved(&mut request, &target);
    }
    request.extensions_mut().insert(Arc::new(target));
    next.run(request).await
}

/// What may be asked of a target, as its `Allow` header says it.
pub fn allowed_methods(target: &Target) -> &'static str {
    match target {
        Target::Account(_) => "GET, HEAD, PUT, POST, DELETE, OPTIONS",
        Target::Container(_) => "GET, HEAD, PUT, POST, DELETE, OPTIONS",
        Target::Object(_) => "GET, HEAD, PUT, POST, DELETE, OPTIONS, COPY",
    }
}

/// Why a path was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Problem {
    /// 412: not UTF-8, or a NUL from outside.
    NotText,
    /// 400: a parameter is not UTF-8.
    BadQuery,
    /// 404: a part is empty.
    NoPath,
    /// 412: no account.
    BadUrl,
    /// 400: neither `v1` nor `v1.0`.
    BadVersion,
    /// 400 for PUT, 404 for all else: nothing of such a name can be.
    TooLong { kind: &'static str, bytes: usize },
}

impl Problem {
    fn response(&self, method: &Method, limits: &Limits) -> Response {
        match self {
            Problem::NotText => {
                answer::words(StatusCode::PRECONDITION_FAILED, "Invalid UTF8 or contains NULL")
            }
            Problem::BadQuery => answer::words(StatusCode::BAD_REQUEST, "Query parameter not valid UTF-8"),
            Problem::NoPath => answer::status(StatusCode::NOT_FOUND),
            Problem::BadUrl => answer::words(StatusCode::PRECONDITION_FAILED, "Bad URL"),
            Problem::BadVersion => answer::status(StatusCode::BAD_REQUEST),
            Problem::TooLong { kind, bytes } if *method == Method::PUT => {
                let limit = match *kind {
                    "Account" => limits.max_account_name_length,
                    "Container" => limits.max_container_name_length,
                    _ => limits.max_object_name_length,
                };
                let words = format!("{kind} name length of {bytes} longer than {limit}");
                let mut response = answer::words(StatusCode::BAD_REQUEST, words);
                // Nothing of the client's is in the words.
                let html = HeaderValue::from_static("text/html; charset=UTF-8");
                response.headers_mut().insert(CONTENT_TYPE, html);
                response
            }
            Problem::TooLong { .. } => answer::status(StatusCode::NOT_FOUND),
        }
    }
}

fn read(uri: &Uri, allows_reserved: bool) -> Result<Target, Problem> {
    let path = percent::unquote(uri.path()).map_err(|_| Problem::NotText)?;
    if path.contains(RESERVED) && !allows_reserved {
        return Err(Problem::NotText);
    }
    if let Some(query) = uri.query() {
        Query::parse(query).map_err(|_| Problem::BadQuery)?;
    }
    let Some(rest) = path.strip_prefix('/') else {
        return Err(Problem::NoPath);
    };
    let (version, rest) = rest.split_once('/').unwrap_or((rest, ""));
    if version.is_empty() {
        return Err(Problem::NoPath);
    }
    if rest.is_empty() {
        return Err(Problem::BadUrl);
    }
    if rest.starts_with('/') {
        return Err(Problem::NoPath);
    }
    if version != "v1" && version != "v1.0" {
        return Err(Problem::BadVersion);
    }
    let too_long = |kind: &'static str, name: &str| Problem::TooLong {
        kind,
        bytes: name.len(),
    };
    let (account, rest) = rest.split_once('/').unwrap_or((rest, ""));
    if account.len() > MAX_ACCOUNT_BYTES {
        return Err(too_long("Account", account));
    }
    let account = AccountName::new(account).map_err(|_| Problem::BadUrl)?;
    if rest.is_empty() {
        return Ok(Target::Account(account));
    }
    let (container, object) = rest.split_once('/').unwrap_or((rest, ""));
    if container.len() > MAX_CONTAINER_BYTES {
        return Err(too_long("Container", container));
    }
    let container = ContainerName::new(container).map_err(|_| Problem::NoPath)?;
    if object.is_empty() {
        return Ok(Target::Container(ContainerPath { account, container }));
    }
    match ObjectName::new(object) {
        Ok(object) => Ok(Target::Object(ObjectPath {
            account,
            container,
            object,
        })),
        Err(NameError::TooLong) => Err(too_long("Object", object)),
        Err(NameError::Empty | NameError::Slash) => Err(Problem::BadUrl),
    }
}

/// Moves the low end of an account listing past the reserved names, so that pages from outside are full pages of
/// names that may be seen.
fn skip_reserved(request: &mut Request, target: &Target) {
    let mut query = context::query(request);
    let is_reversed = query.get("reverse").is_some_and(context::is_true);
    let low_end = if is_reversed { "end_marker" } else { "marker" };
    if query.get(low_end).is_some_and(|low| low >= PAST_RESERVED) {
        return;
    }
    query.remove(low_end);
    query.push(low_end, PAST_RESERVED);
    *request.uri_mut() = context::uri(target, &query.encode());
}

/// Lets a request of the inside name what is reserved.
pub fn allow_reserved_names(request: &mut Request) {
    let name = HeaderName::from_static(header::X_BACKEND_ALLOW_RESERVED_NAMES);
    request
        .headers_mut()
        .insert(name, HeaderValue::from_static("true"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_service::Body;

    fn check(path: &str, allows_reserved: bool) -> Result<String, Problem> {
        read(&path.parse().unwrap(), allows_reserved).map(|target| target.path())
    }

    #[test]
    fn paths_are_read_or_refused_as_in_swift() {
        for (path, expected) in [
            ("/v1/a", Ok("/a")),
            ("/v1.0/a/", Ok("/a")),
            ("/v1/a/c", Ok("/a/c")),
            ("/v1/a/c/", Ok("/a/c")),
            ("/v1/a/c/o%20p//q/", Ok("/a/c/o%20p//q/")),
            ("/v1/a/c%2Fd", Ok("/a/c/d")),
            ("/v1/a/%C3%BC", Ok("/a/%C3%BC")),
            ("/v1", Err(Problem::BadUrl)),
            ("/v1/", Err(Problem::BadUrl)),
            ("/v1//c", Err(Problem::NoPath)),
            ("/v1/a//o", Err(Problem::NoPath)),
            ("/v1///o", Err(Problem::NoPath)),
            ("/", Err(Problem::NoPath)),
            ("//v1/a", Err(Problem::NoPath)),
            ("/v2/a", Err(Problem::BadVersion)),
            ("/v1/a/%ff", Err(Problem::NotText)),
            ("/v1/a/%00c", Err(Problem::NotText)),
            ("/v1/a/c?prefix=%ff", Err(Problem::BadQuery)),
        ] {
            assert_eq!(check(path, false), expected.map(str::to_owned), "{path}");
        }
        assert_eq!(check("/v1/a/%00c/o", true), Ok("/a/%00c/o".into()));
        let long = "c".repeat(257);
        let problem = check(&format!("/v1/a/{long}"), false).unwrap_err();
        let limits = Limits::default();
        assert_eq!(problem.response(&Method::PUT, &limits).status(), 400);
        assert_eq!(problem.response(&Method::GET, &limits).status(), 404);
    }

    #[test]
    fn listings_from_outside_begin_after_reserved_names() {
        let target = Target::parse("a").unwrap();
        let check = |query: &str| {
            let mut request = Request::new(Body::empty());
            *request.uri_mut() = format!("/v1/a?{query}").parse().unwrap();
            skip_reserved(&mut request, &target);
            context::query(&request)
        };
        assert_eq!(check("limit=2").get("marker"), Some(PAST_RESERVED));
        assert_eq!(check("marker=b").get("marker"), Some("b"));
        assert_eq!(check("marker=%00a").get("marker"), Some(PAST_RESERVED));
        let reversed = check("reverse=on&marker=x");
        assert_eq!(
            (reversed.get("marker"), reversed.get("end_marker")),
            (Some("x"), Some(PAST_RESERVED))
        );
    }
}
