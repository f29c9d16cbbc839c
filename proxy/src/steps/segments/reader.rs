//! Streams pieces one after the other, opening the next ones while the last bytes of the one before are sent.
//!
//! Memory is flat: what is open ahead is bounded in number, and in bytes by what its connections buffer.

use super::begun::Begun;
use super::direct;
use super::rate::{Pacer, RateLimit};
use super::{ObjectPiece, Piece, Pieces};
use crate::context::Origin;
use crate::core::segment::{SegmentBody, SegmentHeaders};
use crate::pipeline::Next;
use crate::steps::paths::RESERVED;
use bytes::Bytes;
use futures_util::stream;
use futures_util::{FutureExt, StreamExt};
use http::header::{CONTENT_LENGTH, ETAG, HeaderMap, RANGE};
use http::{Method, StatusCode};
use martlet_protocol::name::Target;
use martlet_service::{Body, BodyError, Response, headers};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// The next piece is opened when so few bytes are left of what is open: enough to hide the time an opening takes, and
/// little enough that no piece stands open for long.
const OPEN_AHEAD_BYTES: u64 = 8 << 20;

/// Longer pieces are never there at once: a disk or a connection has to bring them. (Storage keeps bodies of up to so many
/// bytes in its index, which answers from memory.)
const AT_ONCE_BYTES: u64 = 64 << 10;

/// Why a piece cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SegmentError {
    /// It is gone, or no longer what the manifest says.
    Invalid(String),
    /// Its servers do not answer.
    Unavailable(String),
}

impl SegmentError {
    /// What a client gets if nothing was sent yet.
    pub fn status(&self) -> StatusCode {
        match self {
            SegmentError::Invalid(_) => StatusCode::CONFLICT,
            SegmentError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl std::fmt::Display for SegmentError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SegmentError::Invalid(words) | SegmentError::Unavailable(words) => f.write_str(words),
        }
    }
}

/// Where and how pieces are read.
#[derive(Clone)]
pub struct Source {
    /// Where segments are asked for.
    pub next: Next,
    pub origin: Origin,
    /// Pieces that may be open beside the one being sent.
    pub read_ahead: usize,
    pub rate_limit: RateLimit,
    /// The longest one answer may take.
    pub max_time: Duration,
}

/// What the reading of all pieces shares.
pub struct Shared {
    pub source: Source,
    pub headers: SegmentHeaders,
}

/// Reads pieces as one run of bytes.
pub struct Reader {
    shared: Arc<Shared>,
    finding: Finding,
    ends_at: Instant,
    ahead: VecDeque<Opening>,
    current: Option<Open>,
    /// An error in finding out the pieces; told when those before it are sent.
    listing_error: Option<SegmentError>,
}

/// The pieces in their order. The one after the last that was taken is always being found out: a listing or a nested
/// manifest that takes its time, or a piece that has to wait, does not hold up the bytes of those before it.
struct Finding {
    /// `None`: there are no more.
    next: Option<Begun<Found>>,
}

/// A piece, or the end, or an error; and where those after it come from.
struct Found {
    item: Result<Option<Piece>, SegmentError>,
    pieces: Pieces,
    pacer: Pacer,
}

impl Finding {
    fn start(pieces: Pieces, rate_limit: RateLimit) -> Self {
        Finding {
            next: Some(begin_to_find(pieces, Pacer::new(rate_limit))),
        }
    }

    /// The next piece, if it is known.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Piece, SegmentError>>> {
        let Some(begun) = self.next.take() else {
            return Poll::Ready(None);
        };
        let found = match begun.end(context) {
            Ok(Ok(found)) => found,
            Ok(Err(_)) => {
                let words = "finding out the segments failed".into();
                return Poll::Ready(Some(Err(SegmentError::Unavailable(words))));
            }
            Err(begun) => {
                self.next = Some(begun);
                return Poll::Pending;
            }
        };
        if matches!(found.item, Ok(Some(_))) {
            self.next = Some(begin_to_find(found.pieces, found.pacer));
        }
        Poll::Ready(found.item.transpose())
    }
}

/// Nearly always a piece is known at once, and may go at once.
fn begin_to_find(mut pieces: Pieces, mut pacer: Pacer) -> Begun<Found> {
    // Nobody is to be woken by this step: a task asks again.
    let Some(item) = pieces.next().now_or_never() else {
        return Begun::new(async move {
            let item = pieces.next().await.transpose();
            let wait = wait_of(&item, &mut pacer);
            found_after(wait, Found { item, pieces, pacer }).await
        });
    };
    let item = item.transpose();
    let wait = wait_of(&item, &mut pacer);
    let found = Found { item, pieces, pacer };
    match wait {
        None => Begun::Done(found),
        Some(_) => Begun::new(found_after(wait, found)),
    }
}

/// Until when a piece has to wait, if it has to.
fn wait_of(item: &Result<Option<Piece>, SegmentError>, pacer: &mut Pacer) -> Option<tokio::time::Instant> {
    let Ok(Some(piece)) = item else { return None };
    let now = tokio::time::Instant::now();
    let delay = pacer.delay(piece, now);
    (!delay.is_zero()).then(|| now + delay)
}

