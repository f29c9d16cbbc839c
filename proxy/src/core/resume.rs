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
use std::sync::Arc;

/// Which version of an object a body is of: another version's bytes must never be joined to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    etag: Option<String>,
    data_timestamp: Option<String>,
}

impl Version {
    pub fn of(head: &HeaderMap) -> Self {
        let text = |name: &str| headers::text(head, name).map(str::to_owned);
        Version {
            etag: text(ETAG.as_str()),
            data_timestamp: text(header::X_BACKEND_DATA_TIMESTAMP),
        }
    }
}

/// A piece of an object on its way to the client.
pub struct Resumer {
    pub core: Arc<Core>,
    pub placement: Placement,
    /// Quoted, from the account on.
    pub path: String,
    /// Of the requests that go on: no conditions, no range.
    pub headers: Arc<HeaderMap>,
    pub version: Version,
    /// The next byte to send, counted in the whole object.
    pub position: u64,
    /// One past the last byte to send.
    pub end: u64,
    pub body: Body,
    /// Nodes that may hold the same, best first.
    pub others: VecDeque<Arc<Peer>>,
    /// Handoffs have been added to `others`.
    pub asked_handoffs: bool,
    /// No node has been asked yet; `body` is a mere place holder.
    pub not_begun: bool,
}

impl Resumer {
    /// The next bytes; `None` when all have been sent.
    pub async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        if self.position >= self.end {
            return None;
        }
        if std::mem::take(&mut self.not_begun) && !self.go_on().await {
            return Some(Err(BodyError::Disconnected));
        }
        loop {
            let error = match self.body.next().await {
                Some(Ok(chunk)) if chunk.len() as u64 <= self.end - self.position => {
                    self.position += chunk.len() as u64;
                    return Some(Ok(chunk));
                }
                Some(Ok(_)) => BodyError::Protocol("more bytes than announced".into()),
                Some(Err(error)) => error,
                None => BodyError::Disconnected,
            };
            tracing::info!(path = self.path, position = self.position, %error, "a body broke; another replica goes on");
            metrics::counter!("martlet_proxy_bodies_resumed_total").increment(1);
            if !self.go_on().await {
                return Some(Err(error));
            }
        }
    }

    /// Finds another node with the same version and takes its body from here on.
    async fn go_on(&mut self) -> bool {
        while let Some(peer) = self.next_node() {
            let mut head = self.headers.as_ref().clone();
            let range = format!("bytes={}-{}", self.position, self.end - 1);
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
                self.body = response.into_body();
                return true;
            }
        }
        false
    }

    fn next_node(&mut self) -> Option<Arc<Peer>> {
        if self.others.is_empty() && !self.asked_handoffs {
            self.asked_handoffs = true;
            self.others.extend(self.placement.handoffs());
        }
        self.others.pop_front()
    }

    /// All of it in memory, for small pieces.
    pub async fn gather(&mut self) -> Result<Bytes, BodyError> {
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
        Body::sized_stream(
            length,
            stream::unfold(Some(self), |state| async move {
                let mut resumer = state?;
                let item = resumer.next().await?;
                let rest = item.is_ok().then_some(resumer);
                Some((item, rest))
            }),
        )
    }
}
