//! How Keystone is reached and how long its word is believed. Names are those of keystonemiddleware's `auth_token` section
//! and of Swift's `s3token` filter.

use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// `[proxy.pipeline.authtoken]`: present, Keystone's tokens are taken beside tempauth's.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthTokenConfig {
    /// Keystone's addresses, with or without `/v3`; one, or several that are tried in turn.
    #[serde(deserialize_with = "one_or_more")]
    pub auth_url: Vec<AuthUrl>,
    /// The service user that asks about tokens.
    pub username: String,
    pub password: Secret,
    /// The project that the service user's own token is for.
    #[serde(default)]
    pub project_name: String,
    /// `all`: its token is for the whole system instead. With the roles `service` and `reader` there it needs no `admin`.
    #[serde(default)]
    pub system_scope: Option<String>,
    #[serde(default = "default_domain")]
    pub user_domain_name: String,
    #[serde(default = "default_domain")]
    pub project_domain_name: String,
    /// Stands in the place of the name.
    #[serde(default)]
    pub user_domain_id: Option<String>,
    #[serde(default)]
    pub project_domain_id: Option<String>,
    /// What a refused client is told to log in at; the first `auth_url` when left out.
    #[serde(default)]
    pub www_authenticate_uri: Option<String>,
    /// A request without a good token goes on as nobody's, so that public containers, temporary URLs and tempauth work.
    /// `false`: it is refused at once, unless another step has proved it.
    #[serde(default = "yes")]
    pub delay_auth_decision: bool,
    /// Seconds that Keystone's word about a token is believed: a revoked token works for so long at most.
    #[serde(default = "token_cache_time")]
    pub token_cache_time: u64,
    /// Tokens remembered in this process; past it, those seldom used are forgotten.
    #[serde(default = "max_cached_tokens")]
    pub max_cached_tokens: u64,
    /// `host:port` of memcached servers by which proxies share what Keystone said.
    #[serde(default)]
    pub memcached_servers: Vec<String>,
    /// Signs what stands in memcached, and hides tokens there. Needed with `memcached_servers`; the same on all proxies.
    #[serde(default)]
    pub memcache_secret_key: Option<Secret>,
    /// Seconds to reach a Keystone, before the next is tried.
    #[serde(default = "http_connect_timeout")]
    pub http_connect_timeout: u64,
    /// Seconds a Keystone may take to answer, before the next is tried.
    #[serde(default = "http_request_timeout")]
    pub http_request_timeout: u64,
    /// Questions that Keystone is asked at once; others wait, at most for `http_request_timeout`.
    #[serde(default = "max_concurrent_requests")]
    pub max_concurrent_requests: usize,
    /// Who shows a service token with one of these roles may act for a user whose own token has expired meanwhile.
    #[serde(default = "service_token_roles")]
    pub service_token_roles: Vec<String>,
    /// Whether a service token without such a role is refused. As in keystonemiddleware 13; before that, it was not.
    #[serde(default = "yes")]
    pub service_token_roles_required: bool,
    /// Certificates that an `https` Keystone is checked with; the system's when left out.
    #[serde(default)]
    pub cafile: Option<PathBuf>,
    /// The certificate that an `https` Keystone is shown when it asks for one; PEM, and read at the start.
    #[serde(default)]
    pub certfile: Option<PathBuf>,
    /// The key of `certfile`; when left out, it stands in that file too.
    #[serde(default)]
    pub keyfile: Option<PathBuf>,
    /// An `https` Keystone's certificate is not checked. For trying things out: whoever puts himself between is believed.
    #[serde(default)]
    pub insecure: bool,
}

/// `[proxy.pipeline.s3token]`: S3 with the EC2 credentials of Keystone's users.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3TokenConfig {
    /// Seconds that a credential and its user are remembered, so that Keystone is not asked for each request. 0: never.
    pub secret_cache_duration: u64,
    /// Credentials remembered.
    pub max_cached_credentials: u64,
}

impl Default for S3TokenConfig {
    fn default() -> Self {
        S3TokenConfig {
            secret_cache_duration: 60,
            max_cached_credentials: 10_000,
        }
    }
}

