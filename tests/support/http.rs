//! A small HTTP client: one connection, whole bodies, nothing hidden.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use martlet_service::{ClusterKeys, Stream, prove_key};
use std::collections::BTreeMap;
use std::net::TcpStream as StdStream;
use std::sync::Mutex;

/// A status, headers and a body.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// A header as text; empty when absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
            .unwrap_or("")
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A logged-in user of the Swift door.
#[derive(Clone, Debug)]
pub struct Swift {
    address: String,
    /// `/v1/AUTH_test`.
    pub account: String,
    pub token: String,
}

impl Swift {
    /// Logs in with tempauth.
    pub async fn login(address: &str, user: &str, key: &str) -> Swift {
        let headers = [("x-auth-user", user), ("x-auth-key", key)];
        let answer = request(address, "GET", "/auth/v1.0", &headers, "")
            .await
            .expect("the proxy answers");
        assert_eq!(answer.status, 200, "login failed: {}", answer.text());
        let url = answer.header("x-storage-url");
        let account = url.splitn(4, '/').nth(3).expect("a URL with a path");
        Swift {
            address: address.to_owned(),
            account: format!("/{account}"),
            token: answer.header("x-auth-token").to_owned(),
        }
    }

    /// A request below the account: `path` is `/container/object`, percent-encoded. `None`: no answer came.
    pub async fn try_call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Option<Answer> {
        let mut all = vec![("x-auth-token", self.token.as_str())];
        all.extend_from_slice(headers);
        request(
            &self.address,
            method,
            &format!("{}{path}", self.account),
            &all,
            body,
        )
        .await
    }

    /// As [`Swift::try_call`], where an answer must come.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        self.try_call(method, path, headers, body)
            .await
            .expect("the proxy answers")
    }
}

/// The cluster keys of the storage nodes that a test has looked up, by address.
static KEYS: Mutex<BTreeMap<String, ClusterKeys>> = Mutex::new(BTreeMap::new());

/// Calls to this address prove that they have the cluster key.
pub fn know_key(address: &str, key: &str) {
    let keys = ClusterKeys::parse(key).expect("a cluster key");
    KEYS.lock()
        .expect("no test died here")
        .insert(address.to_owned(), keys);
}

async fn open(address: &str) -> Option<Stream> {
    let stream = tokio::net::TcpStream::connect(address).await.ok()?;
    let mut stream = Stream::from(stream);
    let keys = KEYS.lock().expect("no test died here").get(address).cloned();
    if let Some(keys) = keys {
        prove_key(&mut stream, &keys, &[0; 32]).await.ok()?;
    }
    Some(stream)
}

/// One request over a connection of its own. `None`: the connection failed before the answer was whole.
pub async fn request(
    address: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Option<Answer> {
    let stream = open(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let driving = tokio::spawn(connection);
    let mut builder = http::Request::builder()
        .method(method)
        .uri(target)
        .header("host", address);
    for (name, value) in headers {
        builder = builder.header(
            *name,
            http::HeaderValue::from_bytes(value.as_bytes()).expect("a header value"),
        );
    }
    let body = body.into();
    let says_length = headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    if body.is_empty() && !says_length {
        builder = builder.header("content-length", "0");
    }
    let request = builder.body(Full::new(body)).expect("a request");
    let response = sender.send_request(request).await.ok()?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.ok()?.to_bytes();
    driving.abort();
    Some(Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body,
    })
}

/// Sends bytes as they are and returns whatever comes back until the server closes or goes silent for a second.
pub fn raw(address: &str, bytes: &[u8]) -> String {
    use std::io::{Read, Write};
    let mut stream = StdStream::connect(address).expect("the proxy accepts");
    stream
        .set_read_timeout(Some(std::time::Duration::from_secs(1)))
        .expect("a timeout can be set");
    // A server that has seen enough may close before all is sent.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let mut buffer = [0; 16 * 1024];
    while let Ok(count) = stream.read(&mut buffer) {
        if count == 0 {
            break;
        }
        answer.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Bytes of a streamed body sent or read at a time.
const STREAM_CHUNK: usize = 1 << 20;

async fn connect<B>(address: &str) -> http1::SendRequest<B>
where
    B: hyper::body::Body<Data = Bytes, Error = std::convert::Infallible> + Send + Unpin + 'static,
{
    let stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("the proxy accepts");
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .expect("HTTP is spoken");
    tokio::spawn(connection);
    sender
}

/// A body of one chunk over and over: large objects that need no memory of their own.
struct Repeated {
    chunk: Bytes,
    left: u64,
}

impl hyper::body::Body for Repeated {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        let now = self.left.min(self.chunk.len() as u64);
        self.left -= now;
        let chunk = self.chunk.slice(..now as usize);
        std::task::Poll::Ready((now > 0).then(|| Ok(hyper::body::Frame::data(chunk))))
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        hyper::body::SizeHint::with_exact(self.left)
    }
}

fn streamed<B>(user: &Swift, method: &str, path: &str, body: B) -> http::Request<B> {
    http::Request::builder()
        .method(method)
        .uri(format!("{}{path}", user.account))
        .header("host", &user.address)
        .header("x-auth-token", &user.token)
        .body(body)
        .expect("a request")
}

/// PUTs so many bytes without holding them; the status.
pub async fn stream_in(user: &Swift, path: &str, bytes: u64) -> u16 {
    let mut sender = connect(&user.address).await;
    let body = Repeated {
        chunk: Bytes::from(vec![b'm'; STREAM_CHUNK]),
        left: bytes,
    };
    sender
        .send_request(streamed(user, "PUT", path, body))
        .await
        .expect("an answer")
        .status()
        .as_u16()
}

/// GETs without holding the body; the status and the bytes that came.
pub async fn stream_out(user: &Swift, path: &str) -> (u16, u64) {
    stream_through(user, path, |_| {}).await
}

/// As [`stream_out`]; `each` sees the bytes as they come.
pub async fn stream_through(user: &Swift, path: &str, mut each: impl FnMut(&[u8])) -> (u16, u64) {
    let mut sender = connect(&user.address).await;
    let empty = Full::new(Bytes::new());
    let response = sender
        .send_request(streamed(user, "GET", path, empty))
        .await
        .expect("an answer");
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut count = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.expect("the body goes on");
        if let Some(data) = frame.data_ref() {
            count += data.len() as u64;
            each(data);
        }
    }
    (status, count)
}
