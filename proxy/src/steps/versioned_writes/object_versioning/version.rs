//! Requests about one version, which `?version-id` names.

use super::super::{stored, whole};
use super::link;
use super::names::{self, VersionId};
use super::write::too_long;
use super::{NULL, Refusal, VERSION_ID, Versioned, judge, no_hidden_container, refuse};
use crate::context;
use crate::pipeline::Next;
use crate::steps::paths::allow_reserved_names;
use crate::steps::{answer, dispatch};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, TRANSFER_ENCODING};
use http::{Method, StatusCode};
use martlet_protocol::name::{ContainerName, ContainerPath, ObjectPath, Target};
use martlet_service::{Request, Response, headers};

/// The version that is current after a version was deleted.
const CURRENT_VERSION_ID: &str = "x-object-current-version-id";

/// Which version a client means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// What was written while versions were not kept.
    Null,
    Id(VersionId),
}

/// Reads the parameter; says what cannot be asked of a version.
pub fn parse(method: &Method, text: &str, is_versioned: bool) -> Result<Wanted, Refusal> {
    let bad = |words| Err(refuse(StatusCode::BAD_REQUEST, words));
    if *method == Method::POST {
        return bad("POST to a specific version is not allowed");
    }
    if text != NULL && !is_versioned {
        return bad("version-aware operations require that the container is versioned");
    }
    match (text, VersionId::parse(text)) {
        (NULL, _) if *method == Method::PUT && is_versioned => bad("Invalid version parameter"),
        (NULL, _) => Ok(Wanted::Null),
        (_, Ok(id)) => Ok(Wanted::Id(id)),
        (_, Err(_)) => bad("Invalid version parameter"),
    }
}

pub async fn run(
    request: Request,
    next: Next,
    path: ObjectPath,
    hidden: Option<ContainerName>,
    wanted: Wanted,
) -> Result<Response, Refusal> {
    let (hidden, id) = match (hidden, wanted) {
        (Some(hidden), Wanted::Id(id)) => (hidden, id),
        (Some(hidden), Wanted::Null) => return null(request, next, path, hidden).await,
        // Here nothing but null versions can be.
        (None, _) => return Ok(next.run(request).await),
    };
    let method = request.method().clone();
    let versioned = Versioned::new(&request, next, path, hidden);
    match method {
        Method::GET | Method::HEAD => versioned.get_version(request, id).await,
        Method::PUT => versioned.put_version(request, id).await,
        Method::DELETE => versioned.delete_version(request, id).await,
        _ => Ok(versioned.next.run(request).await),
    }
}

/// The object itself, if it is no version.
async fn null(
    request: Request,
    next: Next,
    path: ObjectPath,
    hidden: ContainerName,
) -> Result<Response, Refusal> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let mut response = next.run(request).await;
    if is_read {
        let is_version = link::location(response.headers())
            .is_some_and(|location| location.account == path.account && location.container == hidden);
        if is_version || link::is_link(response.headers()) {
            return Err(Box::new(answer::status(StatusCode::NOT_FOUND)));
        }
        if response.status().is_success() {
            headers::set(response.headers_mut(), VERSION_ID, NULL);
        }
    }
    Ok(response)
}

impl Versioned {
    /// Points a request at a version, in its user's own name: only who may read the whole account may read versions.
    fn towards(&self, request: &mut Request, id: VersionId) -> Result<(), Refusal> {
        let path = self.version(id)?;
        let mut query = context::query(request);
        query.remove("version-id");
        context::retarget(request, Target::Object(path), &query.encode());
        allow_reserved_names(request);
        Ok(())
    }

    fn version(&self, id: VersionId) -> Result<ObjectPath, Refusal> {
        names::version_path(&self.path, &self.hidden, id).ok_or_else(too_long)
    }

    async fn get_version(self, mut request: Request, id: VersionId) -> Result<Response, Refusal> {
        self.towards(&mut request, id)?;
        let mut response = self.next.run(request).await;
        let is_marker =
            headers::text(response.headers(), CONTENT_TYPE.as_str()).is_some_and(stored::is_delete_marker);
        if is_marker {
            let mut gone = answer::status(StatusCode::NOT_FOUND);
            headers::set(gone.headers_mut(), VERSION_ID, &id.text());
            let kind = HeaderValue::from_static(stored::DELETE_MARKER);
            gone.headers_mut().insert(CONTENT_TYPE, kind);
            return Ok(gone);
        }
        if response.status().is_success() {
            headers::set(response.headers_mut(), VERSION_ID, &id.text());
        }
        Ok(response)
    }

