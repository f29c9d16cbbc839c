//! The only room that calls other nodes: over HTTP, or in process when the device is here; and other clusters.
//!
//! A call names a device of a ring. When a handler for that device was registered in this process the request goes
//! straight to it; otherwise it goes over a pooled connection. Both ways run the same server code.
//!
//! A node that cannot be reached costs its callers once: that a connection could not be made is remembered (`absence`),
//! and a node that stays silent over an old connection is called anew meanwhile, so that a network that was cut is told
//! apart from a node that is slow.

mod absence;
mod dial;
mod error;
mod local;
mod pool;
mod remote;
mod route;
mod stall;
mod update;
mod upload;
mod waits;

pub use error::NodeError;
/// A device of a ring: whom a call is for.
pub use martlet_ring::Device as Node;
pub use remote::{RemoteClient, RemoteError};
pub use route::HttpProxy;
pub use update::{send_update, update_request};
pub use upload::{Ready, Upload};
pub use waits::Waits;

use dial::Dialler;
use http::header::{HOST, HeaderMap, HeaderValue};
use http::{Method, StatusCode, Uri};
use local::LocalDevices;
use martlet_service::{Body, ClusterKeys, Handler, Request, Response, Skews, TlsClient};
use pool::Pool;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Waits of a node client, in milliseconds, the size of its pool, and whom it trusts.
#[derive(Clone, Debug)]
pub struct NodeClientConfig {
    /// For a connection to be made (Swift's `conn_timeout`).
    pub connect_timeout_ms: u64,
    /// For TLS and the proof of the cluster key on a new connection.
    pub handshake_timeout_ms: u64,
    /// From the end of a request to the head of its response (Swift's `node_timeout`).
    pub response_timeout_ms: u64,
    /// Between two pieces of a body, either way; a node that stays silent longer is given up.
    pub stall_timeout_ms: u64,
    /// Idle connections kept for each node.
    pub idle_connections: usize,
    /// Calls only who has one of these keys, and proves the first; whoever is there without.
    pub keys: Option<ClusterKeys>,
    /// Calls over TLS, and only who has a certificate of these authorities.
    pub tls: Option<TlsClient>,
    /// What the clocks of nodes say goes in here.
    pub skews: Skews,
}

/// A node is not called anew for having been silent for less than this.
const SHORTEST_SILENCE: Duration = Duration::from_millis(50);

/// Clocks further apart are warned of, milliseconds, unless the configuration says otherwise.
pub const CLOCK_SKEW_LIMIT_MS: u64 = 1_000;

impl Default for NodeClientConfig {
    fn default() -> Self {
        NodeClientConfig {
            connect_timeout_ms: 500,
            handshake_timeout_ms: 2_000,
            response_timeout_ms: 10_000,
            stall_timeout_ms: 10_000,
            idle_connections: 128,
            keys: None,
            tls: None,
            skews: Skews::new(CLOCK_SKEW_LIMIT_MS),
        }
    }
}

/// One request to a storage node.
#[derive(Debug)]
pub struct BackendRequest {
    pub method: Method,
    /// What follows the device: `/{partition}/{account}[/{container}[/{object}]]`, percent-encoded.
    pub path: String,
    pub query: Option<String>,
    pub headers: HeaderMap,
    pub body: Body,
}

impl BackendRequest {
    /// A request without query, headers and body.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        BackendRequest {
            method,
            path: path.into(),
            query: None,
            headers: HeaderMap::new(),
            body: Body::empty(),
        }
    }

    /// Makes the request for a device. A path that is not a valid URI is the caller's fault and is told as such.
    fn into_request(self, node: &Node) -> Result<Request, NodeError> {
        let query = self.query.as_deref().unwrap_or("");
        // A byte for each of slash and question mark; device names hold nothing to be encoded, as a rule.
        let mut target = String::with_capacity(node.device.len() + self.path.len() + query.len() + 2);
        target.push('/');
        martlet_protocol::percent::push_quoted_segment(&mut target, &node.device);
        target.push_str(&self.path);
        if !query.is_empty() {
            target.push('?');
            target.push_str(query);
        }
        let uri = Uri::try_from(target).map_err(|error| NodeError::BadRequest(error.to_string()))?;
        let mut request = Request::new(self.body);
        *request.method_mut() = self.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers;
        Ok(request)
    }
}

/// Calls storage nodes. Clones share connections and local devices.
#[derive(Clone)]
pub struct NodeClient {
    inner: Arc<Inner>,
    waits: Waits,
}

struct Inner {
    local: LocalDevices,
    pool: Arc<Pool>,
}

impl NodeClient {
    pub fn new(config: NodeClientConfig) -> Self {
        let pool = Pool::new(Dialler::new(&config), config.idle_connections);
        NodeClient {
            waits: Waits::of(&config),
            inner: Arc::new(Inner {
                local: LocalDevices::default(),
                pool: Arc::new(pool),
            }),
        }
    }

