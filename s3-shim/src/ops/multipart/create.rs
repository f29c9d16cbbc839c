//! CreateMultipartUpload.

use super::session::{ALGORITHM, KIND, new_id, parts_container, session_name, sessions_container};
use crate::errors::{Code, S3Result};
use crate::metadata;
use crate::ops::put::wanted_algorithm;
use crate::ops::{Call, acl, document};
use crate::swift::status_error;
use crate::xml::write::Xml;
use http::{HeaderMap, Method, StatusCode};
use martlet_service::Response;
use martlet_service::headers::{set, text};

pub(crate) async fn create(mut call: Call) -> S3Result<Response> {
    metadata::refuse_unsupported(&call.headers)?;
    let checksum = wanted_algorithm(&call.headers)?;
    let mut headers = metadata::to_swift(&call.headers, call.odd.as_ref())?;
    if let Some((algorithm, kind)) = checksum {
        set(&mut headers, ALGORITHM, algorithm.name());
        set(&mut headers, KIND, kind.as_str());
    }
    headers.extend(acl::for_new_object(&call)?);
    // What the headers say of a digest is about the object to come, not about this request's empty body.
    call.headers.remove("content-md5");
    call.document().await?;
    let bucket = call.head_bucket().await?;
    let id = new_id();
    let status = match put_session(&call, &id, headers.clone()).await? {
        StatusCode::NOT_FOUND => {
            make_containers(&call, &bucket).await?;
            put_session(&call, &id, headers).await?
        }
        status => status,
    };
    if status != StatusCode::CREATED {
        return Err(status_error(status));
    }
    let mut response = document(Xml::document("InitiateMultipartUploadResult", |xml| {
        xml.leaf("Bucket", &call.bucket);
        xml.leaf("Key", &call.key);
        xml.leaf("UploadId", &id);
    }));
    if let Some((algorithm, kind)) = checksum {
        set(
            response.headers_mut(),
            "x-amz-checksum-algorithm",
            algorithm.name(),
        );
        set(response.headers_mut(), "x-amz-checksum-type", kind.as_str());
    }
    Ok(response)
}

async fn put_session(call: &Call, id: &str, headers: HeaderMap) -> S3Result<StatusCode> {
    let name = session_name(&call.key, id);
    let ask = call
        .swift
        .object(Method::PUT, &sessions_container(&call.bucket), &name)
        .headers(headers);
    let response = call.swift.send(ask.body(Default::default(), Some(0))).await?;
    Ok(response.status())
}

/// Parts first: where there are sessions there is room for parts. Parts lie in the bucket's own storage policy.
async fn make_containers(call: &Call, bucket: &HeaderMap) -> S3Result<()> {
    for container in [parts_container(&call.bucket), sessions_container(&call.bucket)] {
        let mut ask = call.swift.container(Method::PUT, &container);
        if let Some(policy) = text(bucket, "x-storage-policy") {
            ask = ask.header("x-storage-policy", policy);
        }
        let status = call.swift.send(ask).await?.status();
        if !status.is_success() {
            tracing::warn!(
                status = status.as_u16(),
                "a hidden container for uploads could not be made"
            );
            return Err(if status == StatusCode::FORBIDDEN {
                Code::AccessDenied.into()
            } else {
                status_error(status)
            });
        }
    }
    Ok(())
}
