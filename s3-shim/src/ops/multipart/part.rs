//! UploadPart, UploadPartCopy, and reading one part of a completed object.

use super::session::{Session, find, part_name, parts_container};
use crate::errors::{Code, S3Error, S3Result};
use crate::metadata;
use crate::ops::copy::{Source, check_range, part_error, show_source_version};
use crate::ops::get::modified;
use crate::ops::put::with_upload;
use crate::ops::{Call, access, document, empty};
use crate::payload::Findings;
use crate::swift::{Ask, Swift, read};
use crate::xml::write::Xml;
use http::header::LAST_MODIFIED;
use http::{HeaderMap, Method, StatusCode};
use martlet_service::Response;
use martlet_service::headers::{set, text};
use serde::Deserialize;

/// The part number of a request.
fn number(call: &Call) -> S3Result<u32> {
    let value = call.query.get("partNumber").unwrap_or_default();
    let most = call.config().max_upload_part_num;
    value
        .parse()
        .ok()
        .filter(|number| (1..=most).contains(number))
        .ok_or_else(|| {
            S3Error::argument(
                "partNumber",
                value,
                format!("Part number must be an integer between 1 and {most}, inclusive"),
            )
        })
}

pub(crate) async fn put_part(mut call: Call) -> S3Result<Response> {
    let number = number(&call)?;
    let session = find(&call).await?;
    let upload = call.upload().await?;
    check_algorithm(&session, &upload)?;
    let findings = upload.findings.clone();
    let checksum = upload.checksum.clone();
    let ask = with_upload(part(&call, &session, number), upload);
    let stored = store(&call, ask, Some(&findings)).await?;
    let mut response = empty(StatusCode::OK);
    let shown = response.headers_mut();
    set(shown, "etag", &metadata::quoted(&metadata::etag(&stored)));
    if let Some(modified) = stored.get(LAST_MODIFIED) {
        shown.insert(LAST_MODIFIED, modified.clone());
    }
    if let Some(value) = checksum.or_else(|| findings.checksum()) {
        set(shown, value.algorithm.header(), &value.text());
    }
    Ok(response)
}

/// Parts must carry the checksum the upload was begun with, or none at all.
fn check_algorithm(session: &Session, upload: &crate::payload::Upload) -> S3Result<()> {
    let used = upload
        .trailer
        .or(upload.checksum.as_ref().map(|value| value.algorithm));
    match (session.checksum, used) {
        (Some((wanted, _)), Some(used)) if wanted != used => Err(S3Error::new(
            Code::InvalidRequest,
            format!(
                "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
                wanted.name(),
                used.name()
            ),
        )),
        _ => Ok(()),
    }
}

fn part(call: &Call, session: &Session, number: u32) -> Ask {
    let name = part_name(&call.key, &session.id, number);
    call.swift
        .object(Method::PUT, &parts_container(&call.bucket), &name)
        .header("content-type", "application/octet-stream")
}

async fn store(call: &Call, ask: Ask, findings: Option<&Findings>) -> S3Result<HeaderMap> {
    let response = call.swift.send(ask).await?;
    if let Some(error) = findings.and_then(Findings::error) {
        return Err(error);
    }
    match response.status() {
        StatusCode::CREATED => Ok(response.into_parts().0.headers),
        status => Err(part_error(status)),
    }
}

pub(crate) async fn copy_part(mut call: Call) -> S3Result<Response> {
    let number = number(&call)?;
    let source = Source::read(&call)?;
    let range = call.header("x-amz-copy-source-range").map(str::to_owned);
    if let Some(range) = &range {
        check_range(range)?;
    }
    if !call.document().await?.is_empty() {
        return Err(S3Error::new(Code::InvalidRequest, "A copy has no body."));
    }
    let session = find(&call).await?;
    let opened = source.open(&call, range.as_deref()).await?;
    let ask = part(&call, &session, number).body(opened.body, Some(opened.length));
    let stored = store(&call, ask, None).await?;
    let now = call.core.clock.now().secs();
    let mut response = document(Xml::document("CopyPartResult", |xml| {
        xml.leaf("LastModified", &modified(&stored, now));
        xml.leaf("ETag", &metadata::quoted(&metadata::etag(&stored)));
    }));
    show_source_version(&opened.headers, response.headers_mut());
    Ok(response)
}

/// Where a part of a completed object lies.
pub(crate) struct PartRange {
    pub range: Option<String>,
    pub parts_count: Option<usize>,
}

/// A segment of a manifest as the inside shows it.
#[derive(Deserialize)]
struct Segment {
    #[serde(default)]
    bytes: u64,
}

/// The range of `partNumber=` in an object. An object that was not made of parts is its own first part.
pub(crate) async fn range_of_part(call: &Call, value: &str) -> S3Result<PartRange> {
    let most = call.config().max_upload_part_num;
    let number: usize = value
        .parse()
        .ok()
        .filter(|number| (1..=most as usize).contains(number))
        .ok_or_else(|| {
            S3Error::argument(
                "partNumber",
                value,
                format!("Part number must be an integer between 1 and {most}, inclusive"),
            )
        })?;
    // The object's own list, or Swift, has the word before anything of its parts is told.
    let ask = |swift: &Swift| {
        swift
            .object(Method::HEAD, &call.bucket, &call.key)
            .query_if("version-id", call.version())
    };
    let head = access::read_object(call, &call.bucket, &call.key, ask).await?;
    let stored = head.into_parts().0.headers;
    if text(&stored, metadata::MULTIPART).is_none() {
        return match number {
            1 => Ok(PartRange {
                range: None,
                parts_count: None,
            }),
            _ => Err(Code::InvalidPartNumber.into()),
        };
    }
    let ask = |swift: &Swift| {
        swift
            .object(Method::GET, &call.bucket, &call.key)
            .query("multipart-manifest", "get")
            .query_if("version-id", call.version())
    };
    let response = access::read_object(call, &call.bucket, &call.key, ask).await?;
    let segments: Vec<Segment> =
        serde_json::from_slice(&read(response).await?).map_err(|_| S3Error::from(Code::InternalError))?;
    let wanted = segments
        .get(number - 1)
        .ok_or_else(|| S3Error::from(Code::InvalidPartNumber))?;
    let start: u64 = segments[..number - 1].iter().map(|segment| segment.bytes).sum();
    let end = start + wanted.bytes;
    // An empty last part has no range; the whole object is empty then.
    let range = (wanted.bytes > 0).then(|| format!("bytes={start}-{}", end - 1));
    Ok(PartRange {
        range,
        parts_count: Some(segments.len()),
    })
}
