//! One body type for requests and responses: in memory, from a socket, or fed by a bounded channel.
//!
//! Invariants: a channel body ends well only if its sender said so; a sender that is dropped midway is an error at the
//! reading end, so that half a body is never taken for a whole one.

use bytes::{Bytes, BytesMut};
use futures_util::future::poll_fn;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::{mpsc, watch};

/// Why a body ended before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// The other side of the connection went away.
    Disconnected,
    /// The sender inside this process gave up.
    Aborted,
    TooLarge,
    Timeout,
    /// A stored block did not match its checksum.
    Corrupt,
    Io(String),
    /// The framing was not HTTP.
    Protocol(String),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyError::Disconnected => f.write_str("peer disconnected in the middle of a body"),
            BodyError::Aborted => f.write_str("body aborted"),
            BodyError::TooLarge => f.write_str("body too large"),
            BodyError::Timeout => f.write_str("timed out waiting for a body"),
            BodyError::Corrupt => f.write_str("stored data did not match its checksum"),
            BodyError::Io(text) => write!(f, "I/O error in a body: {text}"),
            BodyError::Protocol(text) => write!(f, "malformed body: {text}"),
        }
    }
}

impl std::error::Error for BodyError {}

type BoxedBody = Pin<Box<dyn HttpBody<Data = Bytes, Error = BodyError> + Send>>;

enum Inner {
    Empty,
    Full(Bytes),
    Incoming(hyper::body::Incoming),
    Channel(Channel),
    Boxed(BoxedBody),
}

/// A stream of bytes with, possibly, a known length and trailers.
pub struct Body {
    inner: Inner,
    trailers: Option<HeaderMap>,
}

enum Item {
    Data(Bytes),
    End(Option<HeaderMap>),
    Abort(BodyError),
}

struct Channel {
    items: mpsc::Receiver<Item>,
    wanted: Arc<watch::Sender<bool>>,
    remaining: Option<u64>,
    ended: bool,
}

/// The feeding end of a channel body. Dropped before [`BodySender::finish`], the reader sees [`BodyError::Aborted`].
pub struct BodySender {
    items: mpsc::Sender<Item>,
    wanted: watch::Receiver<bool>,
}

/// The reading end is gone: nobody wants more of this body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl BodySender {
    /// Sends a chunk; waits while the channel is full. Empty chunks are not sent.
    pub async fn send(&mut self, chunk: Bytes) -> Result<(), Closed> {
        if chunk.is_empty() {
            return Ok(());
        }
        self.items.send(Item::Data(chunk)).await.map_err(|_| Closed)
    }

    /// Waits until the reader asks for its first byte; `Closed` when it never will.
    pub async fn wanted(&mut self) -> Result<(), Closed> {
        self.wanted
            .wait_for(|wanted| *wanted)
            .await
            .map(|_| ())
            .map_err(|_| Closed)
    }

    /// Ends the body well.
    pub async fn finish(self) -> Result<(), Closed> {
        self.items.send(Item::End(None)).await.map_err(|_| Closed)
    }

    /// Ends the body well, with trailers.
    pub async fn finish_with_trailers(self, trailers: HeaderMap) -> Result<(), Closed> {
        self.items
            .send(Item::End(Some(trailers)))
            .await
            .map_err(|_| Closed)
    }

    /// Ends the body with an error.
    pub async fn abort(self, error: BodyError) {
        // A reader that has gone needs no telling.
        let _ = self.items.send(Item::Abort(error)).await;
    }
}

impl Body {
    fn new(inner: Inner) -> Self {
        Body {
            inner,
            trailers: None,
        }
    }

    pub fn empty() -> Self {
        Body::new(Inner::Empty)
    }

