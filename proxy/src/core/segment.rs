//! GET of one object among many that are read one after the other: its bytes, and what of its head the reader asks for.
//!
//! The same read as any GET's, and the same belief in what nodes say. What is left out is the request around it, which a
//! thousand segments would make a thousand times, and the answer that no client sees.

use super::Core;
use super::backend;
use super::get::{self, Object};
use super::placement::Which;
use super::read::Outcome;
use super::resume::{Resumer, Version};
use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue, RANGE};
use http::{Method, StatusCode};
use martlet_protocol::header;
use martlet_protocol::name::ObjectPath;
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::range::ByteRange;
use martlet_service::{Body, BodyError};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

/// Which bytes of which object.
pub struct SegmentRead<'a> {
    pub path: &'a ObjectPath,
    pub policy: PolicyIndex,
    /// `None`: the whole.
    pub range: Option<ByteRange>,
    pub headers: &'a SegmentHeaders,
    /// Whether the object's name may be one that is reserved.
    pub allows_reserved: bool,
    /// An object that carries this metadata is wanted whole, whatever the range.
    pub whole_if: &'static str,
}

/// An object as its node has it. Its headers are those of the inside.
pub struct Segment {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: SegmentBody,
}

/// Bytes on their way.
pub enum SegmentBody {
    Other(Body),
    /// Goes on from another replica when one breaks.
    Resumed(Resumer),
}

impl SegmentBody {
    /// The next bytes; `None` at the good end.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        match self {
            SegmentBody::Other(body) => body.poll_next(context),
            SegmentBody::Resumed(resumer) => resumer.poll_next(context),
        }
    }
}

/// What the requests for all segments have in common, made for the first.
#[derive(Debug)]
pub struct SegmentHeaders {
    trans_id: String,
    client: HeaderMap,
    made: OnceLock<Made>,
}

#[derive(Debug)]
struct Made {
    policy: PolicyIndex,
    allows_reserved: bool,
    headers: Arc<HeaderMap>,
}

impl SegmentHeaders {
    /// `client`: the headers of the request on whose behalf segments are read.
    pub fn new(trans_id: &str, client: &HeaderMap) -> Self {
        SegmentHeaders {
            trans_id: trans_id.to_owned(),
            client: client.clone(),
            made: OnceLock::new(),
        }
    }

    fn of(&self, core: &Core, policy: PolicyIndex, allows_reserved: bool) -> Arc<HeaderMap> {
        let made = self.made.get_or_init(|| self.make(core, policy, allows_reserved));
        match made.policy == policy && made.allows_reserved == allows_reserved {
            true => Arc::clone(&made.headers),
            false => self.make(core, policy, allows_reserved).headers,
        }
    }

    fn make(&self, core: &Core, policy: PolicyIndex, allows_reserved: bool) -> Made {
        let mut head = backend::common_headers(Which::Object(policy), &self.trans_id);
        backend::open_expired(core, &self.client, &mut head);
        if allows_reserved {
            let yes = HeaderValue::from_static("true");
            backend::put(&mut head, header::X_BACKEND_ALLOW_RESERVED_NAMES, yes);
        }
        Made {
            policy,
            allows_reserved,
            headers: Arc::new(head),
        }
    }
}

impl Core {
    /// Reads a segment; whoever asks may do so.
    ///
    /// # Errors
    /// 404 or 503, as of a GET.
    pub async fn segment(self: &Arc<Self>, wanted: SegmentRead<'_>) -> Result<Segment, StatusCode> {
        let path = wanted.path;
        let hash = self
            .salt
            .hash(&path.account, Some(&path.container), Some(&path.object));
        let placement = self.placer.place(Which::Object(wanted.policy), &hash);
        let plain_headers = wanted.headers.of(self, wanted.policy, wanted.allows_reserved);
        let object = Object {
            core: self,
            placement: placement.ok_or(StatusCode::SERVICE_UNAVAILABLE)?,
            path: path.path(),
            newest: false,
            plain_headers,
        };
        let full = match wanted.range {
            None => Arc::clone(&object.plain_headers),
            Some(range) => Arc::new(with_range(&object.plain_headers, range, wanted.whole_if)),
        };
        let taken = match object.read(Method::GET, full).await {
            Outcome::Taken(taken) => taken,
            Outcome::NotFound => return Err(StatusCode::NOT_FOUND),
            Outcome::Unavailable => return Err(StatusCode::SERVICE_UNAVAILABLE),
        };
        let (parts, body) = taken.response.into_parts();
        let is_here = |length| body.as_full().is_some_and(|bytes| bytes.len() as u64 == length);
        let body = match get::extent(&parts, &body) {
            Some((start, end)) if !is_here(end - start) => {
                let version = Version::of(&parts.headers);
                let others = object.into_others(version, taken.others);
                SegmentBody::Resumed(Resumer::new(start, end, body, others))
            }
            _ => SegmentBody::Other(body),
        };
        Ok(Segment {
            status: parts.status,
            headers: parts.headers,
            body,
        })
    }
}

fn with_range(plain: &HeaderMap, range: ByteRange, whole_if: &'static str) -> HeaderMap {
    let mut head = plain.clone();
    let text = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
    if let Ok(value) = HeaderValue::try_from(text) {
        head.insert(RANGE, value);
    }
    backend::put(
        &mut head,
        "x-backend-ignore-range-if-metadata-present",
        HeaderValue::from_static(whole_if),
    );
    head
}