impl AuthTokenConfig {
    /// All defaults, for a Keystone at `auth_url` and a service user.
    pub fn new(auth_url: Vec<AuthUrl>, username: &str, password: &str, project_name: &str) -> Self {
        AuthTokenConfig {
            auth_url,
            username: username.into(),
            password: Secret(password.into()),
            project_name: project_name.into(),
            system_scope: None,
            user_domain_name: default_domain(),
            project_domain_name: default_domain(),
            user_domain_id: None,
            project_domain_id: None,
            www_authenticate_uri: None,
            delay_auth_decision: true,
            token_cache_time: token_cache_time(),
            max_cached_tokens: max_cached_tokens(),
            memcached_servers: Vec::new(),
            memcache_secret_key: None,
            http_connect_timeout: http_connect_timeout(),
            http_request_timeout: http_request_timeout(),
            max_concurrent_requests: max_concurrent_requests(),
            service_token_roles: service_token_roles(),
            service_token_roles_required: true,
            cafile: None,
            certfile: None,
            keyfile: None,
            insecure: false,
        }
    }

    /// Makes paths absolute.
    pub fn resolve(&mut self, folder: &Path) {
        let paths = [&mut self.cafile, &mut self.certfile, &mut self.keyfile];
        for path in paths.into_iter().flatten() {
            *path = folder.join(&*path);
        }
    }

    /// # Errors
    /// A sentence for the operator about settings that do not go together.
    pub fn check(&self) -> Result<(), String> {
        if self.auth_url.is_empty() {
            return Err("authtoken: auth_url names no Keystone".into());
        }
        match (self.system_scope.as_deref(), self.project_name.is_empty()) {
            (None, false) | (Some("all"), true) => {}
            (None, true) => return Err("authtoken: names neither project_name nor system_scope".into()),
            (Some("all"), false) => {
                return Err(
                    "authtoken: project_name and system_scope cannot both be the service user's".into(),
                );
            }
            (Some(scope), _) => return Err(format!("authtoken: system_scope can be \"all\", not {scope:?}")),
        }
        if self.keyfile.is_some() && self.certfile.is_none() {
            return Err("authtoken: keyfile is the key of a certfile, which is not named".into());
        }
        if !self.memcached_servers.is_empty()
            && self.memcache_secret_key.as_ref().is_none_or(Secret::is_empty)
        {
            return Err(
                "authtoken: memcached_servers needs memcache_secret_key: without it anyone who can write to memcached \
                 could pass for anyone"
                    .into(),
            );
        }
        for server in &self.memcached_servers {
            let port = server
                .rsplit_once(':')
                .map(|(host, port)| (host, port.parse::<u16>()));
            if !matches!(port, Some((host, Ok(_))) if !host.is_empty()) {
                return Err(format!("authtoken: memcached server {server:?} is not host:port"));
            }
        }
        Ok(())
    }
}

fn default_domain() -> String {
    "Default".into()
}

fn yes() -> bool {
    true
}

fn token_cache_time() -> u64 {
    300
}

fn max_cached_tokens() -> u64 {
    50_000
}

fn http_connect_timeout() -> u64 {
    2
}

fn http_request_timeout() -> u64 {
    10
}

fn max_concurrent_requests() -> usize {
    64
}

fn service_token_roles() -> Vec<String> {
    vec!["service".into()]
}

fn one_or_more<'de, D: Deserializer<'de>>(source: D) -> Result<Vec<AuthUrl>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        One(String),
        More(Vec<String>),
    }
    let written = match Written::deserialize(source)? {
        Written::One(text) => text.split(',').map(|url| url.trim().to_owned()).collect(),
        Written::More(list) => list,
    };
    let urls = written.iter().map(|text| text.parse());
    urls.collect::<Result<_, AuthUrlError>>()
        .map_err(serde::de::Error::custom)
}

/// A word that logs do not show.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The word itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// `http://keystone:5000/v3`: where the v3 API begins. Written without a version, `/v3` is added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct AuthUrl(String);

