//! Whether a bucket keeps the versions of its objects. They rest on Swift's own: what S3 calls enabled and suspended is
//! what Swift says in `X-Versions-Enabled`.

use super::{Call, document, empty};
use crate::errors::{Code, S3Error, S3Result};
use crate::swift::{bucket_error, read};
use crate::xml::read::parse;
use crate::xml::write::Xml;
use http::{HeaderMap, Method, StatusCode};
use martlet_protocol::listing::is_true;
use martlet_service::Response;
use martlet_service::headers::text;

const SWITCH: &str = "x-versions-enabled";
/// Largest document, in bytes.
const MAX_DOCUMENT_BYTES: usize = 10 * 1024;

/// Whether a bucket has, or had, versions. `None` when it never had.
pub(super) fn of_bucket(headers: &HeaderMap) -> Option<bool> {
    text(headers, SWITCH)
        .filter(|value| !value.is_empty())
        .map(is_true)
}

/// Whether a request names a version in a bucket that never had any. `null` is what every object has.
pub(super) async fn names_version_of_none(call: &Call) -> S3Result<bool> {
    if matches!(call.version(), None | Some("null")) {
        return Ok(false);
    }
    let headers = match &call.found.bucket {
        Some(headers) => headers.clone(),
        None if call.config().s3_acl => call.user.as_account().head_bucket(&call.bucket).await?,
        None => call.user.head_bucket(&call.bucket).await?,
    };
    Ok(of_bucket(&headers).is_none())
}

pub(super) fn no_such_version(call: &Call) -> S3Error {
    S3Error::from(Code::NoSuchVersion)
        .with("Key", call.key.as_str())
        .with("VersionId", call.version().unwrap_or_default())
}

pub(super) async fn get(call: Call) -> S3Result<Response> {
    let state = of_bucket(&call.head_bucket().await?);
    Ok(document(Xml::document("VersioningConfiguration", |xml| {
        if let Some(is_enabled) = state {
            xml.leaf("Status", if is_enabled { "Enabled" } else { "Suspended" });
        }
    })))
}

pub(super) async fn put(mut call: Call) -> S3Result<Response> {
    if call.headers.contains_key("x-amz-mfa") {
        return Err(S3Error::new(Code::NotImplemented, "MFA Delete is not supported."));
    }
    let is_enabled = read_status(&call.document_up_to(MAX_DOCUMENT_BYTES).await?)?;
    let ask = call
        .swift
        .container(Method::POST, &call.bucket)
        .header(SWITCH, if is_enabled { "true" } else { "false" });
    let response = call.swift.send(ask).await?;
    match response.status() {
        status if status.is_success() => Ok(empty(StatusCode::OK)),
        StatusCode::BAD_REQUEST => {
            let words = read(response).await.unwrap_or_default();
            let words = String::from_utf8_lossy(&words).trim().to_owned();
            Err(S3Error::new(Code::InvalidRequest, words))
        }
        status => Err(bucket_error(status, &call.bucket)),
    }
}

/// Whether a `VersioningConfiguration` says enabled.
fn read_status(body: &[u8]) -> S3Result<bool> {
    let malformed = || S3Error::from(Code::MalformedXML);
    let root = parse(body).map_err(|_| malformed())?;
    if root.name != "VersioningConfiguration" {
        return Err(malformed());
    }
    match root.child_text("MfaDelete") {
        None | Some("Disabled") => {}
        Some("Enabled") => {
            return Err(S3Error::new(Code::NotImplemented, "MFA Delete is not supported."));
        }
        Some(_) => return Err(malformed()),
    }
    match root.child_text("Status") {
        Some("Enabled") => Ok(true),
        Some("Suspended") => Ok(false),
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_read_strictly() {
        let whole = |inner: &str| format!("<VersioningConfiguration>{inner}</VersioningConfiguration>");
        let check = |text: &str| read_status(text.as_bytes()).map_err(|error| error.code);
        assert_eq!(check(&whole("<Status>Enabled</Status>")), Ok(true));
        assert_eq!(check(&whole("<Status>Suspended</Status>")), Ok(false));
        for bad in [
            "",
            "<foo><Status>Enabled</Status></foo>",
            &whole(""),
            &whole("<Status/>"),
            &whole("<Status>enabled</Status>"),
            &whole("<Status>Enabled</Status><MfaDelete>Maybe</MfaDelete>"),
        ] {
            assert_eq!(check(bad), Err(Code::MalformedXML), "{bad}");
        }
        let with_mfa = whole("<Status>Enabled</Status><MfaDelete>Enabled</MfaDelete>");
        assert_eq!(check(&with_mfa), Err(Code::NotImplemented));
    }

    #[test]
    fn a_bucket_that_never_had_versions_says_nothing() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            martlet_service::headers::set(&mut headers, SWITCH, value);
            of_bucket(&headers)
        };
        assert_eq!(of_bucket(&HeaderMap::new()), None);
        assert_eq!(of(""), None);
        assert_eq!(of("True"), Some(true));
        assert_eq!(of("False"), Some(false));
    }
}
