//! Accounts and containers in the host name: `container.account.example.net/object`.
//!
//! See "Domain Remap" in Swift's middleware documentation.

use super::answer;
use crate::Edge;
use crate::config::DomainRemapConfig;
use crate::pipeline::Next;
use http::header::{CONTENT_LOCATION, HOST, LOCATION};
use http::{StatusCode, Uri};
use martlet_protocol::percent;
use martlet_service::{Request, Response, headers};

/// Hosts below a storage domain.
pub fn concerns(request: &Request, edge: &Edge) -> bool {
    host(request).is_some_and(|host| sub_domain(&edge.config.domain_remap, host).is_some())
}

fn host(request: &Request) -> Option<&str> {
    headers::text(request.headers(), HOST.as_str()).or_else(|| request.uri().host())
}

pub async fn run(mut request: Request, next: Next) -> Response {
    let config = &next.edge().config.domain_remap;
    match host(&request).map_or(Remap::Alone, |host| remap(config, host, request.uri().path())) {
        Remap::Alone => {}
        Remap::BadDomain => return answer::words(StatusCode::BAD_REQUEST, "Bad domain in host header"),
        Remap::Path(path) => {
            let asked = request.uri().path().to_owned();
            let text = match request.uri().query() {
                Some(query) => format!("{path}?{query}"),
                None => path.clone(),
            };
            match text.parse::<Uri>() {
                Ok(uri) => *request.uri_mut() = uri,
                Err(_) => return answer::words(StatusCode::BAD_REQUEST, "Bad domain in host header"),
            }
            let mut response = next.run(request).await;
            for name in [LOCATION, CONTENT_LOCATION] {
                let location = headers::text(response.headers(), name.as_str());
                if let Some(location) = location.and_then(|location| restore(location, &path, &asked)) {
                    headers::set(response.headers_mut(), name.as_str(), &location);
                }
            }
            return response;
        }
    }
    next.run(request).await
}

/// A location below the path that was gone on with, as the client would ask for it.
fn restore(location: &str, path: &str, asked: &str) -> Option<String> {
    let plain = |path: &str| percent::unquote(path).ok().map(|path| percent::quote(&path));
    let authority_at = location.find("://")? + 3;
    let path_at = authority_at + location[authority_at..].find('/')?;
    let rest = location[path_at..].strip_prefix(&plain(path)?)?;
    Some(format!("{}{}{rest}", &location[..path_at], plain(asked)?))
}

#[derive(Debug, PartialEq, Eq)]
enum Remap {
    /// The host is none of ours.
    Alone,
    /// More parts before the domain than a container and an account.
    BadDomain,
    /// The path to go on with, percent-encoded.
    Path(String),
}

/// What stands before a storage domain in a host.
fn sub_domain<'h>(config: &DomainRemapConfig, host: &'h str) -> Option<&'h str> {
    let host = host.rsplit_once(':').map_or(host, |(name, _port)| name);
    config.storage_domain.iter().find_map(|domain| {
        let rest = host.strip_suffix(domain.trim_start_matches('.'))?;
        rest.strip_suffix('.')
    })
}

fn remap(config: &DomainRemapConfig, host: &str, path: &str) -> Remap {
    let Some(sub_domain) = sub_domain(config, host) else {
        return Remap::Alone;
    };
    let parts: Vec<&str> = sub_domain.trim_matches('.').split('.').collect();
    let (container, account) = match parts.as_slice() {
        [account] => (None, *account),
        [container, account] => (Some(*container), *account),
        _ => return Remap::BadDomain,
    };
    let Some(account) = account_name(config, account) else {
        return Remap::Alone;
    };
    let root = config.path_root.trim_matches('/');
    let mut rest = path.strip_prefix('/').unwrap_or(path);
    if config.mangle_client_paths {
        rest = match rest.strip_prefix(root) {
            Some("") => "",
            Some(after) => after.strip_prefix('/').unwrap_or(rest),
            None => rest,
        };
    }
    let mut new_path = format!("/{root}/{}", percent::quote_segment(&account));
    if let Some(container) = container {
        new_path.push('/');
        new_path.push_str(&percent::quote_segment(container));
    }
    new_path.push('/');
    new_path.push_str(rest);
    Remap::Path(new_path)
}

/// Hosts cannot hold an underscore and browsers lower their case: both are mended when the prefix is a known one.
fn account_name(config: &DomainRemapConfig, account: &str) -> Option<String> {
    if config.reseller_prefixes.is_empty() {
        return Some(account.to_owned());
    }
    let account = if account.contains('_') {
        account.to_owned()
    } else {
        account.replacen('-', "_", 1)
    };
    let prefix = account.split('_').next().unwrap_or("");
    let known = config
        .reseller_prefixes
        .iter()
        .find(|known| known.eq_ignore_ascii_case(prefix));
    match (known, &config.default_reseller_prefix) {
        (Some(known), _) => Some(format!("{known}{}", &account[prefix.len()..])),
        (None, Some(default)) => Some(format!("{default}_{account}")),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(default_prefix: Option<&str>, mangle: bool) -> DomainRemapConfig {
        DomainRemapConfig {
            storage_domain: vec!["example.net".into()],
            default_reseller_prefix: default_prefix.map(str::to_owned),
            mangle_client_paths: mangle,
            ..DomainRemapConfig::default()
        }
    }

    #[test]
    fn locations_become_what_the_client_asked_for() {
        for (location, path, asked, expected) in [
            (
                "http://c.a.example.net/v1/AUTH_a/c/d/",
                "/v1/AUTH_a/c/d",
                "/d",
                Some("http://c.a.example.net/d/"),
            ),
            (
                "http://x/v1/AUTH_a/%C3%BC/",
                "/v1/AUTH_a/%c3%bc",
                "/%c3%bc",
                Some("http://x/%C3%BC/"),
            ),
            ("http://x/other/", "/v1/AUTH_a/c/d", "/d", None),
            ("/v1/AUTH_a/c/d", "/v1/AUTH_a/c/d", "/d", None),
            ("http://x", "/v1/AUTH_a/c/d", "/d", None),
        ] {
            assert_eq!(restore(location, path, asked).as_deref(), expected, "{location}");
        }
    }

    #[test]
    fn hosts_become_paths() {
        let path = |text: &str| Remap::Path(text.into());
        for (host, client_path, expected) in [
            ("AUTH_test.example.net", "/", path("/v1/AUTH_test/")),
            ("auth-test.example.net:8080", "/c/o", path("/v1/AUTH_test/c/o")),
            ("c.auth-test.example.net", "/o%20p", path("/v1/AUTH_test/c/o%20p")),
            ("c.auth_a-b.example.net", "/o", path("/v1/AUTH_a-b/c/o")),
            ("a.b.c.example.net", "/o", Remap::BadDomain),
            ("example.net", "/o", Remap::Alone),
            ("badexample.net", "/o", Remap::Alone),
            ("127.0.0.1:8080", "/v1/AUTH_test", Remap::Alone),
            ("other-test.example.net", "/o", Remap::Alone),
        ] {
            assert_eq!(
                remap(&config(None, false), host, client_path),
                expected,
                "{host} {client_path}"
            );
        }
        let expected = path("/v1/AUTH_other/o");
        assert_eq!(
            remap(&config(Some("AUTH"), false), "other.example.net", "/o"),
            expected
        );
        let expected = path("/v1/AUTH_test/c/o");
        assert_eq!(
            remap(&config(None, true), "c.auth-test.example.net", "/v1/o"),
            expected
        );
    }
}
