//! Object versioning: with `X-Versions-Enabled` every write makes a version, and the object is a link to one of them.
//!
//! - `names`: where versions are. `link`: the object as a link to its current version. `listing`: `?versions`. Pure.
//! - `write`, `read`: requests about the current object; `version`: about one that `?version-id` names.
//! - `container`, `versions`, `account`: requests about containers and accounts.
//!
//! A version is written before the link that makes it current, and a link goes before the version it leads to.

mod account;
mod container;
mod link;
mod listing;
mod names;
mod read;
mod version;
mod versions;
mod write;

pub use container::bytes_of_versions;

use super::{Refusal, refuse};
use crate::context::{self, Origin, is_true, target};
use crate::core::ContainerInfo;
use crate::pipeline::Next;
use crate::steps::answer;
use http::header::HeaderMap;
use http::{Method, StatusCode};
use martlet_protocol::name::{ContainerName, ObjectPath, Target};
use martlet_protocol::percent;
use martlet_protocol::timestamp::Timestamp;
use martlet_service::{Request, Response, headers};

/// Whether a container's writes make versions, in the client's words and in its system metadata.
const ENABLED: &str = "x-versions-enabled";
const STORED_ENABLED: &str = "x-container-sysmeta-versions-enabled";
/// Names the hidden container, percent-encoded.
const STORED_CONTAINER: &str = "x-container-sysmeta-versions-container";
/// Which version an answer is about.
const VERSION_ID: &str = "x-object-version-id";
/// The version of what was written before versions were, or while they are not.
const NULL: &str = "null";

pub async fn run(request: Request, next: Next) -> Response {
    if !next.edge().config.versioned_writes.allow_object_versioning {
        return next.run(request).await;
    }
    let done = match target(&request).as_deref() {
        Some(Target::Object(path)) => object(request, next, path.clone()).await,
        Some(Target::Container(path)) => Box::pin(container::run(request, next, path.clone())).await,
        Some(Target::Account(name)) if *request.method() == Method::GET => {
            Box::pin(account::list(request, next, name.clone())).await
        }
        Some(Target::Account(_)) | None => return next.run(request).await,
    };
    done.unwrap_or_else(|refusal| *refusal)
}

async fn object(mut request: Request, next: Next, path: ObjectPath) -> Result<Response, Refusal> {
    if matches!(*request.method(), Method::PUT | Method::POST) {
        // Only this step makes links to versions; a copy of one is none.
        request.headers_mut().remove(link::VERSIONS_SYMLINK);
    }
    let info = next.edge().core.container_info(&path.container_path()).await;
    let hidden = hidden_container(&info);
    let query = context::query(&request);
    if let Some(version) = query.get("version-id").filter(|version| !version.is_empty()) {
        let version = version::parse(request.method(), version, hidden.is_some())?;
        return Box::pin(version::run(request, next, path, hidden, version)).await;
    }
    let Some(hidden) = hidden else {
        return Ok(next.run(request).await);
    };
    let is_enabled = info
        .sysmeta
        .get("versions-enabled")
        .is_some_and(|value| is_true(value));
    let versioned = Versioned::new(&request, next, path, hidden);
    match *request.method() {
        Method::PUT if is_enabled => Box::pin(versioned.put(request)).await,
        Method::DELETE if is_enabled => Box::pin(versioned.delete(request)).await,
        Method::PUT | Method::DELETE => Ok(versioned.next.run(request).await),
        Method::POST => Box::pin(versioned.post(request)).await,
        _ => Ok(Box::pin(versioned.get(request)).await),
    }
}

/// The hidden container of a container that was ever versioned.
fn hidden_container(info: &ContainerInfo) -> Option<ContainerName> {
    parse_hidden(info.sysmeta.get("versions-container")?)
}

fn parse_hidden(stored: &str) -> Option<ContainerName> {
    let name = percent::unquote(stored).ok()?;
    ContainerName::new(name.split('/').next()?).ok()
}

/// The hidden container that an answer about a container names.
fn hidden_of(map: &HeaderMap) -> Option<ContainerName> {
    parse_hidden(headers::text(map, STORED_CONTAINER)?)
}

/// An object in a container that has, or had, versions.
struct Versioned {
    next: Next,
    /// In the cluster's own name: a user may write here without the right to read.
    origin: Origin,
    path: ObjectPath,
    hidden: ContainerName,
}

impl Versioned {
    fn new(request: &Request, next: Next, path: ObjectPath, hidden: ContainerName) -> Self {
        Versioned {
            origin: Origin::of(request).privileged(),
            next,
            path,
            hidden,
        }
    }
}

/// Where an object of this moment stands if it was kept as a version.
pub fn kept_version(path: &ObjectPath, moment: Timestamp) -> Option<ObjectPath> {
    let hidden = names::versions_container(&path.container)?;
    names::version_path(path, &hidden, names::VersionId::of(moment))
}

/// Ends a write whose step was refused: with that refusal, if it is the client's fault, else with 503.
fn judge(response: Response) -> Result<Response, Refusal> {
    let status = response.status();
    if status.is_success() {
        Ok(response)
    } else if status == StatusCode::NOT_FOUND {
        Err(Box::new(answer::status(StatusCode::PRECONDITION_FAILED)))
    } else if status.is_client_error() {
        Err(Box::new(response))
    } else {
        Err(Box::new(answer::status(StatusCode::SERVICE_UNAVAILABLE)))
    }
}

fn no_hidden_container() -> Refusal {
    refuse(
        StatusCode::INTERNAL_SERVER_ERROR,
        "The versions container does not exist. You may want to re-enable object versioning.",
    )
}
