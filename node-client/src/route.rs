//! How another cluster is reached: straight, or through an HTTP proxy of the operator's (Swift's `sync_proxy`).

use bytes::Bytes;
use http::uri::Scheme;
use http::{Method, Request, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tower_service::Service;

/// The address of an HTTP proxy, such as `http://10.1.1.1:8888`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProxy(Uri);

impl FromStr for HttpProxy {
    type Err = String;

    /// # Errors
    /// What is wrong with the address, in words for whoever wrote it.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{text:?} is no address of an HTTP proxy: {why}");
        let uri: Uri = text.trim().parse().map_err(|_| wrong("not a URL"))?;
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if uri.scheme() != Some(&Scheme::HTTP) || authority.is_empty() {
            return Err(wrong("it must be of the form http://host:port"));
        }
        if authority.contains('@') || uri.path_and_query().is_some_and(|path| path.as_str() != "/") {
            return Err(wrong("it may have a host and a port, nothing else"));
        }
        Ok(HttpProxy(uri))
    }
}

type Failure = Box<dyn Error + Send + Sync>;

/// Makes connections. Several proxies are used by turns.
#[derive(Clone)]
pub(crate) struct Routes {
    http: HttpConnector,
    proxies: Arc<[HttpProxy]>,
    turn: Arc<AtomicUsize>,
}

impl Routes {
    pub fn new(http: HttpConnector, proxies: Vec<HttpProxy>) -> Self {
        Routes {
            http,
            proxies: proxies.into(),
            turn: Arc::default(),
        }
    }

    fn next_proxy(&self) -> Option<Uri> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let at = turn.checked_rem(self.proxies.len())?;
        self.proxies.get(at).map(|proxy| proxy.0.clone())
    }
}

impl Service<Uri> for Routes {
    type Response = Route;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Route, Failure>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.http.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let mut http = self.http.clone();
        let proxy = self.next_proxy();
        Box::pin(async move {
            let Some(proxy) = proxy else {
                return Ok(Route::straight(http.call(to).await?));
            };
            let stream = http.call(proxy).await?;
            // What is encrypted the proxy passes on unseen; all else it asks for itself.
            match to.scheme() == Some(&Scheme::HTTPS) {
                true => tunnel(stream, &to).await,
                false => Ok(Route {
                    is_proxied: true,
                    ..Route::straight(stream)
                }),
            }
        })
    }
}

/// Asks the proxy to connect this connection with a host (RFC 9110, CONNECT).
async fn tunnel(stream: TokioIo<TcpStream>, to: &Uri) -> Result<Route, Failure> {
    let host = to.host().ok_or("the address has no host")?;
    let to = format!("{host}:{}", to.port_u16().unwrap_or(443));
    let (mut sender, connection) = http1::handshake(stream).await?;
    // Ends when the tunnel takes the stream over, or with an error that the request sees too.
    tokio::spawn(connection.with_upgrades());
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri(&to)
        .header(http::header::HOST, &to)
        .body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    if !answer.status().is_success() {
        return Err(format!("the proxy answers {} to CONNECT {to}", answer.status()).into());
    }
    Ok(Route::straight(hyper::upgrade::on(answer).await?))
}

trait Io: Read + Write + Send {}
impl<T: Read + Write + Send> Io for T {}

/// A connection, to the other cluster or to a proxy that speaks with it.
pub(crate) struct Route {
    io: Pin<Box<dyn Io>>,
    /// Requests name their whole address, so that the proxy knows whom to ask.
    is_proxied: bool,
}

impl Route {
    fn straight(io: impl Io + 'static) -> Self {
        Route {
            io: Box::pin(io),
            is_proxied: false,
        }
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route")
            .field("is_proxied", &self.is_proxied)
            .finish_non_exhaustive()
    }
}

impl Connection for Route {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.is_proxied)
    }
}

impl Read for Route {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_read(context, buffer)
    }
}

impl Write for Route {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.io.as_mut().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io.as_mut().poll_write_vectored(context, slices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RemoteClient;
    use martlet_service::Body;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[test]
    fn addresses_of_proxies() {
        for good in ["http://10.1.1.1:8888", " http://proxy ", "http://[::1]:3128/"] {
            assert!(good.parse::<HttpProxy>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "proxy:8888",
            "https://proxy:8888",
            "http://",
            "http://user:secret@proxy:1",
            "http://proxy/path",
            "http://a b",
        ] {
            assert!(bad.parse::<HttpProxy>().is_err(), "{bad}");
        }
    }

    /// Answers one connection with `answer`; what it was sent, up to the end of the head.
    async fn proxy(answer: &'static [u8]) -> (HttpProxy, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut seen = Vec::new();
            while !seen.ends_with(b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0);
            }
            stream.write_all(answer).await.unwrap();
            String::from_utf8(seen).unwrap()
        });
        (address.parse().unwrap(), seen)
    }

    fn ask(uri: &str) -> martlet_service::Request {
        http::Request::get(uri).body(Body::empty()).unwrap()
    }

    #[tokio::test]
    async fn a_proxy_is_told_the_whole_address_and_several_take_turns() {
        const OK: &[u8] = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
        let ((first, one), (second, two)) = (proxy(OK).await, proxy(OK).await);
        let client = RemoteClient::new(5_000, 20_000, vec![first, second]);
        for (path, seen) in [("a", one), ("b", two)] {
            // Nobody of that name could be asked straight.
            let uri = format!("http://cluster.invalid:8080/v1/{path}");
            assert_eq!(client.send(ask(&uri)).await.unwrap().status(), 204);
            let seen = seen.await.unwrap();
            assert!(seen.starts_with(&format!("GET {uri} HTTP/1.1\r\n")), "{seen}");
            assert!(seen.contains("host: cluster.invalid:8080\r\n"), "{seen}");
        }
    }

    #[tokio::test]
    async fn what_is_encrypted_goes_through_a_tunnel() {
        let (address, seen) = proxy(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await;
        let client = RemoteClient::new(5_000, 20_000, vec![address]);
        let refused = client
            .send(ask("https://cluster.invalid/v1/a"))
            .await
            .unwrap_err();
        assert!(
            refused.to_string().contains("403 Forbidden to CONNECT"),
            "{refused}"
        );
        let seen = seen.await.unwrap();
        assert!(
            seen.starts_with("CONNECT cluster.invalid:443 HTTP/1.1\r\n"),
            "{seen}"
        );
    }
}
