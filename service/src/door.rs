//! Who comes in: TLS, and who is trusted, before the first byte of HTTP.

use crate::cluster_key::{self, Caller};
use crate::skew::Skews;
use crate::tls::{Binding, TlsServer};
use crate::{ClusterKeys, Request, Response, ServeOptions, Stream, respond};
use http::StatusCode;
use http::header::{CONNECTION, HeaderValue};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a caller may take to say who it is; for a stranger, also to send the head of a request.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Connections of callers that are not trusted, or not yet: further ones are hung up on, so that strangers cannot take the
/// places of nodes.
const MAX_STRANGERS: usize = 256;

/// Lets in whoever has the cluster key; others may ask only what is open to them.
#[derive(Clone)]
pub struct Admission {
    keys: ClusterKeys,
    skews: Skews,
    is_open: fn(&Request) -> bool,
    places: Arc<Semaphore>,
    complaints: Arc<Complaints>,
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admission")
    }
}

impl Admission {
    /// `is_open`: what may be asked without a key. What callers' clocks say goes into `skews`.
    pub fn new(keys: ClusterKeys, skews: Skews, is_open: fn(&Request) -> bool) -> Self {
        Admission {
            keys,
            skews,
            is_open,
            places: Arc::new(Semaphore::new(MAX_STRANGERS)),
            complaints: Arc::default(),
        }
    }

    /// The answer to a request that a stranger must not ask; `None` if it may.
    pub(crate) fn refuse(&self, request: &Request, peer: SocketAddr) -> Option<Response> {
        if (self.is_open)(request) {
            return None;
        }
        self.complain(
            peer,
            &format_args!("{} without the cluster key", request.method()),
        );
        let mut response = respond::text(StatusCode::UNAUTHORIZED, "The cluster key is needed here");
        // The body of what was asked is not read, so nothing can follow on this connection.
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
        Some(response)
    }

    fn complain(&self, peer: SocketAddr, why: &dyn fmt::Display) {
        metrics::counter!("martlet_strangers_refused_total").increment(1);
        if let Some(unsaid) = self.complaints.may_say() {
            tracing::warn!(peer = %peer, why = %why, unsaid, "a stranger was refused");
        }
    }
}

/// One line a second: a stranger must not fill the log.
struct Complaints {
    begun: Instant,
    last_second: AtomicU64,
    unsaid: AtomicU64,
}

impl Default for Complaints {
    fn default() -> Self {
        Complaints {
            begun: Instant::now(),
            last_second: AtomicU64::new(0),
            unsaid: AtomicU64::new(0),
        }
    }
}

impl Complaints {
    /// How many were not said since the last; `None`: this one is not to be said either.
    fn may_say(&self) -> Option<u64> {
        // From 1, so that the first is said.
        let second = self.begun.elapsed().as_secs() + 1;
        if self.last_second.swap(second, Ordering::Relaxed) == second {
            self.unsaid.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.unsaid.swap(0, Ordering::Relaxed))
    }
}

/// Somebody who has come in.
pub(crate) struct Entered {
    pub stream: Stream,
    /// May ask only what is open to all.
    pub is_stranger: bool,
    /// A stranger's place, kept as long as it stays.
    pub _place: Option<OwnedSemaphorePermit>,
}

/// Sees who has called. `None`: it was not worth keeping; it was told, logged and counted.
pub(crate) async fn enter(stream: TcpStream, peer: SocketAddr, options: &ServeOptions) -> Option<Entered> {
    if options.tls.is_none() && options.admission.is_none() {
        return Some(Entered {
            stream: stream.into(),
            is_stranger: false,
            _place: None,
        });
    }
    let place = match &options.admission {
        Some(admission) => match admission.places.clone().try_acquire_owned() {
            Ok(place) => Some(place),
            Err(_) => {
                admission.complain(peer, &"too many strangers at once");
                return None;
            }
        },
        None => None,
    };
    let said = tokio::time::timeout(PATIENCE, ask(stream, peer, options));
    let Ok(Some((stream, is_stranger))) = said.await else {
        return None;
    };
    Some(Entered {
        stream,
        is_stranger,
        _place: place.filter(|_| is_stranger),
    })
}

async fn ask(stream: TcpStream, peer: SocketAddr, options: &ServeOptions) -> Option<(Stream, bool)> {
    let (mut stream, binding) = secure(stream, peer, options.tls.as_ref(), options.name).await?;
    let Some(admission) = &options.admission else {
        return Some((stream, false));
    };
    match cluster_key::answer(&mut stream, &admission.keys, &binding).await {
        Ok(Caller::Trusted(proved)) => {
            let machine = peer.ip().to_canonical().to_string();
            admission
                .skews
                .saw(&machine, proved.their_clock, proved.sent, proved.received);
            Some((stream, false))
        }
        Ok(Caller::Stranger(byte)) => {
            stream.unread(byte);
            Some((stream, true))
        }
        // Somebody looked whether we are there.
        Err(cluster_key::HandshakeError::Io(_)) => None,
        Err(error) => {
            admission.complain(peer, &error);
            None
        }
    }
}

async fn secure(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<&TlsServer>,
    listener: &'static str,
) -> Option<(Stream, Binding)> {
    let Some(tls) = tls else {
        return Some((stream.into(), [0; 32]));
    };
    match tls.accept(stream).await {
        Ok(accepted) => Some(accepted),
        Err(error) => {
            metrics::counter!("martlet_tls_refused_total", "listener" => listener).increment(1);
            tracing::debug!(listener, peer = %peer, %error, "no TLS came about");
            None
        }
    }
}
