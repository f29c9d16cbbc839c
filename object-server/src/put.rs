//! The life of a PUT on a storage node.
//!
//! 1. The headers are read; whatever makes no sense is a 400 before a byte of the body.
//! 2. What already cannot succeed (something newer is here, the device is full) is told before the body, so that a caller
//!    who waits for `100 Continue` need not send it.
//! 3. The body goes to storage as it comes. A body that ends early, or is not what its ETag says, is dropped: nothing of
//!    it was visible.
//! 4. From the last byte on nothing stops the PUT: record, body and the container row that is now owed are committed in
//!    one batch with one sync. Storage decides there, alone with the record, whether this PUT is the newest.
//! 5. The row goes to the container server at once. If that fails it stays in the outbox, and the answer is 201 anyway:
//!    the object is durable and the row will come.

use crate::container_update::Destination;
use crate::errors::Refusal;
use crate::receive::{self, Bounds, EtagSource, Received};
use crate::request::{self, text};
use crate::run_to_end::RunToEnd;
use crate::server::Call;
use http::{HeaderMap, StatusCode};
use martlet_protocol::conditions::{Conditions, Verdict};
use martlet_protocol::header;
use martlet_protocol::record::Metadata;
use martlet_protocol::timestamp::Timestamp;
use martlet_protocol::version::VersionId;
use martlet_service::{Body, Response, headers, respond};
use martlet_storage::{BodyWriter, PutObject, PutOutcome, Written};

/// What the headers ask for.
struct Intent {
    timestamp: Timestamp,
    content_type: String,
    metadata: Metadata,
    delete_at: Option<u64>,
    /// The body's announced length in bytes.
    length: Option<u64>,
    etag_source: EtagSource,
    /// The client's own `ETag`: the body must have it.
    expected_etag: Option<String>,
    /// `If-None-Match`, the one condition Swift knows for a PUT.
    conditions: Conditions,
    container: Option<Destination>,
    makes: Makes,
}

/// What a PUT makes.
#[derive(Clone, Copy)]
enum Makes {
    /// The object itself: whatever was under its name is replaced.
    Object,
    /// A version, which becomes the current one.
    Version,
    /// This version the current one again.
    Pointer(VersionId),
}

pub(crate) async fn put(call: &Call<'_>, body: Body) -> Result<Response, Refusal> {
    // 1 and 2: before the body.
    let mut intent = Intent::parse(call, &body)?;
    refuse_early(call, &intent).await?;
    let mut writer = call.device.begin_body(intent.length).await?;
    // 3: the body.
    let bounds = Bounds::new(&call.server.config);
    let received = receive::receive(body, &mut writer, &intent.etag_source, intent.length, &bounds).await?;
    intent.check(call, &received)?;
    // 4 and 5: what nothing stops any more.
    let etag = received.etag.clone();
    commit(call, intent, received, writer).await?;
    let mut response = respond::empty(StatusCode::CREATED);
    headers::set(response.headers_mut(), "etag", &etag);
    Ok(response)
}

impl Intent {
    fn parse(call: &Call<'_>, body: &Body) -> Result<Self, Refusal> {
        let map = call.headers;
        let timestamp = request::required_timestamp(map)?;
        refuse_multipart(map)?;
        let length = announced_length(map, body)?;
        if length.is_some_and(|length| length > call.server.config.limits.max_file_size) {
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            return Err(Refusal::new(status, "Your request is too large."));
        }
        let Some(content_type) = text(map, "content-type")? else {
            return Err(Refusal::bad_request("No content type"));
        };
        let metadata = call.server.kept.of_put(map)?;
        Ok(Intent {
            makes: Makes::parse(map, &metadata, length)?,
            timestamp,
            content_type: content_type.to_owned(),
            metadata,
            delete_at: request::put_delete_at(map, timestamp)?,
            length,
            etag_source: EtagSource::parse(map)?,
            expected_etag: text(map, "etag")?
                .map(request::bare_etag)
                .filter(|etag| !etag.is_empty()),
            conditions: Conditions::parse(|name| {
                headers::text(map, name).filter(|_| name == "if-none-match")
            }),
            container: Destination::parse(call)?,
        })
    }

    /// Joins what the trailers brought, and compares the ETags.
    fn check(&mut self, call: &Call<'_>, received: &Received) -> Result<(), Refusal> {
        call.server
            .kept
            .add_trailers(&mut self.metadata, &received.trailers);
        let trailed = text(&received.trailers, "etag")?.filter(|etag| !etag.is_empty());
        if let Some(etag) = trailed {
            self.expected_etag = Some(request::bare_etag(etag));
        }
        match &self.expected_etag {
            Some(expected) if *expected != received.etag => {
                Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, ""))
            }
            _ => Ok(()),
        }
    }
}

