//! GET and HEAD. The first piece of a body is read and checked before the 200 goes out, so that a damaged copy is a 404
//! and the caller takes another; damage further in breaks the body off, which the caller sees and mends by itself.

use crate::body_out::{self, Plan};
use crate::errors::Refusal;
use crate::multipart::Multipart;
use crate::request::{self, text};
use crate::response::{content_type, object_headers, set_content_length};
use crate::server::Call;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderName, HeaderValue, RANGE};
use http::{HeaderMap, StatusCode};
use martlet_protocol::conditions::{Conditions, Verdict};
use martlet_protocol::header;
use martlet_protocol::range::{Resolved, parse_ranges, resolve};
use martlet_protocol::record::{ObjectData, ObjectRecord};
use martlet_protocol::timestamp::Timestamp;
use martlet_protocol::version::VersionId;
use martlet_service::{Body, Response, headers, respond};
use martlet_storage::{BodyReader, OpenObject};

pub(crate) async fn head(call: &Call<'_>) -> Result<Response, Refusal> {
    let (device, policy, hash) = (&call.device, call.address.policy, call.address.hash);
    let answer = match device.read_object(policy, hash).await? {
        Some(record) => match visible(call, &record)? {
            Ok(data) => match current_version(call, &record) {
                None => answer_head(call, &record, data)?,
                Some(id) => match device.read_object(policy, hash.version(id)).await? {
                    Some(version) => match &version.data {
                        Some(data) => pointed_to(answer_head(call, &version, data)?, &record, id),
                        None => missing(Some(version.newest().max(record.newest()))),
                    },
                    None => return Err(on_its_way()),
                },
            },
            Err(newest) => missing(Some(newest)),
        },
        None => missing(None),
    };
    Ok(with_synced(call, answer))
}

pub(crate) async fn get(call: &Call<'_>) -> Result<Response, Refusal> {
    let (device, policy, hash) = (&call.device, call.address.policy, call.address.hash);
    let first = |record: &ObjectRecord| first_bytes(call.headers, record);
    let answer = match device.open_object_at(policy, hash, first).await? {
        Some(OpenObject { record, body }) => match visible(call, &record)? {
            Ok(data) => match current_version(call, &record) {
                None => answer_get(call, &record, data, body).await?,
                Some(id) => match device.open_object_at(policy, hash.version(id), first).await? {
                    Some(version) => match &version.record.data {
                        Some(data) => {
                            let answer = answer_get(call, &version.record, data, version.body).await?;
                            pointed_to(answer, &record, id)
                        }
                        None => missing(Some(version.record.newest().max(record.newest()))),
                    },
                    None => return Err(on_its_way()),
                },
            },
            Err(newest) => missing(Some(newest)),
        },
        None => missing(None),
    };
    Ok(with_synced(call, answer))
}

/// The version that is current, when what stands under the object's name points to one and the caller wants to see it.
fn current_version(call: &Call<'_>, record: &ObjectRecord) -> Option<VersionId> {
    let id = record.current_version()?;
    let wants_pointer = headers::is_true(call.headers, header::X_BACKEND_MARTLET_POINTER);
    (!wants_pointer).then_some(id)
}

/// The answer about a version that is current: which one it is, when it became so, and until when it is.
fn pointed_to(mut answer: Response, pointer: &ObjectRecord, id: VersionId) -> Response {
    let map = answer.headers_mut();
    headers::set(map, header::CURRENT_VERSION, &id.text());
    if let Some(delete_at) = pointer.delete_at() {
        headers::set(map, header::X_DELETE_AT, &delete_at.to_string());
    }
    let version = headers::text(map, header::X_BACKEND_TIMESTAMP);
    let version = version.and_then(|text| Timestamp::parse(text).ok());
    if version.is_none_or(|version| version < pointer.newest()) {
        headers::set(map, header::X_BACKEND_TIMESTAMP, &pointer.newest().internal());
    }
    answer
}

/// 503: what is pointed to is not here yet. Others have it.
fn on_its_way() -> Refusal {
    Refusal {
        cause: Some("the current version has not come here yet".to_owned()),
        ..Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "")
    }
}

/// The data of an object that is there for this caller; `Err` with the moment it went when it is not.
fn visible<'o>(
    call: &Call<'_>,
    record: &'o ObjectRecord,
) -> Result<Result<&'o ObjectData, Timestamp>, Refusal> {
    let Some(data) = &record.data else {
        return Ok(Err(record.timestamp));
    };
    if record.delete_at().is_none() || request::opens_expired(call.headers) {
        return Ok(Ok(data));
    }
    let now = request::timestamp_or(call.headers, || call.server.clock.now())?;
    Ok(if record.is_expired(now) {
        Err(record.newest())
    } else {
        Ok(data)
    })
}

fn missing(newest: Option<Timestamp>) -> Response {
    Refusal::not_found(newest).into_response()
}

static X_BACKEND_MARTLET_SYNCED: HeaderName = HeaderName::from_static(header::X_BACKEND_MARTLET_SYNCED);
static X_BACKEND_MARTLET_RINGS: HeaderName = HeaderName::from_static(header::X_BACKEND_MARTLET_RINGS);

