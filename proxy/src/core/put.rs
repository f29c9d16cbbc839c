//! The life of a PUT: may it be, is it well formed, where does it go, take the body once, store it on a majority.
//!
//! 1. The container is known from memory or asked for; its write ACL is judged; it must exist.
//! 2. Lengths, metadata, content type and expiry are checked before a byte of the body is read.
//! 3. The ring names the primaries. Too few reachable devices: 503, still before the body.
//! 4. A small body of known length is gathered, hashed once and sent to all replicas in one piece. Any other streams:
//!    one read of the client feeds every replica through bounded queues (`stream`).
//! 5. A body that is short, too long or not what its ETag promised stores nothing anywhere.
//! 6. From the last byte on the commit belongs to a task of its own: a client that leaves changes nothing. The answer
//!    is given when a majority has the object on disk; devices that missed it are marked before (`fan_out`).

use super::Core;
use super::answer;
use super::authorize::{Authorize, Need};
use super::backend;
use super::checks::{self, BodyLength, Kind};
use super::container;
use super::content_type;
use super::fan_out::{Write, fan_out_until};
use super::info::{ContainerInfo, Existence};
use super::placement::{Placement, Which, assign_updates};
use super::quorum::{PutQuorum, Step};
use super::stream;
use crate::context::OwnContentType;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{FuturesUnordered, StreamExt};
use http::header::{CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, LAST_MODIFIED};
use http::request::Parts;
use http::{Method, StatusCode};
use martlet_protocol::header;
use martlet_protocol::name::{ObjectPath, Target};
use martlet_protocol::timestamp::Timestamp;
use martlet_service::{Body, BodyError, Response, headers};
use md5::{Digest, Md5};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Metadata of an object that is known only when its body has been read (checksums, sizes of a manifest). A step puts
/// this among the request's extensions and fills it before the body's end; the core stores it with the object. Bodies
/// may also bring such headers as trailers of their own.
#[derive(Clone, Debug, Default)]
pub struct TrailingMetadata(Arc<Mutex<HeaderMap>>);

impl TrailingMetadata {
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces what was set before.
    pub fn set(&self, metadata: HeaderMap) {
        *self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = metadata;
    }

