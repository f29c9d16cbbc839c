//! Gives up a response body whose node has gone silent.

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use martlet_service::{Body, BodyError};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

struct Guarded {
    body: Body,
    timeout: Duration,
    /// Set while we wait for a frame.
    waiting: Option<Pin<Box<Sleep>>>,
}

/// The body, with an error once nothing has come for `timeout`. Bodies in memory are returned as they are.
pub(crate) fn guard(body: Body, timeout: Duration) -> Body {
    if body.as_full().is_some() {
        return body;
    }
    Body::boxed(Guarded {
        body,
        timeout,
        waiting: None,
    })
}

impl HttpBody for Guarded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.waiting = None;
            return Poll::Ready(frame);
        }
        let deadline = this.timeout;
        let waiting = this
            .waiting
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + deadline)));
        match waiting.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Some(Err(BodyError::Timeout))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
