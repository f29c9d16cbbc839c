//! Connections to nodes, kept while they are useful.
//!
//! A connection is given back as soon as the head of a response is here; it is lent again once the body has been read,
//! which the connection itself knows. One whose body was dropped midway closes and is forgotten. What a connection begins
//! with (TLS, the proof of the cluster key) is in `dial`.

use crate::NodeError;
use crate::dial::Dialler;
use http::HeaderMap;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use martlet_protocol::header;
use martlet_service::{Body, Request, Skews, wall_micros};
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Header lines of one response. HTTP makes room for all of them before it reads a head.
const MAX_HEADERS: usize = 256;

/// How often the clock in the answers of one connection is looked at: often enough to notice a step, and no part of the
/// price of a request.
const CLOCK_INTERVAL: Duration = Duration::from_secs(1);

/// A connection that is lent.
pub(crate) struct Connection {
    sender: SendRequest<Body>,
    /// When the clock in its answers was looked at last.
    clock_seen: Option<Instant>,
}

impl Connection {
    /// Sends a request; an answer's clock goes into `skews` now and then.
    pub async fn send(
        &mut self,
        request: Request,
        node: (&str, u16),
        skews: &Skews,
    ) -> Result<http::Response<hyper::body::Incoming>, TrySendError<Request>> {
        let is_due = self.clock_seen.is_none_or(|seen| seen.elapsed() > CLOCK_INTERVAL);
        let sent = if is_due { wall_micros() } else { 0 };
        let mut response = self.sender.try_send_request(request).await?;
        let told = take_clock(response.headers_mut());
        if let Some(clock) = told.filter(|_| is_due) {
            self.clock_seen = Some(Instant::now());
            skews.heard(&format!("{}:{}", node.0, node.1), clock, sent);
        }
        Ok(response)
    }
}

/// It is between two nodes alone and no part of what was asked.
fn take_clock(headers: &mut HeaderMap) -> Option<u64> {
    let told = headers.remove(header::X_BACKEND_MARTLET_CLOCK)?;
    told.to_str().ok()?.parse().ok()
}

pub(crate) struct Pool {
    idle: Mutex<HashMap<(String, u16), Vec<Connection>>>,
    dialler: Dialler,
    /// Connections kept for each node; further ones are closed when they come back.
    idle_connections: usize,
}

impl Pool {
    pub fn new(dialler: Dialler, idle_connections: usize) -> Self {
        Pool {
            idle: Mutex::default(),
            dialler,
            idle_connections,
        }
    }

    pub fn skews(&self) -> &Skews {
        &self.dialler.skews
    }

    /// A connection that is ready to send: a kept one, else a new one.
    pub async fn connection(&self, ip: &str, port: u16) -> Result<Connection, NodeError> {
        if let Some(connection) = self.take(ip, port) {
            return Ok(connection);
        }
        self.fresh(ip, port).await
    }

    fn take(&self, ip: &str, port: u16) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let list = idle.get_mut(&(ip.to_owned(), port))?;
        list.retain(|connection| !connection.sender.is_closed());
        let ready = list.iter().rposition(|connection| connection.sender.is_ready())?;
        Some(list.swap_remove(ready))
    }

    /// A new connection.
    pub async fn fresh(&self, ip: &str, port: u16) -> Result<Connection, NodeError> {
        let stream = self.dialler.dial(ip, port).await?;
        let handshake = http1::Builder::new()
            .max_headers(MAX_HEADERS)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| NodeError::from_hyper(&error))?;
        let (sender, connection) = handshake;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to a node ended early");
            }
        });
        metrics::counter!("martlet_node_client_connections_total").increment(1);
        Ok(Connection {
            sender,
            clock_seen: None,
        })
    }

    pub fn give_back(&self, ip: &str, port: u16, connection: Connection) {
        if connection.sender.is_closed() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let list = idle.entry((ip.to_owned(), port)).or_default();
        if list.len() < self.idle_connections {
            list.push(connection);
        }
    }
}
