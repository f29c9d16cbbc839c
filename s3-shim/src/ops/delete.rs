//! DeleteObject and DeleteObjects, of objects and of versions of them.

use super::access::Right;
use super::{Call, access, document, empty, versioning};
use crate::acl::Permission;
use crate::errors::{Code, S3Error, S3Result};
use crate::metadata::{DELETE_MARKER_TYPE, SWIFT_VERSION, show_version};
use crate::swift::{Swift, status_error};
use crate::target::check_key;
use crate::xml::read::{Element, parse};
use crate::xml::write::Xml;
use futures_util::stream::{self, StreamExt};
use http::{HeaderMap, Method, StatusCode};
use martlet_service::Response;
use martlet_service::headers::{set, text};

/// Deleting what is not there is a success, as long as the bucket is.
pub(super) async fn one(call: Call) -> S3Result<Response> {
    if call.headers.contains_key("if-match") {
        return Err(
            S3Error::new(Code::NotImplemented, "Conditional deletes are not implemented.")
                .with("Header", "If-Match"),
        );
    }
    let mut response = empty(StatusCode::NO_CONTENT);
    if versioning::names_version_of_none(&call).await? {
        let version = call.version().unwrap_or_default();
        set(response.headers_mut(), "x-amz-version-id", version);
        return Ok(response);
    }
    match remove(&call.swift, &call.bucket, &call.key, call.version()).await? {
        Some(headers) => show_version(&headers, response.headers_mut()),
        None => {
            call.head_bucket().await?;
        }
    }
    Ok(response)
}

/// The headers of the answer when there was something to delete.
async fn remove(
    swift: &Swift,
    bucket: &str,
    key: &str,
    version: Option<&str>,
) -> S3Result<Option<HeaderMap>> {
    let ask = swift
        .object(Method::DELETE, bucket, key)
        .query_if("version-id", version);
    let (parts, _) = swift.send(ask).await?.into_parts();
    match parts.status {
        status if status.is_success() => {
            if text(&parts.headers, "x-object-current-version-id") == Some("null") {
                restore(swift, bucket, key).await?;
            }
            Ok(Some(parts.headers))
        }
        // A deletion is marked in a bucket with versions even where there was nothing.
        StatusCode::NOT_FOUND if parts.headers.contains_key(SWIFT_VERSION) => Ok(Some(parts.headers)),
        StatusCode::NOT_FOUND => Ok(None),
        // A newer write won: the object this delete was about is gone.
        StatusCode::CONFLICT => Ok(Some(HeaderMap::new())),
        StatusCode::BAD_REQUEST if version.is_some() => Err(S3Error::argument(
            "versionId",
            version.unwrap_or_default(),
            "Invalid version id specified",
        )),
        status => Err(status_error(status)),
    }
}

/// When the newest version goes, the one before it is the object, unless that marks a deletion. Swift leaves that to be
/// asked for.
async fn restore(swift: &Swift, bucket: &str, key: &str) -> S3Result<()> {
    let ask = swift
        .container(Method::GET, bucket)
        .query("prefix", key)
        .query("versions", "true");
    for row in swift.list(bucket, ask).await? {
        if row.name != key || row.content_type == DELETE_MARKER_TYPE {
            break;
        }
        let Some(version) = &row.version_id else { break };
        let ask = swift
            .object(Method::PUT, bucket, key)
            .query("version-id", version)
            .body(Default::default(), Some(0));
        match swift.send(ask).await?.status() {
            // The listing was behind: that version has gone meanwhile.
            StatusCode::NOT_FOUND | StatusCode::PRECONDITION_FAILED => {}
            status if status.is_success() => break,
            status => return Err(status_error(status)),
        }
    }
    Ok(())
}

/// What one `Delete` document asks for.
struct Wanted {
    is_quiet: bool,
    objects: Vec<Named>,
}

/// An object as the document names it, and why it can not be deleted if it can not.
struct Named {
    key: String,
    version: Option<String>,
    refusal: Option<S3Error>,
}

fn read(body: &[u8], most: usize, max_key_bytes: usize) -> S3Result<Wanted> {
    let malformed = || S3Error::from(Code::MalformedXML);
    let root = parse(body).map_err(|_| malformed())?;
    if root.name != "Delete" {
        return Err(malformed());
    }
    let is_quiet = root
        .child_text("Quiet")
        .is_some_and(|quiet| quiet.eq_ignore_ascii_case("true"));
    let objects: Vec<Named> = root
        .all("Object")
        .map(|object| read_object(object, max_key_bytes))
        .collect::<S3Result<_>>()?;
    if objects.is_empty() || objects.len() > most {
        return Err(malformed());
    }
    Ok(Wanted { is_quiet, objects })
}

fn read_object(object: &Element, max_key_bytes: usize) -> S3Result<Named> {
    let key = object
        .child("Key")
        .ok_or_else(|| S3Error::from(Code::MalformedXML))?
        .text
        .clone();
    if key.is_empty() {
        return Err(Code::UserKeyMustBeSpecified.into());
    }
    let version = object
        .child_text("VersionId")
        .filter(|version| !version.is_empty())
        .map(str::to_owned);
    let is_conditional = ["ETag", "LastModifiedTime", "Size"]
        .iter()
        .any(|name| object.child(name).is_some());
    let refusal = if is_conditional {
        Some(Code::NotImplemented.into())
    } else {
        check_key(&key, max_key_bytes).err()
    };
    Ok(Named {
        key,
        version,
        refusal,
    })
}

