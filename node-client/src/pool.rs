//! Connections to nodes, kept while they are useful.
//!
//! A connection is given back as soon as the head of a response is here; it is lent again once the body has been read,
//! which the connection itself knows. One whose body was dropped midway closes and is forgotten. What a connection begins
//! with (TLS, the proof of the cluster key) is in `dial`; who could not be reached is remembered, see `absence`.
//!
//! A connection is made in a task of its own: whether it could be made is learnt also when its caller has left.

use crate::absence::{Absence, Advice};
use crate::dial::Dialler;
use crate::{NodeError, Waits};
use http::HeaderMap;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use martlet_protocol::header;
use martlet_service::{Body, Request, Skews, wall_micros};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

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

/// What is known of one address.
#[derive(Default)]
struct Address {
    idle: Vec<Connection>,
    absence: Absence,
}

type Addresses = HashMap<(String, u16), Address>;

pub(crate) struct Pool {
    addresses: Mutex<Addresses>,
    dialler: Dialler,
    /// Connections kept for each node; further ones are closed when they come back.
    idle_connections: usize,
}

impl Pool {
    pub fn new(dialler: Dialler, idle_connections: usize) -> Self {
        Pool {
            addresses: Mutex::default(),
            dialler,
            idle_connections,
        }
    }

    pub fn skews(&self) -> &Skews {
        &self.dialler.skews
    }

    /// A connection that is ready to send: a kept one, else a new one.
    pub async fn connection(
        self: &Arc<Self>,
        ip: &str,
        port: u16,
        waits: Waits,
    ) -> Result<Connection, NodeError> {
        let advice = {
            let mut addresses = self.lock();
            match addresses.get_mut(&(ip.to_owned(), port)) {
                Some(address) => match address.take() {
                    Some(connection) => return Ok(connection),
                    None if waits.insists => Advice::Call,
                    None => address.absence.advice(Instant::now()),
                },
                None => Advice::Call,
            }
        };
        match advice {
            Advice::Call => self.fresh(ip, port, waits.connect).await,
            Advice::GiveUp => Err(NodeError::Away),
            Advice::GiveUpAndTry => {
                // Nobody waits for it: what comes of it goes into the pool, or into what is known of the address.
                drop(self.begin(ip, port, waits.connect));
                Err(NodeError::Away)
            }
        }
    }

    /// A new connection.
    pub async fn fresh(
        self: &Arc<Self>,
        ip: &str,
        port: u16,
        within: Duration,
    ) -> Result<Connection, NodeError> {
        let made = self.begin(ip, port, within).await;
        made.unwrap_or_else(|_| Err(NodeError::Connect("the runtime ends".into())))
    }

    /// Whether the address can still be reached, as far as a connection tells that was made within this time, or is made
    /// now. Who is there and slow to prove the cluster key counts as there.
    pub async fn is_there(self: &Arc<Self>, ip: &str, port: u16, within: Duration) -> Result<(), NodeError> {
        let was_reached = {
            let mut addresses = self.lock();
            let address = addresses.entry((ip.to_owned(), port)).or_default();
            address.absence.was_reached(Instant::now(), within)
        };
        if was_reached {
            return Ok(());
        }
        match self.fresh(ip, port, within).await {
            Ok(connection) => {
                self.give_back(ip, port, connection);
                Ok(())
            }
            Err(error @ (NodeError::Connect(_) | NodeError::ConnectTimeout)) => Err(error),
            Err(_) => Ok(()),
        }
    }

    /// Makes a connection, whatever becomes of the one who waits for it. One that nobody takes is kept.
    fn begin(
        self: &Arc<Self>,
        ip: &str,
        port: u16,
        within: Duration,
    ) -> oneshot::Receiver<Result<Connection, NodeError>> {
        let (sender, made) = oneshot::channel();
        let (pool, ip) = (Arc::clone(self), ip.to_owned());
        tokio::spawn(async move {
            let made = pool.make(&ip, port, within).await;
            pool.note(&ip, port, &made);
            if let Err(Ok(unwanted)) = sender.send(made) {
                pool.give_back(&ip, port, unwanted);
            }
        });
        made
    }

    async fn make(&self, ip: &str, port: u16, within: Duration) -> Result<Connection, NodeError> {
        let stream = self.dialler.dial(ip, port, within).await?;
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

    /// Remembers whether an address could be reached. Idle connections to one that could not lead nowhere.
    fn note(&self, ip: &str, port: u16, made: &Result<Connection, NodeError>) {
        let now = Instant::now();
        let mut addresses = self.lock();
        let address = addresses.entry((ip.to_owned(), port)).or_default();
        match made {
            Ok(_) => address.absence.answered(now, true),
            Err(NodeError::ConnectTimeout | NodeError::HandshakeTimeout) => {
                address.absence.failed(now);
                address.idle.clear();
            }
            Err(_) => address.absence.answered(now, false),
        }
    }

    pub fn give_back(&self, ip: &str, port: u16, connection: Connection) {
        if connection.sender.is_closed() {
            return;
        }
        let mut addresses = self.lock();
        let address = addresses.entry((ip.to_owned(), port)).or_default();
        if address.idle.len() < self.idle_connections {
            address.idle.push(connection);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Addresses> {
        self.addresses
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Address {
    /// A kept connection that is ready to send.
    fn take(&mut self) -> Option<Connection> {
        self.idle.retain(|connection| !connection.sender.is_closed());
        let ready = self
            .idle
            .iter()
            .rposition(|connection| connection.sender.is_ready())?;
        Some(self.idle.swap_remove(ready))
    }
}
