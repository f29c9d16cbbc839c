//! Buckets: list, create, look at, delete, and the configurations they do not have.

use super::multipart::remove_hidden_containers;
use super::{Call, acl, document, empty, time};
use crate::errors::{Code, S3Error, S3Result};
use crate::swift::{Row, bucket_error, read, status_error};
use crate::target::{invalid_bucket, is_bucket_name, is_new_bucket_name};
use crate::xml::read::parse;
use crate::xml::write::Xml;
use http::{Method, StatusCode};
use martlet_service::Response;
use martlet_service::headers::set;

/// Rows asked for at once; Swift's largest page.
const PAGE: usize = 10_000;

pub(super) async fn list(call: Call) -> S3Result<Response> {
    let most = call.number("max-buckets", usize::MAX, usize::MAX)?;
    let prefix = call.query.get("prefix");
    let mut marker = call.query.get("continuation-token").map(str::to_owned);
    let mut rows: Vec<Row> = Vec::new();
    loop {
        let ask = call
            .swift
            .account(Method::GET)
            .query("format", "json")
            .query("limit", &PAGE.to_string())
            .query_if("prefix", prefix)
            .query_if("marker", marker.as_deref());
        let response = call.swift.send(ask).await?;
        let page: Vec<Row> = match response.status() {
            StatusCode::OK => serde_json::from_slice(&read(response).await?)
                .map_err(|_| S3Error::from(Code::InternalError))?,
            // An account that was never written to has no buckets.
            StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => Vec::new(),
            status => return Err(status_error(status)),
        };
        let is_last = page.len() < PAGE;
        marker = page.last().map(|row| row.name.clone());
        rows.extend(page.into_iter().filter(|row| is_bucket_name(&row.name)));
        if is_last || rows.len() > most {
            break;
        }
    }
    let is_truncated = rows.len() > most;
    rows.truncate(most);
    Ok(document(Xml::document("ListAllMyBucketsResult", |xml| {
        acl::owner(xml, "Owner", &call.identity);
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
    let access = acl::canned(&call)?;
    let configuration = call.document().await?;
    if !configuration.is_empty() {
        check_location(&configuration, &call.config().region)?;
    }
    let ask = call.swift.container(Method::PUT, &call.bucket);
    // The container must be new: PUT alone would also be content with one that is there.
    match call.swift.head_bucket(&call.bucket).await {
        Ok(_) => {
            return Err(S3Error::from(Code::BucketAlreadyOwnedByYou).with("BucketName", call.bucket.as_str()));
        }
        Err(error) if error.code == Code::NoSuchBucket => {}
        Err(error) => return Err(error),
    }
    let response = call.swift.send(ask.headers(access)).await?;
    match response.status() {
        StatusCode::CREATED => {
            let mut response = empty(StatusCode::OK);
            set(response.headers_mut(), "location", &format!("/{}", call.bucket));
            Ok(response)
        }
        StatusCode::ACCEPTED => {
            Err(S3Error::from(Code::BucketAlreadyOwnedByYou).with("BucketName", call.bucket.as_str()))
        }
        StatusCode::CONFLICT => {
            Err(S3Error::from(Code::BucketAlreadyExists).with("BucketName", call.bucket.as_str()))
        }
        status => Err(bucket_error(status, &call.bucket)),
    }
}

fn check_location(configuration: &[u8], region: &str) -> S3Result<()> {
    let root = parse(configuration).map_err(|_| S3Error::from(Code::MalformedXML))?;
    if root.name != "CreateBucketConfiguration" {
        return Err(Code::MalformedXML.into());
    }
    match root.child_text("LocationConstraint") {
        None | Some("") => Ok(()),
        Some(location) if location == region => Ok(()),
        Some(location) => {
            Err(S3Error::from(Code::InvalidLocationConstraint).with("LocationConstraint", location))
        }
    }
}

pub(super) async fn head(call: Call) -> S3Result<Response> {
    call.swift.head_bucket(&call.bucket).await?;
    let mut response = empty(StatusCode::OK);
    set(
        response.headers_mut(),
        "x-amz-bucket-region",
        &call.config().region,
    );
    set(response.headers_mut(), "content-type", "application/xml");
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
        return Err(bucket_error(response.status(), &call.bucket));
    }
    remove_hidden_containers(&call.swift, &call.bucket).await;
    Ok(empty(StatusCode::NO_CONTENT))
}

pub(super) async fn location(call: Call) -> S3Result<Response> {
    call.swift.head_bucket(&call.bucket).await?;
    let region = &call.config().region;
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
    call.swift.head_bucket(&call.bucket).await?;
    Ok(document(Xml::document(name, |_| {})))
}

pub(super) async fn request_payment(call: Call) -> S3Result<Response> {
    call.swift.head_bucket(&call.bucket).await?;
    Ok(document(Xml::document("RequestPaymentConfiguration", |xml| {
        xml.leaf("Payer", "BucketOwner")
    })))
}

pub(super) async fn missing_configuration(call: Call, code: Code) -> S3Result<Response> {
    call.swift.head_bucket(&call.bucket).await?;
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
        assert!(check_location(body("").as_bytes(), "us-east-1").is_ok());
        let code = |text: &str| check_location(text.as_bytes(), "us-east-1").unwrap_err().code;
        assert_eq!(code(&body("eu-west-1")), Code::InvalidLocationConstraint);
        assert_eq!(code("<Other/>"), Code::MalformedXML);
        assert_eq!(code("junk"), Code::MalformedXML);
    }
}
