//! One line and one count for each request from outside, when its last byte has gone.

use crate::context::{Context, context};
use crate::pipeline::Next;
use bytes::Bytes;
use http::header::{REFERER, USER_AGENT};
use http::{Method, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use martlet_service::logging::RequestLine;
use martlet_service::{Body, BodyError, Peer, Request, Response, headers};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll, ready};

pub async fn run(request: Request, next: Next) -> Response {
    let Some(context) = context(&request).cloned() else {
        return next.run(request).await;
    };
    let received = Arc::new(AtomicU64::new(0));
    let mut line = Line {
        context,
        method: request.method().clone(),
        path: path_for_log(&request),
        peer: request.extensions().get::<Peer>().copied(),
        user_agent: headers::text(request.headers(), USER_AGENT.as_str()).map(str::to_owned),
        referer: headers::text(request.headers(), REFERER.as_str()).map(str::to_owned),
        is_s3: false,
        status: StatusCode::OK,
        received: received.clone(),
        sent: 0,
        is_whole: true,
    };
    let request = request.map(|body| match body.content_length() {
        Some(0) => body,
        _ => Body::boxed(Received {
            inner: body,
            bytes: received,
        }),
    });
    let response = next.run(request).await;
    line.status = response.status();
    line.is_s3 = response.headers().contains_key("x-amz-request-id");
    if line.method == Method::HEAD || response.body().content_length() == Some(0) {
        return response;
    }
    line.is_whole = false;
    response.map(|body| {
        Body::boxed(Sent {
            remaining: body.content_length(),
            inner: body,
            line,
        })
    })
}

/// The path, and the query unless it holds a signature: a log must not be a key.
fn path_for_log(request: &Request) -> String {
    let uri = request.uri();
    match uri.query() {
        Some(query)
            if !["ignature", "_sig", "X-Amz-"]
                .iter()
                .any(|mark| query.contains(mark)) =>
        {
            format!("{}?{query}", uri.path())
        }
        _ => uri.path().to_owned(),
    }
}

/// What is written when it is dropped: at the end of the answer, or when the client has left.
struct Line {
    context: Context,
    method: Method,
    path: String,
    peer: Option<Peer>,
    user_agent: Option<String>,
    referer: Option<String>,
    is_s3: bool,
    status: StatusCode,
    received: Arc<AtomicU64>,
    sent: u64,
    is_whole: bool,
}

impl Drop for Line {
    fn drop(&mut self) {
        // 499 in the log: the client did not stay for the whole answer.
        let status = if self.is_whole { self.status.as_u16() } else { 499 };
        let received = self.received.load(Ordering::Relaxed);
        let duration = self.context.started().elapsed();
        tracing::info!(
            target: "martlet::request",
            server = "proxy",
            method = self.method.as_str(),
            path = self.path,
            status,
            trans_id = self.context.trans_id(),
            duration_us = duration.as_micros() as u64,
            user = self.context.user().unwrap_or("-"),
            source = if self.is_s3 { "S3" } else { "-" },
            bytes_received = received,
            bytes_sent = self.sent,
            client = self.peer.map(|peer| tracing::field::display(peer.0)),
            user_agent = self.user_agent.as_deref(),
            referer = self.referer.as_deref(),
        );
        let trans_id = self.context.trans_id();
        RequestLine {
            server: "proxy",
            method: self.method.as_str(),
            path: &self.path,
            status,
            trans_id,
            duration,
        }
        .count();
        metrics::counter!("martlet_proxy_received_bytes").increment(received);
        metrics::counter!("martlet_proxy_sent_bytes").increment(self.sent);
    }
}

/// Counts what the client sends.
struct Received {
    inner: Body,
    bytes: Arc<AtomicU64>,
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            self.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Counts what the client gets, and holds the body to its announced length: more or less breaks the connection
/// rather than being taken for the whole.
struct Sent {
    inner: Body,
    remaining: Option<u64>,
    line: Line,
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                if let Some(remaining) = &mut self.remaining {
                    match remaining.checked_sub(bytes) {
                        Some(rest) => *remaining = rest,
                        None => return Poll::Ready(Some(Err(BodyError::TooLarge))),
                    }
                }
                self.line.sent += bytes;
                if self.remaining == Some(0) || self.inner.is_end_stream() {
                    self.line.is_whole = true;
                }
            }
            None if self.remaining.is_some_and(|remaining| remaining > 0) => {
                self.remaining = Some(0);
                return Poll::Ready(Some(Err(BodyError::Aborted)));
            }
            None => self.line.is_whole = true,
            Some(Err(error)) => {
                tracing::debug!(%error, trans_id = self.line.context.trans_id(), "answer cut short")
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
