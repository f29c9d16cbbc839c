//! CopyObject: the source is read inside and stored as a new object of its own, whatever it was made of.
//!
//! Streamed here rather than by Swift's COPY, so that exactly the metadata that belongs to a copy goes along: marks of
//! a multipart source, above all, must not.

use super::get::{judge, modified};
use super::{Call, access, acl, document, put};
use crate::checksum::{self, Algorithm, Kind, Value};
use crate::errors::{Code, S3Error, S3Result};
use crate::metadata;
use crate::swift::{Swift, status_error};
use crate::target::{check_key, invalid_bucket, is_bucket_name};
use crate::xml::write::Xml;
use http::{HeaderMap, Method, StatusCode};
use martlet_protocol::percent;
use martlet_service::headers::{set, text};
use martlet_service::{Body, Response};

/// Where a copy comes from.
pub(super) struct Source {
    pub bucket: String,
    pub key: String,
    pub version: Option<String>,
}

/// A source that was opened.
pub(super) struct Opened {
    pub headers: HeaderMap,
    pub body: Body,
    pub length: u64,
}

impl Source {
    /// Reads `x-amz-copy-source`: `[/]bucket/key`, encoded, with `?versionId=` perhaps and no other parameter.
    pub fn read(call: &Call) -> S3Result<Self> {
        let header = call.header("x-amz-copy-source").unwrap_or_default();
        let invalid = || {
            S3Error::argument(
                "x-amz-copy-source",
                header,
                "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
            )
        };
        let (path, query) = header.split_once('?').unwrap_or((header, ""));
        let version = match query {
            "" => None,
            query => {
                let version = query
                    .strip_prefix("versionId=")
                    .filter(|version| !version.contains('&'))
                    .ok_or_else(|| {
                        S3Error::argument("X-Amz-Copy-Source", header, "Unsupported copy source parameter.")
                    })?;
                let version = percent::unquote(version).map_err(|_| invalid())?;
                Some(version).filter(|version| !version.is_empty())
            }
        };
        let path = percent::unquote(path).map_err(|_| invalid())?;
        let path = path.strip_prefix('/').unwrap_or(&path);
        let (bucket, key) = path
            .split_once('/')
            .filter(|(_, key)| !key.is_empty())
            .ok_or_else(invalid)?;
        if !is_bucket_name(bucket) {
            return Err(invalid_bucket(bucket));
        }
        check_key(key, call.config().max_key_bytes)?;
        Ok(Source {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            version,
        })
    }

    /// Opens it, or a range of it, after judging `x-amz-copy-source-if-*`.
    pub async fn open(&self, call: &Call, range: Option<&str>) -> S3Result<Opened> {
        let ask = |swift: &Swift| {
            let ask = swift
                .object(Method::GET, &self.bucket, &self.key)
                .query_if("version-id", self.version.as_deref());
            match range {
                Some(range) => ask.header("range", range),
                None => ask,
            }
        };
        let response = access::read_object(call, &self.bucket, &self.key, ask).await?;
        let (parts, body) = response.into_parts();
        match parts.status {
            StatusCode::OK if range.is_none() => {}
            StatusCode::PARTIAL_CONTENT if range.is_some() => {}
            StatusCode::OK | StatusCode::RANGE_NOT_SATISFIABLE => {
                return Err(S3Error::argument(
                    "x-amz-copy-source-range",
                    range.unwrap_or_default(),
                    "The x-amz-copy-source-range value is not valid for the source object",
                ));
            }
            status => return Err(status_error(status)),
        }
        if judge(&call.headers, &parts.headers, "x-amz-copy-source-")?.is_some() {
            return Err(Code::PreconditionFailed.into());
        }
        let length = text(&parts.headers, "content-length").and_then(|length| length.parse().ok());
        let length = length.or(body.content_length()).ok_or_else(|| {
            tracing::error!("the inside gave an object without its length");
            S3Error::from(Code::InternalError)
        })?;
        let largest = call.config().max_put_bytes;
        if length > largest {
            return Err(S3Error::new(
                Code::InvalidRequest,
                format!(
                    "The specified copy source is larger than the maximum allowable size for a copy source: {largest}"
                ),
            ));
        }
        Ok(Opened {
            headers: parts.headers,
            body,
            length,
        })
    }
}