    /// A body in memory.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Body::new(if bytes.is_empty() {
            Inner::Empty
        } else {
            Inner::Full(bytes)
        })
    }

    /// Any other body.
    pub fn boxed(body: impl HttpBody<Data = Bytes, Error = BodyError> + Send + 'static) -> Self {
        Body::new(Inner::Boxed(Box::pin(body)))
    }

    /// A stream of chunks; ends well when the stream ends.
    pub fn stream(
        stream: impl futures_util::Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
    ) -> Self {
        Body::boxed(http_body_util::StreamBody::new(StreamFrames(Box::pin(stream))))
    }

    /// A stream whose length in bytes is known, so that HTTP can announce it.
    pub fn sized_stream(
        length: u64,
        stream: impl futures_util::Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
    ) -> Self {
        Body::boxed(Sized {
            remaining: length,
            begun: false,
            inner: Body::stream(stream),
        })
    }

    /// A body fed through a channel that holds `capacity` chunks; its length is not known.
    pub fn channel(capacity: usize) -> (BodySender, Body) {
        Self::channel_of(capacity, None)
    }

    /// A channel body of a known length in bytes.
    pub fn sized_channel(capacity: usize, length: u64) -> (BodySender, Body) {
        Self::channel_of(capacity, Some(length))
    }

    fn channel_of(capacity: usize, remaining: Option<u64>) -> (BodySender, Body) {
        let (sender, items) = mpsc::channel(capacity.max(1));
        let (wanted_sender, wanted) = watch::channel(false);
        let channel = Channel {
            items,
            wanted: Arc::new(wanted_sender),
            remaining,
            ended: false,
        };
        (
            BodySender {
                items: sender,
                wanted,
            },
            Body::new(Inner::Channel(channel)),
        )
    }

    /// The next chunk of data; `None` at the good end. Trailers are kept for [`Body::trailers`].
    pub async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The same for those who are polled themselves.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            let frame = match ready!(Pin::new(&mut *self).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            };
            match frame.into_data() {
                Ok(data) if data.is_empty() => continue,
                Ok(data) => return Poll::Ready(Some(Ok(data))),
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        self.trailers = Some(trailers);
                    }
                }
            }
        }
    }

    /// Trailers seen by [`Body::next`]; complete once it has returned `None`.
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    /// The exact number of bytes still to come, when it is known.
    pub fn content_length(&self) -> Option<u64> {
        self.size_hint().exact()
    }

    /// The whole body when it is already in memory.
    pub fn as_full(&self) -> Option<Bytes> {
        match &self.inner {
            Inner::Empty => Some(Bytes::new()),
            Inner::Full(bytes) => Some(bytes.clone()),
            Inner::Incoming(_) | Inner::Channel(_) | Inner::Boxed(_) => None,
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Body::empty()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({:?} bytes)", self.content_length())
    }
}

impl From<hyper::body::Incoming> for Body {
    fn from(incoming: hyper::body::Incoming) -> Self {
        if incoming.is_end_stream() {
            Body::empty()
        } else {
            Body::new(Inner::Incoming(incoming))
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Body::full(bytes)
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Body::full(text)
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Body::full(text)
    }
}

fn from_hyper(error: &hyper::Error) -> BodyError {
    if error.is_timeout() {
        BodyError::Timeout
    } else if error.is_parse() || error.is_user() {
        BodyError::Protocol(error.to_string())
    } else {
        // A malformed chunk is told as an I/O error of kind InvalidInput or InvalidData beneath hyper's.
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            if let Some(io) = cause.downcast_ref::<std::io::Error>() {
                use std::io::ErrorKind::{InvalidData, InvalidInput};
                if matches!(io.kind(), InvalidData | InvalidInput) {
                    return BodyError::Protocol(io.to_string());
                }
            }
            source = cause.source();
        }
        BodyError::Disconnected
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.inner {
            Inner::Empty => Poll::Ready(None),
            Inner::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.inner = Inner::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Inner::Incoming(incoming) => Pin::new(incoming)
                .poll_frame(cx)
                .map(|frame| frame.map(|f| f.map_err(|e| from_hyper(&e)))),
            Inner::Channel(channel) => channel.poll_frame(cx),
            Inner::Boxed(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Empty => true,
            Inner::Full(_) => false,
            Inner::Incoming(incoming) => incoming.is_end_stream(),
            Inner::Channel(channel) => channel.ended,
            Inner::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Empty => SizeHint::with_exact(0),
            Inner::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Incoming(incoming) => incoming.size_hint(),
            Inner::Channel(channel) => channel
                .remaining
                .map_or_else(SizeHint::default, SizeHint::with_exact),
            Inner::Boxed(body) => body.size_hint(),
        }
    }
}

impl Channel {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if !*self.wanted.borrow() {
            self.wanted.send_replace(true);
        }
        let item = ready!(self.items.poll_recv(cx));
        let frame = match item {
            Some(Item::Data(bytes)) => match &mut self.remaining {
                None => Ok(Frame::data(bytes)),
                Some(remaining) => match remaining.checked_sub(bytes.len() as u64) {
                    Some(rest) => {
                        *remaining = rest;
                        Ok(Frame::data(bytes))
                    }
                    None => Err(BodyError::TooLarge),
                },
            },
            Some(Item::End(trailers)) => {
                self.ended = true;
                match trailers {
                    _ if self.remaining.is_some_and(|remaining| remaining > 0) => Err(BodyError::Aborted),
                    Some(trailers) => Ok(Frame::trailers(trailers)),
                    None => return Poll::Ready(None),
                }
            }
            Some(Item::Abort(error)) => Err(error),
            None => Err(BodyError::Aborted),
        };
        if frame.is_err() {
            self.ended = true;
        }
        Poll::Ready(Some(frame))
    }
}