    fn take(&self) -> HeaderMap {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}

/// What trails a body: the step's word and the body's own trailers, metadata families only.
pub fn trailing(extension: Option<&TrailingMetadata>, body: &Body) -> HeaderMap {
    let mut trailing = HeaderMap::new();
    let own = body.trailers().into_iter().flatten();
    let own = own.map(|(name, value)| (Some(name.clone()), value.clone()));
    let told = extension.map(TrailingMetadata::take).unwrap_or_default();
    for (name, value) in own.chain(told) {
        if let Some(name) = name
            && is_trailing_metadata(name.as_str())
        {
            trailing.insert(name, value);
        }
    }
    trailing
}

fn is_trailing_metadata(name: &str) -> bool {
    name.starts_with("x-object-sysmeta-") || header::is_transient_sysmeta(name)
}

/// The rules an object's request is judged by, once its container is known.
pub async fn authorized(
    core: &Arc<Core>,
    method: &Method,
    path: &ObjectPath,
    authorize: &dyn Authorize,
) -> Result<Arc<ContainerInfo>, Response> {
    let container = path.container_path();
    let info = core.container_info(&container).await;
    let target = Target::Object(path.clone());
    authorize.authorize(Need {
        method,
        target: &target,
        container_read_acl: info.read_acl.as_deref(),
        container_write_acl: info.write_acl.as_deref(),
        account: None,
        is_listing: false,
    })?;
    match info.existence {
        Existence::Exists => Ok(info),
        Existence::Missing | Existence::Deleted => Err(answer::not_found()),
        Existence::Unknown => Err(answer::unavailable()),
    }
}

pub async fn handle(
    core: &Arc<Core>,
    request: &Parts,
    body: Body,
    path: ObjectPath,
    authorize: &dyn Authorize,
) -> Response {
    put(core, request, body, path, authorize)
        .await
        .unwrap_or_else(|refusal| refusal)
}

async fn put(
    core: &Arc<Core>,
    request: &Parts,
    body: Body,
    path: ObjectPath,
    authorize: &dyn Authorize,
) -> Result<Response, Response> {
    let only_if_absent = checks::if_none_match(&request.headers)?;
    let info = authorized(core, &Method::PUT, &path, authorize).await?;
    let length = checks::body_length(&request.headers, body.content_length(), &core.limits)?;
    let longest = core.limits.longest_object_name(&path.container, &path.object);
    checks::name_length("Object", &path.object, longest)?;
    let now = checks::moment(&request.headers, &core.clock)?;
    let mut common = backend::common_headers(
        Which::Object(info.policy),
        &backend::trans_id(&request.headers, &request.extensions),
    );
    headers::set(&mut common, header::X_TIMESTAMP, &now.internal());
    keep_object_headers(&request.headers, &mut common);
    let is_own_type = request.extensions.get::<OwnContentType>().is_some();
    set_content_type(&request.headers, &path, is_own_type, &mut common)?;
    if let Some(at) = checks::delete_at(&request.headers, now.secs())? {
        backend::put(&mut common, header::X_DELETE_AT, HeaderValue::from(at));
    }
    checks::metadata(&request.headers, Kind::Object, &core.limits)?;
    let versioned = request.headers.get(header::X_BACKEND_MARTLET_VERSIONED);
    if let Some(value) = versioned {
        backend::put(&mut common, header::X_BACKEND_MARTLET_VERSIONED, value.clone());
    }
    if only_if_absent {
        common.insert(http::header::IF_NONE_MATCH, HeaderValue::from_static("*"));
    }
    let incoming = Incoming {
        promised_etag: checks::promised_etag(&request.headers),
        trailing: request.extensions.get::<TrailingMetadata>().cloned(),
        length,
        body,
    };
    let (placement, assigned) = place_with_updates(core, &path, &info, common)?;
    let stored = match incoming.length {
        BodyLength::Known(length) if length <= core.config.small_body_bytes as u64 => {
            store_small(core, placement, &path, assigned, incoming, length as usize).await?
        }
        _ => stream::store(core, placement, &path, assigned, incoming).await?,
    };
    if stored.status != StatusCode::CREATED {
        return Ok(answer::page(stored.status));
    }
    Ok(created(&stored.etag, now))
}

/// The body of a PUT and what the client said of it.
#[derive(Debug)]
pub struct Incoming {
    pub body: Body,
    pub length: BodyLength,
    pub promised_etag: Option<String>,
    pub trailing: Option<TrailingMetadata>,
}

/// What became of a PUT: 201, or 202 when something newer is there.
#[derive(Clone, Debug)]
pub struct Stored {
    pub status: StatusCode,
    /// MD5 of the body, hexadecimal.
    pub etag: String,
}

fn created(etag: &str, at: Timestamp) -> Response {
    let mut response = answer::page(StatusCode::CREATED);
    let head = response.headers_mut();
    if let Ok(etag) = HeaderValue::from_str(etag) {
        head.insert(ETAG, etag);
    }
    headers::set(head, LAST_MODIFIED.as_str(), &at.http_date());
    response
}

/// Copies what an object keeps: content headers, metadata, system metadata.
pub fn keep_object_headers(from: &HeaderMap, to: &mut HeaderMap) {
    for (name, value) in from {
        let text = name.as_str();
        let is_kept = text.starts_with("x-object-meta-")
            || is_trailing_metadata(text)
            || text == header::X_STATIC_LARGE_OBJECT
            || text == header::X_BACKEND_ALLOW_RESERVED_NAMES
            || (text != header::X_DELETE_AT && header::KEPT_OBJECT_HEADERS.contains(&text));
        if is_kept {
            to.insert(name.clone(), value.clone());
        }
    }
}

/// The client's content type, or what the name says: when there is none, or the client asks for a guess.
fn set_content_type(
    from: &HeaderMap,
    path: &ObjectPath,
    is_own: bool,
    to: &mut HeaderMap,
) -> Result<(), Response> {
    let given = from.get(CONTENT_TYPE).filter(|value| !value.is_empty());
    match given.filter(|_| !headers::is_true(from, "x-detect-content-type")) {
        Some(value) => {
            // The inside marks large objects with parameters that clients may not use.
            if !is_own && !from.contains_key(header::X_STATIC_LARGE_OBJECT) {
                checks::content_type(from)?;
            }
            to.insert(CONTENT_TYPE, value.clone());
        }
        None => {
            to.insert(
                CONTENT_TYPE,
                HeaderValue::from_static(content_type::guess(&path.object)),
            );
        }
    }
    Ok(())
}

/// Where an object goes, and the headers of each replica's request: each is told one container replica (or more).
pub fn place_with_updates(
    core: &Core,
    path: &ObjectPath,
    info: &ContainerInfo,
    common: HeaderMap,
) -> Result<(Placement, Vec<HeaderMap>), Response> {
    let hash = core
        .salt
        .hash(&path.account, Some(&path.container), Some(&path.object));
    let placement = core
        .placer
        .place(Which::Object(info.policy), &hash)
        .ok_or_else(|| {
            tracing::error!(policy = info.policy.0, "no ring for the policy of a container");
            answer::unavailable()
        })?;
    let container = container::place(core, &path.container_path()).ok_or_else(answer::unavailable)?;
    let assigned = assign_updates(&container.primaries, &placement.primaries, placement.quorum());
    let each = assigned.into_iter().map(|assignment| {
        let mut head = common.clone();
        if !assignment.hosts.is_empty() {
            backend::put(
                &mut head,
                header::X_CONTAINER_PARTITION,
                HeaderValue::from(container.partition),
            );
            headers::set(&mut head, header::X_CONTAINER_HOST, &assignment.hosts);
            headers::set(&mut head, header::X_CONTAINER_DEVICE, &assignment.devices);
        }
        head
    });
    let each = each.collect();
    Ok((placement, each))
}

/// Gathers a small body and sends it to all replicas in one piece.
async fn store_small(
    core: &Arc<Core>,
    placement: Placement,
    path: &ObjectPath,
    mut headers: Vec<HeaderMap>,
    mut incoming: Incoming,
    length: usize,
) -> Result<Stored, Response> {
    if !quorum_is_reachable(core, &placement).await {
        return Err(answer::unavailable());
    }
    let bytes = gather(core, &mut incoming.body, length).await?;
    let etag = hex::encode(Md5::digest(&bytes));
    check_promise(incoming.promised_etag.as_deref(), &etag)?;
    let trailing = trailing(incoming.trailing.as_ref(), &incoming.body);
    let etag_value = HeaderValue::from_str(&etag).map_err(|_| answer::unavailable())?;
    for head in &mut headers {
        backend::put(head, header::X_BACKEND_MARTLET_ETAG, etag_value.clone());
        for (name, value) in &trailing {
            head.insert(name.clone(), value.clone());
        }
    }
    let replicas = headers.len();
    let write = Write {
        placement,
        method: Method::PUT,
        path: path.path(),
        query: None,
        headers,
        body: bytes,
        handoff_not_found: StatusCode::NOT_FOUND,
    };
    let decided = move |statuses: &[StatusCode]| !matches!(outcome(statuses, replicas), Step::Wait);
    let statuses = fan_out_until(core, write, decided).await;
    match outcome(&statuses, replicas) {
        Step::Succeed(status) => Ok(Stored { status, etag }),
        Step::Fail(status) => Err(answer::page(status)),
        Step::Wait | Step::TryHandoff(_) | Step::StartBody => Err(answer::unavailable()),
    }
}

/// What the answers to a PUT in one piece come to, some of them still out.
fn outcome(statuses: &[StatusCode], replicas: usize) -> Step {
    let mut quorum = PutQuorum::new(replicas, 0);
    quorum.body_started();
    let mut step = Step::Wait;
    for (slot, status) in statuses.iter().enumerate() {
        step = quorum.answered(slot, *status);
    }
    step
}

/// Whether enough devices can be talked to for the write to succeed; asked before the body is read.
pub async fn quorum_is_reachable(core: &Core, placement: &Placement) -> bool {
    let needed = placement.quorum();
    let mut reachable = 0;
    let mut asked: FuturesUnordered<_> = placement
        .primaries
        .iter()
        .map(|peer| core.client.reachable(&peer.node))
        .collect();
    while let Some(answered) = asked.next().await {
        reachable += usize::from(answered.is_ok());
        if reachable >= needed {
            return true;
        }
    }
    for handoff in placement.handoffs() {
        reachable += usize::from(core.client.reachable(&handoff.node).await.is_ok());
        if reachable >= needed {
            return true;
        }
    }
    false
}

/// Reads a body of a known, small length.
async fn gather(core: &Core, body: &mut Body, length: usize) -> Result<Bytes, Response> {
    if let Some(bytes) = body.as_full() {
        return match bytes.len() == length {
            true => Ok(bytes),
            false => Err(answer::client_disconnect()),
        };
    }
    let Some(first) = next_chunk(core, body).await? else {
        return if length == 0 {
            Ok(Bytes::new())
        } else {
            Err(answer::client_disconnect())
        };
    };
    let mut gathered = first;
    let mut more: Option<BytesMut> = None;
    while let Some(chunk) = next_chunk(core, body).await? {
        let buffer = more.get_or_insert_with(|| {
            let mut buffer = BytesMut::with_capacity(length);
            buffer.extend_from_slice(&gathered);
            buffer
        });
        if buffer.len() + chunk.len() > length {
            return Err(answer::bad_request("Body is longer than its Content-Length"));
        }
        buffer.extend_from_slice(&chunk);
    }
    if let Some(buffer) = more {
        gathered = buffer.freeze();
    }
    match gathered.len().cmp(&length) {
        std::cmp::Ordering::Equal => Ok(gathered),
        std::cmp::Ordering::Less => Err(answer::client_disconnect()),
        std::cmp::Ordering::Greater => Err(answer::bad_request("Body is longer than its Content-Length")),
    }
}

/// The next piece of a client's body, or the answer to one that broke.
pub async fn next_chunk(core: &Core, body: &mut Body) -> Result<Option<Bytes>, Response> {
    let patience = Duration::from_millis(core.config.client_timeout_ms);
    match tokio::time::timeout(patience, body.next()).await {
        Err(_) => Err(checks::client_timeout()),
        Ok(None) => Ok(None),
        Ok(Some(Ok(chunk))) => Ok(Some(chunk)),
        Ok(Some(Err(error))) => Err(match error {
            BodyError::Disconnected | BodyError::Aborted => answer::client_disconnect(),
            BodyError::Timeout => checks::client_timeout(),
            BodyError::TooLarge => answer::page(StatusCode::PAYLOAD_TOO_LARGE),
            BodyError::Protocol(_) => answer::bad_request("The body is not well framed"),
            // The body comes from the inside (a copy, a large object) and its source broke.
            BodyError::Corrupt | BodyError::Io(_) => answer::unavailable(),
        }),
    }
}

/// 422 when the body is not what its ETag promised.
pub fn check_promise(promised: Option<&str>, etag: &str) -> Result<(), Response> {
    match promised.is_none_or(|promised| promised == etag) {
        true => Ok(()),
        false => Err(answer::page(StatusCode::UNPROCESSABLE_ENTITY)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_to_one_piece_are_judged_as_they_come() {
        let codes = |codes: &[u16]| -> Vec<StatusCode> {
            codes
                .iter()
                .map(|code| StatusCode::from_u16(*code).unwrap())
                .collect()
        };
        for (known, expected) in [
            (&[][..], Step::Wait),
            (&[201], Step::Wait),
            (&[201, 201], Step::Succeed(StatusCode::CREATED)),
            (&[201, 503], Step::Wait),
            (&[201, 503, 503], Step::Fail(StatusCode::SERVICE_UNAVAILABLE)),
            (&[201, 503, 201], Step::Succeed(StatusCode::CREATED)),
            (&[412], Step::Fail(StatusCode::PRECONDITION_FAILED)),
            (&[409, 409], Step::Succeed(StatusCode::ACCEPTED)),
        ] {
            assert_eq!(outcome(&codes(known), 3), expected, "{known:?}");
        }
    }

    #[test]
    fn only_metadata_trails() {
        let told = TrailingMetadata::new();
        let mut metadata = HeaderMap::new();
        metadata.insert("x-object-sysmeta-sum", HeaderValue::from_static("1"));
        metadata.insert("x-timestamp", HeaderValue::from_static("1"));
        told.set(metadata);
        let trailing = trailing(Some(&told), &Body::empty());
        assert_eq!(trailing.len(), 1);
        assert!(trailing.contains_key("x-object-sysmeta-sum"));
    }
}
