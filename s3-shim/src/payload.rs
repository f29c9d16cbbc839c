//! The body of an upload on its way inside: decoded from aws-chunked, counted, hashed, and let through to its last
//! bytes only when everything the client promised about it was true.
//!
//! Invariant: the last piece of data is held back until the body has ended and passed every check, so that whoever
//! reads it can not take a wrong body for a whole one, whatever length was announced.

use crate::checksum::{self, Algorithm, Hasher, Kind, Value};
use crate::chunked::Decoder;
use crate::errors::{Code, S3Error, S3Result};
use crate::signature::{Payload, same};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use martlet_service::headers::set;
use martlet_service::{Body, BodyError, CollectError, collect};
use md5::Md5;
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

/// Bytes of a document that is too large which are read in vain before the connection is given up.
const MAX_THROWN_AWAY_BYTES: usize = 128 * 1024 * 1024;

/// What the checks of a body found; shared with the operation that sent it on.
#[derive(Clone, Default)]
pub struct Findings(Arc<Mutex<Found>>);

#[derive(Default)]
struct Found {
    error: Option<S3Error>,
    checksum: Option<Value>,
}

impl Findings {
    /// The error that stopped the body, if one did.
    pub fn error(&self) -> Option<S3Error> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .error
            .clone()
    }

    /// The checksum the client named, verified.
    pub fn checksum(&self) -> Option<Value> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .checksum
            .clone()
    }

    fn set_error(&self, error: S3Error) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .error
            .get_or_insert(error);
    }

    fn set_checksum(&self, value: Value) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).checksum = Some(value);
    }
}

/// A checked body, ready to be sent inside.
pub struct Upload {
    pub body: Body,
    /// Bytes of data, when the client said so.
    pub length: Option<u64>,
    /// Bare hexadecimal MD5 the client promised in `Content-MD5`.
    pub md5: Option<String>,
    /// The checksum the client promised in a header; one promised in a trailer is in [`Upload::trailer`].
    pub checksum: Option<Value>,
    pub trailer: Option<Algorithm>,
    pub findings: Findings,
}

/// How long the body is, and whether that can be believed.
fn length(headers: &HeaderMap, payload: &Payload) -> S3Result<Option<u64>> {
    let number = |name: &str| -> S3Result<Option<u64>> {
        let Some(value) = headers.get(name) else {
            return Ok(None);
        };
        let digits = value
            .to_str()
            .ok()
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let parsed = digits.and_then(|text| text.parse().ok());
        parsed.map(Some).ok_or_else(|| {
            S3Error::new(
                Code::InvalidArgument,
                format!("The {name} header is not a number."),
            )
        })
    };
    if payload.is_chunked() {
        return number("x-amz-decoded-content-length")?
            .map(Some)
            .ok_or_else(|| Code::MissingContentLength.into());
    }
    number("content-length")
}

/// Reads `Content-MD5`: base64 of 16 bytes.
fn content_md5(headers: &HeaderMap) -> S3Result<Option<[u8; 16]>> {
    let Some(value) = headers.get("content-md5") else {
        return Ok(None);
    };
    let bytes = value
        .to_str()
        .ok()
        .and_then(|text| STANDARD.decode(text.trim()).ok());
    let digest = bytes.and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    digest.map(Some).ok_or_else(|| Code::InvalidDigest.into())
}

/// Wraps the body of a request in all the checks its headers and its signature ask for.
pub async fn open(body: Body, headers: &HeaderMap, payload: &Payload) -> S3Result<Upload> {
    let length = length(headers, payload)?;
    let md5 = content_md5(headers)?;
    let declared = checksum::declared(headers)?;
    let trailer = checksum::announced(headers)?;
    if trailer.is_some() && declared.is_some() {
        return Err(S3Error::new(
            Code::InvalidRequest,
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
        ));
    }
    let algorithm = trailer.or(declared.as_ref().map(|value| value.algorithm));
    checksum::check_sdk_algorithm(headers, algorithm)?;
    let decoder = match payload {
        Payload::SignedChunks {
            seed,
            trailer: has_trailer,
        } => Some(Decoder::signed(seed.clone(), *has_trailer)),
        Payload::UnsignedChunks => Some(Decoder::unsigned()),
        Payload::Unsigned | Payload::Sha256(_) => None,
    };
    let has_trailer = matches!(
        payload,
        Payload::SignedChunks { trailer: true, .. } | Payload::UnsignedChunks
    );
    if trailer.is_some() && !has_trailer {
        return Err(S3Error::new(
            Code::InvalidRequest,
            "x-amz-trailer needs a streaming payload with a trailer.",
        ));
    }
    let findings = Findings::default();
    let checked = Checked {
        inner: body,
        decoder,
        remaining: length,
        length,
        sha256: match payload {
            Payload::Sha256(wanted) => Some((Sha256::new(), *wanted)),
            _ => None,
        },
        // An empty body is never read by those inside, who would compute its MD5; so it is computed here.
        md5: md5
            .filter(|_| length == Some(0))
            .map(|wanted| (Md5::new(), wanted)),
        hasher: algorithm.map(Hasher::new),
        declared: declared.clone(),
        trailer,
        queue: VecDeque::new(),
        state: State::Reading,
        findings: findings.clone(),
    };
    let md5 = md5.map(hex::encode);
    let mut upload = Upload {
        body: Body::boxed(checked),
        length,
        md5,
        checksum: declared,
        trailer,
        findings,
    };
    if length == Some(0) {
        upload.drain().await?;
    }
    Ok(upload)
}

