//! PUT and DELETE of the current object while versions are kept.

use super::super::{stored, whole};
use super::link::{self, Version};
use super::names::{self, VersionId};
use super::{Refusal, VERSION_ID, Versioned, judge, no_hidden_container, refuse};
use crate::context::PreAuthorized;
use crate::core::{TrailingMetadata, content_type};
use crate::steps::paths::allow_reserved_names;
use crate::steps::slo::{SLO_SIZE, parts as upload_parts};
use crate::steps::symlink::link::TARGET;
use crate::steps::{answer, dispatch};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use http::request::Parts;
use http::{Method, StatusCode};
use martlet_protocol::header;
use martlet_protocol::name::{ObjectPath, Target};
use martlet_protocol::timestamp::Timestamp;
use martlet_service::{Body, Request, Response, headers};

/// What stands under the object's own name.
enum Current {
    Missing,
    /// A link to a version: nothing to keep.
    Version,
    /// Data that was written while versions were not kept, and when.
    Null(Timestamp),
}

/// What a write of a version came to.
enum Written {
    Version(Version),
    /// It was answered without making one: something newer has its name.
    Answered(Response),
}

impl Versioned {
    pub async fn put(self, request: Request) -> Result<Response, Refusal> {
        dispatch::Judge::of(&request, &self.next, &self.path)
            .verdict()
            .await?;
        let moment = self.moment(&request)?;
        let limit = self.next.edge().config.constraints.max_object_name_length;
        if self.path.object.len() > limit {
            let words = format!(
                "Object name length of {} longer than {limit}",
                self.path.object.len()
            );
            return Err(Box::new(answer::words(StatusCode::BAD_REQUEST, words)));
        }
        let current = self.current().await?;
        let only_if_absent = headers::text(request.headers(), IF_NONE_MATCH.as_str());
        if only_if_absent.is_some_and(|value| value.contains('*')) && !matches!(current, Current::Missing) {
            return Err(Box::new(answer::status(StatusCode::PRECONDITION_FAILED)));
        }
        let (mut parts, body) = request.into_parts();
        self.settle_type(&mut parts.headers);
        let asked = parts.clone();
        let version = match self.write_version(parts, body, moment).await? {
            Written::Version(version) => version,
            Written::Answered(response) => return Ok(response),
        };
        // The version is there: what makes it current happens whole.
        let edge = self.next.edge().clone();
        let finish = async move {
            self.keep(&current).await?;
            self.make_current(asked, &version, moment, true).await
        };
        whole::run(&edge.tasks, "a version becomes current", finish).await
    }

    pub async fn delete(self, request: Request) -> Result<Response, Refusal> {
        dispatch::Judge::of(&request, &self.next, &self.path)
            .verdict()
            .await?;
        let edge = self.next.edge().clone();
        whole::run(&edge.tasks, "a delete marker", self.mark_deleted(request)).await
    }

    async fn mark_deleted(self, mut request: Request) -> Result<Response, Refusal> {
        let moment = self.moment(&request)?;
        let current = self.current().await?;
        self.keep(&current).await?;
        let id = VersionId::of(moment);
        let marker = names::version_path(&self.path, &self.hidden, id).ok_or_else(too_long)?;
        match stored::mark_deleted(&self.next, &self.origin, &marker, Some(moment)).await {
            status if status.is_success() => {}
            StatusCode::NOT_FOUND => {
                return Err(Box::new(answer::status(StatusCode::PRECONDITION_FAILED)));
            }
            _ => return Err(Box::new(answer::status(StatusCode::SERVICE_UNAVAILABLE))),
        }
        headers::set(request.headers_mut(), header::X_TIMESTAMP, &moment.internal());
        request.extensions_mut().insert(upload_parts::KeepsParts);
        let mut response = self.next.run(request).await;
        if response.status().is_success() || response.status() == StatusCode::NOT_FOUND {
            let map = response.headers_mut();
            headers::set(map, VERSION_ID, &id.text());
            headers::set(map, "x-backend-content-type", stored::DELETE_MARKER);
        }
        Ok(response)
    }