async fn found_after(wait: Option<tokio::time::Instant>, found: Found) -> Found {
    if let Some(until) = wait {
        tokio::time::sleep_until(until).await;
    }
    found
}

/// A piece being opened.
struct Opening {
    bytes: u64,
    body: Begun<Result<SegmentBody, SegmentError>>,
}

struct Open {
    body: SegmentBody,
    remaining: u64,
}

impl Open {
    /// Some of what remains.
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, SegmentError>> {
        let chunk = match ready!(self.body.poll_next(context)) {
            Some(Ok(chunk)) => chunk,
            Some(Err(error)) => {
                let words = format!("segment broken off: {error}");
                return Poll::Ready(Err(SegmentError::Unavailable(words)));
            }
            None => {
                let words = "segment shorter than announced".into();
                return Poll::Ready(Err(SegmentError::Invalid(words)));
            }
        };
        Poll::Ready(match self.remaining.checked_sub(chunk.len() as u64) {
            Some(rest) => {
                self.remaining = rest;
                Ok(chunk)
            }
            None => Err(SegmentError::Invalid("segment longer than announced".into())),
        })
    }
}

impl Reader {
    pub fn new(pieces: Pieces, source: Source) -> Self {
        Reader {
            finding: Finding::start(pieces, source.rate_limit),
            ends_at: Instant::now() + source.max_time,
            shared: Arc::new(Shared {
                headers: SegmentHeaders::new(source.origin.trans_id(), source.origin.headers()),
                source,
            }),
            ahead: VecDeque::new(),
            current: None,
            listing_error: None,
        }
    }

    /// Opens the first piece, so that a large object whose first segment is gone is an error and not half a body.
    pub async fn begin(&mut self) -> Result<(), SegmentError> {
        if self.current.is_none() {
            poll_fn(|context| self.poll_advance(context)).await?;
        }
        Ok(())
    }

    /// The rest as a body of so many bytes; of unknown length for `None`.
    pub fn into_body(self, length: Option<u64>) -> Body {
        let mut reader = Some(self);
        // Polled where it is: as a future made for each chunk it would be moved, with all the room that opening takes.
        let chunks = stream::poll_fn(move |context| {
            let Some(reading) = &mut reader else {
                return Poll::Ready(None);
            };
            let last = match ready!(reading.poll_chunk(context)) {
                Ok(Some(chunk)) => return Poll::Ready(Some(Ok(chunk))),
                Ok(None) => None,
                Err(error) => {
                    let trans_id = reading.shared.source.origin.trans_id();
                    tracing::error!(%error, %trans_id, "large object broken off");
                    Some(Err(BodyError::Aborted))
                }
            };
            reader = None;
            Poll::Ready(last)
        });
        match length {
            Some(length) => Body::sized_stream(length, chunks),
            None => Body::stream(chunks),
        }
    }

    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, SegmentError>> {
        loop {
            if Instant::now() > self.ends_at {
                return Poll::Ready(Err(SegmentError::Unavailable(
                    "the longest time for one GET is over".into(),
                )));
            }
            let Some(open) = &mut self.current else {
                if !ready!(self.poll_advance(context))? {
                    return Poll::Ready(Ok(None));
                }
                continue;
            };
            if open.remaining == 0 {
                self.current = None;
                continue;
            }
            let chunk = ready!(open.poll_chunk(context))?;
            self.open_ahead(context);
            return Poll::Ready(Ok(Some(chunk)));
        }
    }

    /// Makes the next piece current; `false` at the end.
    fn poll_advance(&mut self, context: &mut Context<'_>) -> Poll<Result<bool, SegmentError>> {
        self.open_ahead(context);
        let Some(opening) = self.ahead.pop_front() else {
            return match self.listing_error.take() {
                Some(error) => Poll::Ready(Err(error)),
                None if self.finding.next.is_some() => Poll::Pending,
                None => Poll::Ready(Ok(false)),
            };
        };
        let bytes = opening.bytes;
        let body = match opening.body.end(context) {
            Ok(Ok(opened)) => opened?,
            Ok(Err(failure)) => {
                let words = format!("opening failed: {failure}");
                return Poll::Ready(Err(SegmentError::Unavailable(words)));
            }
            Err(body) => {
                self.ahead.push_front(Opening { bytes, body });
                return Poll::Pending;
            }
        };
        self.current = Some(Open {
            body,
            remaining: bytes,
        });
        self.open_ahead(context);
        Poll::Ready(Ok(true))
    }

