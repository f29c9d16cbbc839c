//! `PUT ?multipart-manifest=put`: each segment is looked at, then the manifest is stored.

use super::manifest::{self, Entry, Found, ObjectEntry};
use super::stored::{self, Segment};
use super::{MULTIPART, SLO_ETAG, SLO_SIZE, is_slo};
use crate::context::{Origin, retarget};
use crate::pipeline::Next;
use crate::steps::accept;
use crate::steps::answer;
use crate::steps::report::{OFFERS, Report};
use futures_util::{StreamExt, stream};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderValue, TRANSFER_ENCODING};
use http::{Method, StatusCode};
use martlet_protocol::header;
use martlet_protocol::name::{ObjectPath, Target};
use martlet_protocol::percent;
use martlet_protocol::timestamp::Timestamp;
use martlet_service::{Body, BodyError, CollectError, Request, Response, collect, headers, respond};
use md5::{Digest, Md5};
use serde_json::json;

/// Segments of an S3 upload, whatever clients of the Swift door may use.
const MAX_MULTIPART_SEGMENTS: usize = 10_000;

pub async fn put(mut request: Request, next: Next, path: ObjectPath) -> Response {
    let is_multipart = request.headers().contains_key(MULTIPART);
    let config = &next.edge().config.slo;
    let max_segments = if is_multipart {
        MAX_MULTIPART_SEGMENTS
    } else {
        config.max_manifest_segments
    };
    let body = std::mem::take(request.body_mut());
    let bytes = match collect(body, config.max_manifest_size).await {
        Ok(bytes) => bytes,
        Err(CollectError::TooLarge) => {
            let words = format!("Manifest File > {} bytes", config.max_manifest_size);
            return answer::words(StatusCode::PAYLOAD_TOO_LARGE, words);
        }
        Err(CollectError::Body(BodyError::Timeout)) => return answer::status(StatusCode::REQUEST_TIMEOUT),
        Err(CollectError::Body(_)) => {
            return answer::words(StatusCode::BAD_REQUEST, "The manifest broke off");
        }
    };
    let entries = match manifest::parse(&bytes, &path) {
        Ok(entries) if entries.len() > max_segments => {
            let words = format!("Number of segments must be <= {max_segments}");
            return answer::words(StatusCode::PAYLOAD_TOO_LARGE, words);
        }
        Ok(entries) => entries,
        Err(problems) => return answer::words(StatusCode::BAD_REQUEST, problems),
    };
    let origin = Origin::of(&request);
    let segments = match check(entries, &next, &origin, is_multipart).await {
        Ok(segments) => segments,
        Err(errors) => return refuse(&request, errors),
    };
    let etag = stored::etag(&segments);
    let claimed =
        headers::text(request.headers(), ETAG.as_str()).map(|claimed| claimed.trim_matches('"').to_owned());
    if claimed.is_some_and(|claimed| claimed != etag) {
        return answer::status(StatusCode::UNPROCESSABLE_ENTITY);
    }
    let contents = segments.iter().map(|segment| segment.content(&path.account));
    let Some(size) = contents
        .map(|content| content.map(|content| content.len()))
        .sum::<Option<u64>>()
    else {
        return answer::words(StatusCode::BAD_REQUEST, "Invalid SLO Manifest File");
    };
    let Ok(json) = serde_json::to_vec(&segments) else {
        return answer::status(StatusCode::INTERNAL_SERVER_ERROR);
    };

    let own_etag = hex::encode(Md5::digest(&json));
    let map = request.headers_mut();
    map.remove(TRANSFER_ENCODING);
    map.insert(CONTENT_LENGTH, HeaderValue::from(json.len()));
    headers::set(map, ETAG.as_str(), &own_etag);
    headers::set(map, header::X_STATIC_LARGE_OBJECT, "True");
    headers::set(map, SLO_ETAG, &etag);
    headers::set(map, SLO_SIZE, &size.to_string());
    headers::set(map, header::OVERRIDE_SIZE, &size.to_string());
    if !map.contains_key(header::OVERRIDE_ETAG) {
        headers::set(
            map,
            header::OVERRIDE_ETAG,
            &format!("{own_etag}; slo_etag={etag}"),
        );
    }
    *request.body_mut() = Body::full(json);
    retarget(&mut request, Target::Object(path.clone()), "");
    let mut response = next.run(request).await;
    if response.status().is_success() {
        headers::set(response.headers_mut(), ETAG.as_str(), &format!("\"{etag}\""));
    }
    response
}

/// Problems by segment: its quoted name and what is wrong.
type Errors = Vec<(String, String)>;

async fn check(
    entries: Vec<Entry>,
    next: &Next,
    origin: &Origin,
    is_multipart: bool,
) -> Result<Vec<Segment>, Errors> {
    let count = entries.len();
    let looks = entries.into_iter().enumerate().map(|(index, entry)| {
        let is_last = index + 1 == count;
        let (next, origin) = (next.at("slo"), origin.clone());
        async move {
            match entry {
                Entry::Data { base64, .. } => Ok(Segment {
                    data: Some(base64),
                    ..Segment::default()
                }),
                Entry::Object(entry) => {
                    let found = if is_multipart { told(&entry) } else { None };
                    let found = match found {
                        Some(found) => Ok(found),
                        None => look(&entry, next, &origin).await,
                    };
                    let name = percent::quote(&entry.written_path);
                    match found {
                        Err(status) => Err(vec![(name, status)]),
                        Ok(found) => manifest::verify(&entry, &found, is_last).map_err(|problems| {
                            problems
                                .into_iter()
                                .map(|problem| (name.clone(), problem.to_owned()))
                                .collect()
                        }),
                    }
                }
            }
        }
    });
    let outcomes: Vec<Result<Segment, Errors>> = stream::iter(looks)
        .buffered(next.edge().config.slo.concurrency.max(1))
        .collect()
        .await;
    let mut segments = Vec::with_capacity(count);
    let mut errors = Errors::new();
    for outcome in outcomes {
        match outcome {
            Ok(segment) => segments.push(segment),
            Err(problems) => errors.extend(problems),
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
async fn look(entry: &ObjectEntry, next: Next, origin: &Origin) -> Result<Found, String> {
    let request = origin.request(Method::HEAD, Target::Object(entry.path.clone()), "");
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

fn refuse(request: &Request, errors: Errors) -> Response {
    let accept = headers::text(request.headers(), ACCEPT.as_str());
    let format = accept::best_match(accept, &OFFERS)
        .ok()
        .flatten()
        .unwrap_or(OFFERS[0]);
    let report = Report {
        fields: vec![("Response Status", json!("400 Bad Request"))],
        errors,
    };
    let mut response = respond::text(StatusCode::BAD_REQUEST, report.write(format, "create"));
    headers::set(response.headers_mut(), CONTENT_TYPE.as_str(), format);
    response
}
