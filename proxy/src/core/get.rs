//! GET and HEAD of an object: one fresh replica, hedged, or a majority; a broken body goes on from another.

use super::Core;
use super::answer;
use super::authorize::Authorize;
use super::backend;
use super::content_type;
use super::placement::{Peer, Placement, Which};
use super::put::authorized;
use super::ranges;
use super::read::{Outcome, Read, Taken, read};
use super::resume::{Others, Resumer, Version};
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE,
};
use http::request::Parts;
use http::{Method, StatusCode, response};
use martlet_protocol::header;
use martlet_protocol::name::ObjectPath;
use martlet_service::{Body, Response, headers, respond};
use std::sync::Arc;

/// Bodies up to this length are gathered before the answer is given: one write carries head and body, and a copy that
/// turns out corrupt is replaced before the client has seen anything.
const GATHERED_BYTES: u64 = 64 << 10;

/// Request headers that the object server acts on.
const PASSED: [&str; 10] = [
    "range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    header::X_BACKEND_ETAG_IS_AT,
    "x-backend-ignore-range-if-metadata-present",
    header::X_BACKEND_OPEN_EXPIRED,
    header::X_BACKEND_ALLOW_RESERVED_NAMES,
    header::X_BACKEND_MARTLET_POINTER,
];
/// Those of them that depend on what the client wants of the body; probes go without, and so do requests for the rest of
/// a body, which must be a range of it whatever it is.
const CONDITIONS: [&str; 6] = [
    "x-backend-ignore-range-if-metadata-present",
    "range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
];

pub async fn handle(
    core: &Arc<Core>,
    request: &Parts,
    path: ObjectPath,
    authorize: &dyn Authorize,
) -> Response {
    get(core, request, &path, authorize)
        .await
        .unwrap_or_else(|refusal| refusal)
}

/// One object to be read.
#[derive(Clone)]
pub struct Object<'a> {
    pub core: &'a Arc<Core>,
    pub placement: Placement,
    /// Quoted, from the account on.
    pub path: String,
    /// Without conditions and range.
    pub plain_headers: Arc<HeaderMap>,
    pub newest: bool,
}

async fn get(
    core: &Arc<Core>,
    request: &Parts,
    path: &ObjectPath,
    authorize: &dyn Authorize,
) -> Result<Response, Response> {
    let info = authorized(core, &request.method, path, authorize).await?;
    let hash = core
        .salt
        .hash(&path.account, Some(&path.container), Some(&path.object));
    let placement = core
        .placer
        .place(Which::Object(info.policy), &hash)
        .ok_or_else(answer::unavailable)?;
    let mut full = backend::common_headers(
        Which::Object(info.policy),
        &backend::trans_id(&request.headers, &request.extensions),
    );
    let mut has_conditions = false;
    for (name, value) in &request.headers {
        if PASSED.contains(&name.as_str()) && !full.contains_key(name) {
            has_conditions |= CONDITIONS.contains(&name.as_str());
            full.insert(name.clone(), value.clone());
        }
    }
    backend::open_expired(core, &request.headers, &mut full);
    let full = Arc::new(full);
    let plain_headers = match has_conditions {
        false => Arc::clone(&full),
        true => Arc::new(without_conditions(&full)),
    };
    let newest = headers::is_true(&request.headers, header::X_NEWEST);
    let object = Object {
        core,
        placement,
        path: path.path(),
        plain_headers,
        newest,
    };
    if request.method == Method::HEAD {
        return object.head(full).await;
    }
    if ranges::wants_many(&full) {
        return ranges::get(&object, Arc::unwrap_or_clone(full)).await;
    }
    let taken = object.ask(Method::GET, full).await?;
    Ok(object.respond(taken).await)
}

fn without_conditions(full: &HeaderMap) -> HeaderMap {
    let mut plain = full.clone();
    for name in CONDITIONS {
        plain.remove(name);
    }
    plain
}

