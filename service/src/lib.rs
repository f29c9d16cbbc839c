//! How every server runs: the HTTP edge, TLS, the cluster key, bodies, tasks, drain, clocks, logs and metrics. Knows no Swift semantics.

mod body;
mod clock;
mod cluster_key;
mod door;
mod header_names;
pub mod headers;
pub mod logging;
pub mod metrics;
mod odd_names;
mod request_line;
pub mod respond;
mod seats;
mod serve;
mod shed;
mod shutdown;
mod skew;
mod stream;
mod tasks;
mod tls;
pub mod trans_id;
mod turn_away;
mod watched;

pub use body::{Body, BodyError, BodySender, Closed, CollectError, collect};
pub use clock::{Clock, wall_micros};
pub use cluster_key::{ClusterKeys, HandshakeError, KeyError, MIN_KEY_LETTERS, Proved, call as prove_key};
pub use door::Admission;
pub use odd_names::{OddHeader, OddHeaders};
pub use seats::{DeviceSeats, NoSeat};
pub use serve::{ServeOptions, serve};
pub use shed::{Bounded, Bounds};
pub use shutdown::{Shutdown, ShutdownTrigger};
pub use skew::Skews;
pub use stream::Stream;
pub use tasks::Tasks;
pub use tls::{Binding, TlsClient, TlsError, TlsServer};
pub use watched::{FileStamp, Parsed, WatchedFile};

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

/// A request as every room sees it.
pub type Request = http::Request<Body>;
/// A response as every room gives it.
pub type Response = http::Response<Body>;
/// A boxed future that may cross threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Answers requests: a server room, the proxy, one step of a pipeline.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. Never fails: errors are responses.
    fn call(&self, request: Request) -> BoxFuture<'_, Response>;
}

impl<H: Handler + ?Sized> Handler for std::sync::Arc<H> {
    fn call(&self, request: Request) -> BoxFuture<'_, Response> {
        (**self).call(request)
    }
}

/// In the extensions of a request that came over TLS to this process itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverTls;

/// `http` or `https`, as a client whose request has these extensions sees us.
pub fn scheme(extensions: &http::Extensions) -> &'static str {
    match extensions.get::<OverTls>() {
        Some(OverTls) => "https",
        None => "http",
    }
}

/// The address a request came from; [`serve`] puts it into the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);