/// Tells, whatever the answer, up to when this device has heard of everything: a proxy trusts a 404 accordingly.
fn with_synced(call: &Call<'_>, mut response: Response) -> Response {
    let synced = call.device.synced_at();
    let head = response.headers_mut();
    if synced == Timestamp::ZERO {
        head.insert(X_BACKEND_MARTLET_SYNCED.clone(), HeaderValue::from_static("0"));
        return response;
    }
    let rings = format!("{:016x}", call.device.synced_rings());
    if let (Ok(synced), Ok(rings)) = (
        HeaderValue::try_from(synced.normal()),
        HeaderValue::try_from(rings),
    ) {
        head.insert(X_BACKEND_MARTLET_SYNCED.clone(), synced);
        head.insert(X_BACKEND_MARTLET_RINGS.clone(), rings);
    }
    response
}

fn answer_head(call: &Call<'_>, record: &ObjectRecord, data: &ObjectData) -> Result<Response, Refusal> {
    let mut map = object_headers(record, data, &call.server.kept);
    if let Some(status) = condition_status(call.headers, record, data)? {
        return Ok(respond::with(status, map, Body::empty()));
    }
    set_content_length(&mut map, data.length);
    Ok(respond::with(StatusCode::OK, map, Body::empty()))
}

async fn answer_get(
    call: &Call<'_>,
    record: &ObjectRecord,
    data: &ObjectData,
    body: BodyReader,
) -> Result<Response, Refusal> {
    let mut map = object_headers(record, data, &call.server.kept);
    if let Some(status) = condition_status(call.headers, record, data)? {
        return Ok(respond::with(status, map, Body::empty()));
    }
    let (status, plan) = match asked_ranges(call.headers, record, data)? {
        Resolved::Whole => (StatusCode::OK, Plan::whole(data.length)),
        Resolved::Ranges(ranges) => {
            let plan = match ranges[..] {
                [range] => {
                    headers::set(
                        &mut map,
                        CONTENT_RANGE.as_str(),
                        &range.content_range(data.length),
                    );
                    Plan::Range(range)
                }
                _ => {
                    let multipart = Multipart::new(content_type(record), data.length, ranges);
                    headers::set(&mut map, CONTENT_TYPE.as_str(), &multipart.content_type());
                    Plan::Multipart(multipart)
                }
            };
            (StatusCode::PARTIAL_CONTENT, plan)
        }
        Resolved::Unsatisfiable => {
            headers::set(
                &mut map,
                CONTENT_RANGE.as_str(),
                &format!("bytes */{}", data.length),
            );
            set_content_length(&mut map, 0);
            return Ok(respond::with(
                StatusCode::RANGE_NOT_SATISFIABLE,
                map,
                Body::empty(),
            ));
        }
    };
    set_content_length(&mut map, plan.length());
    match body_out::open(plan, body).await {
        Ok(body) => Ok(respond::with(status, map, body)),
        Err(error) => Err(error.into()),
    }
}

/// Which bytes of the body the answer begins with; `None` where it may have none.
fn first_bytes(map: &HeaderMap, record: &ObjectRecord) -> Option<(u64, u64)> {
    let data = record.data.as_ref()?;
    if !Conditions::parse(|name| headers::text(map, name)).is_empty() {
        return None;
    }
    match asked_ranges(map, record, data).ok()? {
        Resolved::Whole => Some((0, data.length)),
        Resolved::Ranges(ranges) => ranges.first().map(|range| (range.start, range.end)),
        Resolved::Unsatisfiable => None,
    }
}

/// 304 or 412, when the caller's conditions say so.
fn condition_status(
    map: &HeaderMap,
    record: &ObjectRecord,
    data: &ObjectData,
) -> Result<Option<StatusCode>, Refusal> {
    let conditions = Conditions::parse(|name| headers::text(map, name));
    if conditions.is_empty() {
        return Ok(None);
    }
    let etag = conditional_etag(map, record)?.unwrap_or(&data.etag);
    Ok(match conditions.evaluate_all(etag, record.newest()) {
        Verdict::Proceed => None,
        Verdict::NotModified => Some(StatusCode::NOT_MODIFIED),
        Verdict::PreconditionFailed => Some(StatusCode::PRECONDITION_FAILED),
    })
}

/// The ETag a client knows may be another than the body's (encryption, large objects): `X-Backend-Etag-Is-At` names the
/// metadata it stands in; the first name that the object has wins.
fn conditional_etag<'o>(map: &HeaderMap, record: &'o ObjectRecord) -> Result<Option<&'o str>, Refusal> {
    let Some(names) = text(map, header::X_BACKEND_ETAG_IS_AT)? else {
        return Ok(None);
    };
    let mut names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
    Ok(names.find_map(|name| {
        let mut live = record.live_metadata();
        live.find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }))
}

/// What of the body is asked for. A proxy that must see some kinds of objects whole (large-object manifests) names the
/// metadata that marks them, and then no range counts.
fn asked_ranges(map: &HeaderMap, record: &ObjectRecord, data: &ObjectData) -> Result<Resolved, Refusal> {
    let Some(specs) = headers::text(map, RANGE.as_str()).and_then(parse_ranges) else {
        return Ok(Resolved::Whole);
    };
    if let Some(names) = text(map, "x-backend-ignore-range-if-metadata-present")? {
        let is_named = |known: &str| {
            names
                .split(',')
                .any(|name| name.trim().eq_ignore_ascii_case(known))
        };
        if record.live_metadata().any(|(known, _)| is_named(known)) {
            return Ok(Resolved::Whole);
        }
    }
    Ok(resolve(&specs, data.length))
}
