//! Containers: versions switched on and off, shown, counted, and gone with the container.

use super::names;
use super::{ENABLED, Refusal, STORED_CONTAINER, STORED_ENABLED, hidden_of, refuse, versions};
use crate::context::{self, Origin, is_true};
use crate::core::ContainerInfo;
use crate::pipeline::Next;
use crate::steps::{answer, dispatch};
use http::header::HeaderMap;
use http::{Method, StatusCode};
use martlet_protocol::header;
use martlet_protocol::name::{ContainerName, ContainerPath, Target};
use martlet_protocol::percent;
use martlet_service::{Request, Response, headers};

pub async fn run(mut request: Request, next: Next, path: ContainerPath) -> Result<Response, Refusal> {
    let method = request.method().clone();
    let changes = matches!(method, Method::PUT | Method::POST);
    if changes && let Some(wanted) = headers::text(request.headers(), ENABLED).map(is_true) {
        request.headers_mut().remove(ENABLED);
        return switch(request, next, path, wanted).await;
    }
    match method {
        Method::DELETE => delete(request, next, path).await,
        Method::GET if context::query(&request).has("versions") => versions::list(request, next, path).await,
        Method::GET => {
            let origin = Origin::of(&request).privileged();
            let response = next.clone().run(request).await;
            let response = describe(response, &next, &origin, &path).await;
            Ok(versions::show_links(response, &path).await)
        }
        _ => {
            let origin = Origin::of(&request).privileged();
            let response = next.clone().run(request).await;
            Ok(describe(response, &next, &origin, &path).await)
        }
    }
}

/// Adds what clients are told of a container that has, or had, versions. Their bytes count as the container's own.
pub async fn describe(
    mut response: Response,
    next: &Next,
    origin: &Origin,
    path: &ContainerPath,
) -> Response {
    show_enabled(response.headers_mut());
    let Some(hidden) = hidden_of(response.headers()) else {
        return response;
    };
    let number = |map: &HeaderMap| {
        headers::text(map, header::X_CONTAINER_BYTES_USED).and_then(|text| text.parse::<u64>().ok())
    };
    if let Some(own) = number(response.headers()) {
        let head = ask(next, origin, Method::HEAD, path, hidden).await;
        let kept = number(head.headers()).filter(|_| head.status().is_success());
        let all = own.saturating_add(kept.unwrap_or(0));
        headers::set(
            response.headers_mut(),
            header::X_CONTAINER_BYTES_USED,
            &all.to_string(),
        );
    }
    response
}

