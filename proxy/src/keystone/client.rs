//! Speaks HTTP to whichever Keystone answers: each address in turn, with bounds on time and on how much is asked at once.

use super::config::{AuthTokenConfig, AuthUrl};
use crate::tls::{Identity, Trust};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// An answer about one token is a few kilobytes; a larger one than this is not read on.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// Connections kept open between questions, to each address.
const MAX_IDLE_CONNECTIONS: usize = 16;
/// Shorter than the keep-alive of the web servers before a usual Keystone, so that ours end first.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

type Http = legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// No Keystone gave an answer that could be used; the text is for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable(pub String);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unavailable {}

/// What a Keystone said. Never a 5xx.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A question: what follows the address, and what goes with it.
#[derive(Clone, Debug)]
pub struct Question {
    pub method: Method,
    /// Begins with a slash; may have a query.
    pub path: String,
    pub headers: HeaderMap,
    /// JSON, or nothing.
    pub body: Bytes,
}

/// The addresses of Keystone, and connections to them.
pub struct Client {
    http: Http,
    urls: Vec<AuthUrl>,
    /// The address that answered last: asked first.
    preferred: AtomicUsize,
    timeout: Duration,
    slots: Semaphore,
}

impl Client {
    /// # Errors
    /// A sentence for the operator when certificates cannot be read.
    pub fn new(config: &AuthTokenConfig) -> Result<Self, String> {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(Duration::from_secs(config.http_connect_timeout.max(1))));
        connector.set_nodelay(true);
        connector.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(config)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .build(connector);
        Ok(Client {
            http,
            urls: config.auth_url.clone(),
            preferred: AtomicUsize::new(0),
            timeout: Duration::from_secs(config.http_request_timeout.max(1)),
            slots: Semaphore::new(config.max_concurrent_requests.clamp(1, Semaphore::MAX_PERMITS)),
        })
    }

    /// Asks one address after the other until one answers without a 5xx.
    ///
    /// # Errors
    /// When none did.
    pub async fn ask(&self, question: &Question) -> Result<Answer, Unavailable> {
        let slot = tokio::time::timeout(self.timeout, self.slots.acquire()).await;
        let Ok(Ok(_slot)) = slot else {
            return Err(Unavailable("too many questions to Keystone are waiting".into()));
        };
        let first = self.preferred.load(Ordering::Relaxed);
        let mut reason = String::from("no address");
        for turn in 0..self.urls.len() {
            let at = (first + turn) % self.urls.len();
            match self.ask_one(&self.urls[at], question).await {
                Ok(answer) => {
                    self.preferred.store(at, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(problem) => {
                    metrics::counter!("martlet_keystone_failures_total").increment(1);
                    tracing::debug!(url = self.urls[at].as_str(), %problem, "Keystone did not answer");
                    reason = format!("{}: {problem}", self.urls[at].as_str());
                }
            }
        }
        Err(Unavailable(reason))
    }

    async fn ask_one(&self, url: &AuthUrl, question: &Question) -> Result<Answer, String> {
        let told = async {
            // A connection that was idle may be closed just when it is used again; all questions may be asked twice.
            match self.send(url, question).await {
                Err(error) if !error.is_connect() => self.send(url, question).await.map_err(told_error),
                sent => sent.map_err(told_error),
            }
            .map(http::Response::into_parts)
        };
        let whole = async {
            let (parts, body) = told.await?;
            let body = Limited::new(body, MAX_ANSWER_BYTES);
            let body = body.collect().await.map_err(|error| error.to_string())?;
            Ok::<_, String>((parts, body.to_bytes()))
        };
        let (parts, body) = match tokio::time::timeout(self.timeout, whole).await {
            Ok(done) => done?,
            Err(_) => return Err(format!("no answer within {} s", self.timeout.as_secs())),
        };
        if parts.status.is_server_error() {
            return Err(format!("answered {}", parts.status));
        }
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        })
    }

    async fn send(
        &self,
        url: &AuthUrl,
        question: &Question,
    ) -> Result<http::Response<hyper::body::Incoming>, legacy::Error> {
        metrics::counter!("martlet_keystone_requests_total").increment(1);
        let mut request = http::Request::new(Full::new(question.body.clone()));
        *request.method_mut() = question.method.clone();
        // The address was checked when it was read, and paths are made of quoted parts.
        *request.uri_mut() = format!("{}{}", url.as_str(), question.path)
            .parse()
            .unwrap_or_default();
        let map = request.headers_mut();
        *map = question.headers.clone();
        map.insert(ACCEPT, HeaderValue::from_static("application/json"));
        map.insert(USER_AGENT, HeaderValue::from_static("martlet"));
        if !question.body.is_empty() {
            map.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        self.http.request(request).await
    }
}

/// The error and the causes that it does not name itself.
fn told_error(error: legacy::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn tls(config: &AuthTokenConfig) -> Result<rustls::ClientConfig, String> {
    if config.insecure {
        tracing::warn!(
            "authtoken: insecure is on: whoever puts himself between this proxy and Keystone is believed"
        );
    }
    let trust = Trust {
        section: "authtoken",
        cafile: config.cafile.as_deref(),
        identity: config.certfile.as_deref().map(|certificate| Identity {
            certificate,
            key: config.keyfile.as_deref().unwrap_or(certificate),
        }),
        insecure: config.insecure,
        is_wanted: config
            .auth_url
            .iter()
            .any(|url| url.as_str().starts_with("https:")),
    };
    trust.client_config()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_cannot_be_shown_is_named() {
        let mut config = AuthTokenConfig::new(vec!["https://a".parse().unwrap()], "swift", "p", "service");
        config.insecure = true;
        assert!(Client::new(&config).is_ok());
        let folder = tempfile::tempdir().unwrap();
        let (missing, empty) = (folder.path().join("missing.pem"), folder.path().join("empty.pem"));
        std::fs::write(&empty, "").unwrap();
        for path in [missing, empty] {
            config.certfile = Some(path.clone());
            let error = Client::new(&config).err().unwrap();
            assert!(error.contains(path.to_str().unwrap()), "{error}");
        }
    }
}
