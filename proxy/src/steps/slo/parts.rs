//! What becomes of the parts of an S3 upload when the object they make up is replaced or deleted: they go too.
//!
//! A step of its own behind the one that keeps versions, since what that one has put aside is still made up of its parts.

use super::MULTIPART;
use super::get::read;
use crate::Edge;
use crate::context::{Origin, target};
use crate::pipeline::Next;
use crate::steps::versioned_writes::archived_object;
use futures_util::{StreamExt, stream};
use http::{Method, StatusCode};
use martlet_protocol::header;
use martlet_protocol::name::{ContainerName, ContainerPath, ObjectName, ObjectPath, Target};
use martlet_service::{Request, Response, headers};

/// The name of this step.
pub const STEP: &str = "upload-parts";

/// What the names of the containers begin with that hold the parts of a bucket's uploads.
const PARTS: &str = "\0mpu\0";

/// Marks a PUT or DELETE of something that stays as a version, or was copied before: its parts belong to that now.
#[derive(Clone, Copy, Debug)]
pub struct KeepsParts;

/// Only what may replace an upload.
pub fn concerns(request: &Request, _: &Edge) -> bool {
    matches!(*request.method(), Method::PUT | Method::DELETE)
}

/// Runs a PUT or DELETE; when it succeeds and what was there was an upload's manifest, deletes that upload's parts.
pub async fn run(request: Request, next: Next) -> Response {
    let is_write = matches!(*request.method(), Method::PUT | Method::DELETE);
    match target(&request).as_deref() {
        Some(Target::Object(path)) if is_write => {
            let path = path.clone();
            Box::pin(replacing(request, next, path)).await
        }
        _ => next.run(request).await,
    }
}

async fn replacing(request: Request, next: Next, path: ObjectPath) -> Response {
    let origin = Origin::of(&request).privileged();
    let keeps = request.extensions().get::<KeepsParts>().is_some();
    let own = headers::text(request.headers(), MULTIPART).map(str::to_owned);
    if own.is_some() {
        next.edge().without_parts.invalidate(&bucket_key(&path)).await;
    }
    let parts = if !keeps && may_have_parts(&next, &path).await {
        parts_of(&next, &origin, &path, own).await
    } else {
        None
    };
    let response = next.clone().run(request).await;
    if let Some(parts) = parts.filter(|_| response.status().is_success()) {
        let at_once = next.edge().config.slo.deletions_at_once();
        let edge = next.edge().clone();
        edge.tasks.spawn("parts of a replaced upload", async move {
            let deletions = parts.into_iter().map(|part| {
                let request = origin.request(Method::DELETE, Target::Object(part), "");
                next.clone().run(request)
            });
            let mut deletions = stream::iter(deletions).buffer_unordered(at_once);
            while let Some(response) = deletions.next().await {
                if response.status().is_server_error() {
                    tracing::warn!(
                        status = response.status().as_u16(),
                        "a part of a replaced upload was not deleted"
                    );
                }
            }
        });
    }
    response
}

fn bucket_key(path: &ObjectPath) -> String {
    format!("{}/{}", path.account, path.container)
}

/// The container that holds the parts of a bucket's uploads.
fn parts_container(path: &ObjectPath) -> Option<ContainerPath> {
    let container = ContainerName::new(format!("{PARTS}{}", path.container)).ok()?;
    Some(ContainerPath {
        account: path.account.clone(),
        container,
    })
}

/// Whether anything was ever uploaded in parts to this bucket. That nothing was is remembered for a short while, so that
/// ordinary writes do not ask each time.
async fn may_have_parts(next: &Next, path: &ObjectPath) -> bool {
    let Some(container) = parts_container(path) else {
        return false;
    };
    let edge = next.edge();
    let key = bucket_key(path);
    if archived_object(&path.object).is_some() {
        // Archives hold what was uploaded to other buckets.
        return true;
    }
    if path.container.starts_with('\0') || edge.without_parts.get(&key).await.is_some() {
        return false;
    }
    let exists = edge.core.container_info(&container).await.exists();
    if !exists {
        edge.without_parts.insert(key, ()).await;
    }
    exists
}

/// The parts of the upload that stands under a path now, unless it is the one that is being stored (again).
async fn parts_of(
    next: &Next,
    origin: &Origin,
    path: &ObjectPath,
    own: Option<String>,
) -> Option<Vec<ObjectPath>> {
    let ask = |method| {
        let mut request = origin.request(method, Target::Object(path.clone()), "");
        // A version that is current stays when another becomes so: its parts go with itself.
        headers::set(request.headers_mut(), header::X_BACKEND_MARTLET_POINTER, "true");
        request
    };
    let head = next.clone().run(ask(Method::HEAD)).await;
    let stored = headers::text(head.headers(), MULTIPART)?;
    if own.as_deref() == Some(stored) {
        return None;
    }
    let manifest = next.clone().run(ask(Method::GET)).await;
    if !manifest.status().is_success() {
        return None;
    }
    let segments = read(manifest.into_body()).await?;
    let paths = segments.iter().filter_map(|segment| segment.path(&path.account));
    if archived_object(&path.object).is_none() {
        let parts = parts_container(path)?.container;
        return Some(paths.filter(|segment| segment.container == parts).collect());
    }
    let mut paths: Vec<ObjectPath> = paths.collect();
    paths.retain(|segment| segment.container.starts_with(PARTS));
    let parts = paths.first()?.container.clone();
    let bucket = ContainerName::new(parts.strip_prefix(PARTS)?).ok()?;
    if is_still_used(next, origin, path, bucket, stored).await {
        return None;
    }
    paths.retain(|segment| segment.container == parts);
    Some(paths)
}

/// Whether an upload that an archive holds is, or may be, what stands in its bucket as well: a write may have put it aside
/// and failed to replace it.
async fn is_still_used(
    next: &Next,
    origin: &Origin,
    archived: &ObjectPath,
    bucket: ContainerName,
    stored: &str,
) -> bool {
    let Some(object) = archived_object(&archived.object).and_then(|name| ObjectName::new(name).ok()) else {
        return true;
    };
    let current = ObjectPath {
        account: archived.account.clone(),
        container: bucket,
        object,
    };
    let request = origin.request(Method::HEAD, Target::Object(current), "");
    let current = next.clone().run(request).await;
    match current.status() {
        StatusCode::NOT_FOUND => false,
        status if status.is_success() => headers::text(current.headers(), MULTIPART) == Some(stored),
        _ => true,
    }
}
