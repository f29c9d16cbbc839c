//! Calls to other clusters by their public addresses, over TLS where the address says so: what container sync needs.

use crate::route::{HttpProxy, Routes};
use crate::stall;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use martlet_service::{Body, BodyError, Request, Response};
use rustls::{ClientConfig, RootCertStore};
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;

/// Idle connections kept for each host.
const IDLE_CONNECTIONS: usize = 16;
/// An idle connection is closed after so long.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Why another cluster gave no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteError {
    /// No connection: refused, unreachable, not in time, or its certificate is not trusted.
    Connect(String),
    /// For the stall time it neither took nor sent anything.
    Stalled,
    /// The connection broke in the middle, or it did not speak HTTP.
    Broken(String),
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RemoteError::Connect(text) => write!(f, "cannot connect: {text}"),
            RemoteError::Stalled => f.write_str("the other cluster went silent"),
            RemoteError::Broken(text) => write!(f, "connection broke: {text}"),
        }
    }
}

impl Error for RemoteError {}

/// Calls other clusters. Clones share connections.
#[derive(Clone)]
pub struct RemoteClient {
    /// Made by the first call: the system's certificates are many, and most nodes never call anybody.
    client: Arc<OnceLock<Client<HttpsConnector<Routes>, Body>>>,
    connect_timeout: Duration,
    stall_timeout: Duration,
    proxies: Vec<HttpProxy>,
}

impl RemoteClient {
    /// `stall_timeout_ms`: how long a call may go without a byte moving, either way. `proxies`: through whom calls go;
    /// straight when there are none.
    pub fn new(connect_timeout_ms: u64, stall_timeout_ms: u64, proxies: Vec<HttpProxy>) -> Self {
        RemoteClient {
            client: Arc::default(),
            connect_timeout: Duration::from_millis(connect_timeout_ms),
            stall_timeout: Duration::from_millis(stall_timeout_ms),
            proxies,
        }
    }

    /// Sends a request whose URI is whole; returns when the head of the response is here. The request's body may take as
    /// long as it moves.
    ///
    /// # Errors
    /// Only when no response came: a status of 4xx or 5xx is a response.
    pub async fn send(&self, request: Request) -> Result<Response, RemoteError> {
        let beat = Arc::new(Beat::default());
        let watched = beat.clone();
        let request = request.map(|body| match body.as_full() {
            Some(_) => body,
            None => Body::boxed(Watched { body, beat: watched }),
        });
        let mut call = std::pin::pin!(self.client().request(request));
        let response = loop {
            let deadline = beat.last() + self.stall_timeout;
            tokio::select! {
                response = &mut call => break response,
                () = tokio::time::sleep_until(deadline) => {
                    if beat.last() + self.stall_timeout <= Instant::now() {
                        return Err(RemoteError::Stalled);
                    }
                }
            }
        };
        match response {
            Ok(response) => {
                Ok(response.map(|incoming| stall::guard(Body::from(incoming), self.stall_timeout)))
            }
            Err(error) if error.is_connect() => Err(RemoteError::Connect(chain(&error))),
            Err(error) => Err(RemoteError::Broken(chain(&error))),
        }
    }

    fn client(&self) -> &Client<HttpsConnector<Routes>, Body> {
        self.client.get_or_init(|| {
            let mut http = HttpConnector::new();
            http.enforce_http(false);
            http.set_nodelay(true);
            http.set_connect_timeout(Some(self.connect_timeout));
            let connector = HttpsConnectorBuilder::new()
                .with_tls_config(tls())
                .https_or_http()
                .enable_http1()
                .wrap_connector(Routes::new(http, self.proxies.clone()));
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_TIMEOUT)
                .pool_max_idle_per_host(IDLE_CONNECTIONS)
                .build(connector)
        })
    }
}

/// Trusts what the system trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others). A system that trusts nobody can still
/// call by plain HTTP.
fn tls() -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = || {
        ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("the provider's own versions are safe")
    };
    match builder().with_native_roots() {
        Ok(trusting) => trusting.with_no_client_auth(),
        Err(error) => {
            tracing::warn!(%error, "no trusted certificates: https to other clusters will fail");
            builder()
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth()
        }
    }
}

/// An error with what caused it.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// When something last moved.
struct Beat {
    begun: Instant,
    /// Milliseconds after `begun`.
    last_ms: AtomicU64,
}

impl Default for Beat {
    fn default() -> Self {
        Beat {
            begun: Instant::now(),
            last_ms: AtomicU64::new(0),
        }
    }
}

impl Beat {
    fn last(&self) -> Instant {
        self.begun + Duration::from_millis(self.last_ms.load(Ordering::Relaxed))
    }

    fn now(&self) {
        let passed = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(passed, Ordering::Relaxed);
    }
}

/// A body that tells when it was last asked for more: the connection asks once it has room.
struct Watched {
    body: Body,
    beat: Arc<Beat>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.beat.now();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn request(port: u16, body: Body) -> Request {
        let uri = format!("http://127.0.0.1:{port}/v1/a/c/o");
        http::Request::put(uri).body(body).unwrap()
    }

    #[tokio::test]
    async fn bodies_are_streamed_and_answers_come_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut seen = Vec::new();
            while !seen.ends_with(b"second") {
                assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0);
            }
            let answer = b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok";
            stream.write_all(answer).await.unwrap();
            String::from_utf8(seen).unwrap()
        });
        let (mut sender, body) = Body::sized_channel(1, 11);
        let feed = async {
            sender.send("first".into()).await.unwrap();
            sender.send("second".into()).await.unwrap();
            // The connection knows the length and needs no end.
            let _ = sender.finish().await;
        };
        let client = RemoteClient::new(5_000, 20_000, Vec::new());
        let (answer, ()) = tokio::join!(client.send(request(port, body)), feed);
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 201);
        assert_eq!(
            martlet_service::collect(answer.into_body(), 10).await.unwrap(),
            "ok"
        );
        let seen = server.await.unwrap();
        assert!(seen.starts_with("PUT /v1/a/c/o HTTP/1.1\r\n"), "{seen}");
        assert!(seen.contains("content-length: 11\r\n"), "{seen}");
    }

    #[tokio::test]
    async fn who_is_silent_or_not_there_is_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = RemoteClient::new(5_000, 20, Vec::new());
        let silent = client.send(request(port, Body::empty())).await;
        assert_eq!(silent.unwrap_err(), RemoteError::Stalled);
        drop(listener);
        let refused = client.send(request(port, Body::empty())).await;
        assert!(matches!(refused, Err(RemoteError::Connect(_))), "{refused:?}");
    }
}
