//! The only room that calls other nodes: over HTTP, or in process when the device is here; and other clusters.
//!
//! A call names a device of a ring. When a handler for that device was registered in this process the request goes
//! straight to it; otherwise it goes over a pooled connection. Both ways run the same server code.

mod dial;
mod error;
mod local;
mod pool;
mod remote;
mod stall;
mod update;
mod upload;

pub use error::NodeError;
/// A device of a ring: whom a call is for.
pub use martlet_ring::Device as Node;
pub use remote::{RemoteClient, RemoteError};
pub use update::{send_update, update_request};
pub use upload::{Ready, Upload};

use dial::Dialler;
use http::header::{HOST, HeaderMap, HeaderValue};
use http::{Method, StatusCode, Uri};
use local::LocalDevices;
use martlet_service::{Body, ClusterKeys, Handler, Request, Response, Skews, TlsClient};
use pool::Pool;
use std::sync::Arc;
use std::time::Duration;

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
        let device = martlet_protocol::percent::quote_segment(&node.device);
        let target = match self.query.as_deref().filter(|query| !query.is_empty()) {
            Some(query) => format!("/{device}{}?{query}", self.path),
            None => format!("/{device}{}", self.path),
        };
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
pub struct NodeClient(Arc<Inner>);

struct Inner {
    config: NodeClientConfig,
    local: LocalDevices,
    pool: Pool,
}

impl NodeClient {
    pub fn new(config: NodeClientConfig) -> Self {
        let pool = Pool::new(Dialler::new(&config), config.idle_connections);
        NodeClient(Arc::new(Inner {
            config,
            local: LocalDevices::default(),
            pool,
        }))
    }

    /// What the clocks of the nodes said.
    pub fn skews(&self) -> &Skews {
        self.0.pool.skews()
    }

    /// From now on, calls to this device do not use a socket. Registering again replaces the handler.
    pub fn register_local(&self, device: &str, ip: &str, port: u16, handler: Arc<dyn Handler>) {
        self.0.local.register(device, ip, port, handler);
    }

    /// Calls to this device use a socket again.
    pub fn unregister_local(&self, device: &str, ip: &str, port: u16) {
        self.0.local.unregister(device, ip, port);
    }

    /// Whether calls to this device stay in this process.
    pub fn is_local(&self, node: &Node) -> bool {
        self.0.local.find(node).is_some()
    }

    /// Sends a whole request; returns when the head of the response is here.
    ///
    /// # Errors
    /// Only when no response came: a status of 4xx or 5xx is a response.
    pub async fn call(&self, node: &Node, request: BackendRequest) -> Result<Response, NodeError> {
        let request = request.into_request(node)?;
        let timeout = Duration::from_millis(self.0.config.response_timeout_ms);
        if let Some(handler) = self.0.local.find(node) {
            let answered = tokio::time::timeout(timeout, handler.call(request));
            return answered.await.map_err(|_| NodeError::ResponseTimeout);
        }
        let response = self.0.send(node, request);
        tokio::time::timeout(timeout, response)
            .await
            .map_err(|_| NodeError::ResponseTimeout)?
    }

    /// Begins a request whose body is sent piece by piece; `capacity` chunks may wait in between. Returns at once:
    /// [`Upload::ready`] tells when the node wants the body.
    pub fn open(&self, node: &Node, request: BackendRequest, capacity: usize) -> Result<Upload, NodeError> {
        Upload::open(self.0.clone(), node, request, capacity)
    }

    /// Whether the node can be talked to: it is in this process, or a connection is there or can be made.
    pub async fn reachable(&self, node: &Node) -> Result<(), NodeError> {
        if self.is_local(node) {
            return Ok(());
        }
        let connection = self.0.pool.connection(&node.ip, node.port).await?;
        self.0.pool.give_back(&node.ip, node.port, connection);
        Ok(())
    }
}

impl Inner {
    /// Sends over a pooled connection. A request that a stale connection refused unsent goes over a new one.
    async fn send(&self, node: &Node, mut request: Request) -> Result<Response, NodeError> {
        let host = HeaderValue::from_str(&format!("{}:{}", node.ip, node.port));
        request.headers_mut().insert(
            HOST,
            host.map_err(|error| NodeError::BadRequest(error.to_string()))?,
        );
        let mut connection = self.pool.connection(&node.ip, node.port).await?;
        let response = loop {
            let sent = connection.send(request, (&node.ip, node.port), self.pool.skews());
            match sent.await {
                Ok(response) => break response,
                Err(mut refused) => match refused.take_message() {
                    Some(unsent) => {
                        request = unsent;
                        connection = self.pool.fresh(&node.ip, node.port).await?;
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
        let stall_timeout = Duration::from_millis(self.config.stall_timeout_ms);
        Ok(response.map(|incoming| stall::guard(Body::from(incoming), stall_timeout)))
    }
}