    /// Deletes a version for good. When it is the current one, the link goes first.
    async fn delete_version(self, request: Request, id: VersionId) -> Result<Response, Refusal> {
        let version = self.version(id)?;
        dispatch::Judge::of(&request, &self.next, &version)
            .verdict()
            .await?;
        let edge = self.next.edge().clone();
        let deletion = self.delete_link_and_version(request, id, version);
        whole::run(&edge.tasks, "a version is deleted", deletion).await
    }

    async fn delete_link_and_version(
        self,
        mut request: Request,
        id: VersionId,
        version: ObjectPath,
    ) -> Result<Response, Refusal> {
        let head = stored::read(&self.next, &self.origin, Method::HEAD, &self.path).await;
        let current = match head.status() {
            StatusCode::NOT_FOUND => None,
            _ => self.current_version(&judge(head)?),
        };
        let mut left = current;
        if current == Some(id) {
            let (parts, _) = request.into_parts();
            let mut own = Request::from_parts(parts.clone(), Default::default());
            context::retarget(&mut own, Target::Object(self.path.clone()), "");
            let gone = self.next.clone().run(own).await;
            // Another may have deleted the link meanwhile.
            if gone.status() != StatusCode::NOT_FOUND {
                judge(gone)?;
            }
            request = Request::from_parts(parts, Default::default());
            left = None;
        }
        context::retarget(&mut request, Target::Object(version), "");
        allow_reserved_names(&mut request);
        let mut response = self.next.run(request).await;
        let map = response.headers_mut();
        headers::set(map, VERSION_ID, &id.text());
        let left = left.map_or(NULL.to_owned(), VersionId::text);
        headers::set(map, CURRENT_VERSION_ID, &left);
        Ok(response)
    }

    /// Makes a version current again.
    async fn put_version(self, mut request: Request, id: VersionId) -> Result<Response, Refusal> {
        refuse_body(&mut request).await?;
        dispatch::Judge::of(&request, &self.next, &self.path)
            .verdict()
            .await?;
        let moment = self.moment(&request)?;
        let path = self.version(id)?;
        let head = stored::read(&self.next, &self.origin, Method::HEAD, &path).await;
        let unknown = || refuse(StatusCode::NOT_FOUND, "The specified version does not exist");
        if head.status() == StatusCode::NOT_FOUND {
            let hidden = ContainerPath::new(self.path.account.clone(), self.hidden.clone());
            let exists = self.next.edge().core.container_info(&hidden).await.exists();
            return Err(if exists { unknown() } else { no_hidden_container() });
        }
        let head = judge(head)?;
        let version = self.describe(id, path, &head)?;
        if stored::is_delete_marker(&version.content_type) {
            return Err(unknown());
        }
        let (mut asked, _) = request.into_parts();
        if let Some(row) = link::row_of_version(head.headers()) {
            headers::set(&mut asked.headers, martlet_protocol::header::OVERRIDE_ETAG, &row);
        }
        self.make_current(asked, &version, moment, false).await
    }
}

/// A body would have no place to go.
async fn refuse_body(request: &mut Request) -> Result<(), Refusal> {
    let refusal = || {
        refuse(
            StatusCode::BAD_REQUEST,
            "PUT version-id requests require a zero byte body",
        )
    };
    let map = request.headers();
    if let Some(length) = headers::text(map, CONTENT_LENGTH.as_str()) {
        return if length.trim() == "0" {
            Ok(())
        } else {
            Err(refusal())
        };
    }
    if !map.contains_key(TRANSFER_ENCODING) {
        return Err(refuse(
            StatusCode::LENGTH_REQUIRED,
            "Missing Content-Length header.",
        ));
    }
    match request.body_mut().next().await {
        None => Ok(()),
        Some(_) => Err(refusal()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_asked_of_a_version() {
        let id = Wanted::Id(VersionId::parse("1234567890.12345").unwrap());
        for (method, text, is_versioned, expected) in [
            (Method::GET, "1234567890.12345", true, Ok(id)),
            (Method::DELETE, "1234567890.12345", true, Ok(id)),
            (Method::PUT, "1234567890.12345", true, Ok(id)),
            (Method::GET, "null", true, Ok(Wanted::Null)),
            (Method::DELETE, "null", false, Ok(Wanted::Null)),
            (Method::PUT, "null", true, Err(400)),
            (Method::POST, "1234567890.12345", true, Err(400)),
            (Method::POST, "null", false, Err(400)),
            (Method::GET, "1234567890.12345", false, Err(400)),
            (Method::GET, "bad", true, Err(400)),
            (Method::GET, "bad", false, Err(400)),
            (Method::PUT, "nan", true, Err(400)),
        ] {
            let found = parse(&method, text, is_versioned).map_err(|refusal| refusal.status().as_u16());
            assert_eq!(found, expected, "{method} {text} {is_versioned}");
        }
    }
}
