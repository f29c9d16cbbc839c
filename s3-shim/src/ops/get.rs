//! GetObject and HeadObject: ranges, parts, conditions, response overrides, stored checksums.
//!
//! Conditions are judged here and not inside, because the ETag of a multipart object is S3's own.

use super::{Call, access, document, empty, multipart, time, versioning};
use crate::checksum;
use crate::errors::{Code, S3Error, S3Result};
use crate::metadata;
use crate::swift::Swift;
use crate::xml::write::Xml;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use martlet_protocol::conditions::{Conditions, Verdict};
use martlet_protocol::date::parse_http_date;
use martlet_protocol::range::{Resolved, parse_ranges, resolve};
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
    if versioning::names_version_of_none(&call).await? {
        return Err(versioning::no_such_version(&call));
    }
    let mut range = call.header("range").map(str::to_owned);
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
    let condition = call.header("if-range");
    // Swift answers a HEAD with the whole object's headers, whatever range it asks for.
    let asked_range = range.as_deref().filter(|_| method == Method::GET);
    let ask = |swift: &Swift| {
        let mut ask = swift
            .object(method.clone(), &call.bucket, &call.key)
            .query_if("version-id", call.version());
        if let Some(range) = asked_range {
            ask = ask.header("range", range);
            if let Some(condition) = condition {
                ask = ask.header("if-range", condition);
            }
        }
        ask
    };
    let response = access::read_object(&call, &call.bucket, &call.key, ask).await?;
    let (mut parts, body) = response.into_parts();
    let mut stored = parts.headers;
    if parts.status == StatusCode::RANGE_NOT_SATISFIABLE {
        return Err(unsatisfiable(&stored, range.as_deref()));
    }
    if method == Method::HEAD
        && let Some(range) = &range
    {
        parts.status = head_range(&mut stored, range)?;
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
    let odd = metadata::odd_from_swift(&stored);
    if !odd.0.is_empty() {
        response.extensions_mut().insert(odd);
    }
    Ok(response)
}

/// Makes the headers of a whole object those of a range of it, as S3 answers a HEAD. Several ranges, and what is no
/// range, leave them as they are.
fn head_range(stored: &mut HeaderMap, range: &str) -> S3Result<StatusCode> {
    let Some(size) = text(stored, "content-length").and_then(|length| length.parse::<u64>().ok()) else {
        return Ok(StatusCode::OK);
    };
    let Some(specs) = parse_ranges(range) else {
        return Ok(StatusCode::OK);
    };
    match resolve(&specs, size) {
        Resolved::Whole => Ok(StatusCode::OK),
        Resolved::Unsatisfiable => {
            set(stored, "content-range", &format!("bytes */{size}"));
            Err(unsatisfiable(stored, Some(range)))
        }
        Resolved::Ranges(ranges) => match ranges[..] {
            [one] => {
                set(stored, "content-range", &one.content_range(size));
                set(stored, "content-length", &one.len().to_string());
                Ok(StatusCode::PARTIAL_CONTENT)
            }
            _ => Ok(StatusCode::OK),
        },
    }
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
            for name in [
                "etag",
                "last-modified",
                "cache-control",
                "expires",
                "accept-ranges",
                "x-amz-version-id",
            ] {
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
    call.head_object().await?;
    Ok(document(Xml::document("Tagging", |xml| {
        xml.within("TagSet", |_| {})
    })))
}

pub(super) async fn missing_configuration(call: Call, code: Code) -> S3Result<Response> {
    call.head_object().await?;
    Err(S3Error::from(code).with("Key", call.key.as_str()))
}

pub(super) async fn attributes(call: Call) -> S3Result<Response> {
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
    let stored = call.head_object().await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_shows_the_range_it_asks_for() {
        let check = |range: &str| {
            let mut stored = HeaderMap::new();
            set(&mut stored, "content-length", "10");
            let status = head_range(&mut stored, range).map_err(|error| error.code)?;
            let length = text(&stored, "content-length").unwrap().to_owned();
            let shown = text(&stored, "content-range").map(str::to_owned);
            Ok((status.as_u16(), length, shown))
        };
        let part = |length: &str, shown: &str| Ok((206, length.to_owned(), Some(shown.to_owned())));
        let whole = || Ok((200, "10".to_owned(), None));
        assert_eq!(check("bytes=1-5"), part("5", "bytes 1-5/10"));
        assert_eq!(check("bytes=-3"), part("3", "bytes 7-9/10"));
        assert_eq!(check("bytes=5-99"), part("5", "bytes 5-9/10"));
        assert_eq!(check("bytes=0-1,3-4"), whole());
        assert_eq!(check("lines=1-5"), whole());
        assert_eq!(check("bytes=10-"), Err(Code::InvalidRange));
    }
}
