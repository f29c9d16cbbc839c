//! GetObject and HeadObject: ranges, parts, conditions, response overrides, stored checksums.
//!
//! Conditions are judged here and not inside, because the ETag of a multipart object is S3's own.

use super::{Call, document, empty, multipart, time};
use crate::checksum;
use crate::errors::{Code, S3Error, S3Result};
use crate::metadata;
use crate::xml::write::Xml;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use martlet_protocol::conditions::{Conditions, Verdict};
use martlet_protocol::date::parse_http_date;
use martlet_protocol::timestamp::Timestamp;
use martlet_service::headers::{set, text};
use martlet_service::{Body, Response};

/// Query parameters that replace headers of the answer.
const OVERRIDES: &[(&str, &str)] = &[
    ("response-content-type", "content-type"),
    ("response-content-language", "content-language"),
    ("response-expires", "expires"),
    ("response-cache-control", "cache-control"),
    ("response-content-disposition", "content-disposition"),
    ("response-content-encoding", "content-encoding"),
];

pub(super) async fn object(call: Call, method: Method) -> S3Result<Response> {
    call.refuse_versions()?;
    let mut range = call
        .header("range")
        .filter(|range| is_single_range(range))
        .map(str::to_owned);
    let mut parts_count = None;
    if let Some(part) = call.query.get("partNumber") {
        if range.is_some() {
            return Err(S3Error::new(
                Code::InvalidRequest,
                "Cannot specify both Range header and partNumber query parameter",
            ));
        }
        let wanted = multipart::range_of_part(&call, part).await?;
        range = wanted.range;
        parts_count = wanted.parts_count;
    }
    let mut ask = call.swift.object(method.clone(), &call.bucket, &call.key);
    if let Some(range) = &range {
        ask = ask.header("range", range);
        if let Some(condition) = call.header("if-range") {
            ask = ask.header("if-range", condition);
        }
    }
    let response = call.swift.send(ask).await?;
    let (parts, body) = response.into_parts();
    let stored = parts.headers;
    match parts.status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => {}
        StatusCode::RANGE_NOT_SATISFIABLE => return Err(unsatisfiable(&stored, range.as_deref())),
        status => return Err(call.swift.object_error(status, &call.bucket, &call.key).await),
    }
    if let Some(answer) = judge(&call.headers, &stored, "")? {
        return Ok(answer);
    }
    let mut shown = metadata::from_swift(&stored);
    for (parameter, header) in OVERRIDES {
        if let Some(value) = call.query.get(parameter) {
            set(&mut shown, header, value);
        }
    }
    let wants_checksum = call
        .header("x-amz-checksum-mode")
        .is_some_and(|mode| mode.eq_ignore_ascii_case("enabled"));
    if wants_checksum && parts.status == StatusCode::OK {
        metadata::show_checksum(&stored, &mut shown);
    }
    if let Some(count) = parts_count {
        set(&mut shown, "x-amz-mp-parts-count", &count.to_string());
    }
    let mut response = Response::new(if method == Method::HEAD {
        Body::empty()
    } else {
        body
    });
    *response.status_mut() = parts.status;
    *response.headers_mut() = shown;
    Ok(response)
}

/// S3 serves one range; it answers several, and what it can not read, with the whole object.
fn is_single_range(range: &str) -> bool {
    range.trim_start().starts_with("bytes=") && !range.contains(',')
}

fn unsatisfiable(stored: &HeaderMap, range: Option<&str>) -> S3Error {
    let size = text(stored, "content-range")
        .and_then(|value| value.strip_prefix("bytes */"))
        .unwrap_or_default();
    S3Error::from(Code::InvalidRange)
        .with("RangeRequested", range.unwrap_or_default())
        .with("ActualObjectSize", size)
}

/// Judges the conditions in `given`, whose names begin with `opening`. An answer means: stop here.
pub(super) fn judge(given: &HeaderMap, stored: &HeaderMap, opening: &str) -> S3Result<Option<Response>> {
    let conditions = Conditions::parse(|name| text(given, &format!("{opening}{name}")));
    if conditions.is_empty() {
        return Ok(None);
    }
    let modified = text(stored, "last-modified")
        .and_then(parse_http_date)
        .map(Timestamp::from_secs);
    match conditions.evaluate(&metadata::etag(stored), modified.unwrap_or(Timestamp::ZERO)) {
        Verdict::Proceed => Ok(None),
        Verdict::PreconditionFailed => Err(Code::PreconditionFailed.into()),
        Verdict::NotModified => {
            let mut response = empty(StatusCode::NOT_MODIFIED);
            let shown = metadata::from_swift(stored);
            for name in ["etag", "last-modified", "cache-control", "expires"] {
                if let Some(value) = shown.get(name) {
                    response
                        .headers_mut()
                        .insert(HeaderName::from_static(name), value.clone());
                }
            }
            Ok(Some(response))
        }
    }
}

pub(super) async fn tagging(call: Call) -> S3Result<Response> {
    call.refuse_versions()?;
    call.swift.head_object(&call.bucket, &call.key).await?;
    Ok(document(Xml::document("Tagging", |xml| {
        xml.within("TagSet", |_| {})
    })))
}

pub(super) async fn missing_configuration(call: Call, code: Code) -> S3Result<Response> {
    call.swift.head_object(&call.bucket, &call.key).await?;
    Err(S3Error::from(code).with("Key", call.key.as_str()))
}

pub(super) async fn attributes(call: Call) -> S3Result<Response> {
    call.refuse_versions()?;
    let wanted: Vec<String> = call
        .headers
        .get_all("x-amz-object-attributes")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(|name| name.trim().to_owned()))
        .collect();
    let known = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];
    if wanted.is_empty() || wanted.iter().any(|name| !known.contains(&name.as_str())) {
        return Err(S3Error::argument(
            "x-amz-object-attributes",
            &wanted.join(","),
            "Invalid attribute name specified.",
        ));
    }
    let stored = call.swift.head_object(&call.bucket, &call.key).await?;
    let wants = |name: &str| wanted.iter().any(|wanted| wanted == name);
    let etag = metadata::etag(&stored);
    let text_of = Xml::document("GetObjectAttributesResponse", |xml| {
        if wants("ETag") {
            xml.leaf("ETag", &etag);
        }
        if let (true, Some((algorithm, value, kind))) = (wants("Checksum"), checksum::stored(&stored)) {
            xml.within("Checksum", |xml| {
                xml.leaf(algorithm.element(), &value);
                xml.leaf("ChecksumType", kind.as_str());
            });
        }
        if let (true, Some((_, count))) = (wants("ObjectParts"), etag.split_once('-')) {
            xml.within("ObjectParts", |xml| xml.leaf("TotalPartsCount", count));
        }
        if wants("StorageClass") {
            xml.leaf("StorageClass", "STANDARD");
        }
        if wants("ObjectSize") {
            xml.leaf("ObjectSize", text(&stored, "content-length").unwrap_or("0"));
        }
    });
    let mut response = document(text_of);
    if let Some(modified) = stored.get("last-modified") {
        response
            .headers_mut()
            .insert(HeaderName::from_static("last-modified"), modified.clone());
    }
    Ok(response)
}

/// `Last-Modified` of an answer of the inside, as documents write it.
pub(super) fn modified(stored: &HeaderMap, now_secs: u64) -> String {
    time::iso(
        text(stored, "last-modified")
            .and_then(parse_http_date)
            .unwrap_or(now_secs),
    )
}
