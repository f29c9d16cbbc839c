//! Object versioning: with `X-Versions-Enabled` every write makes a version, and one of them is current.
//!
//! Versions are in the object's own records (`martlet_protocol::version`): the storage nodes put a version beside its
//! object, make it current and tell the container in one commit. What is left to this step is what clients see of it.
//!
//! - `current`: requests about the current object; `version`: about one that `?version-id` names.
//! - `container`: versions switched on and off; `versions`, `listing`: `?versions`.

mod container;
mod current;
mod listing;
mod version;
mod versions;

use super::{Refusal, refuse};
use crate::context::{self, Origin, is_true, target};
use crate::core::ContainerInfo;
use crate::pipeline::Next;
use crate::steps::answer;
use http::{Method, StatusCode};
use martlet_protocol::header;
use martlet_protocol::name::{ObjectName, ObjectPath, Target};
use martlet_protocol::timestamp::Timestamp;
use martlet_protocol::version::{VersionId, version_name};
use martlet_service::{Request, Response, headers};

/// Whether a container's writes make versions, in the client's words.
const ENABLED: &str = "x-versions-enabled";
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
        Some(Target::Account(_)) | None => return next.run(request).await,
    };
    done.unwrap_or_else(|refusal| *refusal)
}

async fn object(mut request: Request, next: Next, path: ObjectPath) -> Result<Response, Refusal> {
    if matches!(*request.method(), Method::PUT | Method::POST) {
        // What a copy's source said of itself.
        request.headers_mut().remove(header::CURRENT_VERSION);
    }
    let info = next.edge().core.container_info(&path.container_path()).await;
    let enabled = enabled(&info);
    let query = context::query(&request);
    if let Some(version) = query.get("version-id").filter(|version| !version.is_empty()) {
        let version = version::parse(request.method(), version, enabled.is_some())?;
        return Box::pin(version::run(request, next, path, enabled.is_some(), version)).await;
    }
    let method = request.method().clone();
    match (method, enabled) {
        (Method::PUT, Some(true)) => Box::pin(Versioned::new(&request, next, path).put(request)).await,
        (Method::DELETE, Some(true)) => Box::pin(Versioned::new(&request, next, path).delete(request)).await,
        (Method::POST, Some(_)) => Box::pin(Versioned::new(&request, next, path).post(request)).await,
        (Method::GET | Method::HEAD, _) => {
            let mut response = next.run(request).await;
            current::show(response.headers_mut(), &path, enabled.is_some());
            Ok(response)
        }
        _ => Ok(next.run(request).await),
    }
}

/// Whether a container's writes make versions now. `None`: they never have.
fn enabled(info: &ContainerInfo) -> Option<bool> {
    info.sysmeta.get("versions-enabled").map(|value| is_true(value))
}

/// An object in a container that has, or had, versions.
struct Versioned {
    next: Next,
    /// In the cluster's own name: a user may write here without the right to read.
    origin: Origin,
    path: ObjectPath,
}

impl Versioned {
    fn new(request: &Request, next: Next, path: ObjectPath) -> Self {
        Versioned {
            origin: Origin::of(request).privileged(),
            next,
            path,
        }
    }

    /// When the write is: now, unless a step above has said.
    fn moment(&self, request: &Request) -> Result<Timestamp, Refusal> {
        match headers::text(request.headers(), header::X_TIMESTAMP) {
            None => Ok(self.next.edge().clock.now()),
            Some(text) => Timestamp::parse(text.trim()).map_err(|_| {
                refuse(
                    StatusCode::BAD_REQUEST,
                    "X-Timestamp should be a UNIX timestamp float value",
                )
            }),
        }
    }

    /// Where a version is.
    fn version(&self, id: VersionId) -> Result<ObjectPath, Refusal> {
        let object = ObjectName::new(version_name(&self.path.object, id))
            .map_err(|_| refuse(StatusCode::BAD_REQUEST, "Object name is too long to be versioned"))?;
        Ok(ObjectPath {
            object,
            ..self.path.clone()
        })
    }
}

/// What a step inside was answered: an error is the client's, if it is the client's fault, else 503.
fn judge(response: Response) -> Result<Response, Refusal> {
    let status = response.status();
    if status.is_success() {
        Ok(response)
    } else if status.is_client_error() {
        Err(Box::new(response))
    } else {
        Err(Box::new(answer::status(StatusCode::SERVICE_UNAVAILABLE)))
    }
}
