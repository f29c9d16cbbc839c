//! GET and HEAD of static large objects: the manifest itself, or the bytes it stands for.

use super::facts::{self, Facts, Manifest};
use super::stored::{self, Content, Segment};
use super::{MULTIPART, SLO_ETAG, etag_is_at, ignore_range_if, is_slo, walk};
use crate::context::Origin;
use crate::pipeline::Next;
use crate::steps::answer;
use crate::steps::segments::{self, Joined, Source, Wanted};
use http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, RANGE,
};
use http::{Extensions, Method, StatusCode, Uri};
use martlet_protocol::conditions::{Conditions, Verdict};
use martlet_protocol::header;
use martlet_protocol::name::{ObjectPath, Target};
use martlet_protocol::query::Query;
use martlet_protocol::range::ByteRange;
use martlet_service::{Body, Request, Response, collect, headers, respond};
use md5::{Digest, Md5};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a kept manifest: 10,000 segments with the longest names.
const MAX_MANIFEST_BYTES: usize = 48 << 20;
/// Headers by which a client asks for less than the whole, or for nothing.
const PARTIAL: [HeaderName; 5] = [
    RANGE,
    IF_MATCH,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_UNMODIFIED_SINCE,
];
const DAMAGED: &str = "Unable to load SLO manifest";

/// `?multipart-manifest=get`: the manifest, as it is kept or (`raw`) as a client could send it again.
pub async fn manifest(mut request: Request, next: Next, raw: bool) -> Response {
    let is_head = *request.method() == Method::HEAD;
    if raw {
        // Its length and ETag are not known before it is written, and a part of the kept form is no part of it.
        *request.method_mut() = Method::GET;
        ignore_range_if(request.headers_mut(), header::X_STATIC_LARGE_OBJECT);
    }
    let mut response = next.run(request).await;
    let is_shown = response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED;
    if !is_slo(response.headers()) || !is_shown {
        return without_body_if(is_head, response);
    }
    if !raw {
        let json = HeaderValue::from_static("application/json; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, json);
        return response;
    }
    if response.status() != StatusCode::OK {
        return without_body_if(is_head, response);
    }
    let (mut parts, body) = response.into_parts();
    let Some(segments) = read(body).await else {
        return without_body_if(is_head, damaged());
    };
    let body = stored::raw(&segments);
    let etag = hex::encode(Md5::digest(&body));
    // The type stays the large object's: whoever sends this form again sends that type with it.
    parts
        .headers
        .insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    headers::set(&mut parts.headers, ETAG.as_str(), &etag);
    let response = respond::with(StatusCode::OK, parts.headers, Body::full(body));
    without_body_if(is_head, response)
}

fn without_body_if(is_head: bool, response: Response) -> Response {
    match is_head {
        true => response.map(|_| Body::empty()),
        false => response,
    }
}

fn damaged() -> Response {
    answer::words(StatusCode::INTERNAL_SERVER_ERROR, DAMAGED)
}

pub async fn read(body: Body) -> Option<Vec<Segment>> {
    let bytes = collect(body, MAX_MANIFEST_BYTES).await.ok()?;
    stored::parse(&bytes)
}

/// A manifest as it is kept.
pub struct Kept {
    pub segments: Vec<Segment>,
    /// The upload's id, if an S3 upload wrote it.
    pub multipart: Option<String>,
}

/// Why a manifest could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    NotFound,
    /// 401 or 403.
    Refused(StatusCode),
    NotAManifest,
    Damaged,
    Unavailable,
}

impl Unread {
    /// As reports say it.
    pub fn words(self) -> String {
        match self {
            Unread::NotFound => "SLO manifest not found".into(),
            Unread::Refused(status) => answer::line(status),
            Unread::NotAManifest => "Not an SLO manifest".into(),
            Unread::Damaged => DAMAGED.into(),
            Unread::Unavailable => "Unable to load SLO manifest or segment.".into(),
        }
    }

    /// Whether asking again may help.
    pub fn is_temporary(self) -> bool {
        self == Unread::Unavailable
    }
}

