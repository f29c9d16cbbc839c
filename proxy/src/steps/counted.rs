//! A body that counts what passes through it.

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use martlet_service::{Body, BodyError};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

/// Bytes that have passed. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Count(Arc<AtomicU64>);

impl Count {
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Counts a body. What is `held` is dropped with it: when it has been read, or will not be.
pub fn counted<G: Send + Unpin + 'static>(inner: Body, count: &Count, held: G) -> Body {
    Body::boxed(Counted {
        inner,
        count: count.clone(),
        _held: held,
    })
}

struct Counted<G> {
    inner: Body,
    count: Count,
    _held: G,
}

impl<G: Unpin> HttpBody for Counted<G> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            self.count.add(data.len());
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
