//! Lets clients use domains of their own: a `Host` that is none of the cluster's is looked up in DNS, and goes on as the
//! name it is another name for.
//!
//! See "CNAME Lookup" in Swift's middleware documentation. Off unless its section is there. Stands before `domain_remap`,
//! which makes paths of what it finds.

mod dns;
mod resolver;

pub use resolver::Resolver;

use super::answer;
use crate::Edge;
use crate::pipeline::Next;
use http::StatusCode;
use http::header::{HOST, LOCATION};
use martlet_service::{Request, Response, headers};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::net::{IpAddr, SocketAddr};

/// Whose names are the cluster's own, and who is asked about others.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CnameLookupConfig {
    /// Empty: the step does nothing.
    pub storage_domain: Vec<String>,
    /// Names followed one after the other.
    pub lookup_depth: usize,
    /// Addresses, with a port or without. Empty: those of the machine.
    pub nameservers: Vec<NameServer>,
}

impl Default for CnameLookupConfig {
    fn default() -> Self {
        CnameLookupConfig {
            storage_domain: vec!["example.com".into()],
            lookup_depth: 1,
            nameservers: Vec::new(),
        }
    }
}

/// The address of a name server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NameServer(pub SocketAddr);

impl TryFrom<String> for NameServer {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let whole = text.parse::<SocketAddr>().ok();
        let bare = || text.trim_matches(['[', ']']).parse::<IpAddr>().ok();
        whole
            .or_else(|| bare().map(|address| SocketAddr::new(address, 53)))
            .map(NameServer)
            .ok_or_else(|| {
                "Invalid cname_lookup/nameservers configuration found. All nameservers must be valid IPv4 or IPv6, \
                 followed by an optional :<integer> port."
                    .into()
            })
    }
}

impl From<NameServer> for String {
    fn from(server: NameServer) -> String {
        server.0.to_string()
    }
}

/// Adds what `/info` says of this step.
pub fn describe(edge: &Edge, sections: &mut Map<String, Value>) {
    if let Some(config) = &edge.config.cname_lookup {
        let section = json!({"lookup_depth": config.lookup_depth});
        sections.insert("cname_lookup".into(), section);
    }
}

pub fn concerns(_: &Request, edge: &Edge) -> bool {
    edge.config.cname_lookup.is_some() && edge.resolver.is_some()
}

pub async fn run(mut request: Request, next: Next) -> Response {
    let edge = next.edge().clone();
    let (Some(config), Some(resolver)) = (&edge.config.cname_lookup, &edge.resolver) else {
        return next.run(request).await;
    };
    let host = headers::text(request.headers(), HOST.as_str()).or_else(|| request.uri().host());
    let Some(host) = host.map(str::to_owned) else {
        return next.run(request).await;
    };
    let (domain, port) = part(&host);
    if !needs_lookup(config, domain) {
        return next.run(request).await;
    }
    match follow(config, resolver, domain).await {
        Ok(found) => {
            let found = format!("{found}{port}");
            headers::set(request.headers_mut(), HOST.as_str(), &found);
            let mut response = next.run(request).await;
            show_own_host(&mut response, &found, &host);
            response
        }
        Err(words) => answer::words(StatusCode::BAD_REQUEST, words),
    }
}

/// The domain of a host, and its port with the colon.
fn part(host: &str) -> (&str, &str) {
    match host.rfind(':') {
        Some(at) if !host.ends_with(']') => host.split_at(at),
        _ => (host, ""),
    }
}

fn needs_lookup(config: &CnameLookupConfig, domain: &str) -> bool {
    let is_address = domain.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    !config.storage_domain.is_empty() && !is_address && !is_ours(config, domain)
}

/// Whether a domain is one of the cluster's or below one.
fn is_ours(config: &CnameLookupConfig, domain: &str) -> bool {
    let domain = format!(".{}", domain.to_ascii_lowercase());
    config
        .storage_domain
        .iter()
        .any(|own| domain.ends_with(&format!(".{}", own.trim_start_matches('.').to_ascii_lowercase())))
}