/// A stream of chunks as a stream of frames.
struct StreamFrames(Pin<Box<dyn futures_util::Stream<Item = Result<Bytes, BodyError>> + Send>>);

impl futures_util::Stream for StreamFrames {
    type Item = Result<Frame<Bytes>, BodyError>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0
            .as_mut()
            .poll_next(cx)
            .map(|item| item.map(|chunk| chunk.map(Frame::data)))
    }
}

/// A body whose length is promised; more or less than that is an error.
struct Sized {
    remaining: u64,
    /// Whether the body was asked for data: until then HTTP is told its length, even one of 0.
    begun: bool,
    inner: Body,
}

impl HttpBody for Sized {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.begun = true;
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        let length = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(_)) => 0,
            None if self.remaining > 0 => {
                self.remaining = 0;
                return Poll::Ready(Some(Err(BodyError::Aborted)));
            }
            None => 0,
        };
        match self.remaining.checked_sub(length) {
            Some(rest) => self.remaining = rest,
            None => return Poll::Ready(Some(Err(BodyError::TooLarge))),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0 && self.begun
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

/// Why a body could not be gathered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CollectError {
    /// Longer than the caller's limit.
    TooLarge,
    Body(BodyError),
}

/// Gathers a body of at most `limit` bytes.
pub async fn collect(mut body: Body, limit: usize) -> Result<Bytes, CollectError> {
    if let Some(bytes) = body.as_full() {
        return if bytes.len() > limit {
            Err(CollectError::TooLarge)
        } else {
            Ok(bytes)
        };
    }
    if body.content_length().is_some_and(|length| length > limit as u64) {
        return Err(CollectError::TooLarge);
    }
    let Some(first) = body.next().await else {
        return Ok(Bytes::new());
    };
    let first = first.map_err(CollectError::Body)?;
    if first.len() > limit {
        return Err(CollectError::TooLarge);
    }
    let Some(second) = body.next().await else {
        return Ok(first);
    };
    let mut gathered = BytesMut::from(first);
    let mut next = Some(second);
    while let Some(chunk) = next {
        let chunk = chunk.map_err(CollectError::Body)?;
        if gathered.len() + chunk.len() > limit {
            return Err(CollectError::TooLarge);
        }
        gathered.extend_from_slice(&chunk);
        next = body.next().await;
    }
    Ok(gathered.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dropped_sender_is_an_error_and_a_finished_one_is_not() {
        let (mut sender, body) = Body::channel(4);
        sender.send(Bytes::from_static(b"abc")).await.unwrap();
        drop(sender);
        assert_eq!(
            collect(body, 10).await,
            Err(CollectError::Body(BodyError::Aborted))
        );

        let (mut sender, mut body) = Body::channel(4);
        sender.send(Bytes::from_static(b"abc")).await.unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-a", "1".parse().unwrap());
        sender.finish_with_trailers(trailers).await.unwrap();
        assert_eq!(body.next().await, Some(Ok(Bytes::from_static(b"abc"))));
        assert_eq!(body.next().await, None);
        assert_eq!(body.trailers().unwrap()["x-a"], "1");
    }

    #[tokio::test]
    async fn a_sized_body_must_keep_its_word() {
        let (mut sender, body) = Body::sized_channel(4, 5);
        assert_eq!(body.content_length(), Some(5));
        sender.send(Bytes::from_static(b"abc")).await.unwrap();
        sender.finish().await.unwrap();
        assert_eq!(
            collect(body, 10).await,
            Err(CollectError::Body(BodyError::Aborted))
        );
        let (mut sender, body) = Body::sized_channel(4, 2);
        sender.send(Bytes::from_static(b"abc")).await.unwrap();
        assert_eq!(
            collect(body, 10).await,
            Err(CollectError::Body(BodyError::TooLarge))
        );
    }

    #[tokio::test]
    async fn gathering_is_bounded() {
        let chunks = |n: usize| {
            Body::stream(futures_util::stream::iter(
                (0..n).map(|_| Ok(Bytes::from_static(b"12345"))),
            ))
        };
        assert_eq!(collect(chunks(2), 10).await.unwrap().len(), 10);
        assert_eq!(collect(chunks(3), 10).await, Err(CollectError::TooLarge));
        assert_eq!(collect(Body::full("12345"), 4).await, Err(CollectError::TooLarge));
    }
}
