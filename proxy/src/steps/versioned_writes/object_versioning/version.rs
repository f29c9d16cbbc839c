//! Requests about one version, which `?version-id` names.

use super::super::stored;
use super::{NULL, Refusal, VERSION_ID, Versioned, judge, refuse};
use crate::context::{self, OwnContentType};
use crate::pipeline::Next;
use crate::steps::paths::allow_reserved_names;
use crate::steps::slo::{SLO_SIZE, parts as upload_parts};
use crate::steps::{answer, dispatch};
use http::header::{CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, ETAG, HeaderValue, TRANSFER_ENCODING};
use http::{Method, StatusCode};
use martlet_protocol::header;
use martlet_protocol::name::{ObjectPath, Target};
use martlet_protocol::version::{DELETE_MARKER, VersionId, is_delete_marker};
use martlet_service::{Body, Request, Response, headers};

/// What a client might say of an object that it puts, and cannot of a version that is there.
const OF_THE_VERSION: [&str; 5] = [
    "etag",
    "transfer-encoding",
    "expect",
    "x-detect-content-type",
    header::X_OBJECT_MANIFEST,
];

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
    is_versioned: bool,
    wanted: Wanted,
) -> Result<Response, Refusal> {
    let id = match wanted {
        Wanted::Id(id) if is_versioned => id,
        // Elsewhere nothing but null versions can be.
        Wanted::Id(_) => return Ok(next.run(request).await),
        Wanted::Null => return null(request, next, is_versioned).await,
    };
    let method = request.method().clone();
    let versioned = Versioned::new(&request, next, path);
    match method {
        Method::GET | Method::HEAD => versioned.get_version(request, id).await,
        Method::PUT => versioned.put_version(request, id).await,
        Method::DELETE => versioned.delete_version(request, id).await,
        _ => Ok(versioned.next.run(request).await),
    }
}

/// The object itself, if it is no version.
async fn null(request: Request, next: Next, is_versioned: bool) -> Result<Response, Refusal> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let mut response = next.run(request).await;
    if !is_read || !is_versioned {
        return Ok(response);
    }
    let is_version = response.headers_mut().remove(header::CURRENT_VERSION).is_some()
        && !response.headers().contains_key(CONTENT_LOCATION);
    if is_version {
        return Err(Box::new(answer::status(StatusCode::NOT_FOUND)));
    }
    if response.status().is_success() {
        headers::set(response.headers_mut(), VERSION_ID, NULL);
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

    async fn get_version(self, mut request: Request, id: VersionId) -> Result<Response, Refusal> {
        self.towards(&mut request, id)?;
        let mut response = self.next.run(request).await;
        let map = response.headers_mut();
        map.remove(header::CURRENT_VERSION);
        if headers::text(map, CONTENT_TYPE.as_str()).is_some_and(is_delete_marker) {
            let mut gone = answer::status(StatusCode::NOT_FOUND);
            headers::set(gone.headers_mut(), VERSION_ID, &id.text());
            let kind = HeaderValue::from_static(DELETE_MARKER);
            gone.headers_mut().insert(CONTENT_TYPE, kind);
            return Ok(gone);
        }
        if response.status().is_success() {
            headers::set(response.headers_mut(), VERSION_ID, &id.text());
        }
        Ok(response)
    }

    /// Deletes a version for good. When it is the current one, the object goes with it.
    async fn delete_version(self, mut request: Request, id: VersionId) -> Result<Response, Refusal> {
        let version = self.version(id)?;
        dispatch::Judge::of(&request, &self.next, &version)
            .verdict()
            .await?;
        // Before it is known what is current: whatever is written from now on is newer.
        let moment = self.moment(&request)?;
        headers::set(request.headers_mut(), header::X_TIMESTAMP, &moment.internal());
        let current = self.current().await?;
        if current == Some(id) {
            let name = header::X_BACKEND_MARTLET_VERSION_ID;
            headers::set(request.headers_mut(), name, &id.text());
        }
        let left = current.filter(|current| *current != id);
        context::retarget(&mut request, Target::Object(version), "");
        allow_reserved_names(&mut request);
        let mut response = self.next.run(request).await;
        let map = response.headers_mut();
        headers::set(map, VERSION_ID, &id.text());
        let left = left.map_or(NULL.to_owned(), VersionId::text);
        headers::set(map, CURRENT_VERSION_ID, &left);
        Ok(response)
    }

    /// The version that is current.
    pub(super) async fn current(&self) -> Result<Option<VersionId>, Refusal> {
        let head = stored::pointer(&self.next, &self.origin, &self.path).await;
        if head.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let head = judge(head)?;
        let id = headers::text(head.headers(), header::CURRENT_VERSION);
        Ok(id.and_then(|id| VersionId::parse(id).ok()))
    }

    /// Makes a version current again.
    async fn put_version(self, mut request: Request, id: VersionId) -> Result<Response, Refusal> {
        refuse_body(&mut request).await?;
        dispatch::Judge::of(&request, &self.next, &self.path)
            .verdict()
            .await?;
        let moment = self.moment(&request)?;
        let head = stored::read(&self.next, &self.origin, Method::HEAD, &self.version(id)?).await;
        let unknown = || refuse(StatusCode::NOT_FOUND, "The specified version does not exist");
        if head.status() == StatusCode::NOT_FOUND {
            return Err(unknown());
        }
        let (head, _) = judge(head)?.into_parts();
        let said = |name: &str| headers::text(&head.headers, name);
        let content_type = said(CONTENT_TYPE.as_str()).unwrap_or("application/octet-stream");
        if is_delete_marker(content_type) {
            return Err(unknown());
        }
        let etag = said(ETAG.as_str())
            .unwrap_or_default()
            .trim_matches('"')
            .to_owned();
        let size = said(SLO_SIZE).or(said(CONTENT_LENGTH.as_str())).unwrap_or("0");
        let map = request.headers_mut();
        for name in OF_THE_VERSION {
            map.remove(name);
        }
        for (name, value) in [
            (header::X_TIMESTAMP, moment.internal().as_str()),
            (header::CURRENT_VERSION, &id.text()),
            (
                header::OVERRIDE_ETAG,
                said(header::OVERRIDE_ETAG).unwrap_or(&etag),
            ),
            (header::OVERRIDE_SIZE, said(header::OVERRIDE_SIZE).unwrap_or(size)),
            (CONTENT_TYPE.as_str(), content_type),
        ] {
            headers::set(map, name, value);
        }
        map.insert(CONTENT_LENGTH, HeaderValue::from(0_u64));
        request.extensions_mut().insert(OwnContentType);
        // Null data that is replaced becomes a version, made up of its parts.
        request.extensions_mut().insert(upload_parts::KeepsParts);
        *request.body_mut() = Body::empty();
        context::retarget(&mut request, Target::Object(self.path.clone()), "");
        let mut response = self.next.at(upload_parts::STEP).run(request).await;
        if response.status().is_success() {
            let map = response.headers_mut();
            headers::set(map, ETAG.as_str(), &etag);
            headers::set(map, VERSION_ID, &id.text());
        }
        Ok(response)
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
