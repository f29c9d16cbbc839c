//! The legacy ways: what a write replaces is copied to an archive container first.
//!
//! With `X-Versions-Location` a DELETE brings the last version back (a stack); with `X-History-Location` it leaves a
//! delete marker in the archive.

mod archive;
mod container;
mod pop;

use super::{Refusal, object_versioning, whole};
use crate::context::target;
use crate::core::ContainerInfo;
use crate::pipeline::Next;
pub use archive::archived_object;

use archive::Archive;
use http::Method;
use martlet_protocol::name::{ContainerName, ObjectPath, Target};
use martlet_protocol::percent;
use martlet_service::{Request, Response};

pub use container::{HISTORY_LOCATION, VERSIONS_LOCATION};

/// Where a container's archive is, without the prefix of its system metadata.
const LOCATION: &str = "versions-location";
/// `stack` or `history`.
const MODE: &str = "versions-mode";

pub async fn run(request: Request, next: Next) -> Response {
    let allowed = next.edge().config.versioned_writes.allow_versioned_writes;
    match target(&request).as_deref() {
        Some(Target::Container(_)) => match allowed {
            Some(is_allowed) => Box::pin(container::run(request, next, is_allowed)).await,
            None => object_versioning::run(request, next).await,
        },
        Some(Target::Object(path)) if matches!(*request.method(), Method::PUT | Method::DELETE) => {
            let path = path.clone();
            Box::pin(object(request, next, path, allowed))
                .await
                .unwrap_or_else(|refusal| *refusal)
        }
        Some(Target::Object(_) | Target::Account(_)) | None => object_versioning::run(request, next).await,
    }
}

async fn object(
    request: Request,
    next: Next,
    path: ObjectPath,
    allowed: Option<bool>,
) -> Result<Response, Refusal> {
    let info = next.edge().core.container_info(&path.container_path()).await;
    let Some((container, is_history)) = archive_of(&info, allowed) else {
        return Ok(object_versioning::run(request, next).await);
    };
    let (edge, is_put) = (next.edge().clone(), *request.method() == Method::PUT);
    let archive = Archive::new(&request, next, path, container);
    if is_put {
        archive.put(request).await
    } else if is_history {
        whole::run(
            &edge.tasks,
            "a deletion is archived",
            archive.delete_and_mark(request),
        )
        .await
    } else {
        whole::run(
            &edge.tasks,
            "a version is restored",
            archive.delete_and_restore(request),
        )
        .await
    }
}

/// The archive of a container, and whether it is a history.
fn archive_of(info: &ContainerInfo, allowed: Option<bool>) -> Option<(ContainerName, bool)> {
    let known = info.sysmeta.get(LOCATION).filter(|value| !value.is_empty());
    let location = match (known, &info.versions_location) {
        (Some(location), _) if allowed == Some(true) => location,
        (None, Some(location)) if allowed != Some(false) => location,
        _ => return None,
    };
    let location = percent::unquote(location).ok()?;
    let container = ContainerName::new(location.split('/').next()?).ok()?;
    let is_history = info.sysmeta.get(MODE).is_some_and(|mode| mode == "history");
    Some((container, is_history))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_archive_is() {
        let info = |sysmeta: Option<&str>, mode: Option<&str>, own: Option<&str>| {
            let mut info = ContainerInfo::default();
            let mut set = |name: &str, value: Option<&str>| {
                if let Some(value) = value {
                    info.sysmeta.insert(name.into(), value.into());
                }
            };
            set(LOCATION, sysmeta);
            set(MODE, mode);
            info.versions_location = own.map(str::to_owned);
            info
        };
        for (info, allowed, expected) in [
            (info(None, None, None), Some(true), None),
            (info(Some("a"), None, None), Some(true), Some(("a", false))),
            (
                info(Some("a%20b/x"), Some("history"), None),
                Some(true),
                Some(("a b", true)),
            ),
            (info(Some("a"), Some("stack"), None), Some(false), None),
            (info(Some("a"), Some("stack"), None), None, None),
            (info(Some(""), None, None), Some(true), None),
            (info(None, None, Some("b")), None, Some(("b", false))),
            (info(None, None, Some("b")), Some(true), Some(("b", false))),
            (info(None, None, Some("b")), Some(false), None),
        ] {
            let found = archive_of(&info, allowed);
            let found = found
                .as_ref()
                .map(|(container, is_history)| (container.as_str(), *is_history));
            assert_eq!(found, expected, "{info:?} {allowed:?}");
        }
    }
}
