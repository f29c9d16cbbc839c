//! `PUT ?multipart-manifest=put`: each segment is looked at, then the manifest is stored.

use super::manifest::{self, Entry, Found, ObjectEntry};
use super::stored::{self, Segment};
use super::{MULTIPART, SLO_ETAG, SLO_SIZE, is_slo};
use crate::context::{self, Origin, is_true, retarget};
use crate::core::{checks, content_type};
use crate::pipeline::Next;
use crate::steps::accept;
use crate::steps::answer;
use crate::steps::heartbeat::Heartbeat;
use crate::steps::report::{OFFERS, Report};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::{
    ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, LAST_MODIFIED, TRANSFER_ENCODING,
};
use http::{Method, StatusCode};
use martlet_protocol::header;
use martlet_protocol::name::{ObjectPath, Target};
use martlet_protocol::percent;
use martlet_protocol::timestamp::Timestamp;
use martlet_service::{Body, BodyError, CollectError, Request, Response, collect, headers, respond};
use md5::{Digest, Md5};
use serde_json::json;
use std::collections::HashMap;

/// Segments of an S3 upload, whatever clients of the Swift door may use.
const MAX_MULTIPART_SEGMENTS: usize = 10_000;
/// Bytes of the JSON that names them, whatever the length of the key.
const MAX_MULTIPART_BYTES: usize = 32 << 20;
/// Bytes of an answer of the core that a report repeats.
const MAX_WORDS_BYTES: usize = 64 << 10;

pub async fn put(mut request: Request, next: Next, path: ObjectPath) -> Response {
    let has_beat = context::query(&request).get("heartbeat").is_some_and(is_true);
    let entries = match receive(&mut request, &next, &path).await {
        Ok(entries) => entries,
        Err(refusal) => return *refusal,
    };
    let accept = headers::text(request.headers(), ACCEPT.as_str());
    let format = accept::best_match(accept, &OFFERS)
        .ok()
        .flatten()
        .unwrap_or(OFFERS[0]);
    if !has_beat {
        return match store(request, next, path, entries).await {
            Ok(response) => response,
            Err(Failed::Segments(errors)) => refuse(format, errors),
            Err(Failed::Etag) => answer::status(StatusCode::UNPROCESSABLE_ENTITY),
            Err(Failed::Damaged) => answer::status(StatusCode::INTERNAL_SERVER_ERROR),
        };
    }
    let every = next.edge().config.slo.heartbeat_every();
    // It was accepted: from here on it runs to its end although the client leaves.
    let (done, outcome) = tokio::sync::oneshot::channel();
    let tasks = next.edge().tasks.clone();
    tasks.spawn("manifest with heartbeats", async move {
        let report = match store(request, next, path, entries).await {
            Ok(response) => stored_report(response).await,
            Err(failed) => failed.report(),
        };
        // A client that has left needs no report.
        let _ = done.send(Bytes::from(report.write(format, "upload")));
    });
    let report = async move {
        let lost = || {
            let report = said(StatusCode::INTERNAL_SERVER_ERROR, "Internal Error", Vec::new());
            Bytes::from(report.write(format, "upload"))
        };
        outcome.await.unwrap_or_else(|_| lost())
    };
    let mut response = respond::empty(StatusCode::ACCEPTED);
    headers::set(response.headers_mut(), CONTENT_TYPE.as_str(), format);
    *response.body_mut() = Heartbeat::at_once(every).body(report).await;
    response
}

