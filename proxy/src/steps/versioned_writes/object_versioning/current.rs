//! The current object while versions are kept, or after they were.

use super::{NULL, Refusal, VERSION_ID, Versioned};
use crate::steps::dispatch;
use crate::steps::slo::parts as upload_parts;
use http::StatusCode;
use http::header::{CONTENT_LOCATION, HeaderMap, HeaderName};
use martlet_protocol::header;
use martlet_protocol::name::{ObjectPath, Target};
use martlet_protocol::percent;
use martlet_protocol::version::{DELETE_MARKER, VersionId};
use martlet_service::{Request, Response, headers};

/// Read as a name once, not for each answer.
static CURRENT_VERSION: HeaderName = HeaderName::from_static(header::CURRENT_VERSION);

impl Versioned {
    /// What the client sends becomes a version, and the current one.
    pub async fn put(self, mut request: Request) -> Result<Response, Refusal> {
        let id = self.makes_version(&mut request)?;
        let mut response = self.next.run(request).await;
        if response.status() == StatusCode::CREATED {
            headers::set(response.headers_mut(), VERSION_ID, &id.text());
        }
        Ok(response)
    }

    /// A delete marker among the versions, and no object any more.
    pub async fn delete(self, mut request: Request) -> Result<Response, Refusal> {
        let id = self.makes_version(&mut request)?;
        let mut response = self.next.run(request).await;
        if response.status().is_success() || response.status() == StatusCode::NOT_FOUND {
            let map = response.headers_mut();
            headers::set(map, VERSION_ID, &id.text());
            headers::set(map, "x-backend-content-type", DELETE_MARKER);
        }
        Ok(response)
    }

    /// New metadata is that of the version that is current now, which is told to all replicas: one may be behind.
    pub async fn post(self, mut request: Request) -> Result<Response, Refusal> {
        dispatch::Judge::of(&request, &self.next, &self.path)
            .verdict()
            .await?;
        if let Some(id) = self.current().await? {
            let name = header::X_BACKEND_MARTLET_VERSION_ID;
            headers::set(request.headers_mut(), name, &id.text());
        }
        Ok(self.next.run(request).await)
    }

    fn makes_version(&self, request: &mut Request) -> Result<VersionId, Refusal> {
        let moment = self.moment(request)?;
        // What is replaced stays, made up of its parts.
        request.extensions_mut().insert(upload_parts::KeepsParts);
        let map = request.headers_mut();
        headers::set(map, header::X_TIMESTAMP, &moment.internal());
        headers::set(map, header::X_BACKEND_MARTLET_VERSIONED, "true");
        Ok(VersionId::of(moment))
    }
}

/// Tells the client which version an answer about the current object is of.
pub fn show(map: &mut HeaderMap, own: &ObjectPath, is_versioned: bool) {
    let stored = map.remove(&CURRENT_VERSION);
    if !is_versioned {
        return;
    }
    let shown = stored.as_ref().and_then(|id| id.to_str().ok());
    let shown = shown.and_then(|id| Some((id, shown_path(map, own)?)));
    match shown {
        None => headers::set(map, VERSION_ID, NULL),
        Some((id, path)) => {
            headers::set(map, VERSION_ID, id);
            let location = format!("/v1{}?version-id={id}", path.path());
            headers::set(map, CONTENT_LOCATION.as_str(), &location);
        }
    };
}

/// The object that an answer comes from: another one when links led there. `None`: one of another container.
fn shown_path(map: &HeaderMap, own: &ObjectPath) -> Option<ObjectPath> {
    let Some(location) = headers::text(map, CONTENT_LOCATION.as_str()) else {
        return Some(own.clone());
    };
    let location = percent::unquote(location).ok()?;
    match Target::parse(location.strip_prefix("/v1/")?).ok()? {
        Target::Object(path) => (path.container_path() == own.container_path()).then_some(path),
        Target::Account(_) | Target::Container(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_service::headers::of as map;

    #[test]
    fn answers_name_versions() {
        let Ok(Target::Object(own)) = Target::parse("a/c/o p") else {
            panic!()
        };
        let id = "1234567890.12345";
        for (stored, is_versioned, expected) in [
            (
                map(&[(header::CURRENT_VERSION, id)]),
                true,
                map(&[
                    ("content-location", "/v1/a/c/o%20p?version-id=1234567890.12345"),
                    (VERSION_ID, id),
                ]),
            ),
            (map(&[]), true, map(&[(VERSION_ID, NULL)])),
            (map(&[(header::CURRENT_VERSION, id)]), false, map(&[])),
            (
                map(&[(header::CURRENT_VERSION, id), ("content-location", "/v1/a/d/p")]),
                true,
                map(&[("content-location", "/v1/a/d/p"), (VERSION_ID, NULL)]),
            ),
            (
                map(&[(header::CURRENT_VERSION, id), ("content-location", "/v1/a/c/p")]),
                true,
                map(&[
                    ("content-location", "/v1/a/c/p?version-id=1234567890.12345"),
                    (VERSION_ID, id),
                ]),
            ),
        ] {
            let mut shown = stored;
            show(&mut shown, &own, is_versioned);
            assert_eq!(shown, expected);
        }
    }
}
