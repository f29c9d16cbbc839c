//! GET, HEAD and POST of the current object of a versioned container.

use super::names::VersionId;
use super::{Refusal, Versioned, link};
use http::StatusCode;
use http::request::Parts;
use martlet_protocol::header;
use martlet_protocol::name::{ObjectPath, Target};
use martlet_service::{Body, Request, Response};

impl Versioned {
    /// The current object; links lead to its version.
    pub async fn get(self, request: Request) -> Response {
        let mut response = self.next.run(request).await;
        link::show(response.headers_mut(), &self.path, &self.hidden);
        response
    }

    /// New metadata goes to the link, where it may make it expire, and to the version it leads to.
    pub async fn post(self, request: Request) -> Result<Response, Refusal> {
        let (parts, body) = request.into_parts();
        let again = parts.clone();
        let response = self.next.clone().run(Request::from_parts(parts, body)).await;
        if response.status() != StatusCode::TEMPORARY_REDIRECT {
            return Ok(response);
        }
        match link::version_of(response.headers(), &self.path, &self.hidden) {
            Some((version, _)) => Ok(self.post_version(again, version).await),
            None => Ok(response),
        }
    }

    async fn post_version(&self, mut parts: Parts, version: ObjectPath) -> Response {
        let mut request = self
            .origin
            .request(parts.method.clone(), Target::Object(version), "");
        // It is the link that expires.
        parts.headers.remove(header::X_DELETE_AT);
        parts.headers.remove(header::X_DELETE_AFTER);
        let privileges = std::mem::take(request.headers_mut());
        *request.headers_mut() = parts.headers;
        request.headers_mut().extend(privileges);
        *request.body_mut() = Body::empty();
        self.next.clone().run(request).await
    }

    /// The version that is current, if the object is a link to one.
    pub(super) fn current_version(&self, head: &Response) -> Option<VersionId> {
        link::version_of(head.headers(), &self.path, &self.hidden).map(|(_, id)| id)
    }
}