impl Makes {
    fn parse(map: &HeaderMap, metadata: &Metadata, length: Option<u64>) -> Result<Self, Refusal> {
        if headers::is_true(map, header::X_BACKEND_MARTLET_VERSIONED) {
            return Ok(Makes::Version);
        }
        let mut named = metadata
            .iter()
            .filter(|(name, _)| name == header::CURRENT_VERSION);
        match named.next() {
            None => Ok(Makes::Object),
            Some((_, id)) if length == Some(0) => match VersionId::parse(id) {
                Ok(id) => Ok(Makes::Pointer(id)),
                Err(_) => Err(Refusal::bad_request("Invalid version id")),
            },
            Some(_) => Err(Refusal::bad_request("A pointer to a version has no body")),
        }
    }
}

/// Swift's erasure-coding and footer uploads wrap the body in MIME parts, which must not be stored as if they were data.
/// The caller asks for them by header and learns here that this server has no such thing.
fn refuse_multipart(map: &HeaderMap) -> Result<(), Refusal> {
    for name in [
        "x-backend-obj-metadata-footer",
        "x-backend-obj-multiphase-commit",
        "x-backend-no-commit",
    ] {
        if headers::is_true(map, name) {
            return Err(Refusal::new(
                StatusCode::NOT_IMPLEMENTED,
                format!("{name} is not supported"),
            ));
        }
    }
    Ok(())
}

/// The length a caller announced: of the framing, or what the proxy was told of a body it sends in chunks.
fn announced_length(map: &HeaderMap, body: &Body) -> Result<Option<u64>, Refusal> {
    let announced = match text(map, "content-length")? {
        Some(length) => Some(length),
        None => text(map, "x-backend-obj-content-length")?,
    };
    let Some(length) = announced.map(str::trim) else {
        return Ok(body.content_length());
    };
    let is_number = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
    match length.parse() {
        Ok(length) if is_number => Ok(Some(length)),
        _ => Err(Refusal::bad_request("Invalid Content-Length header value")),
    }
}

/// Tells before the body what cannot succeed. A small body is cheaper to take than this look is: it is skipped then,
/// for the commit decides anyway.
async fn refuse_early(call: &Call<'_>, intent: &Intent) -> Result<(), Refusal> {
    const SMALL_BYTES: u64 = 64 * 1024;
    let is_small = intent.length.is_some_and(|length| length <= SMALL_BYTES);
    if is_small && intent.conditions.is_empty() {
        return Ok(());
    }
    let Some(record) = call
        .device
        .read_object(call.address.policy, call.address.hash)
        .await?
    else {
        return Ok(());
    };
    if let Some(data) = &record.data
        && !record.is_expired(intent.timestamp)
        && intent.conditions.evaluate(&data.etag, record.newest()) == Verdict::NotModified
    {
        return Err(Refusal::precondition_failed(""));
    }
    // A late version is kept all the same.
    let is_version = matches!(intent.makes, Makes::Version);
    match record.timestamp >= intent.timestamp && !is_version {
        true => Err(Refusal::conflict(record.timestamp)),
        false => Ok(()),
    }
}

/// Steps 4 and 5, which run to their end even when the caller leaves.
async fn commit(
    call: &Call<'_>,
    intent: Intent,
    received: Received,
    writer: BodyWriter,
) -> Result<(), Refusal> {
    let address = &call.address;
    let object = PutObject {
        account: address.account.as_ref().into(),
        container: address.container.as_ref().into(),
        object: address.object.as_ref().into(),
        timestamp: intent.timestamp,
        etag: received.etag,
        content_type: intent.content_type,
        metadata: intent.metadata,
        delete_at: intent.delete_at,
        if_none_match_star: intent.conditions.if_none_match_star(),
    };
    let (device, policy, hash) = (call.device.clone(), address.policy, address.hash);
    let updates = call.server.updates.clone();
    let container_row = updates.compose(&address.device, intent.container);
    let makes = intent.makes;
    let commit = async move {
        let Written { outcome, owed } = match makes {
            Makes::Object => device
                .put_object(policy, hash, object, writer, container_row)
                .await?
                .into(),
            Makes::Version => {
                device
                    .put_version(policy, hash, object, writer, container_row)
                    .await?
            }
            Makes::Pointer(id) => {
                device
                    .put_pointer(policy, hash, id, object, container_row)
                    .await?
            }
        };
        updates.deliver(&device, owed).await;
        match outcome {
            PutOutcome::Stored { .. } => Ok(()),
            PutOutcome::Conflict { existing } => Err(Refusal::conflict(existing)),
            PutOutcome::Exists => Err(Refusal::precondition_failed("")),
        }
    };
    RunToEnd::new(&call.server.tasks, "object PUT", commit).await
}