    /// The same client with other waits; connections are shared.
    pub fn with_waits(&self, waits: Waits) -> Self {
        NodeClient {
            inner: self.inner.clone(),
            waits,
        }
    }

    /// How long calls wait.
    pub fn waits(&self) -> Waits {
        self.waits
    }

    /// What the clocks of the nodes said.
    pub fn skews(&self) -> &Skews {
        self.inner.pool.skews()
    }

    /// From now on, calls to this device do not use a socket. Registering again replaces the handler.
    pub fn register_local(&self, device: &str, ip: &str, port: u16, handler: Arc<dyn Handler>) {
        self.inner.local.register(device, ip, port, handler);
    }

    /// Calls to this device use a socket again.
    pub fn unregister_local(&self, device: &str, ip: &str, port: u16) {
        self.inner.local.unregister(device, ip, port);
    }

    /// Whether calls to this device stay in this process.
    pub fn is_local(&self, node: &Node) -> bool {
        self.inner.local.find(node).is_some()
    }

    /// Sends a whole request; returns when the head of the response is here.
    ///
    /// # Errors
    /// Only when no response came: a status of 4xx or 5xx is a response.
    pub async fn call(&self, node: &Node, request: BackendRequest) -> Result<Response, NodeError> {
        let request = request.into_request(node)?;
        if let Some(handler) = self.inner.local.find(node) {
            let answered = tokio::time::timeout(self.waits.response, handler.call(request));
            return answered.await.map_err(|_| NodeError::ResponseTimeout);
        }
        let deadline = Instant::now() + self.waits.response;
        self.inner.send(node, request, self.waits, Some(deadline)).await
    }

    /// Begins a request whose body is sent piece by piece; `capacity` chunks may wait in between. Returns at once:
    /// [`Upload::ready`] tells when the node wants the body.
    pub fn open(&self, node: &Node, request: BackendRequest, capacity: usize) -> Result<Upload, NodeError> {
        Upload::open(self, node, request, capacity)
    }

    /// Whether the node can be talked to: it is in this process, or a connection is there or can be made.
    pub async fn reachable(&self, node: &Node) -> Result<(), NodeError> {
        if self.is_local(node) {
            return Ok(());
        }
        let pool = &self.inner.pool;
        let connection = pool.connection(&node.ip, node.port, self.waits).await?;
        pool.give_back(&node.ip, node.port, connection);
        Ok(())
    }
}

impl Inner {
    /// Sends over a pooled connection. A request that a stale connection refused unsent goes over a new one. Without a
    /// deadline the answer is waited for as long as the node can be reached.
    async fn send(
        &self,
        node: &Node,
        mut request: Request,
        waits: Waits,
        deadline: Option<Instant>,
    ) -> Result<Response, NodeError> {
        let host = HeaderValue::from_str(&format!("{}:{}", node.ip, node.port));
        request.headers_mut().insert(
            HOST,
            host.map_err(|error| NodeError::BadRequest(error.to_string()))?,
        );
        let mut connection = self.pool.connection(&node.ip, node.port, waits).await?;
        let response = loop {
            let sent = connection.send(request, (&node.ip, node.port), self.pool.skews());
            match self.answered(sent, node, waits, deadline).await? {
                Ok(response) => break response,
                Err(mut refused) => match refused.take_message() {
                    Some(unsent) => {
                        request = unsent;
                        connection = self.pool.fresh(&node.ip, node.port, waits.connect).await?;
                    }
                    None => return Err(NodeError::from_hyper(&refused.into_error())),
                },
            }
        };
        // Never an answer to what was asked: it is the door that spoke.
        if response.status() == StatusCode::UNAUTHORIZED {
            return Err(NodeError::Untrusted("it asks for the cluster key".into()));
        }
        self.pool.give_back(&node.ip, node.port, connection);
        Ok(response.map(|incoming| stall::guard(Body::from(incoming), waits.stall)))
    }

    /// Waits for an answer. A node that is silent for longer than a connection may take is called anew meanwhile, less
    /// and less often: when it cannot be reached any more, nothing will come over the connection made before, and the
    /// caller need not wait for its deadline.
    async fn answered<T>(
        &self,
        sent: impl Future<Output = T>,
        node: &Node,
        waits: Waits,
        deadline: Option<Instant>,
    ) -> Result<T, NodeError> {
        let mut sent = std::pin::pin!(sent);
        let mut silence = waits.connect.max(SHORTEST_SILENCE);
        loop {
            let look = Instant::now() + silence;
            let until = deadline.map_or(look, |deadline| deadline.min(look));
            match tokio::time::timeout_at(until, &mut sent).await {
                Ok(answer) => return Ok(answer),
                Err(_) if deadline == Some(until) => return Err(NodeError::ResponseTimeout),
                Err(_) => {}
            }
            tokio::select! {
                answer = &mut sent => return Ok(answer),
                there = self.pool.is_there(&node.ip, node.port, waits.connect) => there?,
            }
            silence *= 2;
        }
    }
}