impl Object<'_> {
    /// The answer of a node that is to be believed.
    ///
    /// # Errors
    /// The 404 or 503 for the client.
    pub async fn ask(&self, method: Method, full: Arc<HeaderMap>) -> Result<Taken, Response> {
        match self.read(method, full).await {
            Outcome::Taken(taken) => Ok(*taken),
            Outcome::NotFound => Err(answer::not_found()),
            Outcome::Unavailable => Err(answer::unavailable()),
        }
    }

    /// What the nodes say.
    pub async fn read(&self, method: Method, full: Arc<HeaderMap>) -> Outcome {
        let probe_headers = (method == Method::GET).then(|| Arc::clone(&self.plain_headers));
        let read_of = Read {
            placement: &self.placement,
            method,
            path: &self.path,
            query: None,
            headers: full,
            probe_headers,
        };
        read(self.core, &read_of, self.newest).await
    }

    async fn head(&self, full: Arc<HeaderMap>) -> Result<Response, Response> {
        let taken = self.ask(Method::HEAD, full).await?;
        let (parts, _) = taken.response.into_parts();
        Ok(shown(parts.status, parts.headers, Body::empty()))
    }

    /// Turns a node's answer into the client's.
    async fn respond(self, taken: Taken) -> Response {
        let (parts, body) = taken.response.into_parts();
        let version = Version::of(&parts.headers);
        if !matches!(parts.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
            return refused(parts.status, parts.headers);
        }
        let Some((start, end)) = extent(&parts, &body) else {
            // A length nobody told: passed on as it comes, it cannot be resumed.
            return shown(parts.status, parts.headers, body);
        };
        if body
            .as_full()
            .is_some_and(|bytes| bytes.len() as u64 == end - start)
        {
            return shown(parts.status, parts.headers, body);
        }
        let path = (end - start <= GATHERED_BYTES).then(|| self.path.clone());
        let resumer = Resumer::new(start, end, body, self.into_others(version, taken.others));
        let Some(path) = path else {
            return shown(parts.status, parts.headers, resumer.into_body());
        };
        match resumer.gather().await {
            Ok(bytes) => shown(parts.status, parts.headers, Body::full(bytes)),
            Err(error) => {
                tracing::warn!(path, %error, "no replica could send a whole body");
                answer::unavailable()
            }
        }
    }

    /// Who may go on with a body of this version when it breaks: these first.
    pub fn into_others(self, version: Version, nodes: Vec<Arc<Peer>>) -> Others {
        Others {
            core: Arc::clone(self.core),
            placement: self.placement,
            path: self.path,
            headers: self.plain_headers,
            version,
            nodes: nodes.into(),
            asked_handoffs: false,
        }
    }
}

/// First byte, and one past the last, of what an answer with a body brings; `None` if it does not say.
pub fn extent(head: &response::Parts, body: &Body) -> Option<(u64, u64)> {
    match head.status {
        StatusCode::OK => content_length(&head.headers, body).map(|length| (0, length)),
        StatusCode::PARTIAL_CONTENT => single_range(&head.headers),
        _ => None,
    }
}

fn content_length(head: &HeaderMap, body: &Body) -> Option<u64> {
    headers::text(head, CONTENT_LENGTH.as_str())
        .and_then(|text| text.trim().parse().ok())
        .or_else(|| body.content_length())
}

/// First byte, and one past the last, of a `Content-Range` such as `bytes 0-9/100`.
fn single_range(head: &HeaderMap) -> Option<(u64, u64)> {
    let text = headers::text(head, CONTENT_RANGE.as_str())?;
    let (range, _) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last.checked_add(1)?))
}

/// 304, 412 and 416: the node's headers, in Swift's words.
pub fn refused(status: StatusCode, head: HeaderMap) -> Response {
    if status == StatusCode::NOT_MODIFIED {
        let mut response = shown(status, head, Body::empty());
        response.headers_mut().remove(CONTENT_LENGTH);
        return response;
    }
    let page = answer::page(status);
    let (parts, body) = page.into_parts();
    let mut head = head;
    head.remove(CONTENT_LENGTH);
    for (name, value) in &parts.headers {
        head.insert(name.clone(), value.clone());
    }
    shown(status, head, body)
}

/// The answer a client sees: without the inside's headers.
pub fn shown(status: StatusCode, head: HeaderMap, body: Body) -> Response {
    let mut head = backend::without_backend_headers(head);
    head.remove(http::header::CONNECTION);
    head.remove(http::header::TRANSFER_ENCODING);
    head.entry(ACCEPT_RANGES)
        .or_insert(HeaderValue::from_static("bytes"));
    let kind = headers::text(&head, CONTENT_TYPE.as_str()).and_then(content_type::without_size);
    if let Some(kind) = kind.map(str::to_owned) {
        headers::set(&mut head, CONTENT_TYPE.as_str(), &kind);
    }
    head.entry(CONTENT_TYPE)
        .or_insert(HeaderValue::from_static("application/octet-stream"));
    respond::with(status, head, body)
}

/// The range header of a request, as text.
pub fn range_header(head: &HeaderMap) -> Option<&str> {
    headers::text(head, RANGE.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read() {
        for (text, expected) in [
            ("bytes 0-9/100", Some((0, 10))),
            ("bytes 5-5/6", Some((5, 6))),
            ("bytes */100", None),
            ("bytes 9-5/100", None),
            ("bytes 0-18446744073709551615/1", None),
            ("items 0-9/100", None),
        ] {
            let mut head = HeaderMap::new();
            headers::set(&mut head, "content-range", text);
            assert_eq!(single_range(&head), expected, "{text}");
        }
    }
}
