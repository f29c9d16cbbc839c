//! Changes an object's metadata on a majority of its replicas.

use super::Core;
use super::answer;
use super::authorize::Authorize;
use super::backend;
use super::checks::{self, Kind};
use super::fan_out::{Write, fan_out_heads};
use super::placement::Which;
use super::put::{authorized, keep_object_headers, place_with_updates};
use super::quorum::best_response;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};
use martlet_protocol::header;
use martlet_protocol::name::ObjectPath;
use martlet_service::{Response, headers};
use std::sync::Arc;

pub async fn handle(
    core: &Arc<Core>,
    request: &Parts,
    path: ObjectPath,
    authorize: &dyn Authorize,
) -> Response {
    post(core, request, &path, authorize)
        .await
        .unwrap_or_else(|refusal| refusal)
}

async fn post(
    core: &Arc<Core>,
    request: &Parts,
    path: &ObjectPath,
    authorize: &dyn Authorize,
) -> Result<Response, Response> {
    let given = &request.headers;
    checks::metadata(given, Kind::Object, &core.limits)?;
    let info = authorized(core, &Method::POST, path, authorize).await?;
    let now = checks::moment(given, &core.clock)?;
    let mut common = backend::common_headers(
        Which::Object(info.policy),
        &backend::trans_id(&request.headers, &request.extensions),
    );
    headers::set(&mut common, header::X_TIMESTAMP, &now.internal());
    keep_object_headers(given, &mut common);
    if let Some(value) = given.get(header::X_BACKEND_MARTLET_VERSION_ID) {
        backend::put(&mut common, header::X_BACKEND_MARTLET_VERSION_ID, value.clone());
    }
    backend::open_expired(core, given, &mut common);
    if let Some(value) = given.get(CONTENT_TYPE).filter(|value| !value.is_empty()) {
        checks::content_type(given)?;
        common.insert(CONTENT_TYPE, value.clone());
    }
    // A POST replaces all metadata: without a new expiry the object expires no more, which is also what
    // `X-Remove-Delete-At` asks for.
    if !given.contains_key("x-remove-delete-at")
        && let Some(at) = checks::delete_at(given, now.secs())?
    {
        backend::put(&mut common, header::X_DELETE_AT, HeaderValue::from(at));
    }
    let (placement, headers) = place_with_updates(core, path, &info, common)?;
    let quorum = placement.quorum();
    let write = Write {
        placement,
        method: Method::POST,
        path: path.path(),
        query: None,
        headers,
        body: Bytes::new(),
        // A handoff that never had the object says nothing about whether it is there.
        handoff_not_found: StatusCode::SERVICE_UNAVAILABLE,
    };
    let answers = fan_out_heads(core, write).await;
    let statuses: Vec<StatusCode> = answers.iter().map(|answer| answer.status).collect();
    let Some(best) = best_response(&statuses, quorum).map(|at| &answers[at]) else {
        return Ok(answer::unavailable());
    };
    let mut response = answer::page(best.status);
    // What belongs to the data tells steps what they have just posted to.
    let sysmeta = best
        .headers
        .iter()
        .filter(|(name, _)| header::is_sysmeta(name.as_str()));
    for (name, value) in sysmeta {
        response.headers_mut().insert(name.clone(), value.clone());
    }
    Ok(response)
}
