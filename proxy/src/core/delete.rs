//! Deletes an object: a tombstone on a majority of its replicas, also where the object never was.

use super::Core;
use super::answer;
use super::authorize::Authorize;
use super::backend;
use super::checks;
use super::fan_out::{Write, fan_out_until};
use super::placement::Which;
use super::put::{authorized, place_with_updates};
use super::quorum::best_delete_response;
use bytes::Bytes;
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
    delete(core, request, &path, authorize)
        .await
        .unwrap_or_else(|refusal| refusal)
}

async fn delete(
    core: &Arc<Core>,
    request: &Parts,
    path: &ObjectPath,
    authorize: &dyn Authorize,
) -> Result<Response, Response> {
    let info = authorized(core, &Method::DELETE, path, authorize).await?;
    let mut common = backend::common_headers(
        Which::Object(info.policy),
        &backend::trans_id(&request.headers, &request.extensions),
    );
    let now = checks::moment(&request.headers, &core.clock)?;
    headers::set(&mut common, header::X_TIMESTAMP, &now.internal());
    for name in [
        header::X_IF_DELETE_AT,
        header::X_BACKEND_ALLOW_RESERVED_NAMES,
        header::X_BACKEND_MARTLET_VERSIONED,
        header::X_BACKEND_MARTLET_VERSION_ID,
    ] {
        if let Some(value) = request.headers.get(name) {
            backend::put(&mut common, name, value.clone());
        }
    }
    let (placement, headers) = place_with_updates(core, path, &info, common)?;
    let quorum = placement.quorum();
    let write = Write {
        placement,
        method: Method::DELETE,
        path: path.path(),
        query: None,
        headers,
        body: Bytes::new(),
        // A handoff has kept the tombstone for its primary, which is what was asked of it.
        handoff_not_found: StatusCode::NO_CONTENT,
    };
    let replicas = write.headers.len();
    // All answers may still change the outcome while they disagree about whether there was anything to delete.
    let enough = move |statuses: &[StatusCode]| {
        statuses.len() == replicas || best_delete_response(statuses, quorum).is_some()
    };
    let statuses = fan_out_until(core, write, enough).await;
    Ok(match best_delete_response(&statuses, quorum) {
        Some(status) => answer::page(status),
        None => answer::unavailable(),
    })
}
