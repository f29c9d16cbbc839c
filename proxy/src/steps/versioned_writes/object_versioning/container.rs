//! Containers: versions switched on and off, and a container that may go only when no version is left in it.

use super::{ENABLED, Refusal, enabled, listing, refuse, versions};
use crate::context::{self, is_true};
use crate::pipeline::Next;
use crate::steps::listing_page;
use crate::steps::paths::RESERVED;
use http::header::HeaderMap;
use http::{Method, StatusCode};
use martlet_protocol::header;
use martlet_protocol::name::ContainerPath;
use martlet_service::{Request, Response, headers};
use serde_json::Value;

/// Stands in the row of every object that is a version.
const VERSION_MARK: &str = "\"version_id\"";

pub async fn run(mut request: Request, next: Next, path: ContainerPath) -> Result<Response, Refusal> {
    let method = request.method().clone();
    let changes = matches!(method, Method::PUT | Method::POST);
    if changes && let Some(wanted) = headers::text(request.headers(), ENABLED).map(is_true) {
        request.headers_mut().remove(ENABLED);
        return switch(request, next, path, wanted).await;
    }
    if method == Method::GET && !path.container.starts_with(RESERVED) {
        // Versions are listed by those who ask for versions.
        request
            .headers_mut()
            .remove(header::X_BACKEND_ALLOW_RESERVED_NAMES);
    }
    match method {
        Method::DELETE => delete(request, next, path).await,
        Method::GET if context::query(&request).has("versions") => versions::list(request, next, path).await,
        Method::GET => {
            let show = |row: &mut Value| listing::show_current(row, &path);
            let mut response = listing_page::rewrite(request, next, VERSION_MARK, show).await;
            show_enabled(response.headers_mut());
            Ok(response)
        }
        _ => {
            let mut response = next.run(request).await;
            show_enabled(response.headers_mut());
            Ok(response)
        }
    }
}

pub fn show_enabled(map: &mut HeaderMap) {
    if let Some(enabled) = headers::text(map, header::VERSIONS_ENABLED).map(str::to_owned) {
        headers::set(map, ENABLED, &enabled);
    }
}

/// Switches versions on or off.
async fn switch(
    mut request: Request,
    next: Next,
    path: ContainerPath,
    wanted: bool,
) -> Result<Response, Refusal> {
    let info = next.edge().core.container_info(&path).await;
    let bad = |words| Err(refuse(StatusCode::BAD_REQUEST, words));
    let asks_legacy = headers::text(request.headers(), "x-container-sysmeta-versions-location")
        .is_some_and(|value| !value.is_empty());
    let is_legacy = info.versions_location.is_some()
        || info
            .sysmeta
            .get("versions-location")
            .is_some_and(|value| !value.is_empty());
    if is_legacy || asks_legacy {
        return bad(
            "Cannot enable object versioning on a container that is already using the legacy versioned writes feature.",
        );
    }
    if info.sync_to.is_some() {
        return bad(
            "Cannot enable object versioning on a container configured as source of container syncing.",
        );
    }
    let word = if wanted { "True" } else { "False" };
    headers::set(request.headers_mut(), header::VERSIONS_ENABLED, word);
    let mut response = next.run(request).await;
    show_enabled(response.headers_mut());
    Ok(response)
}

/// Deletes a container. One that keeps versions and is not empty says that they are in the way.
async fn delete(request: Request, next: Next, path: ContainerPath) -> Result<Response, Refusal> {
    let info = next.edge().core.container_info(&path).await;
    let response = next.run(request).await;
    if response.status() == StatusCode::CONFLICT && enabled(&info).is_some() {
        return Err(refuse(
            StatusCode::CONFLICT,
            "Delete all versions before deleting container.",
        ));
    }
    Ok(response)
}
