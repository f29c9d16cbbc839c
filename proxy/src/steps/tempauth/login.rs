//! `/auth/v1.0` and its older forms: a user and a key for a token and a storage URL.

use super::super::answer;
use crate::Edge;
use crate::context::{self, is_true};
use http::header::{HOST, HeaderMap};
use http::{Method, StatusCode};
use martlet_protocol::percent;
use martlet_service::{Request, Response, headers, respond};

/// Answers a request below the auth prefix; `rest` is its path after the prefix.
pub fn answer(edge: &Edge, request: &Request, rest: &str) -> Response {
    if request.method() != Method::GET {
        return answer::method_not_allowed("GET");
    }
    let credentials = match credentials(request.headers(), rest) {
        Ok(credentials) => credentials,
        Err(refusal) => return refusal.response(),
    };
    let account_user = format!("{}:{}", credentials.account, credentials.user);
    if let Some(context) = context::context(request) {
        context.set_user(&account_user);
    }
    let Some(identity) = edge.users.login(&account_user, &credentials.key) else {
        return answer::unauthorized(&credentials.account);
    };
    let renew = headers::text(request.headers(), "x-auth-new-token").is_some_and(is_true);
    let (token, life_secs) = edge.tokens.grant(&identity, edge.clock.now().secs(), renew);
    let scheme = storage_scheme(edge, request);
    let host = headers::text(request.headers(), HOST.as_str())
        .map(str::to_owned)
        .or_else(|| request.uri().authority().map(|authority| authority.to_string()))
        .unwrap_or_else(|| "127.0.0.1:8080".into());
    let url = format!(
        "{scheme}://{host}/v1/{}",
        percent::quote_segment(&identity.account)
    );
    let mut response = respond::text(StatusCode::OK, "");
    let out = response.headers_mut();
    headers::set(out, "x-auth-token", &token);
    headers::set(out, "x-storage-token", &token);
    headers::set(out, "x-storage-url", &url);
    headers::set(out, "x-auth-token-expires", &life_secs.to_string());
    response
}

fn storage_scheme<'a>(edge: &'a Edge, request: &'a Request) -> &'a str {
    match edge.config.tempauth.storage_url_scheme.as_str() {
        "default" => martlet_service::scheme(request.extensions()),
        scheme => scheme,
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Credentials {
    account: String,
    user: String,
    key: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    NotFound,
    BadRequest,
    /// 401 with this realm.
    Denied(String),
}

impl Refusal {
    fn response(self) -> Response {
        match self {
            Refusal::NotFound => answer::status(StatusCode::NOT_FOUND),
            Refusal::BadRequest => answer::status(StatusCode::BAD_REQUEST),
            Refusal::Denied(realm) => answer::unauthorized(&realm),
        }
    }
}

/// The three forms Swift knows: `v1/<account>/auth`, `auth`, `v1.0` (and `v1` alone, which old clients use).
fn credentials(headers: &HeaderMap, rest: &str) -> Result<Credentials, Refusal> {
    let text = |name: &str| headers::text(headers, name).filter(|value| !value.is_empty());
    let mut parts = rest.trim_end_matches('/').splitn(3, '/');
    let (version, account, last) = (parts.next().unwrap_or(""), parts.next(), parts.next());
    match (version, account, last) {
        ("", _, _) => Err(Refusal::NotFound),
        ("v1", Some(account), Some("auth")) => {
            let account = percent::unquote(account).map_err(|_| Refusal::BadRequest)?;
            let user = match text("x-storage-user") {
                Some(user) => user.to_owned(),
                None => match text("x-auth-user").and_then(|user| user.split_once(':')) {
                    Some((of, user)) if of == account => user.to_owned(),
                    _ => return Err(Refusal::Denied(account)),
                },
            };
            complete(account, user, text("x-storage-pass").or(text("x-auth-key")))
        }
        ("auth" | "v1.0" | "v1", None, None) => {
            let named = text("x-auth-user").or(text("x-storage-user"));
            let Some((account, user)) = named.and_then(|user| user.split_once(':')) else {
                return Err(Refusal::Denied("unknown".into()));
            };
            complete(
                account.to_owned(),
                user.to_owned(),
                text("x-auth-key").or(text("x-storage-pass")),
            )
        }
        _ => Err(Refusal::BadRequest),
    }
}

fn complete(account: String, user: String, key: Option<&str>) -> Result<Credentials, Refusal> {
    match key {
        Some(key) if !account.is_empty() && !user.is_empty() => Ok(Credentials {
            account,
            user,
            key: key.to_owned(),
        }),
        _ if account.is_empty() => Err(Refusal::Denied("unknown".into())),
        _ => Err(Refusal::Denied(account)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rest: &str, pairs: &[(&'static str, &str)]) -> Result<(String, String, String), Refusal> {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            headers::set(&mut map, name, value);
        }
        credentials(&map, rest).map(|found| (found.account, found.user, found.key))
    }

    #[test]
    fn every_form_of_login() {
        let good = || Ok(("test".to_owned(), "tester".to_owned(), "testing".to_owned()));
        let auth = [("x-auth-user", "test:tester"), ("x-auth-key", "testing")];
        let storage = [("x-storage-user", "test:tester"), ("x-storage-pass", "testing")];
        assert_eq!(check("v1.0", &auth), good());
        assert_eq!(check("v1", &auth), good());
        assert_eq!(check("auth", &storage), good());
        assert_eq!(check("v1.0/", &storage), good());
        assert_eq!(check("v1/test/auth", &auth), good());
        assert_eq!(
            check(
                "v1/test/auth",
                &[("x-storage-user", "tester"), ("x-storage-pass", "testing")]
            ),
            good()
        );
        let denied = |realm: &str| Err(Refusal::Denied(realm.into()));
        assert_eq!(check("v1.0", &[]), denied("unknown"));
        assert_eq!(check("v1.0", &[("x-auth-user", "test")]), denied("unknown"));
        assert_eq!(check("v1.0", &[("x-auth-user", "test:tester")]), denied("test"));
        assert_eq!(check("v1/other/auth", &auth), denied("other"));
        assert_eq!(check("v3", &auth), Err(Refusal::BadRequest));
        assert_eq!(check("", &auth), Err(Refusal::NotFound));
    }
}