/// The manifest under a path (a version of it, if one is named), asked for in `origin`'s name.
pub async fn fetch(
    path: &ObjectPath,
    version_id: Option<&str>,
    next: &Next,
    origin: &Origin,
) -> Result<Kept, Unread> {
    let mut query = Query::default();
    query.push("multipart-manifest", "get");
    if let Some(version_id) = version_id {
        query.push("version-id", version_id);
    }
    let mut request = origin.request(Method::GET, Target::Object(path.clone()), &query.encode());
    // Of anything else one byte is enough to see that it is no manifest.
    request
        .headers_mut()
        .insert(RANGE, HeaderValue::from_static("bytes=-1"));
    ignore_range_if(request.headers_mut(), header::X_STATIC_LARGE_OBJECT);
    let response = next.clone().at("slo").run(request).await;
    match response.status() {
        StatusCode::OK if is_slo(response.headers()) => {}
        // An empty object has no last byte.
        status if status.is_success() || status == StatusCode::RANGE_NOT_SATISFIABLE => {
            return Err(Unread::NotAManifest);
        }
        StatusCode::NOT_FOUND => return Err(Unread::NotFound),
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => return Err(Unread::Refused(status)),
        _ => return Err(Unread::Unavailable),
    }
    let (parts, body) = response.into_parts();
    Ok(Kept {
        multipart: headers::text(&parts.headers, MULTIPART).map(str::to_owned),
        segments: read(body).await.ok_or(Unread::Damaged)?,
    })
}

/// A GET or HEAD as it came, so that it can be asked again in other ways.
struct Asked {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    extensions: Extensions,
    /// What steps above named before this one did.
    etag_is_at: String,
}

impl Asked {
    fn of(request: &Request) -> Self {
        let etag_is_at = headers::text(request.headers(), header::X_BACKEND_ETAG_IS_AT).unwrap_or("");
        Asked {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
            etag_is_at: etag_is_at.to_owned(),
            extensions: request.extensions().clone(),
        }
    }

    fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    /// The same request once more.
    fn again(&self) -> Request {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        *request.extensions_mut() = self.extensions.clone();
        request
    }

    /// The same object, whole and without conditions.
    fn whole(&self) -> Request {
        let mut request = self.again();
        *request.method_mut() = Method::GET;
        for name in &PARTIAL {
            request.headers_mut().remove(name);
        }
        request
    }
}

/// The object itself. What is no large object passes through as it is.
pub async fn object(mut request: Request, next: Next, path: ObjectPath, query: &Query) -> Response {
    let asked = Asked::of(&request);
    ignore_range_if(request.headers_mut(), header::X_STATIC_LARGE_OBJECT);
    etag_is_at(request.headers_mut(), SLO_ETAG);
    let response = next.clone().run(request).await;
    match Facts::of(response.headers()) {
        Some(facts) => Box::pin(static_large(asked, next, path, query, response, facts)).await,
        None => response,
    }
}

/// The answer for an object that is the manifest of a large one.
async fn static_large(
    asked: Asked,
    next: Next,
    path: ObjectPath,
    query: &Query,
    response: Response,
    facts: Facts,
) -> Response {
    let part = match facts::part_number(query.get("part-number"), asked.headers.contains_key(RANGE)) {
        Ok(part) => part,
        Err(words) => {
            return without_body_if(asked.is_head(), answer::words(StatusCode::BAD_REQUEST, words));
        }
    };
    match facts::manifest(
        asked.is_head(),
        response.status(),
        facts.is_legacy(),
        part.is_some(),
    ) {
        Manifest::Refusal => refusal(response, &facts),
        Manifest::NotNeeded => large(asked, next, path, response, facts, None).await,
        Manifest::AtHand => {
            let (parts, body) = response.into_parts();
            let Some(segments) = read(body).await else {
                return damaged();
            };
            let response = Response::from_parts(parts, Body::empty());
            large(asked, next, path, response, facts, Some((segments, part))).await
        }
        Manifest::AskAgain => {
            let response = next.clone().run(asked.whole()).await;
            let again = Facts::of(response.headers()).filter(|_| response.status() == StatusCode::OK);
            let Some(again) = again else {
                return changed(asked, next, response, &facts).await;
            };
            let (parts, body) = response.into_parts();
            let Some(segments) = read(body).await else {
                return without_body_if(asked.is_head(), damaged());
            };
            let response = Response::from_parts(parts, Body::empty());
            large(asked, next, path, response, again, Some((segments, part))).await
        }
    }
}

/// A manifest was there, and is no more. What replaced it is asked for as the client asked; an answer that knows less
/// than the first one is not believed.
async fn changed(asked: Asked, next: Next, second: Response, first: &Facts) -> Response {
    if facts::timestamp(second.headers()) > first.timestamp {
        return next.run(asked.again()).await;
    }
    without_body_if(asked.is_head(), answer::status(StatusCode::SERVICE_UNAVAILABLE))
}