/// Reads and checks what the client sent, before anything is asked of the cluster.
async fn receive(request: &mut Request, next: &Next, path: &ObjectPath) -> Result<Vec<Entry>, Box<Response>> {
    let refuse = |status: StatusCode, words: String| Err(Box::new(answer::words(status, words)));
    let map = request.headers();
    let is_multipart = map.contains_key(MULTIPART);
    let config = &next.edge().config.slo;
    let (max_segments, max_size) = match is_multipart {
        true => (MAX_MULTIPART_SEGMENTS, MAX_MULTIPART_BYTES),
        false => (config.max_manifest_segments, config.max_manifest_size),
    };
    if headers::text(map, header::X_COPY_FROM).is_some_and(|value| !value.is_empty()) {
        let words = "Multipart Manifest PUTs cannot be COPY requests";
        return refuse(StatusCode::METHOD_NOT_ALLOWED, words.into());
    }
    if !map.contains_key(CONTENT_LENGTH) && !map.contains_key(TRANSFER_ENCODING) {
        return Err(Box::new(answer::status(StatusCode::LENGTH_REQUIRED)));
    }
    checks::content_type(map).map_err(Box::new)?;
    let too_large = || {
        let words = format!("Manifest File > {max_size} bytes");
        Box::new(answer::words(StatusCode::PAYLOAD_TOO_LARGE, words))
    };
    let announced =
        headers::text(map, CONTENT_LENGTH.as_str()).and_then(|text| text.trim().parse::<u64>().ok());
    if announced.is_some_and(|length| length > max_size as u64) {
        return Err(too_large());
    }
    let body = std::mem::take(request.body_mut());
    let bytes = match collect(body, max_size).await {
        Ok(bytes) => bytes,
        Err(CollectError::TooLarge) => return Err(too_large()),
        Err(CollectError::Body(BodyError::Timeout)) => {
            return Err(Box::new(answer::status(StatusCode::REQUEST_TIMEOUT)));
        }
        Err(CollectError::Body(BodyError::Disconnected | BodyError::Aborted)) => {
            return Err(Box::new(crate::core::answer::client_disconnect()));
        }
        Err(CollectError::Body(_)) => {
            return refuse(StatusCode::BAD_REQUEST, "The manifest broke off".into());
        }
    };
    let entries = match manifest::parse(&bytes, path) {
        Ok(entries) => entries,
        Err(problems) => return refuse(StatusCode::BAD_REQUEST, problems),
    };
    let objects = entries
        .iter()
        .filter(|entry| matches!(entry, Entry::Object(_)))
        .count();
    if objects > max_segments {
        let words = format!("Number of object-backed segments must be <= {max_segments}");
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, words);
    }
    Ok(entries)
}

/// Why nothing was stored.
enum Failed {
    Segments(Errors),
    /// The client's ETag is another.
    Etag,
    Damaged,
}

impl Failed {
    fn report(self) -> Report {
        match self {
            Failed::Segments(errors) => said(
                StatusCode::BAD_REQUEST,
                "Bad Request\nThe server could not comply with the request since it is either malformed or otherwise \
                 incorrect.",
                errors,
            ),
            Failed::Etag => said(
                StatusCode::UNPROCESSABLE_ENTITY,
                "Unprocessable Entity\nUnable to process the contained instructions",
                Vec::new(),
            ),
            Failed::Damaged => said(StatusCode::INTERNAL_SERVER_ERROR, "Internal Error", Vec::new()),
        }
    }
}

fn said(status: StatusCode, words: &str, errors: Errors) -> Report {
    let fields = [
        ("Response Status", json!(answer::line(status))),
        ("Response Body", json!(words)),
    ];
    Report::new(fields, errors)
}

/// The core's answer to the manifest, as a report tells it.
async fn stored_report(response: Response) -> Report {
    let (parts, body) = response.into_parts();
    let words = collect(body, MAX_WORDS_BYTES).await.unwrap_or_default();
    let mut report = said(parts.status, &String::from_utf8_lossy(&words), Vec::new());
    if parts.status.is_success() {
        for (field, name) in [("Etag", ETAG), ("Last Modified", LAST_MODIFIED)] {
            let value = headers::text(&parts.headers, name.as_str()).unwrap_or("");
            report.fields.push((field.to_owned(), json!(value)));
        }
    }
    report
}

