//! DeleteObject and DeleteObjects.

use super::{Call, document, empty};
use crate::errors::{Code, S3Error, S3Result};
use crate::swift::{Swift, status_error};
use crate::target::check_key;
use crate::xml::read::{Element, parse};
use crate::xml::write::Xml;
use futures_util::stream::{self, StreamExt};
use http::{Method, StatusCode};
use martlet_service::Response;

/// Objects deleted at the same time for one request.
const CONCURRENCY: usize = 8;

/// Deleting what is not there is a success, as long as the bucket is.
pub(super) async fn one(call: Call) -> S3Result<Response> {
    call.refuse_versions()?;
    if call.headers.contains_key("if-match") {
        return Err(
            S3Error::new(Code::NotImplemented, "Conditional deletes are not implemented.")
                .with("Header", "If-Match"),
        );
    }
    if !remove(&call.swift, &call.bucket, &call.key).await? {
        call.swift.head_bucket(&call.bucket).await?;
    }
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Whether there was an object to delete.
async fn remove(swift: &Swift, bucket: &str, key: &str) -> S3Result<bool> {
    let response = swift.send(swift.object(Method::DELETE, bucket, key)).await?;
    match response.status() {
        status if status.is_success() => Ok(true),
        StatusCode::NOT_FOUND => Ok(false),
        // A newer write won: the object this delete was about is gone.
        StatusCode::CONFLICT => Ok(true),
        status => Err(status_error(status)),
    }
}

/// What one `Delete` document asks for.
struct Wanted {
    is_quiet: bool,
    keys: Vec<(String, Option<S3Error>)>,
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
    let keys: Vec<_> = root
        .all("Object")
        .map(|object| read_object(object, max_key_bytes))
        .collect::<S3Result<_>>()?;
    if keys.is_empty() || keys.len() > most {
        return Err(malformed());
    }
    Ok(Wanted { is_quiet, keys })
}

/// A key, and why it can not be deleted if it can not.
fn read_object(object: &Element, max_key_bytes: usize) -> S3Result<(String, Option<S3Error>)> {
    let key = object
        .child("Key")
        .map(|key| key.text.clone())
        .filter(|key| !key.is_empty());
    let key = key.ok_or_else(|| S3Error::new(Code::MalformedXML, "User must specify a non-empty Key."))?;
    let version = object.child_text("VersionId").unwrap_or_default();
    let refusal = if !matches!(version, "" | "null") {
        Some(Code::NoSuchVersion.into())
    } else if ["ETag", "LastModifiedTime", "Size"]
        .iter()
        .any(|name| object.child(name).is_some())
    {
        Some(Code::NotImplemented.into())
    } else {
        check_key(&key, max_key_bytes).err()
    };
    Ok((key, refusal))
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
    let body = call.document().await?;
    let wanted = read(&body, call.config().max_multi_delete, call.config().max_key_bytes)?;
    call.swift.head_bucket(&call.bucket).await?;
    let (swift, bucket) = (&call.swift, call.bucket.as_str());
    let results: Vec<(String, Option<S3Error>)> = stream::iter(wanted.keys)
        .map(|(key, refusal)| async move {
            let error = match refusal {
                Some(error) => Some(error),
                None => remove(swift, bucket, &key).await.err(),
            };
            (key, error)
        })
        .buffered(CONCURRENCY)
        .collect()
        .await;
    Ok(document(Xml::document("DeleteResult", |xml| {
        for (key, error) in &results {
            match error {
                None if wanted.is_quiet => {}
                None => xml.within("Deleted", |xml| xml.leaf("Key", key)),
                Some(error) => xml.within("Error", |xml| {
                    xml.leaf("Key", key);
                    xml.leaf("Code", error.code.as_str());
                    xml.leaf("Message", error.message());
                }),
            }
        }
    })))
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
        assert_eq!(good.keys[0].0, " a ");
        let many = format!("<Delete>{}</Delete>", "<Object><Key>a</Key></Object>".repeat(3));
        for bad in [
            "",
            "<Delete/>",
            "<Other/>",
            "<Delete><Object/></Delete>",
            "<Delete><Object><Key/></Object></Delete>",
            &many,
        ] {
            assert!(read(bad.as_bytes(), 2, 1024).is_err(), "{bad}");
        }
        let version = read(
            b"<Delete><Object><Key>a</Key><VersionId>x</VersionId></Object></Delete>",
            2,
            1024,
        )
        .unwrap();
        assert_eq!(
            version.keys[0].1.as_ref().map(|error| error.code),
            Some(Code::NoSuchVersion)
        );
    }
}
