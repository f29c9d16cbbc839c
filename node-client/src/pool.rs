//! Connections to nodes, kept while they are useful.
//!
//! A connection is given back as soon as the head of a response is here; it is lent again once the body has been read,
//! which the connection itself knows. One whose body was dropped midway closes and is forgotten.

use crate::NodeError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use martlet_service::Body;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;
use tokio::net::TcpStream;

/// Header lines of one response. HTTP makes room for all of them before it reads a head.
const MAX_HEADERS: usize = 256;

pub(crate) type Connection = SendRequest<Body>;

pub(crate) struct Pool {
    idle: Mutex<HashMap<(String, u16), Vec<Connection>>>,
    connect_timeout: Duration,
    /// Connections kept for each node; further ones are closed when they come back.
    idle_connections: usize,
}

impl Pool {
    pub fn new(connect_timeout: Duration, idle_connections: usize) -> Self {
        Pool {
            idle: Mutex::default(),
            connect_timeout,
            idle_connections,
        }
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
        list.retain(|connection| !connection.is_closed());
        let ready = list.iter().rposition(SendRequest::is_ready)?;
        Some(list.swap_remove(ready))
    }

    /// A new connection.
    pub async fn fresh(&self, ip: &str, port: u16) -> Result<Connection, NodeError> {
        let connecting = tokio::time::timeout(self.connect_timeout, TcpStream::connect((ip, port)));
        let stream = connecting.await.map_err(|_| NodeError::ConnectTimeout)?;
        let stream = stream.map_err(|error| NodeError::Connect(error.to_string()))?;
        // Small requests must not wait for the peer's acknowledgement; a socket that refuses still works.
        let _ = stream.set_nodelay(true);
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
        Ok(sender)
    }

    pub fn give_back(&self, ip: &str, port: u16, connection: Connection) {
        if connection.is_closed() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let list = idle.entry((ip.to_owned(), port)).or_default();
        if list.len() < self.idle_connections {
            list.push(connection);
        }
    }
}
