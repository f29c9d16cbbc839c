//! Sends a body to its end: when a node breaks or its copy is corrupt, another goes on at the same byte.

use super::Core;
use super::backend;
use super::placement::{Peer, Placement};
use bytes::Bytes;
use futures_util::stream;
use http::header::{ETAG, HeaderMap, HeaderValue, RANGE};
use http::{Method, StatusCode};
use martlet_protocol::header;
use martlet_service::{Body, BodyError, headers};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Which version of an object a body is of: another version's bytes must never be joined to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    etag: Option<HeaderValue>,
    data_timestamp: Option<HeaderValue>,
}

impl Version {
    pub fn of(head: &HeaderMap) -> Self {
        let value = |name: &str| headers::find(head, name).cloned();
        Version {
            etag: value(ETAG.as_str()),
            data_timestamp: value(header::X_BACKEND_DATA_TIMESTAMP),
        }
    }
}

/// A piece of an object on its way to the client.
pub struct Resumer {
    /// The next byte to send, counted in the whole object.
    pub position: u64,
    /// One past the last byte to send.
    pub end: u64,
    body: Body,
    state: State,
}

enum State {
    /// The body gives, or will when it was looked for.
    Flows(Box<Others>),
    /// No node has been asked yet; the body is a mere place holder.
    NotBegun(Box<Others>),
    /// The body broke, for this reason. Boxed: it is seldom.
    Seeks(BodyError, Seeking),
    /// No other has it.
    Lost,
}

type Seeking = Pin<Box<dyn Future<Output = (Box<Others>, Option<Body>)> + Send>>;

/// Who may hold the rest of a body, and how they are asked.
pub struct Others {
    pub core: Arc<Core>,
    pub placement: Placement,
    /// Quoted, from the account on.
    pub path: String,
    /// Of the requests that go on: no conditions, no range.
    pub headers: Arc<HeaderMap>,
    pub version: Version,
    /// Best first.
    pub nodes: VecDeque<Arc<Peer>>,
    /// Handoffs have been added to `nodes`.
    pub asked_handoffs: bool,
}

impl Resumer {
    /// Sends bytes `start..end`, from this body first.
    pub fn new(start: u64, end: u64, body: Body, others: Others) -> Self {
        Resumer {
            position: start,
            end,
            body,
            state: State::Flows(Box::new(others)),
        }
    }

    /// The same for a body that is yet to be asked for.
    pub fn not_begun(start: u64, end: u64, others: Others) -> Self {
        Resumer {
            position: start,
            end,
            body: Body::empty(),
            state: State::NotBegun(Box::new(others)),
        }
    }

    /// The next bytes; `None` when all have been sent.
    pub async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// The same for those who are polled themselves.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            if self.position >= self.end {
                return Poll::Ready(None);
            }
            self.state = match std::mem::replace(&mut self.state, State::Lost) {
                State::Flows(others) => {
                    let Poll::Ready(item) = self.body.poll_next(context) else {
                        self.state = State::Flows(others);
                        return Poll::Pending;
                    };
                    let error = match item {
                        Some(Ok(chunk)) if chunk.len() as u64 <= self.end - self.position => {
                            self.position += chunk.len() as u64;
                            self.state = State::Flows(others);
                            return Poll::Ready(Some(Ok(chunk)));
                        }
                        Some(Ok(_)) => BodyError::Protocol("more bytes than announced".into()),
                        Some(Err(error)) => error,
                        None => BodyError::Disconnected,
                    };
                    let (path, position) = (&others.path, self.position);
                    tracing::info!(path, position, %error, "a body broke; another replica goes on");
                    metrics::counter!("martlet_proxy_bodies_resumed_total").increment(1);
                    State::Seeks(error, Box::pin(others.seek(self.position, self.end)))
                }
                State::NotBegun(others) => State::Seeks(
                    BodyError::Disconnected,
                    Box::pin(others.seek(self.position, self.end)),
                ),
                State::Seeks(error, mut seeking) => match seeking.as_mut().poll(context) {
                    Poll::Pending => {
                        self.state = State::Seeks(error, seeking);
                        return Poll::Pending;
                    }
                    Poll::Ready((others, Some(body))) => {
                        self.body = body;
                        State::Flows(others)
                    }
                    Poll::Ready((_, None)) => return Poll::Ready(Some(Err(error))),
                },
                State::Lost => return Poll::Ready(Some(Err(BodyError::Disconnected))),
            };
        }
    }

    /// All of it in memory, for small pieces.
    pub async fn gather(mut self) -> Result<Bytes, BodyError> {
        if let Some(bytes) = self
            .body
            .as_full()
            .filter(|bytes| bytes.len() as u64 == self.end - self.position)
        {
            return Ok(bytes);
        }
        let Some(first) = self.next().await else {
            return Ok(Bytes::new());
        };
        let first = first?;
        if self.position >= self.end {
            return Ok(first);
        }
        let mut gathered = bytes::BytesMut::from(first);
        while let Some(chunk) = self.next().await {
            gathered.extend_from_slice(&chunk?);
        }
        Ok(gathered.freeze())
    }

    /// As a body of known length.
    pub fn into_body(self) -> Body {
        let length = self.end - self.position;
        let mut resumer = Some(self);
        Body::sized_stream(
            length,
            stream::poll_fn(move |context| {
                let Some(flowing) = &mut resumer else {
                    return Poll::Ready(None);
                };
                let item = ready!(flowing.poll_next(context));
                if !matches!(item, Some(Ok(_))) {
                    resumer = None;
                }
                Poll::Ready(item)
            }),
        )
    }
}

impl Others {
    /// Finds a node with the same version, and takes its body from `position` on.
    async fn seek(mut self: Box<Self>, position: u64, end: u64) -> (Box<Self>, Option<Body>) {
        while let Some(peer) = self.next_node() {
            let mut head = self.headers.as_ref().clone();
            let range = format!("bytes={position}-{}", end - 1);
            if let Ok(range) = HeaderValue::from_str(&range) {
                head.insert(RANGE, range);
            }
            let path = backend::backend_path(&self.placement, &self.path);
            let answered = self
                .core
                .ask(&peer, Method::GET, path, None, head, Body::empty())
                .await;
            let Ok(response) = answered else { continue };
            let is_same = response.status() == StatusCode::PARTIAL_CONTENT
                && Version::of(response.headers()) == self.version;
            if is_same {
                return (self, Some(response.into_body()));
            }
        }
        (self, None)
    }

    fn next_node(&mut self) -> Option<Arc<Peer>> {
        if self.nodes.is_empty() && !self.asked_handoffs {
            self.asked_handoffs = true;
            self.nodes.extend(self.placement.handoffs());
        }
        self.nodes.pop_front()
    }
}