/// A refusal by conditions names the large object's ETag, not the manifest's.
fn refusal(mut response: Response, facts: &Facts) -> Response {
    if let Some(etag) = &facts.etag {
        let map = response.headers_mut();
        headers::set(map, ETAG.as_str(), &format!("\"{etag}\""));
        headers::set(map, "x-manifest-etag", &facts.manifest_etag);
    }
    response
}

/// Answers for the large object. `manifest`: its segments, and the number of the one that is asked for; `None` where
/// the headers are enough.
async fn large(
    asked: Asked,
    next: Next,
    path: ObjectPath,
    response: Response,
    facts: Facts,
    manifest: Option<(Vec<Segment>, Option<u64>)>,
) -> Response {
    let is_head = asked.is_head();
    let (mut parts, _) = response.into_parts();
    let (segments, part) = manifest.unwrap_or_default();
    let Some(contents) = walk::contents(&segments, &path.account) else {
        return without_body_if(is_head, damaged());
    };
    let total = facts
        .size
        .unwrap_or_else(|| contents.iter().map(Content::len).sum());
    let etag = facts.etag.clone().unwrap_or_else(|| stored::etag(&segments));
    headers::set(&mut parts.headers, "x-manifest-etag", &facts.manifest_etag);
    let conditions = Conditions::parse(|name| headers::text(&asked.headers, name));
    let verdict = facts.judge(&conditions, &asked.etag_is_at, &parts.headers, &etag);
    let wanted = match part {
        None => Wanted::Header(headers::text(&asked.headers, RANGE.as_str()).map(str::to_owned)),
        Some(number) => {
            headers::set(&mut parts.headers, "x-parts-count", &contents.len().to_string());
            match part_range(&contents, number) {
                Some(range) => Wanted::Part(range),
                None if verdict == Verdict::Proceed => {
                    return no_such_part(parts.headers, &etag, total, is_head);
                }
                None => Wanted::Header(None),
            }
        }
    };
    let origin = Origin::of(&asked.again());
    // Parts of an upload are in a container that only the cluster may read.
    let origin = match parts.headers.contains_key(MULTIPART) {
        true => origin.privileged(),
        false => origin,
    };
    let config = &next.edge().config.slo;
    let source = Source {
        next: next.at("slo"),
        origin,
        read_ahead: config.read_ahead,
        rate_limit: config.rate_limit(),
        max_time: Duration::from_secs(config.max_get_time),
    };
    let joined = Joined {
        headers: parts.headers,
        etag,
        length: Some(total),
        known_length: total,
        verdict,
        is_head,
        wanted,
        source: source.clone(),
    };
    segments::answer(joined, |window| {
        let window = window.unwrap_or(ByteRange { start: 0, end: total });
        let (next, origin) = (source.next.clone(), source.origin.clone());
        walk::pieces(Arc::clone(&contents), window, path.account.clone(), next, origin)
    })
    .await
}

/// Where a segment lies in the whole; `None` if there is none of that number, or it gives no bytes.
fn part_range(contents: &[Content], number: u64) -> Option<ByteRange> {
    let index = usize::try_from(number.checked_sub(1)?).ok()?;
    let length = contents.get(index)?.len();
    let start = contents[..index].iter().map(Content::len).sum::<u64>();
    (length > 0).then(|| ByteRange {
        start,
        end: start + length,
    })
}

fn no_such_part(mut out: HeaderMap, etag: &str, total: u64, is_head: bool) -> Response {
    const WORDS: &str = "The requested part number is not satisfiable";
    let body = if is_head { "" } else { WORDS };
    headers::set(&mut out, ETAG.as_str(), &format!("\"{etag}\""));
    headers::set(&mut out, CONTENT_RANGE.as_str(), &format!("bytes */{total}"));
    out.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    respond::with(StatusCode::RANGE_NOT_SATISFIABLE, out, Body::full(body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn parts_are_segments_counted_from_one() {
        let contents: Vec<Content> = ["abc", "de", ""]
            .into_iter()
            .map(|text| Content::Data(Bytes::from(text)))
            .collect();
        let part = |number| part_range(&contents, number).map(|range| (range.start, range.end));
        assert_eq!(part(1), Some((0, 3)));
        assert_eq!(part(2), Some((3, 5)));
        for none in [0, 3, 4, u64::MAX] {
            assert_eq!(part(none), None, "{none}");
        }
    }
}