    /// When the write is: now, unless a step above has said.
    pub(super) fn moment(&self, request: &Request) -> Result<Timestamp, Refusal> {
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

    async fn current(&self) -> Result<Current, Refusal> {
        let head = stored::read(&self.next, &self.origin, Method::HEAD, &self.path).await;
        if head.status() == StatusCode::NOT_FOUND {
            return Ok(Current::Missing);
        }
        let head = judge(head)?;
        if link::is_link(head.headers()) {
            return Ok(Current::Version);
        }
        let moment = headers::text(head.headers(), header::X_TIMESTAMP);
        let moment = moment.and_then(|text| Timestamp::parse(text).ok());
        moment
            .map(Current::Null)
            .ok_or_else(|| Box::new(answer::status(StatusCode::SERVICE_UNAVAILABLE)))
    }

    /// Copies data that is no version yet to where versions are.
    async fn keep(&self, current: &Current) -> Result<(), Refusal> {
        let Current::Null(moment) = current else {
            return Ok(());
        };
        let to =
            names::version_path(&self.path, &self.hidden, VersionId::of(*moment)).ok_or_else(too_long)?;
        let source = stored::read(&self.next, &self.origin, Method::GET, &self.path).await;
        if source.status() == StatusCode::NOT_FOUND {
            return Ok(());
        }
        let source = judge(source)?;
        match stored::copy(&self.next, &self.origin, source, &to, Some(*moment)).await {
            status if status.is_success() => Ok(()),
            StatusCode::NOT_FOUND => Err(no_hidden_container()),
            status if status.is_client_error() => Err(Box::new(answer::status(status))),
            _ => Err(Box::new(answer::status(StatusCode::SERVICE_UNAVAILABLE))),
        }
    }

    /// Chooses the content type by the object's own name, where the client leaves it open.
    fn settle_type(&self, map: &mut HeaderMap) {
        let detects = headers::is_true(map, "x-detect-content-type");
        let is_given = map.get(CONTENT_TYPE).is_some_and(|value| !value.is_empty());
        if map.contains_key(TARGET) || (is_given && !detects) {
            return;
        }
        map.remove("x-detect-content-type");
        let guessed = HeaderValue::from_static(content_type::guess(&self.path.object));
        map.insert(CONTENT_TYPE, guessed);
    }

    /// Writes what the client sends as a version.
    async fn write_version(
        &self,
        mut parts: Parts,
        body: Body,
        moment: Timestamp,
    ) -> Result<Written, Refusal> {
        let id = VersionId::of(moment);
        let path = names::version_path(&self.path, &self.hidden, id).ok_or_else(too_long)?;
        let map = &mut parts.headers;
        // It is the link that expires.
        map.remove(header::X_DELETE_AT);
        map.remove(header::X_DELETE_AFTER);
        headers::set(map, header::X_TIMESTAMP, &moment.internal());
        let number = |name: &str| headers::text(map, name).and_then(|text| text.trim().parse::<u64>().ok());
        let bytes = number(SLO_SIZE)
            .or(number(CONTENT_LENGTH.as_str()))
            .or(body.content_length().filter(|length| *length > 0));
        let content_type = headers::text(map, CONTENT_TYPE.as_str()).map(str::to_owned);
        let is_link = map.contains_key(TARGET);
        parts.extensions.insert(PreAuthorized);
        let mut request = Request::from_parts(parts, body);
        allow_reserved_names(&mut request);
        crate::context::retarget(&mut request, Target::Object(path.clone()), "");
        let response = self.next.clone().run(request).await;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(no_hidden_container());
        }
        let response = judge(response)?;
        let Some(etag) = link::etag(response.headers()).filter(|_| response.status() == StatusCode::CREATED)
        else {
            return Ok(Written::Answered(response));
        };
        if let (Some(bytes), Some(content_type), false) = (bytes, content_type, is_link) {
            let promise = etag.clone();
            return Ok(Written::Version(Version {
                id,
                path,
                etag,
                promise,
                bytes,
                content_type,
            }));
        }
        // Only what is stored tells: a body of unknown length, a link whose type is its target's.
        let head = stored::read(&self.next, &self.origin, Method::HEAD, &path).await;
        self.describe(id, path, &judge(head)?).map(Written::Version)
    }

    /// A version as its own head describes it.
    pub(super) fn describe(
        &self,
        id: VersionId,
        path: ObjectPath,
        head: &Response,
    ) -> Result<Version, Refusal> {
        let map = head.headers();
        let text = |name: &str| headers::text(map, name);
        let bytes = text(SLO_SIZE)
            .or(text(CONTENT_LENGTH.as_str()))
            .and_then(|text| text.parse().ok());
        let (Some(bytes), Some(etag), Some(promise)) = (bytes, link::etag(map), link::promise(map)) else {
            return Err(Box::new(answer::status(StatusCode::SERVICE_UNAVAILABLE)));
        };
        let content_type = text(CONTENT_TYPE.as_str()).unwrap_or("application/octet-stream");
        Ok(Version {
            id,
            path,
            etag,
            promise,
            bytes,
            content_type: content_type.to_owned(),
        })
    }

    /// Makes a version the current object. `keeps_parts`: what the link replaces is kept as a version.
    pub(super) async fn make_current(
        &self,
        mut asked: Parts,
        version: &Version,
        moment: Timestamp,
        keeps_parts: bool,
    ) -> Result<Response, Refusal> {
        asked.method = Method::PUT;
        asked.headers = link::headers(&asked.headers, version);
        // Past what was there at the same moment.
        let moment = moment.with_offset(moment.offset().saturating_add(1));
        headers::set(&mut asked.headers, header::X_TIMESTAMP, &moment.internal());
        asked.extensions.remove::<TrailingMetadata>();
        if keeps_parts {
            asked.extensions.insert(upload_parts::KeepsParts);
        }
        let mut request = Request::from_parts(asked, Body::empty());
        crate::context::retarget(&mut request, Target::Object(self.path.clone()), "");
        let mut response = self.next.at(upload_parts::STEP).run(request).await;
        if response.status().is_success() {
            let map = response.headers_mut();
            headers::set(map, ETAG.as_str(), &version.etag);
            headers::set(map, VERSION_ID, &version.id.text());
        }
        Ok(response)
    }
}

pub(super) fn too_long() -> Refusal {
    refuse(StatusCode::BAD_REQUEST, "Object name is too long to be versioned")
}
