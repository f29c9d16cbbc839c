//! Ceilometer: tells the telemetry service what each request used, when its last byte has gone.
//!
//! See ceilometermiddleware's documentation. It stands right behind authentication and above large objects, so that there
//! is one notification for each request, with the bytes that the client sent and got: next to the storage nodes, where
//! Swift's documentation puts it, a large object would count with the bytes of its manifest. Requests of bulk operations
//! and forms count one by one, and those by which the S3 door answers a client count too; with Swift neither does.

use super::counted::{Count, counted};
use crate::Edge;
use crate::ceilometer::Notifier;
use crate::ceilometer::event::Usage;
use crate::context::{identity, target};
use crate::core::Existence;
use crate::pipeline::Next;
use http::header::{HeaderMap, HeaderName};
use http::{Method, StatusCode};
use martlet_protocol::identity::{Identity, KeystoneProject, KeystoneUser};
use martlet_protocol::name::Target;
use martlet_protocol::percent::{quote, unquote};
use martlet_service::{Request, Response, headers};
use std::sync::Arc;

/// Everything, where notifications are on.
pub fn concerns(_: &Request, edge: &Edge) -> bool {
    edge.ceilometer.is_some()
}

pub async fn run(request: Request, next: Next) -> Response {
    let edge = next.edge().clone();
    let Some(notifier) = &edge.ceilometer else {
        return next.run(request).await;
    };
    let identity = identity(&request);
    let user = identity
        .as_deref()
        .and_then(|identity| identity.keystone.as_deref());
    if is_ignored(user, &notifier.config().ignore_projects) {
        return next.run(request).await;
    }
    let (method, target) = (request.method().clone(), target(&request));
    let mut metered = Box::new(Metered {
        usage: usage(&request, identity.as_deref(), notifier),
        received: Count::default(),
        sent: Count::default(),
        edge: edge.clone(),
    });
    let received = metered.received.clone();
    let request = request.map(|body| match body.content_length() {
        Some(0) => body,
        _ => counted(body, &received, ()),
    });
    let response = next.run(request).await;
    metered.usage.policy = policy(&edge, &method, target.as_deref(), response.status()).await;
    if method == Method::HEAD || response.body().content_length() == Some(0) {
        return response;
    }
    response.map(|body| {
        let sent = metered.sent.clone();
        counted(body, &sent, metered)
    })
}

/// Whether nothing is told of this user's project, or of that of the service which acts for him.
fn is_ignored(user: Option<&KeystoneUser>, ignored: &[String]) -> bool {
    let Some(user) = user.filter(|_| !ignored.is_empty()) else {
        return false;
    };
    let project = user.service_project.as_ref().or(user.project.as_ref());
    project.is_some_and(|KeystoneProject { id, name, .. }| ignored.contains(id) || ignored.contains(name))
}

/// What is known before the answer.
fn usage(request: &Request, identity: Option<&Identity>, notifier: &Notifier) -> Usage {
    let user = identity.and_then(|identity| identity.keystone.as_deref());
    let path = request.uri().path();
    // As all names are quoted, whichever way the client has written them.
    let path = unquote(path).map_or_else(|_| path.to_owned(), |path| quote(&path));
    Usage {
        method: request.method().to_string(),
        path: path.strip_prefix('/').map(str::to_owned).unwrap_or(path),
        user: user.map(|user| user.id.clone()),
        project: user.and_then(|user| Some(user.project.as_ref()?.id.clone())),
        headers: shown(request.headers(), &notifier.config().metadata_headers),
        ..Usage::default()
    }
}

/// The headers that are wanted, under the names that readers know them by. Several of one name are one.
fn shown(map: &HeaderMap, wanted: &[String]) -> Vec<(String, String)> {
    let all_of = |name: &String| {
        let name = HeaderName::from_bytes(name.replace('_', "-").as_bytes()).ok()?;
        let values = map.get_all(&name).iter().filter_map(headers::value_text);
        let value = values.collect::<Vec<_>>().join(",");
        let shown = name.as_str().replace('-', "_");
        (!value.is_empty()).then_some((shown, value))
    };
    wanted.iter().filter_map(all_of).collect()
}

/// The storage policy: of an object that of its container; of a container when the answer is about one that is there.
async fn policy(
    edge: &Edge,
    method: &Method,
    target: Option<&Target>,
    status: StatusCode,
) -> Option<(u16, String)> {
    let path = target?.container_path()?;
    let container = match target?.object().is_some() {
        // The request itself has looked its container up.
        true => edge.core.remembered_container(&path).await?,
        false if !status.is_success() => return None,
        false => match *method {
            Method::GET | Method::HEAD | Method::PUT => edge.core.container_info(&path).await,
            _ => return None,
        },
    };
    let policy = edge.policies.by_index(container.policy)?;
    (container.existence == Existence::Exists).then(|| (policy.index.0, policy.name.clone()))
}

/// Told when it is dropped: at the end of the answer, or when the client has left.
struct Metered {
    usage: Usage,
    received: Count,
    sent: Count,
    edge: Arc<Edge>,
}

impl Drop for Metered {
    fn drop(&mut self) {
        let Some(notifier) = &self.edge.ceilometer else {
            return;
        };
        notifier.send(Usage {
            received_bytes: self.received.bytes(),
            sent_bytes: self.sent.bytes(),
            has_failed: std::thread::panicking(),
            at_micros: self.edge.clock.now().raw() * 10,
            ..std::mem::take(&mut self.usage)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projects_are_ignored_by_id_and_by_name() {
        let project = |id: &str, name: &str| KeystoneProject {
            id: id.into(),
            name: name.into(),
            domain_id: None,
        };
        let user = |project, service_project| KeystoneUser {
            project,
            service_project,
            ..KeystoneUser::default()
        };
        let ignored = ["service".to_owned(), "p2".to_owned()];
        let (demo, service) = (project("p1", "demo"), project("p9", "service"));
        assert!(!is_ignored(None, &ignored));
        assert!(!is_ignored(Some(&user(None, None)), &ignored));
        assert!(!is_ignored(Some(&user(Some(demo.clone()), None)), &ignored));
        assert!(is_ignored(Some(&user(Some(service.clone()), None)), &ignored));
        assert!(is_ignored(
            Some(&user(Some(project("p2", "other")), None)),
            &ignored
        ));
        // Whoever acts for the user is asked first.
        assert!(is_ignored(
            Some(&user(Some(demo), Some(service.clone()))),
            &ignored
        ));
        assert!(!is_ignored(
            Some(&user(Some(service), Some(project("p1", "demo")))),
            &ignored
        ));
    }

    #[test]
    fn headers_are_shown_under_pythons_names() {
        let mut map = HeaderMap::new();
        for (name, value) in [
            ("x-object-meta-color", "blue"),
            ("x-many", "1"),
            ("x-many", "2"),
            ("x-empty", ""),
        ] {
            map.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        let wanted = [
            "X-Object-Meta-Color",
            "X_Many",
            "X-Empty",
            "X-Missing",
            "no header",
        ]
        .map(str::to_owned);
        let expected = [("x_object_meta_color", "blue"), ("x_many", "1,2")];
        assert_eq!(
            shown(&map, &wanted),
            expected.map(|(name, value)| (name.into(), value.into()))
        );
    }
}