/// Deletes what a document names. In a bucket without versions a version that is named was never there.
async fn remove_named(
    swift: &Swift,
    bucket: &str,
    named: &Named,
    has_versions: bool,
) -> S3Result<Option<HeaderMap>> {
    if let Some(refusal) = &named.refusal {
        return Err(refusal.clone());
    }
    match named.version.as_deref() {
        Some(version) if version != "null" && !has_versions => Ok(None),
        version => remove(swift, bucket, &named.key, version).await,
    }
}

/// Largest document, in bytes: twice the longest keys, within what a proxy may hold for one request.
fn document_limit(most: usize, max_key_bytes: usize) -> usize {
    (2 * most * max_key_bytes).min(10 * 1024 * 1024)
}

pub(super) async fn many(mut call: Call) -> S3Result<Response> {
    let has_digest = call.headers.contains_key("content-md5")
        || call
            .headers
            .keys()
            .any(|name| name.as_str().starts_with("x-amz-checksum-"))
        || call.headers.contains_key("x-amz-trailer");
    if !has_digest {
        return Err(S3Error::new(
            Code::InvalidRequest,
            "Missing required header for this request: Content-MD5 OR x-amz-checksum-*",
        ));
    }
    let config = call.config();
    let limit = document_limit(config.max_multi_delete_objects, config.max_key_bytes);
    let body = call.document_up_to(limit).await.map_err(|error| {
        if error.code == Code::MaxMessageLengthExceeded {
            Code::MalformedXML.into()
        } else {
            error
        }
    })?;
    if body.is_empty() {
        return Err(Code::MissingRequestBodyError.into());
    }
    let wanted = read(
        &body,
        call.config().max_multi_delete_objects,
        call.config().max_key_bytes,
    )?;
    // Who may not write to the bucket is told so of each object.
    let denied = if call.config().s3_acl {
        match access::bucket(&mut call, Right::Granted(Permission::Write)).await {
            Err(error) if error.code == Code::AccessDenied => Some(error),
            judged => judged.map(|()| None)?,
        }
    } else {
        None
    };
    let has_versions = match &denied {
        None => versioning::of_bucket(&call.head_bucket().await?).is_some(),
        Some(_) => false,
    };
    let (swift, bucket, denied) = (&call.swift, call.bucket.as_str(), &denied);
    let concurrency = call.config().multi_delete_concurrency.max(1);
    let results: Vec<(Named, S3Result<Option<HeaderMap>>)> = stream::iter(wanted.objects)
        .map(|named| async move {
            let outcome = match denied {
                Some(error) => Err(error.clone()),
                None => remove_named(swift, bucket, &named, has_versions).await,
            };
            (named, outcome)
        })
        .buffered(concurrency)
        .collect()
        .await;
    Ok(document(Xml::document("DeleteResult", |xml| {
        for (named, outcome) in &results {
            match outcome {
                Ok(_) if wanted.is_quiet => {}
                Ok(headers) => xml.within("Deleted", |xml| write_deleted(xml, named, headers.as_ref())),
                Err(error) => xml.within("Error", |xml| {
                    xml.leaf("Key", &named.key);
                    if let Some(version) = &named.version {
                        xml.leaf("VersionId", version);
                    }
                    xml.leaf("Code", error.code.as_str());
                    xml.leaf("Message", error.message());
                }),
            }
        }
    })))
}

fn write_deleted(xml: &mut Xml, named: &Named, headers: Option<&HeaderMap>) {
    xml.leaf("Key", &named.key);
    if let Some(version) = &named.version {
        xml.leaf("VersionId", version);
        return;
    }
    let mut shown = HeaderMap::new();
    if let Some(headers) = headers {
        show_version(headers, &mut shown);
    }
    if let (Some("true"), Some(version)) = (
        text(&shown, "x-amz-delete-marker"),
        text(&shown, "x-amz-version-id"),
    ) {
        xml.flag("DeleteMarker", true);
        xml.leaf("DeleteMarkerVersionId", version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_read_strictly() {
        let good = read(
            b"<Delete><Quiet>true</Quiet><Object><Key> a </Key></Object></Delete>",
            2,
            1024,
        )
        .unwrap();
        assert!(good.is_quiet);
        assert_eq!(good.objects[0].key, " a ");
        let many = format!("<Delete>{}</Delete>", "<Object><Key>a</Key></Object>".repeat(3));
        for bad in ["", "<Delete/>", "<Other/>", "<Delete><Object/></Delete>", &many] {
            assert!(read(bad.as_bytes(), 2, 1024).is_err(), "{bad}");
        }
        let version = read(
            b"<Delete><Object><Key>a</Key><VersionId>x</VersionId></Object></Delete>",
            2,
            1024,
        )
        .unwrap();
        assert_eq!(version.objects[0].version.as_deref(), Some("x"));
        let code = |text: &str| read(text.as_bytes(), 2, 1024).err().map(|error| error.code);
        assert_eq!(
            code("<Delete><Object><Key/></Object></Delete>"),
            Some(Code::UserKeyMustBeSpecified)
        );
    }

    #[test]
    fn a_document_has_room_for_the_longest_keys_and_no_more() {
        assert_eq!(document_limit(1_000, 1_024), 2_048_000);
        assert_eq!(document_limit(100_000, 1_024), 10 * 1024 * 1024);
    }
}
