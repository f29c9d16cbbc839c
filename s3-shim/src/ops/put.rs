//! PutObject, and what every upload of data shares.

use super::{Call, acl, empty};
use crate::checksum::{self, Kind};
use crate::errors::{Code, S3Error, S3Result};
use crate::metadata;
use crate::payload::{Findings, Upload};
use crate::swift::{Ask, read, status_error};
use http::header::LAST_MODIFIED;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use martlet_service::Response;
use martlet_service::headers::{set, text};

pub(super) async fn object(mut call: Call) -> S3Result<Response> {
    metadata::refuse_unsupported(&call.headers)?;
    let mut headers = metadata::to_swift(&call.headers, call.odd.as_ref())?;
    for name in metadata::EXPIRY {
        if let Some(value) = call.headers.get(name) {
            headers.insert(HeaderName::from_static(name), value.clone());
        }
    }
    headers.extend(acl::for_new_object(&call)?);
    check_conditions(&call, &mut headers).await?;
    let upload = call.upload().await?;
    let findings = upload.findings.clone();
    let checksum = upload.checksum.clone();
    let ask = with_upload(
        call.swift
            .object(Method::PUT, &call.bucket, &call.key)
            .headers(headers),
        upload,
    );
    let stored = store(&call, ask, Some(&findings)).await?;
    let mut response = empty(StatusCode::OK);
    let shown = response.headers_mut();
    set(shown, "etag", &metadata::quoted(&metadata::etag(&stored)));
    metadata::show_version(&stored, shown);
    if let Some(modified) = stored.get(LAST_MODIFIED) {
        shown.insert(LAST_MODIFIED, modified.clone());
    }
    if let Some(value) = checksum.or_else(|| findings.checksum()) {
        set(shown, value.algorithm.header(), &value.text());
        set(shown, "x-amz-checksum-type", Kind::FullObject.as_str());
    }
    Ok(response)
}

/// Puts a checked body into a request: its length, the MD5 it must have, and its checksum as metadata.
pub(super) fn with_upload(ask: Ask, upload: Upload) -> Ask {
    let mut headers = HeaderMap::new();
    upload.checksum_headers(&mut headers);
    if let Some(md5) = &upload.md5 {
        set(&mut headers, "etag", md5);
    }
    ask.headers(headers).body(upload.body, upload.length)
}

/// Sends a PUT of an object and gives the headers of the answer. What the checks of the body found comes before what
/// the inside said of it.
pub(super) async fn store(call: &Call, ask: Ask, findings: Option<&Findings>) -> S3Result<HeaderMap> {
    let response = call.swift.send(ask).await?;
    let status = response.status();
    if let Some(error) = findings.and_then(Findings::error) {
        return Err(error);
    }
    if status == StatusCode::CREATED {
        return Ok(response.into_parts().0.headers);
    }
    if status == StatusCode::NOT_FOUND {
        return Err(S3Error::from(Code::NoSuchBucket).with("BucketName", call.bucket.as_str()));
    }
    if status == StatusCode::BAD_REQUEST {
        let words = read(response).await.unwrap_or_default();
        let words = String::from_utf8_lossy(&words).trim().to_owned();
        for (swift, name) in [
            ("X-Delete-At", "x-delete-at"),
            ("X-Delete-After", "x-delete-after"),
        ] {
            if words.contains(swift) {
                let value = call.header(name).unwrap_or_default();
                return Err(S3Error::argument(swift, value, words));
            }
        }
        let is_metadata = words.to_ascii_lowercase().contains("metadata");
        let code = if is_metadata {
            Code::MetadataTooLarge
        } else {
            Code::InvalidRequest
        };
        return Err(if words.is_empty() {
            code.into()
        } else {
            S3Error::new(code, words)
        });
    }
    Err(status_error(status))
}

/// `If-None-Match: *` is judged inside, at the moment of storing; `If-Match` against what is there now. Of other
/// conditions S3 has none for writes.
pub(super) async fn check_conditions(call: &Call, headers: &mut HeaderMap) -> S3Result<()> {
    let by_date = ["if-modified-since", "if-unmodified-since"];
    if by_date.iter().any(|name| call.headers.contains_key(*name))
        || call.header("if-match").is_some_and(|wanted| wanted.trim() == "*")
    {
        return Err(unsupported_condition());
    }
    match call.header("if-none-match") {
        None => {}
        Some("*") => {
            set(headers, "if-none-match", "*");
            // Asked at once too, so that the body need not be sent in vain.
            match call.swift.head_object(&call.bucket, &call.key).await {
                Ok(_) => return Err(precondition_failed("If-None-Match")),
                Err(error) if error.code == Code::NoSuchKey => {}
                Err(error) => return Err(error),
            }
        }
        Some(_) => return Err(unsupported_condition()),
    }
    if let Some(wanted) = call.header("if-match") {
        let stored = call.swift.head_object(&call.bucket, &call.key).await?;
        let etag = metadata::etag(&stored);
        let matches = wanted
            .split(',')
            .any(|tag| tag.trim().trim_matches('"') == etag || tag.trim() == "*");
        if !matches {
            return Err(precondition_failed("If-Match"));
        }
    }
    Ok(())
}

/// The error for a condition that writes do not know.
pub(super) fn unsupported_condition() -> S3Error {
    S3Error::new(Code::NotImplemented, "Conditional object PUTs are not supported.")
}

fn precondition_failed(condition: &str) -> S3Error {
    S3Error::from(Code::PreconditionFailed).with("Condition", condition)
}

/// The checksum an object of parts is to have, when the client named an algorithm for it.
pub(super) fn wanted_algorithm(headers: &HeaderMap) -> S3Result<Option<(checksum::Algorithm, Kind)>> {
    let kind = match text(headers, "x-amz-checksum-type") {
        None => None,
        Some(value) => Some(Kind::parse(value).ok_or_else(|| {
            S3Error::new(
                Code::InvalidRequest,
                "Value for x-amz-checksum-type header is invalid.",
            )
        })?),
    };
    let Some(name) = text(headers, "x-amz-checksum-algorithm") else {
        return match kind {
            None => Ok(None),
            Some(_) => Err(S3Error::new(
                Code::InvalidRequest,
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
            )),
        };
    };
    let algorithm = checksum::Algorithm::from_name(name).ok_or_else(|| {
        S3Error::new(Code::InvalidRequest, "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
    })?;
    let kind = kind.unwrap_or(algorithm.default_kind());
    if !algorithm.allows(kind) {
        return Err(S3Error::new(
            Code::InvalidRequest,
            format!(
                "The {} checksum type cannot be used with the {} checksum algorithm.",
                kind.as_str(),
                algorithm.name()
            ),
        ));
    }
    Ok(Some((algorithm, kind)))
}