/// Looks at each segment, then stores the manifest. The answer is the core's, with the large object's ETag.
async fn store(
    mut request: Request,
    next: Next,
    path: ObjectPath,
    entries: Vec<Entry>,
) -> Result<Response, Failed> {
    let is_multipart = request.headers().contains_key(MULTIPART);
    let origin = Origin::of(&request);
    let segments = check(entries, &next, &origin, is_multipart)
        .await
        .map_err(Failed::Segments)?;
    let etag = stored::etag(&segments);
    let claimed =
        headers::text(request.headers(), ETAG.as_str()).map(|claimed| claimed.trim().trim_matches('"'));
    if claimed.is_some_and(|claimed| !claimed.is_empty() && claimed != etag) {
        return Err(Failed::Etag);
    }
    let contents = segments.iter().map(|segment| segment.content(&path.account));
    let size = contents
        .map(|content| content.map(|content| content.len()))
        .sum::<Option<u64>>()
        .ok_or(Failed::Damaged)?;
    let json = serde_json::to_vec(&segments).map_err(|_| Failed::Damaged)?;
    let map = request.headers_mut();
    map.remove(TRANSFER_ENCODING);
    map.insert(CONTENT_LENGTH, HeaderValue::from(json.len()));
    describe(map, &path, &hex::encode(Md5::digest(&json)), &etag, size);
    *request.body_mut() = Body::full(json);
    retarget(&mut request, Target::Object(path.clone()), "");
    let mut response = next.run(request).await;
    if response.status().is_success() {
        headers::set(response.headers_mut(), ETAG.as_str(), &format!("\"{etag}\""));
    }
    Ok(response)
}

/// The headers that make the object a manifest, in Swift's own form.
fn describe(map: &mut HeaderMap, path: &ObjectPath, own_etag: &str, etag: &str, size: u64) {
    headers::set(map, ETAG.as_str(), own_etag);
    headers::set(map, header::X_STATIC_LARGE_OBJECT, "True");
    headers::set(map, SLO_ETAG, etag);
    headers::set(map, SLO_SIZE, &size.to_string());
    // Listings show both ETags. A step above may have said which is the first.
    let listed = headers::text(map, header::OVERRIDE_ETAG).unwrap_or("");
    let (first, parameters) = listed.split_at(listed.find(';').unwrap_or(listed.len()));
    let first = if first.is_empty() { own_etag } else { first };
    let listed = format!("{first}{parameters}; slo_etag={etag}");
    headers::set(map, header::OVERRIDE_ETAG, &listed);
    // Listings show the whole's size from here; what is counted as used is the manifest's own.
    let is_guessed = headers::is_true(map, "x-detect-content-type");
    let given = headers::text(map, CONTENT_TYPE.as_str()).filter(|given| !given.is_empty() && !is_guessed);
    let kind = given.unwrap_or_else(|| content_type::guess(&path.object));
    let kind = format!("{kind};swift_bytes={size}");
    headers::set(map, CONTENT_TYPE.as_str(), &kind);
    map.remove("x-detect-content-type");
}

/// Problems by segment: its quoted name and what is wrong.
type Errors = Vec<(String, String)>;

/// Looks at each object once, however often it is a segment.
async fn check(
    entries: Vec<Entry>,
    next: &Next,
    origin: &Origin,
    is_multipart: bool,
) -> Result<Vec<Segment>, Errors> {
    let mut looked: HashMap<ObjectPath, Result<Found, String>> = HashMap::new();
    for entry in entries.iter().filter_map(Entry::object).filter(|_| is_multipart) {
        if let Some(found) = told(entry) {
            looked.insert(entry.path.clone(), Ok(found));
        }
    }
    let mut unknown: Vec<ObjectPath> = Vec::new();
    let mut asked = std::collections::HashSet::new();
    for entry in entries.iter().filter_map(Entry::object) {
        if !looked.contains_key(&entry.path) && asked.insert(&entry.path) {
            unknown.push(entry.path.clone());
        }
    }
    let looks = unknown.into_iter().map(|path| {
        let (next, origin) = (next.at("slo"), origin.clone());
        async move {
            let found = look(&path, next, &origin).await;
            (path, found)
        }
    });
    let at_once = next.edge().config.slo.concurrency.max(1);
    let mut looks = stream::iter(looks).buffer_unordered(at_once);
    while let Some((path, found)) = looks.next().await {
        looked.insert(path, found);
    }
    drop(looks);
    judge(entries, &looked)
}