/// Reads a whole small document, such as XML, with all its checks.
pub async fn document(body: Body, headers: &HeaderMap, payload: &Payload, limit: usize) -> S3Result<Bytes> {
    let upload = open(body, headers, payload).await?;
    let promised = upload.md5;
    // A client that waits to be told to send has sent nothing yet.
    if upload.length.is_some_and(|length| length > limit as u64) && headers.contains_key("expect") {
        return Err(Code::MaxMessageLengthExceeded.into());
    }
    let bytes = gather(upload.body, limit).await.map_err(|error| {
        upload.findings.error().unwrap_or_else(|| match error {
            CollectError::TooLarge => Code::MaxMessageLengthExceeded.into(),
            CollectError::Body(error) => from_body(&error),
        })
    })?;
    if promised.is_some_and(|promised| promised != hex::encode(Md5::digest(&bytes))) {
        return Err(Code::BadDigest.into());
    }
    Ok(bytes)
}

/// Gathers a body. One that is too large is read on for a while and thrown away: many clients hear an answer only when
/// they have sent everything, and take an end before that for a broken connection.
async fn gather(mut body: Body, limit: usize) -> Result<Bytes, CollectError> {
    let mut gathered = BytesMut::new();
    let mut length = 0usize;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(CollectError::Body)?.into_data() else {
            continue;
        };
        length += data.len();
        if length > limit {
            gathered.clear();
            if length > limit.saturating_add(MAX_THROWN_AWAY_BYTES) {
                break;
            }
        } else {
            gathered.extend_from_slice(&data);
        }
    }
    if length > limit {
        Err(CollectError::TooLarge)
    } else {
        Ok(gathered.freeze())
    }
}

impl Upload {
    /// Reads an empty body to its end, so that its trailer and hashes are checked before anything is stored.
    async fn drain(&mut self) -> S3Result<()> {
        let body = std::mem::take(&mut self.body);
        collect(body, 0).await.map_err(|_| {
            self.findings
                .error()
                .unwrap_or_else(|| Code::IncompleteBody.into())
        })?;
        if self.trailer.take().is_some() {
            self.checksum = self.findings.checksum();
        }
        Ok(())
    }

    /// Headers that keep the checksum with the object; one that comes in a trailer follows in the body's trailers.
    pub fn checksum_headers(&self, headers: &mut HeaderMap) {
        if let Some(value) = &self.checksum {
            set(headers, value.algorithm.sysmeta(), &value.text());
        }
        if self.checksum.is_some() || self.trailer.is_some() {
            set(headers, checksum::KIND_SYSMETA, Kind::FullObject.as_str());
        }
    }
}

/// What a broken body means to the client.
pub fn from_body(error: &BodyError) -> S3Error {
    match error {
        BodyError::Timeout => Code::RequestTimeout.into(),
        BodyError::TooLarge => Code::EntityTooLarge.into(),
        BodyError::Protocol(_) | BodyError::Disconnected | BodyError::Aborted => Code::IncompleteBody.into(),
        BodyError::Corrupt | BodyError::Io(_) => Code::InternalError.into(),
    }
}

enum State {
    Reading,
    /// Everything was right; what is queued may go, then these trailers.
    Passed(Option<HeaderMap>),
    Ended,
}