/// Why a text is no address of a Keystone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthUrlError(String);

impl fmt::Display for AuthUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AuthUrlError {}

impl AuthUrl {
    /// Without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AuthUrl {
    type Err = AuthUrlError;

    fn from_str(text: &str) -> Result<Self, AuthUrlError> {
        let wrong = |why: &str| AuthUrlError(format!("Keystone's address {text:?} {why}"));
        let uri: http::Uri = text.trim().parse().map_err(|_| wrong("is no URL"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(wrong("must begin with http:// or https://"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
        if authority.host().is_empty() || authority.as_str().contains('@') {
            return Err(wrong("must name a host and no user"));
        }
        if uri.query().is_some() {
            return Err(wrong("must not have a query"));
        }
        let path = uri.path().trim_end_matches('/');
        if path.ends_with("/v2.0") {
            return Err(wrong("is of version 2.0, which Keystone has given up; use /v3"));
        }
        let path = match path.ends_with("/v3") {
            true => path.to_owned(),
            false => format!("{path}/v3"),
        };
        let scheme = uri.scheme_str().unwrap_or("http");
        Ok(AuthUrl(format!("{scheme}://{authority}{path}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_or_without_a_version() {
        for (text, expected) in [
            ("http://127.0.0.1:5000/v3", "http://127.0.0.1:5000/v3"),
            ("http://127.0.0.1:5000/v3/", "http://127.0.0.1:5000/v3"),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5000/v3"),
            (
                "https://cloud.example/identity/",
                "https://cloud.example/identity/v3",
            ),
        ] {
            assert_eq!(text.parse::<AuthUrl>().unwrap().as_str(), expected);
        }
        for text in [
            "",
            "127.0.0.1:5000",
            "ftp://a/v3",
            "http://u:p@a/v3",
            "http://a/v3?x=1",
            "http://a/v2.0",
            "/v3",
        ] {
            assert!(text.parse::<AuthUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn passwords_stay_out_of_logs() {
        let config = AuthTokenConfig::new(vec!["http://a".parse().unwrap()], "swift", "s3cr3t", "service");
        assert!(!format!("{config:?}").contains("s3cr3t"));
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn the_service_user_is_of_a_project_or_of_the_system() {
        let check = |project: &str, system: Option<&str>| {
            let mut config = AuthTokenConfig::new(vec!["http://a".parse().unwrap()], "swift", "p", project);
            config.system_scope = system.map(str::to_owned);
            config.check().is_ok()
        };
        assert!(check("service", None) && check("", Some("all")));
        assert!(!check("", None) && !check("service", Some("all")) && !check("", Some("some")));
    }

    #[test]
    fn a_key_is_of_a_certificate_that_is_named() {
        let mut config = AuthTokenConfig::new(vec!["https://a".parse().unwrap()], "swift", "p", "service");
        config.keyfile = Some("own.key".into());
        assert!(config.check().unwrap_err().contains("certfile"));
        config.certfile = Some("own.pem".into());
        config.cafile = Some("/etc/cloud.pem".into());
        assert_eq!(config.check(), Ok(()));
        config.resolve(Path::new("/etc/martlet"));
        let paths = [&config.cafile, &config.certfile, &config.keyfile].map(|path| path.clone().unwrap());
        assert_eq!(
            paths,
            ["/etc/cloud.pem", "/etc/martlet/own.pem", "/etc/martlet/own.key"].map(PathBuf::from)
        );
    }

    #[test]
    fn memcached_needs_a_key_and_ports() {
        let mut config = AuthTokenConfig::new(vec!["http://a".parse().unwrap()], "swift", "p", "service");
        config.memcached_servers = vec!["127.0.0.1:11211".into()];
        assert!(config.check().unwrap_err().contains("memcache_secret_key"));
        config.memcache_secret_key = Some(Secret::new("k"));
        assert_eq!(config.check(), Ok(()));
        config.memcached_servers = vec!["127.0.0.1".into()];
        assert!(config.check().unwrap_err().contains("host:port"));
    }
}