/// The cluster's own name that a domain leads to; else the words of the refusal.
async fn follow(config: &CnameLookupConfig, resolver: &Resolver, domain: &str) -> Result<String, String> {
    let mut domain = domain.to_owned();
    for _ in 0..config.lookup_depth {
        let found = resolver.cname(&domain).await;
        match found.filter(|found| !found.eq_ignore_ascii_case(&domain)) {
            None => return Err("CNAME lookup failed to resolve to a valid domain".into()),
            Some(found) if is_ours(config, &found) => {
                tracing::debug!(domain, found, "a domain leads to the cluster");
                return Ok(found);
            }
            Some(found) => domain = found,
        }
    }
    Err(format!("CNAME lookup failed after {} tries", config.lookup_depth))
}

/// Where the answer leads to a place of this cluster, it leads there by the name that the client used.
fn show_own_host(response: &mut Response, found: &str, host: &str) {
    let Some(location) = headers::text(response.headers(), LOCATION.as_str()) else {
        return;
    };
    let Some((scheme, rest)) = location.split_once("://") else {
        return;
    };
    if let Some(path) = rest.strip_prefix(found)
        && (path.is_empty() || path.starts_with('/'))
    {
        let own = format!("{scheme}://{host}{path}");
        headers::set(response.headers_mut(), LOCATION.as_str(), &own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_service::{Body, respond};

    fn config(domains: &[&str]) -> CnameLookupConfig {
        CnameLookupConfig {
            storage_domain: domains.iter().map(|domain| (*domain).to_owned()).collect(),
            ..CnameLookupConfig::default()
        }
    }

    #[test]
    fn which_hosts_are_looked_up() {
        for (domains, host, expected) in [
            (&["example.com"][..], "mysite.com", true),
            (&["example.com"], "mysite.com:8080", true),
            (&["example.com"], "c.a.example.com", false),
            (&["example.com"], "c.a.EXAMPLE.com:80", false),
            (&["example.com"], "example.com", false),
            (&["example.com"], "badexample.com", true),
            (&[".example.com", "storage.net"], "a.storage.net", false),
            (&["example.com"], "127.0.0.1:8080", false),
            (&["example.com"], "[fc00:7ea1:f155::6321:8841]", false),
            (&["example.com"], "[::1]:8080", false),
            (&[], "mysite.com", false),
        ] {
            let (domain, _) = part(host);
            assert_eq!(needs_lookup(&config(domains), domain), expected, "{host}");
        }
        assert_eq!(part("a.b:80"), ("a.b", ":80"));
        assert_eq!(part("[::1]"), ("[::1]", ""));
    }

    #[test]
    fn name_servers_are_addresses() {
        for (text, expected) in [
            ("127.0.0.1", Some("127.0.0.1:53")),
            ("127.0.0.2:5353", Some("127.0.0.2:5353")),
            ("::1", Some("[::1]:53")),
            ("[::1]:5353", Some("[::1]:5353")),
            ("localhost", None),
            ("127.0.0.1:port", None),
            ("", None),
        ] {
            let found = NameServer::try_from(text.to_owned()).ok().map(String::from);
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn answers_lead_to_the_name_that_was_used() {
        for (location, expected) in [
            ("http://c.a.example.com:80/dir/", "http://mysite.com:80/dir/"),
            ("http://c.a.example.com:80", "http://mysite.com:80"),
            (
                "http://c.a.example.com:8080/dir/",
                "http://c.a.example.com:8080/dir/",
            ),
            ("/dir/", "/dir/"),
        ] {
            let mut response =
                respond::with(StatusCode::MOVED_PERMANENTLY, Default::default(), Body::empty());
            headers::set(response.headers_mut(), "location", location);
            show_own_host(&mut response, "c.a.example.com:80", "mysite.com:80");
            assert_eq!(response.headers()["location"], expected);
        }
    }
}
