//! The HTTP/1 edge: accepts, bounds, hands over to a handler, drains.

use crate::clock::wall_micros;
use crate::door::{self, Admission, Entered};
use crate::odd_names::{Exchange, OddNames};
use crate::request_line::Readable;
use crate::tls::TlsServer;
use crate::turn_away::TurnedAway;
use crate::{Body, Handler, OverTls, Peer, Request, Response, Shutdown, header_names, respond};
use futures_util::FutureExt;
use http::StatusCode;
use http::header::{CONNECTION, HeaderName, HeaderValue};
use http_body::Body as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use martlet_protocol::header;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const CLOCK: HeaderName = HeaderName::from_static(header::X_BACKEND_MARTLET_CLOCK);

/// Bounds of one listener.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Names the listener in logs.
    pub name: &'static str,
    /// How long a connection may take to send a request's head, idle time before it included.
    pub header_timeout_ms: u64,
    /// Bytes of one request head.
    pub max_header_bytes: usize,
    /// Header lines of one request.
    pub max_headers: usize,
    /// Connections served at once.
    pub max_connections: usize,
    /// Further connections are answered 503 and closed; else they wait in the kernel's queue.
    pub turns_away: bool,
    /// Whether user metadata of S3 may have names that HTTP does not have.
    pub odd_names: bool,
    /// How long requests may take to end once the end was asked for.
    pub drain_timeout_ms: u64,
    /// Header names go out as `X-Object-Meta-Color`, S3's own excepted; else all in lower case, which costs least.
    pub titled_header_names: bool,
    /// Responses carry this machine's clock in `X-Backend-Martlet-Clock`.
    pub tells_clock: bool,
    /// TLS is spoken, and nothing else.
    pub tls: Option<TlsServer>,
    /// Only who has the cluster key may ask all; without it everybody may.
    pub admission: Option<Admission>,
}

impl ServeOptions {
    /// For a port that clients reach.
    pub fn public(name: &'static str) -> Self {
        ServeOptions {
            name,
            header_timeout_ms: 60_000,
            max_header_bytes: 64 * 1024,
            max_headers: 160,
            max_connections: 4_096,
            turns_away: true,
            odd_names: true,
            drain_timeout_ms: 5_000,
            titled_header_names: true,
            tells_clock: false,
            tls: None,
            admission: None,
        }
    }

    /// For a port that only other nodes reach: connections there stay open long, heads carry whole records.
    pub fn internal(name: &'static str) -> Self {
        ServeOptions {
            header_timeout_ms: 3_600_000,
            max_header_bytes: 256 * 1024,
            max_headers: 256,
            titled_header_names: false,
            odd_names: false,
            tells_clock: true,
            turns_away: false,
            ..ServeOptions::public(name)
        }
    }
}

