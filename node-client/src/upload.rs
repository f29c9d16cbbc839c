//! A request whose body is sent piece by piece, with the node's early word heard in between.

use crate::{BackendRequest, Node, NodeClient, NodeError, Waits};
use bytes::Bytes;
use http::header::{EXPECT, HeaderMap, HeaderValue, TRAILER};
use martlet_protocol::header;
use martlet_service::{Body, BodySender, Closed, Response};
use std::sync::Mutex;
use tokio::sync::oneshot;

/// What a node said to the head of a request.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one for each upload, looked at once and never stored"
)]
pub enum Ready {
    /// It wants the body.
    Continue,
    /// It answered at once, 507 or 409 for example; there is nothing more to send.
    Answered(Response),
}

/// A request under way. Dropping it aborts the body: the node stores nothing.
pub struct Upload {
    sender: BodySender,
    answer: oneshot::Receiver<Result<Response, NodeError>>,
    /// Set for a node behind a socket: fires on its `100 Continue`.
    continued: Option<oneshot::Receiver<()>>,
    waits: Waits,
}

impl Upload {
    pub(crate) fn open(
        client: &NodeClient,
        node: &Node,
        mut request: BackendRequest,
        capacity: usize,
    ) -> Result<Upload, NodeError> {
        let (sender, body) = Body::channel(capacity);
        request.body = body;
        let mut request = request.into_request(node)?;
        // HTTP/1 carries only trailers that were announced.
        if !request.headers().contains_key(TRAILER) {
            for name in [header::X_BACKEND_MARTLET_ETAG, header::X_BACKEND_MARTLET_LENGTH] {
                request
                    .headers_mut()
                    .append(TRAILER, HeaderValue::from_static(name));
            }
        }
        let (answered, answer) = oneshot::channel();
        let waits = client.waits;
        let continued = match client.inner.local.find(node) {
            Some(handler) => {
                tokio::spawn(async move {
                    // A caller that has gone needs no answer.
                    let _ = answered.send(Ok(handler.call(request).await));
                });
                None
            }
            None => {
                request
                    .headers_mut()
                    .insert(EXPECT, HeaderValue::from_static("100-continue"));
                let (continue_sender, continued) = oneshot::channel();
                let continue_sender = Mutex::new(Some(continue_sender));
                hyper::ext::on_informational(&mut request, move |informational| {
                    let mut once = continue_sender
                        .lock()
                        .unwrap_or_else(|poisoned| poisoned.into_inner());
                    if informational.status() == http::StatusCode::CONTINUE
                        && let Some(sender) = once.take()
                    {
                        let _ = sender.send(());
                    }
                });
                let (inner, node) = (client.inner.clone(), node.clone());
                tokio::spawn(async move {
                    let _ = answered.send(inner.send(&node, request, waits, None).await);
                });
                Some(continued)
            }
        };
        Ok(Upload {
            sender,
            answer,
            continued,
            waits,
        })
    }

    /// Waits until the node wants the body or answers without it. Asked once, before anything is sent.
    pub async fn ready(&mut self) -> Result<Ready, NodeError> {
        let answer = &mut self.answer;
        let said = async {
            match &mut self.continued {
                Some(continued) => {
                    tokio::select! {
                        biased;
                        answered = &mut *answer => Some(answered),
                        continued = continued => match continued {
                            Ok(()) => None,
                            // The connection has ended: what came of it is in the answer.
                            Err(_) => Some(answer.await),
                        },
                    }
                }
                None => {
                    tokio::select! {
                        biased;
                        wanted = self.sender.wanted() => match wanted {
                            Ok(()) => None,
                            Err(Closed) => Some(answer.await),
                        },
                        answered = &mut *answer => Some(answered),
                    }
                }
            }
        };
        match tokio::time::timeout(self.waits.response, said).await {
            Err(_) => Err(NodeError::ResponseTimeout),
            Ok(None) => Ok(Ready::Continue),
            Ok(Some(answered)) => flatten(answered).map(Ready::Answered),
        }
    }

    /// Sends a chunk; waits while the node is behind, at most the stall time.
    pub async fn send(&mut self, chunk: Bytes) -> Result<(), NodeError> {
        match tokio::time::timeout(self.waits.stall, self.sender.send(chunk)).await {
            Err(_) => Err(NodeError::Stalled),
            Ok(Ok(())) => Ok(()),
            Ok(Err(Closed)) => {
                let answered = tokio::time::timeout(self.waits.response, &mut self.answer);
                let answered = answered.await.map_err(|_| NodeError::ResponseTimeout)?;
                Err(NodeError::Refused(flatten(answered)?.status().as_u16()))
            }
        }
    }

    /// Ends the body and waits for the answer.
    pub async fn finish(self, trailers: Option<HeaderMap>) -> Result<Response, NodeError> {
        let Upload {
            sender,
            answer,
            waits,
            ..
        } = self;
        let ending = async {
            // A node that no longer reads has answered already; that answer is what counts.
            let _ = match trailers {
                Some(trailers) => sender.finish_with_trailers(trailers).await,
                None => sender.finish().await,
            };
        };
        tokio::time::timeout(waits.stall, ending)
            .await
            .map_err(|_| NodeError::Stalled)?;
        flatten(
            tokio::time::timeout(waits.response, answer)
                .await
                .map_err(|_| NodeError::ResponseTimeout)?,
        )
    }
}

fn flatten(
    answered: Result<Result<Response, NodeError>, oneshot::error::RecvError>,
) -> Result<Response, NodeError> {
    answered.unwrap_or_else(|_| {
        Err(NodeError::Reset(
            "the server's task ended without an answer".into(),
        ))
    })
}