pub(super) async fn object(mut call: Call) -> S3Result<Response> {
    metadata::refuse_unsupported(&call.headers)?;
    let replaces = match call.header("x-amz-metadata-directive") {
        None | Some("COPY") => false,
        Some("REPLACE") => true,
        Some(other) => {
            return Err(S3Error::argument(
                "x-amz-metadata-directive",
                other,
                "Unknown metadata directive.",
            ));
        }
    };
    if !matches!(
        call.header("x-amz-tagging-directive"),
        None | Some("COPY" | "REPLACE")
    ) {
        return Err(S3Error::new(Code::InvalidArgument, "Unknown tagging directive."));
    }
    let source = Source::read(&call)?;
    let is_onto_itself = source.bucket == call.bucket && source.key == call.key;
    if !replaces && is_onto_itself && source.version.is_none() {
        return Err(S3Error::new(
            Code::InvalidRequest,
            "This copy request is illegal because it is trying to copy an object to itself without changing the \
             object's metadata, storage class, website redirect location or encryption attributes.",
        ));
    }
    if !call.document().await?.is_empty() {
        return Err(S3Error::new(Code::InvalidRequest, "A copy has no body."));
    }
    if call.headers.contains_key("x-amz-copy-source-range") {
        let range = call.header("x-amz-copy-source-range").unwrap_or_default();
        return Err(S3Error::argument(
            "x-amz-copy-source-range",
            range,
            "Illegal copy header",
        ));
    }
    let list = acl::for_new_object(&call)?;
    let mut conditions = HeaderMap::new();
    put::check_conditions(&call, &mut conditions).await?;
    let opened = source.open(&call, None).await?;
    let mut headers = if replaces {
        metadata::to_swift(&call.headers, call.odd.as_ref())?
    } else {
        metadata::to_copy(&opened.headers)
    };
    headers.extend(conditions);
    headers.extend(list);
    let checksum = whole_checksum(&opened.headers);
    if let Some(value) = &checksum {
        set(&mut headers, value.algorithm.sysmeta(), &value.text());
        set(&mut headers, checksum::KIND_SYSMETA, Kind::FullObject.as_str());
    }
    let ask = call
        .swift
        .object(Method::PUT, &call.bucket, &call.key)
        .headers(headers)
        .body(opened.body, Some(opened.length));
    let stored = put::store(&call, ask, None).await?;
    let now = call.core.clock.now().secs();
    let mut response = document(Xml::document("CopyObjectResult", |xml| {
        xml.leaf("LastModified", &modified(&stored, now));
        xml.leaf("ETag", &metadata::quoted(&metadata::etag(&stored)));
        if let Some(value) = &checksum {
            xml.leaf(value.algorithm.element(), &value.text());
            xml.leaf("ChecksumType", Kind::FullObject.as_str());
        }
    }));
    let shown = response.headers_mut();
    metadata::show_version(&stored, shown);
    show_source_version(&opened.headers, shown);
    Ok(response)
}

/// Which version a copy was made of, in a bucket that has versions.
pub(super) fn show_source_version(source: &HeaderMap, shown: &mut HeaderMap) {
    if let Some(version) = text(source, metadata::SWIFT_VERSION) {
        set(shown, "x-amz-copy-source-version-id", version);
    }
}

/// The source's checksum, if it is one of its bytes and so of the copy's.
fn whole_checksum(source: &HeaderMap) -> Option<Value> {
    let (algorithm, value, kind): (Algorithm, String, Kind) = checksum::stored(source)?;
    if kind == Kind::FullObject {
        Value::parse(algorithm, &value)
    } else {
        None
    }
}

/// `bytes=first-last`, both given.
pub(super) fn check_range(range: &str) -> S3Result<()> {
    let digits =
        |text: &str| !text.is_empty() && text.len() < 20 && text.bytes().all(|byte| byte.is_ascii_digit());
    let good = range
        .strip_prefix("bytes=")
        .and_then(|span| span.split_once('-'))
        .is_some_and(|(first, last)| digits(first) && digits(last));
    if good {
        return Ok(());
    }
    Err(S3Error::argument(
        "x-amz-copy-source-range",
        range,
        "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy",
    ))
}

/// What an answer of the inside to a copied part means.
pub(super) fn part_error(status: StatusCode) -> S3Error {
    if status == StatusCode::NOT_FOUND {
        Code::NoSuchUpload.into()
    } else {
        status_error(status)
    }
}
