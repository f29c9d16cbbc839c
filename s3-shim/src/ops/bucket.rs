//! Buckets: list, create, look at, delete, and the configurations they do not have.

use super::multipart::remove_hidden_containers;
use super::{Call, acl, document, empty, swift_acl, time, versioning};
use crate::acl::Acl;
use crate::errors::{Code, S3Error, S3Result};
use crate::swift::{Row, Swift, bucket_error, read, status_error};
use crate::target::{invalid_bucket, is_bucket_name, is_new_bucket_name};
use crate::xml::read::parse;
use crate::xml::write::Xml;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use http::{HeaderMap, Method, StatusCode};
use martlet_service::Response;
use martlet_service::headers::set;

/// Rows asked for at once; Swift's largest page.
const PAGE: usize = 10_000;
/// Buckets looked at, at the same time.
const CONCURRENCY: usize = 16;

pub(super) async fn list(call: Call) -> S3Result<Response> {
    let most = call.number("max-buckets", usize::MAX, usize::MAX)?;
    let prefix = call.query.get("prefix");
    let mut marker = call.query.get("continuation-token").map(str::to_owned);
    let mut rows: Vec<Row> = Vec::new();
    // With lists of S3's a user may own buckets of an account that is not the user's own; each is looked at below.
    let by_lists = call.config().s3_acl;
    let swift = if by_lists {
        call.swift.as_account()
    } else {
        call.swift.clone()
    };
    loop {
        let ask = swift
            .account(Method::GET)
            .query("format", "json")
            .query("limit", &PAGE.to_string())
            .query_if("prefix", prefix)
            .query_if("marker", marker.as_deref());
        let response = swift.send(ask).await?;
        let page: Vec<Row> = match response.status() {
            StatusCode::OK => serde_json::from_slice(&read(response).await?)
                .map_err(|_| S3Error::from(Code::InternalError))?,
            // An account that was never written to has no buckets.
            StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => Vec::new(),
            status => return Err(status_error(status)),
        };
        let is_last = page.len() < PAGE;
        marker = page.last().map(|row| row.name.clone());
        let named = page.into_iter().filter(|row| is_bucket_name(&row.name));
        if by_lists && call.config().check_bucket_owner {
            rows.extend(own_buckets(&call, &swift, named.collect()).await?);
        } else {
            rows.extend(named);
        }
        if is_last || rows.len() > most {
            break;
        }
    }
    let is_truncated = rows.len() > most;
    rows.truncate(most);
    Ok(document(Xml::document("ListAllMyBucketsResult", |xml| {
        acl::owner(xml, "Owner", &call.identity.user);
        xml.within("Buckets", |xml| {
            for row in &rows {
                xml.within("Bucket", |xml| {
                    xml.leaf("Name", &row.name);
                    xml.leaf("CreationDate", &time::of_row(&row.last_modified));
                });
            }
        });
        if let (true, Some(last)) = (is_truncated, rows.last()) {
            xml.leaf("ContinuationToken", &last.name);
        }
    })))
}

/// Those buckets of a page that are the user's own.
async fn own_buckets(call: &Call, swift: &Swift, page: Vec<Row>) -> S3Result<Vec<Row>> {
    let looks = stream::iter(page).map(|row| async move {
        match swift.head_bucket(&row.name).await {
            Ok(headers) => Ok(acl::may_see(&headers, call).then_some(row)),
            // It went while we looked.
            Err(error) if error.code == Code::NoSuchBucket => Ok(None),
            Err(error) => Err(error),
        }
    });
    let seen: Vec<Option<Row>> = looks.buffered(CONCURRENCY).try_collect().await?;
    Ok(seen.into_iter().flatten().collect())
}

pub(super) async fn create(mut call: Call) -> S3Result<Response> {
    if !is_new_bucket_name(&call.bucket) {
        return Err(invalid_bucket(&call.bucket));
    }
    if call
        .header("x-amz-bucket-object-lock-enabled")
        .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    {
        return Err(S3Error::new(
            Code::NotImplemented,
            "Object lock is not implemented.",
        ));
    }
    let by_lists = call.config().s3_acl;
    // Who may not create buckets does not learn which there are.
    if by_lists && !call.swift.owns_account() {
        return Err(Code::AccessDenied.into());
    }
    let (access, list) = if by_lists {
        (HeaderMap::new(), acl::for_new_bucket(&call)?)
    } else {
        (swift_acl::canned(&call)?, None)
    };
    let configuration = call.document().await?;
    if !configuration.is_empty() {
        check_location(&configuration, &call.config().location)?;
    }
    let ask = call.swift.container(Method::PUT, &call.bucket);
    // The container must be new: PUT alone would also be content with one that is there.
    match call.swift.head_bucket(&call.bucket).await {
        Ok(headers) => return Err(already_there(&call, &headers)),
        Err(error) if error.code == Code::NoSuchBucket => {}
        Err(error) => return Err(error),
    }
    let response = call.swift.send(ask.headers(access)).await?;
    match response.status() {
        StatusCode::CREATED => {
            // After the PUT and not with it: that one would also be taken for a bucket that another has just made.
            if let Some(list) = &list {
                acl::store_for_bucket(&call, list).await?;
            }
            let mut response = empty(StatusCode::OK);
            set(response.headers_mut(), "location", &format!("/{}", call.bucket));
            Ok(response)
        }
        StatusCode::ACCEPTED => {
            let headers = call.swift.head_bucket(&call.bucket).await?;
            Err(already_there(&call, &headers))
        }
        StatusCode::CONFLICT => {
            Err(S3Error::from(Code::BucketAlreadyExists).with("BucketName", call.bucket.as_str()))
        }
        status => Err(bucket_error(status, &call.bucket)),
    }
}