    /// Opens what may be open by now, as far as it is known which pieces those are.
    fn open_ahead(&mut self, context: &mut Context<'_>) {
        while self.listing_error.is_none()
            && self.ahead.len() < self.shared.source.read_ahead.max(1)
            && self.bytes_open() < OPEN_AHEAD_BYTES
        {
            match self.finding.poll_next(context) {
                Poll::Pending | Poll::Ready(None) => return,
                Poll::Ready(Some(Err(error))) => self.listing_error = Some(error),
                Poll::Ready(Some(Ok(piece))) if piece.bytes() == 0 => {}
                Poll::Ready(Some(Ok(piece))) => {
                    let bytes = piece.bytes();
                    let body = match piece {
                        Piece::Data(bytes) => Begun::Done(Ok(SegmentBody::Other(Body::full(bytes)))),
                        Piece::Object(piece) => {
                            let opening = open(piece, Arc::clone(&self.shared));
                            match bytes > AT_ONCE_BYTES {
                                true => Begun::spawned(opening),
                                false => Begun::new(opening),
                            }
                        }
                    };
                    self.ahead.push_back(Opening { bytes, body });
                }
            }
        }
    }

    fn bytes_open(&self) -> u64 {
        self.current.as_ref().map_or(0, |open| open.remaining)
            + self.ahead.iter().map(|opening| opening.bytes).sum::<u64>()
    }
}

async fn open(piece: ObjectPiece, shared: Arc<Shared>) -> Result<SegmentBody, SegmentError> {
    let target = Arc::new(Target::Object((*piece.path).clone()));
    let (status, map, body) = match direct::read(&shared, &piece, &target).await {
        Ok(Some(found)) => (found.status, found.headers, found.body),
        Ok(None) => {
            let response = Box::pin(ask_steps(&piece, &shared.source)).await;
            let (parts, body) = response.into_parts();
            (parts.status, parts.headers, SegmentBody::Other(body))
        }
        Err(status) => (status, HeaderMap::new(), SegmentBody::Other(Body::empty())),
    };
    check(&piece, status, &map)?;
    Ok(body)
}

/// Asks for a piece as a client would.
async fn ask_steps(piece: &ObjectPiece, source: &Source) -> Response {
    // Parts of S3 uploads live under reserved names; whoever may read the manifest may read them.
    let is_reserved = piece.path.container.contains(RESERVED);
    let privileged = is_reserved.then(|| source.origin.privileged());
    let origin = privileged.as_ref().unwrap_or(&source.origin);
    let target = Target::Object((*piece.path).clone());
    let mut request = origin.request(Method::GET, target, "multipart-manifest=get");
    if !piece.is_whole() {
        let range = format!("bytes={}-{}", piece.range.start, piece.range.end - 1);
        headers::set(request.headers_mut(), RANGE.as_str(), &range);
    }
    source.next.clone().run(request).await
}

fn check(piece: &ObjectPiece, status: StatusCode, map: &HeaderMap) -> Result<(), SegmentError> {
    let wanted = match piece.is_whole() {
        true => StatusCode::OK,
        false => StatusCode::PARTIAL_CONTENT,
    };
    let name = || piece.path.path();
    if status.is_server_error() {
        return Err(SegmentError::Unavailable(format!(
            "{status} for segment {}",
            name()
        )));
    }
    if status != wanted {
        return Err(SegmentError::Invalid(format!("{status} for segment {}", name())));
    }
    let etag = headers::text(map, ETAG.as_str()).map(|etag| etag.trim_matches('"'));
    if piece.etag.as_deref().is_some_and(|wanted| etag != Some(wanted)) {
        return Err(SegmentError::Invalid(format!(
            "segment {} has changed: its ETag is now {etag:?}",
            name()
        )));
    }
    let length = headers::text(map, CONTENT_LENGTH.as_str()).and_then(|length| length.parse::<u64>().ok());
    if length.is_some_and(|length| length != piece.range.len()) {
        return Err(SegmentError::Invalid(format!(
            "segment {} has changed: its length is now {length:?}",
            name()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_protocol::name::Target;
    use martlet_protocol::range::ByteRange;

    #[test]
    fn a_segment_must_be_what_the_manifest_says() {
        let Ok(Target::Object(path)) = Target::parse("a/c/o") else {
            panic!()
        };
        let check = |is_whole: bool, status: u16, etag: &str, length: &str| {
            let mut map = HeaderMap::new();
            headers::set(&mut map, "etag", etag);
            headers::set(&mut map, "content-length", length);
            let piece = ObjectPiece {
                path: path.clone().into(),
                etag: Some("e".into()),
                size: if is_whole { 5 } else { 6 },
                range: ByteRange { start: 0, end: 5 },
            };
            super::check(&piece, StatusCode::from_u16(status).unwrap(), &map)
                .map_err(|error| error.status().as_u16())
        };
        assert_eq!(check(true, 200, "e", "5"), Ok(()));
        assert_eq!(check(true, 200, "\"e\"", "5"), Ok(()));
        assert_eq!(check(false, 206, "e", "5"), Ok(()));
        assert_eq!(check(false, 200, "e", "5"), Err(409));
        assert_eq!(check(true, 200, "x", "5"), Err(409));
        assert_eq!(check(true, 200, "e", "6"), Err(409));
        assert_eq!(check(true, 404, "e", "5"), Err(409));
        assert_eq!(check(true, 503, "e", "5"), Err(503));
    }
}
