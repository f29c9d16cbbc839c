//! Objects as they are kept: links unfollowed, manifests unjoined, in the cluster's own name. How versions are moved.

use crate::context::{Origin, OwnContentType};
use crate::pipeline::Next;
use crate::steps::slo::{SLO_SIZE, parts};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use martlet_protocol::header;
use martlet_protocol::name::{ObjectPath, Target};
use martlet_protocol::timestamp::Timestamp;
use martlet_protocol::version::DELETE_MARKER;
use martlet_service::{Body, Response, headers};

/// The step behind all that change what an object means.
const CORE: &str = "proxy-server";

/// The object under a path, the newest that any replica of a majority has.
pub async fn read(next: &Next, origin: &Origin, method: Method, path: &ObjectPath) -> Response {
    ask(next, origin, method, path, &[header::X_NEWEST]).await
}

/// HEAD of what stands under an object's own name when its versions are kept.
pub async fn pointer(next: &Next, origin: &Origin, path: &ObjectPath) -> Response {
    let marks = [header::X_NEWEST, header::X_BACKEND_MARTLET_POINTER];
    ask(next, origin, Method::HEAD, path, &marks).await
}

async fn ask(
    next: &Next,
    origin: &Origin,
    method: Method,
    path: &ObjectPath,
    marks: &[&'static str],
) -> Response {
    let mut request = origin.request(method, Target::Object(path.clone()), "");
    for mark in marks {
        request
            .headers_mut()
            .insert(HeaderName::from_static(mark), HeaderValue::from_static("true"));
    }
    next.at(CORE).run(request).await
}

/// Stores what [`read`] gave under another name, metadata and all. The body streams from the one to the other.
///
/// `moment` dates the copy; without one it is new.
pub async fn copy(
    next: &Next,
    origin: &Origin,
    source: Response,
    to: &ObjectPath,
    moment: Option<Timestamp>,
) -> StatusCode {
    let (parts, body) = source.into_parts();
    let mut map = kept(&parts.headers);
    match body.content_length() {
        Some(length) => {
            map.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        None => {
            if let Some(value) = parts.headers.get(CONTENT_LENGTH) {
                map.insert(CONTENT_LENGTH, value.clone());
            }
        }
    }
    put(next, origin, to, map, body, moment).await
}

/// Writes a delete marker.
pub async fn mark_deleted(
    next: &Next,
    origin: &Origin,
    path: &ObjectPath,
    moment: Option<Timestamp>,
) -> StatusCode {
    let mut map = HeaderMap::new();
    headers::set(&mut map, CONTENT_TYPE.as_str(), DELETE_MARKER);
    map.insert(CONTENT_LENGTH, HeaderValue::from(0_u64));
    put(next, origin, path, map, Body::empty(), moment).await
}

async fn put(
    next: &Next,
    origin: &Origin,
    path: &ObjectPath,
    map: HeaderMap,
    body: Body,
    moment: Option<Timestamp>,
) -> StatusCode {
    let mut request = origin.request(Method::PUT, Target::Object(path.clone()), "");
    request.headers_mut().extend(map);
    if let Some(moment) = moment {
        headers::set(request.headers_mut(), header::X_TIMESTAMP, &moment.internal());
    }
    request.extensions_mut().insert(OwnContentType);
    *request.body_mut() = body;
    next.at(parts::STEP).run(request).await.status()
}

/// Deletes an object. `keeps_parts`: what it was made up of belongs to a copy now.
pub async fn delete(next: &Next, origin: &Origin, path: &ObjectPath, keeps_parts: bool) -> Response {
    let mut request = origin.request(Method::DELETE, Target::Object(path.clone()), "");
    if keeps_parts {
        request.extensions_mut().insert(parts::KeepsParts);
    }
    next.at(parts::STEP).run(request).await
}

/// What an object is, beside its bytes: the headers of an answer that make the same object again.
fn kept(source: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, value) in source {
        let text = name.as_str();
        let is_kept = *name == CONTENT_TYPE
            || *name == ETAG
            || text == header::X_STATIC_LARGE_OBJECT
            || header::KEPT_OBJECT_HEADERS.contains(&text)
            || header::is_user_meta(text)
            || (header::is_sysmeta(text) && text != header::CURRENT_VERSION)
            || header::is_transient_sysmeta(text);
        if is_kept {
            kept.append(name.clone(), value.clone());
        }
    }
    // A manifest that Swift's proxy wrote tells its size in its row only.
    if let Some(size) = source.get(SLO_SIZE)
        && !kept.contains_key(header::OVERRIDE_SIZE)
    {
        kept.insert(HeaderName::from_static(header::OVERRIDE_SIZE), size.clone());
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_the_same_object() {
        let mut source = HeaderMap::new();
        for (name, value) in [
            ("content-type", "a/b"),
            ("etag", "e"),
            ("x-object-meta-a", "1"),
            ("x-object-sysmeta-slo-size", "7"),
            (header::CURRENT_VERSION, "1234567890.12345"),
            ("x-object-transient-sysmeta-x", "2"),
            ("x-static-large-object", "True"),
            ("x-delete-at", "9999999999"),
            ("x-timestamp", "1"),
            ("last-modified", "x"),
            ("accept-ranges", "bytes"),
        ] {
            headers::set(&mut source, name, value);
        }
        let kept = kept(&source);
        for gone in [
            header::CURRENT_VERSION,
            "x-timestamp",
            "last-modified",
            "accept-ranges",
        ] {
            assert!(!kept.contains_key(gone), "{gone}");
        }
        assert_eq!(kept.len(), 8);
        assert_eq!(kept[header::OVERRIDE_SIZE], "7");
    }
}