/// The error for a bucket that is there already: one's own, or another's.
fn already_there(call: &Call, headers: &HeaderMap) -> S3Error {
    let is_anothers =
        call.config().s3_acl && Acl::of_bucket(headers).is_some_and(|acl| !acl.is_owner(&call.identity.user));
    let code = if is_anothers {
        Code::BucketAlreadyExists
    } else {
        Code::BucketAlreadyOwnedByYou
    };
    S3Error::from(code).with("BucketName", call.bucket.as_str())
}

fn check_location(configuration: &[u8], region: &str) -> S3Result<()> {
    let root = parse(configuration).map_err(|_| S3Error::from(Code::MalformedXML))?;
    if root.name != "CreateBucketConfiguration" {
        return Err(Code::MalformedXML.into());
    }
    match root.child_text("LocationConstraint") {
        None => Ok(()),
        Some(location) if location == region => Ok(()),
        Some(location) => {
            Err(S3Error::from(Code::InvalidLocationConstraint).with("LocationConstraint", location))
        }
    }
}

pub(super) async fn head(call: Call) -> S3Result<Response> {
    call.head_bucket().await?;
    let mut response = empty(StatusCode::OK);
    set(
        response.headers_mut(),
        "x-amz-bucket-region",
        &call.config().location,
    );
    Ok(response)
}

/// The bucket goes first; what uploads left behind goes only when it is gone, so that a bucket which turns out not to
/// be empty has lost nothing.
pub(super) async fn delete(call: Call) -> S3Result<Response> {
    let response = call
        .swift
        .send(call.swift.container(Method::DELETE, &call.bucket))
        .await?;
    if !response.status().is_success() {
        let mut error = bucket_error(response.status(), &call.bucket);
        let has_versions = call
            .found
            .bucket
            .as_ref()
            .is_some_and(|headers| versioning::of_bucket(headers).is_some());
        if error.code == Code::BucketNotEmpty && has_versions {
            error.message = Some(
                "The bucket you tried to delete is not empty. You must delete all versions in the bucket."
                    .to_owned(),
            );
        }
        return Err(error);
    }
    remove_hidden_containers(&call.swift, &call.bucket).await;
    Ok(empty(StatusCode::NO_CONTENT))
}

pub(super) async fn location(call: Call) -> S3Result<Response> {
    call.head_bucket().await?;
    let region = &call.config().location;
    // S3 writes nothing for its first region.
    let region = if region == "us-east-1" {
        ""
    } else {
        region.as_str()
    };
    let mut xml = Xml::new();
    xml.root("LocationConstraint", |xml| xml.text(region));
    Ok(document(xml.finish()))
}

pub(super) async fn empty_configuration(call: Call, name: &str) -> S3Result<Response> {
    call.head_bucket().await?;
    Ok(document(Xml::document(name, |_| {})))
}

pub(super) async fn request_payment(call: Call) -> S3Result<Response> {
    call.head_bucket().await?;
    Ok(document(Xml::document("RequestPaymentConfiguration", |xml| {
        xml.leaf("Payer", "BucketOwner")
    })))
}

pub(super) async fn missing_configuration(call: Call, code: Code) -> S3Result<Response> {
    call.head_bucket().await?;
    Err(S3Error::from(code).with("BucketName", call.bucket.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn location_constraints() {
        let body = |location: &str| {
            format!(
                "<CreateBucketConfiguration xmlns=\"x\"><LocationConstraint>{location}</LocationConstraint></CreateBucketConfiguration>"
            )
        };
        assert!(check_location(body("eu-west-1").as_bytes(), "eu-west-1").is_ok());
        let empty = "<CreateBucketConfiguration/>";
        assert!(check_location(empty.as_bytes(), "us-east-1").is_ok());
        let code = |text: &str| check_location(text.as_bytes(), "us-east-1").unwrap_err().code;
        assert_eq!(code(&body("")), Code::InvalidLocationConstraint);
        assert_eq!(code(&body("eu-west-1")), Code::InvalidLocationConstraint);
        assert_eq!(code("<Other/>"), Code::MalformedXML);
        assert_eq!(code("junk"), Code::MalformedXML);
    }
}