/// Bytes of all versions of a container, as they are now; 0 of one that never had any.
pub async fn bytes_of_versions(
    next: &Next,
    origin: &Origin,
    path: &ContainerPath,
    info: &ContainerInfo,
) -> u64 {
    let Some(hidden) = super::hidden_container(info) else {
        return 0;
    };
    let head = ask(next, &origin.privileged(), Method::HEAD, path, hidden).await;
    headers::text(head.headers(), header::X_CONTAINER_BYTES_USED)
        .filter(|_| head.status().is_success())
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

fn show_enabled(map: &mut HeaderMap) {
    if let Some(enabled) = headers::text(map, STORED_ENABLED).map(str::to_owned) {
        headers::set(map, ENABLED, &enabled);
    }
}

/// A request about the hidden container, in the cluster's own name.
async fn ask(
    next: &Next,
    origin: &Origin,
    method: Method,
    path: &ContainerPath,
    hidden: ContainerName,
) -> Response {
    let hidden = ContainerPath::new(path.account.clone(), hidden);
    let request = origin.request(method, Target::Container(hidden), "");
    next.clone().run(request).await
}

/// Switches versions on or off. The hidden container is there before a write could want it.
async fn switch(
    mut request: Request,
    next: Next,
    path: ContainerPath,
    wanted: bool,
) -> Result<Response, Refusal> {
    let edge = next.edge().clone();
    let info = edge.core.container_info(&path).await;
    let bad = |words| Err(refuse(StatusCode::BAD_REQUEST, words));
    let asks_legacy = ["x-container-sysmeta-versions-location"]
        .iter()
        .any(|name| headers::text(request.headers(), name).is_some_and(|value| !value.is_empty()));
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
    let is_known = info.exists();
    let word = if wanted { "True" } else { "False" };
    headers::set(request.headers_mut(), STORED_ENABLED, word);
    let origin = Origin::of(&request).privileged();
    let mut made = None;
    // A POST to what is not there will say so itself.
    if wanted && (is_known || *request.method() == Method::PUT) {
        dispatch::Judge::of_container(&request, &next, &path)
            .verdict()
            .await?;
        let Some(hidden) = names::versions_container(&path.container) else {
            return bad("Container name is too long to be versioned");
        };
        let target = Target::Container(ContainerPath::new(path.account.clone(), hidden.clone()));
        let mut create = origin.request(Method::PUT, target, "");
        if is_known {
            let Some(policy) = edge.policies.by_index(info.policy) else {
                return Err(Box::new(answer::status(StatusCode::SERVICE_UNAVAILABLE)));
            };
            if policy.is_deprecated {
                return bad(
                    "Cannot enable object versioning on a container that uses a deprecated storage policy.",
                );
            }
            headers::set(create.headers_mut(), header::X_STORAGE_POLICY, &policy.name);
        } else if let Some(policy) = request.headers().get(header::X_STORAGE_POLICY) {
            create.headers_mut().insert(
                http::HeaderName::from_static(header::X_STORAGE_POLICY),
                policy.clone(),
            );
        }
        let response = next.clone().run(create).await;
        match response.status() {
            StatusCode::CREATED => made = Some(hidden.clone()),
            StatusCode::CONFLICT => {}
            status if status.is_success() => {}
            // A policy that is none, an account that is full: the client's own request would be refused as well.
            status if status.is_client_error() => return Err(Box::new(response)),
            _ => {
                return Err(refuse(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "Error enabling object versioning",
                ));
            }
        }
        headers::set(request.headers_mut(), STORED_CONTAINER, &percent::quote(&hidden));
    }
    let mut response = next.clone().run(request).await;
    if !response.status().is_success()
        && let Some(hidden) = made
    {
        // It is empty; one that stays by accident is used when versions are switched on again.
        ask(&next, &origin, Method::DELETE, &path, hidden).await;
    }
    show_enabled(response.headers_mut());
    Ok(response)
}

/// Deletes a container, when no version is left in it, and the hidden one after it.
async fn delete(request: Request, next: Next, path: ContainerPath) -> Result<Response, Refusal> {
    let info = next.edge().core.container_info(&path).await;
    let known = super::hidden_container(&info);
    let Some(hidden) = known.or_else(|| names::versions_container(&path.container)) else {
        return Ok(next.run(request).await);
    };
    dispatch::Judge::of_container(&request, &next, &path)
        .verdict()
        .await?;
    let origin = Origin::of(&request).privileged();
    let trouble = |status| refuse(status, "Error deleting versioned container");
    let head = ask(&next, &origin, Method::HEAD, &path, hidden.clone()).await;
    let is_there = match head.status() {
        StatusCode::NOT_FOUND => false,
        status if status.is_success() => true,
        // Also of a container without versions it is asked here: that its nodes are away is no fault of this one.
        StatusCode::SERVICE_UNAVAILABLE => return Err(trouble(StatusCode::SERVICE_UNAVAILABLE)),
        _ => return Err(trouble(StatusCode::INTERNAL_SERVER_ERROR)),
    };
    let count = headers::text(head.headers(), header::X_CONTAINER_OBJECT_COUNT);
    if is_there && count != Some("0") {
        return Err(refuse(
            StatusCode::CONFLICT,
            "Delete all versions before deleting container.",
        ));
    }
    let response = next.clone().run(request).await;
    let is_gone = response.status().is_success() || response.status() == StatusCode::NOT_FOUND;
    if is_there && is_gone {
        let status = ask(&next, &origin, Method::DELETE, &path, hidden).await.status();
        if !status.is_success() && status != StatusCode::NOT_FOUND {
            tracing::warn!(
                status = status.as_u16(),
                "a container of versions outlives its parent"
            );
        }
    }
    Ok(response)
}