fn judge(
    entries: Vec<Entry>,
    looked: &HashMap<ObjectPath, Result<Found, String>>,
) -> Result<Vec<Segment>, Errors> {
    let count = entries.len();
    let mut segments = Vec::with_capacity(count);
    let mut errors = Errors::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let entry = match entry {
            Entry::Data { base64, .. } => {
                segments.push(Segment {
                    data: Some(base64),
                    ..Segment::default()
                });
                continue;
            }
            Entry::Object(entry) => entry,
        };
        let name = || percent::quote(&entry.written_path);
        match looked.get(&entry.path) {
            Some(Ok(found)) => match manifest::verify(&entry, found, index + 1 == count) {
                Ok(segment) => segments.push(segment),
                Err(problems) => {
                    errors.extend(problems.into_iter().map(|problem| (name(), problem.to_owned())));
                }
            },
            Some(Err(status)) => errors.push((name(), status.clone())),
            None => errors.push((name(), answer::line(StatusCode::SERVICE_UNAVAILABLE))),
        }
    }
    if errors.is_empty() {
        Ok(segments)
    } else {
        Err(errors)
    }
}

/// The S3 door has just listed its parts itself: what it says of them is taken.
fn told(entry: &ObjectEntry) -> Option<Found> {
    Some(Found {
        length: entry.size_bytes?,
        etag: entry.etag.clone()?,
        content_type: "application/octet-stream".into(),
        last_modified: Timestamp::ZERO.isoformat(),
        is_slo: false,
    })
}

/// Asks for a segment's head. The error is the status to report.
async fn look(path: &ObjectPath, next: Next, origin: &Origin) -> Result<Found, String> {
    let request = origin.request(Method::HEAD, Target::Object(path.clone()), "");
    let response = next.run(request).await;
    if !response.status().is_success() {
        return Err(answer::line(response.status()));
    }
    let map = response.headers();
    let text = |name: &str| headers::text(map, name).unwrap_or("");
    let length = text("content-length")
        .parse()
        .map_err(|_| answer::line(StatusCode::SERVICE_UNAVAILABLE))?;
    let moment = Timestamp::parse(text(header::X_TIMESTAMP)).unwrap_or_default();
    Ok(Found {
        length,
        etag: text("etag").trim_matches('"').to_owned(),
        content_type: text("content-type").to_owned(),
        last_modified: moment.isoformat(),
        is_slo: is_slo(map),
    })
}

fn refuse(format: &str, errors: Errors) -> Response {
    let report = Report {
        fields: Vec::new(),
        errors,
    };
    let mut response = respond::text(StatusCode::BAD_REQUEST, report.write(format, "upload"));
    headers::set(response.headers_mut(), CONTENT_TYPE.as_str(), format);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(pairs: &[(&str, &str)]) -> (String, String) {
        let Ok(Target::Object(path)) = Target::parse("a/c/page.html") else {
            panic!()
        };
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            headers::set(&mut map, name, value);
        }
        describe(&mut map, &path, "own", "large", 7);
        let text = |name: &str| headers::text(&map, name).unwrap().to_owned();
        (text("content-type"), text(header::OVERRIDE_ETAG))
    }

    #[test]
    fn listings_learn_the_size_and_both_etags() {
        assert_eq!(
            described(&[]),
            ("text/html;swift_bytes=7".into(), "own; slo_etag=large".into())
        );
        assert_eq!(
            described(&[("content-type", "a/b; c=d"), (header::OVERRIDE_ETAG, "mine")]),
            ("a/b; c=d;swift_bytes=7".into(), "mine; slo_etag=large".into())
        );
        assert_eq!(
            described(&[
                ("content-type", "a/b"),
                ("x-detect-content-type", "true"),
                (header::OVERRIDE_ETAG, "; s3_etag=x")
            ]),
            (
                "text/html;swift_bytes=7".into(),
                "own; s3_etag=x; slo_etag=large".into()
            )
        );
    }
}
