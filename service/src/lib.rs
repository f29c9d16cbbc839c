//! How every server runs: the HTTP edge, bodies, tasks, drain, clock, logs and metrics. Knows no Swift semantics.

mod body;
mod clock;
mod header_names;
pub mod headers;
pub mod logging;
pub mod metrics;
mod odd_names;
mod request_line;
pub mod respond;
mod serve;
mod shutdown;
mod tasks;
pub mod trans_id;
mod watched;

pub use body::{Body, BodyError, BodySender, Closed, CollectError, collect};
pub use clock::Clock;
pub use odd_names::{OddHeader, OddHeaders};
pub use serve::{ServeOptions, serve};
pub use shutdown::{Shutdown, ShutdownTrigger};
pub use tasks::Tasks;
pub use watched::{Parsed, WatchedFile};

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

/// The address a request came from; [`serve`] puts it into the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);
