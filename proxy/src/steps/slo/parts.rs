//! What becomes of the parts of an S3 upload when the object they make up is replaced or deleted: they go too.

use super::{MULTIPART, get};
use crate::context::Origin;
use crate::pipeline::Next;
use futures_util::{StreamExt, stream};
use http::Method;
use martlet_protocol::name::{ContainerName, ContainerPath, ObjectPath, Target};
use martlet_service::{Request, Response, headers};

/// Runs a PUT or DELETE; when it succeeds and what was there was an upload's manifest, deletes that upload's parts.
pub async fn replacing(request: Request, next: Next, path: ObjectPath) -> Response {
    let origin = Origin::of(&request).privileged();
    let own = headers::text(request.headers(), MULTIPART).map(str::to_owned);
    if own.is_some() {
        next.edge().without_parts.invalidate(&bucket_key(&path)).await;
    }
    let parts = if may_have_parts(&next, &path).await {
        parts_of(&next, &origin, &path, own).await
    } else {
        None
    };
    let response = next.clone().run(request).await;
    if let Some(parts) = parts.filter(|_| response.status().is_success()) {
        let at_once = next.edge().config.slo.delete_concurrency.max(1);
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
    let container = ContainerName::new(format!("\0mpu\0{}", path.container)).ok()?;
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
    let request = origin.request(
        Method::HEAD,
        Target::Object(path.clone()),
        "multipart-manifest=get",
    );
    let head = next.clone().run(request).await;
    let stored = headers::text(head.headers(), MULTIPART)?;
    if own.as_deref() == Some(stored) {
        return None;
    }
    let segments = get::segments_of(path, next, origin).await?;
    let parts = parts_container(path)?.container;
    let paths = segments.iter().filter_map(|segment| segment.path(&path.account));
    Some(paths.filter(|segment| segment.container == parts).collect())
}