struct Checked {
    inner: Body,
    decoder: Option<Decoder>,
    /// Data bytes not yet given to the reader, when the length is known.
    remaining: Option<u64>,
    /// Data bytes not yet received, when the length is known.
    length: Option<u64>,
    sha256: Option<(Sha256, [u8; 32])>,
    md5: Option<(Md5, [u8; 16])>,
    hasher: Option<Hasher>,
    declared: Option<Value>,
    trailer: Option<Algorithm>,
    queue: VecDeque<Bytes>,
    state: State,
    findings: Findings,
}

impl Checked {
    fn take(&mut self, data: Bytes) -> S3Result<()> {
        let before = self.queue.len();
        match &mut self.decoder {
            Some(decoder) => decoder.feed(data, &mut self.queue)?,
            None => self.queue.push_back(data),
        }
        for data in self.queue.iter().skip(before) {
            if let Some(left) = &mut self.length {
                *left = left
                    .checked_sub(data.len() as u64)
                    .ok_or_else(|| S3Error::from(Code::IncompleteBody))?;
            }
            if let Some((hasher, _)) = &mut self.sha256 {
                hasher.update(data);
            }
            if let Some((hasher, _)) = &mut self.md5 {
                hasher.update(data);
            }
            if let Some(hasher) = &mut self.hasher {
                hasher.update(data);
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> S3Result<Option<HeaderMap>> {
        let mut given = self.declared.take();
        if let Some(decoder) = &mut self.decoder {
            decoder.finish()?;
            if let Some(algorithm) = self.trailer {
                let field = decoder
                    .trailers()
                    .iter()
                    .find(|(name, _)| name == algorithm.header());
                let (_, value) = field.ok_or_else(|| S3Error::from(Code::MalformedTrailerError))?;
                given = Some(Value::parse(algorithm, value).ok_or_else(|| {
                    S3Error::new(
                        Code::InvalidRequest,
                        format!("Value for {} trailing header is invalid.", algorithm.header()),
                    )
                })?);
            }
        }
        if self.length.is_some_and(|left| left > 0) {
            return Err(Code::IncompleteBody.into());
        }
        if let Some((hasher, wanted)) = self.sha256.take() {
            let found = hasher.finalize();
            if !same(&found, &wanted) {
                return Err(S3Error::from(Code::XAmzContentSHA256Mismatch)
                    .with("ClientComputedContentSHA256", hex::encode(wanted))
                    .with("S3ComputedContentSHA256", hex::encode(found)));
            }
        }
        if let Some((hasher, wanted)) = self.md5.take()
            && hasher.finalize()[..] != wanted[..]
        {
            return Err(Code::BadDigest.into());
        }
        let (Some(hasher), Some(given)) = (self.hasher.take(), given) else {
            return Ok(None);
        };
        if hasher.finish() != given {
            return Err(S3Error::new(
                Code::BadDigest,
                format!(
                    "The {} you specified did not match the calculated checksum.",
                    given.algorithm.name()
                ),
            ));
        }
        let trailers = self.trailer.map(|algorithm| {
            let mut trailers = HeaderMap::new();
            set(&mut trailers, algorithm.sysmeta(), &given.text());
            trailers
        });
        self.findings.set_checksum(given);
        Ok(trailers)
    }

    fn fail(&mut self, error: S3Error) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.findings.set_error(error);
        self.queue.clear();
        self.state = State::Ended;
        Poll::Ready(Some(Err(BodyError::Aborted)))
    }

    fn give(&mut self, data: Bytes) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(remaining) = &mut self.remaining {
            *remaining = remaining.saturating_sub(data.len() as u64);
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }
}

impl HttpBody for Checked {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        loop {
            let held_back = usize::from(matches!(this.state, State::Reading));
            if this.queue.len() > held_back
                && let Some(data) = this.queue.pop_front()
            {
                return this.give(data);
            }
            match &mut this.state {
                State::Ended => return Poll::Ready(None),
                State::Passed(trailers) => {
                    let trailers = trailers.take();
                    this.state = State::Ended;
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                }
                State::Reading => {}
            }
            match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if data.is_empty() {
                        continue;
                    }
                    if let Err(error) = this.take(data) {
                        return this.fail(error);
                    }
                }
                Some(Err(error)) => {
                    this.findings.set_error(from_body(&error));
                    this.queue.clear();
                    this.state = State::Ended;
                    return Poll::Ready(Some(Err(error)));
                }
                None => match this.finish() {
                    Ok(trailers) => this.state = State::Passed(trailers),
                    Err(error) => return this.fail(error),
                },
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Ended) && self.queue.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