/// Serves until the end is asked for, then lets running requests finish within the drain time.
pub async fn serve(
    listener: TcpListener,
    handler: Arc<dyn Handler>,
    options: ServeOptions,
    shutdown: Shutdown,
) {
    let slots = Arc::new(Semaphore::new(options.max_connections));
    let options = Arc::new(options);
    let turned_away = TurnedAway::default();
    loop {
        let slot = tokio::select! {
            slot = next_slot(&slots, options.turns_away) => slot,
            () = shutdown.requested() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.requested() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(slot) = slot.or_else(|| slots.clone().try_acquire_owned().ok()) else {
                    turned_away.turn(stream, &options);
                    continue;
                };
                let (handler, options, shutdown) = (handler.clone(), options.clone(), shutdown.clone());
                tokio::spawn(async move {
                    serve_connection(stream, Peer(peer), handler, &options, shutdown).await;
                    drop(slot);
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: give connections time to end instead of spinning.
                tracing::warn!(listener = options.name, %error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    let all = options.max_connections as u32;
    let drained = tokio::time::timeout(
        Duration::from_millis(options.drain_timeout_ms),
        slots.acquire_many(all),
    );
    if drained.await.is_err() {
        tracing::warn!(
            listener = options.name,
            "requests were still running when the drain time was over"
        );
    }
}

/// A place for a connection; `None` when there is none and whoever comes now is to be turned away.
async fn next_slot(slots: &Arc<Semaphore>, turns_away: bool) -> Option<OwnedSemaphorePermit> {
    match turns_away {
        true => slots.clone().try_acquire_owned().ok(),
        false => slots.clone().acquire_owned().await.ok(),
    }
}

async fn serve_connection(
    stream: TcpStream,
    peer: Peer,
    handler: Arc<dyn Handler>,
    options: &ServeOptions,
    shutdown: Shutdown,
) {
    // Small responses must not wait for the peer's acknowledgement; a socket that refuses still works.
    let _ = stream.set_nodelay(true);
    let entered = tokio::select! {
        entered = door::enter(stream, peer.0, options) => entered,
        () = shutdown.requested() => None,
    };
    let Some(Entered {
        stream,
        is_stranger,
        _place,
    }) = entered
    else {
        return;
    };
    let caller = Caller { peer, is_stranger };
    if options.odd_names {
        let (stream, exchange) = OddNames::new(stream, options.max_header_bytes);
        serve_stream(stream, Some(exchange), caller, handler, options, shutdown).await;
    } else {
        serve_stream(stream, None, caller, handler, options, shutdown).await;
    }
}

/// Who is at the other end of a connection.
struct Caller {
    peer: Peer,
    is_stranger: bool,
}

async fn serve_stream(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    exchange: Option<Arc<Exchange>>,
    caller: Caller,
    handler: Arc<dyn Handler>,
    options: &ServeOptions,
    shutdown: Shutdown,
) {
    let peer = caller.peer;
    let tells_clock = options.tells_clock;
    let is_tls = options.tls.is_some();
    let mut header_timeout = Duration::from_millis(options.header_timeout_ms);
    if caller.is_stranger {
        header_timeout = header_timeout.min(door::PATIENCE);
    }
    // What a stranger asks is looked at; who is trusted, or where all are, is not.
    let guard = options.admission.clone().filter(|_| caller.is_stranger);
    let titled = options.titled_header_names;
    let (stream, at_start) = Readable::new(stream);
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let handler = handler.clone();
        if request.body().is_end_stream() {
            at_start.tell();
        }
        let exchange = exchange.clone();
        let guard = guard.clone();
        async move {
            let (mut parts, incoming) = request.into_parts();
            let keeps_alive = titled && asks_to_keep_alive(&parts.headers);
            parts.extensions.insert(peer);
            if is_tls {
                parts.extensions.insert(OverTls);
            }
            let mut request = Request::from_parts(parts, Body::from(incoming));
            if let Some(exchange) = &exchange {
                exchange.complete(&mut request);
            }
            let refused = guard.and_then(|guard| guard.refuse(&request, peer.0));
            let mut response = match refused {
                Some(response) => response,
                None => guarded(handler, request).await,
            };
            if tells_clock {
                response
                    .headers_mut()
                    .insert(CLOCK, HeaderValue::from(wall_micros()));
            }
            if titled {
                header_names::keep_lower_case(&mut response);
            }
            if keeps_alive {
                let kept = HeaderValue::from_static("keep-alive");
                response.headers_mut().entry(CONNECTION).or_insert(kept);
            }
            if let Some(exchange) = &exchange {
                exchange.prepare(&mut response);
            }
            Ok::<Response, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_header_size(options.max_header_bytes)
        .max_headers(options.max_headers)
        .title_case_headers(titled)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = shutdown.requested() => {
            connection.as_mut().graceful_shutdown();
            connection.as_mut().await
        }
    };
    if let Err(error) = result {
        tracing::debug!(listener = options.name, peer = %peer.0, %error, "connection ended early");
    }
}

/// HTTP/1.1 keeps connections anyhow; who asks for it, as clients of 1.0 do, hears that it is so.
fn asks_to_keep_alive(map: &http::HeaderMap) -> bool {
    map.get(CONNECTION)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"keep-alive"))
}

/// A handler that panics costs its client a 500, not the process.
async fn guarded(handler: Arc<dyn Handler>, request: Request) -> Response {
    match AssertUnwindSafe(handler.call(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            metrics::counter!("martlet_panics_total").increment(1);
            tracing::error!("a request handler panicked");
            respond::empty(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}
