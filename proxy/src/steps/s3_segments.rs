//! The parts of S3 uploads, seen through Swift's door where Swift's s3api keeps them: in `<bucket>+segments`.
//!
//! Here they lie in a container of a reserved name, which no client can say, so that nobody takes parts away from an
//! object. Those who own the account may look at them under the other name, and no more than look. A container that
//! really has that name, as one brought over from Swift, comes first.

use crate::Edge;
use crate::context::{self, retarget, target};
use crate::pipeline::Next;
use http::Method;
use martlet_protocol::header;
use martlet_protocol::name::{ContainerName, ContainerPath, ObjectPath, Target};
use martlet_service::{Request, Response, headers};

const SUFFIX: &str = "+segments";

/// Only reads of containers whose name could stand for one that is hidden.
pub fn concerns(request: &Request, _: &Edge) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
        && target(request).is_some_and(|target| hidden(&target).is_some())
}

pub async fn run(mut request: Request, next: Next) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let Some(Hidden { named, parts, target }) = target(&request).and_then(|target| hidden(&target)) else {
        return next.run(request).await;
    };
    let core = &next.edge().core;
    if core.container_info(&named).await.exists() || !core.container_info(&parts).await.exists() {
        return next.run(request).await;
    }
    let query = context::query(&request).encode();
    retarget(&mut request, target, &query);
    headers::set(
        request.headers_mut(),
        header::X_BACKEND_ALLOW_RESERVED_NAMES,
        "true",
    );
    next.run(request).await
}

/// A request for parts.
struct Hidden {
    /// The container as the client named it.
    named: ContainerPath,
    /// The container that parts of such a bucket lie in.
    parts: ContainerPath,
    target: Target,
}

fn hidden(target: &Target) -> Option<Hidden> {
    let (account, name) = match target {
        Target::Account(_) => return None,
        Target::Container(path) => (&path.account, &path.container),
        Target::Object(path) => (&path.account, &path.container),
    };
    let bucket = name
        .strip_suffix(SUFFIX)
        .filter(|bucket| !bucket.is_empty() && !bucket.contains('\0'))?;
    let parts = ContainerPath {
        account: account.clone(),
        container: ContainerName::new(format!("\0mpu\0{bucket}")).ok()?,
    };
    let named = ContainerPath {
        account: account.clone(),
        container: name.clone(),
    };
    let target = match target {
        Target::Object(path) => Target::Object(ObjectPath {
            account: parts.account.clone(),
            container: parts.container.clone(),
            object: path.object.clone(),
        }),
        _ => Target::Container(parts.clone()),
    };
    Some(Hidden { named, parts, target })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_parts_lie() {
        let check = |path: &str| hidden(&Target::parse(path).unwrap()).map(|hidden| hidden.target.path());
        assert_eq!(
            check("a/bucket+segments"),
            Some(Target::parse("a/\0mpu\0bucket").unwrap().path())
        );
        assert_eq!(
            check("a/bucket+segments/key/id/00000001"),
            Some(Target::parse("a/\0mpu\0bucket/key/id/00000001").unwrap().path())
        );
        for other in [
            "a",
            "a/bucket",
            "a/+segments",
            "a/bucket+segments2",
            "a/\0x+segments",
        ] {
            assert_eq!(check(other), None, "{other}");
        }
    }
}
