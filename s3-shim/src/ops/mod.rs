//! The operations. Each takes a proved, routed request and speaks Swift to the inside.

mod acl;
mod bucket;
mod copy;
mod delete;
mod get;
mod list;
mod multipart;
mod put;
mod time;

use crate::errors::{Code, S3Error, S3Result};
use crate::payload::{self, Upload};
use crate::route::Action;
use crate::signature::Payload;
use crate::swift::Swift;
use crate::{Credentials, S3Config};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use martlet_protocol::identity::Identity;
use martlet_protocol::query::Query;
use martlet_service::headers::text;
use martlet_service::{Body, Clock, Handler, Response};
use std::sync::{Arc, Mutex, PoisonError};

/// What all requests share.
pub(crate) struct Core {
    pub config: S3Config,
    pub credentials: Arc<dyn Credentials>,
    pub inner: Arc<dyn Handler>,
    pub clock: Clock,
}

/// One request, its user proved.
pub(crate) struct Call {
    pub core: Arc<Core>,
    pub swift: Swift,
    pub identity: Identity,
    pub payload: Payload,
    pub query: Query,
    pub headers: HeaderMap,
    /// In a lock only so that the request can be shared between tasks; see [`Call::take_body`].
    pub body: Mutex<Body>,
    pub bucket: String,
    pub key: String,
    pub resource: String,
    pub request_id: String,
}

impl Call {
    fn config(&self) -> &S3Config {
        &self.core.config
    }

    fn header(&self, name: &str) -> Option<&str> {
        text(&self.headers, name)
    }

    /// The body; afterwards it is empty.
    fn take_body(&mut self) -> Body {
        std::mem::take(self.body.get_mut().unwrap_or_else(PoisonError::into_inner))
    }

    /// The body as an XML document, all checks passed.
    async fn document(&mut self) -> S3Result<Bytes> {
        let body = self.take_body();
        payload::document(
            body,
            &self.headers,
            &self.payload,
            self.core.config.max_document_bytes,
        )
        .await
    }

    /// The body as an upload whose length is known and allowed.
    async fn upload(&mut self) -> S3Result<Upload> {
        let body = self.take_body();
        let upload = payload::open(body, &self.headers, &self.payload).await?;
        let length = upload
            .length
            .ok_or_else(|| S3Error::from(Code::MissingContentLength))?;
        let largest = self.config().max_put_bytes;
        if length > largest {
            return Err(S3Error::from(Code::EntityTooLarge)
                .with("ProposedSize", length.to_string())
                .with("MaxSizeAllowed", largest.to_string()));
        }
        Ok(upload)
    }

    /// There are no versions here but the only one, which S3 calls `null`.
    fn refuse_versions(&self) -> S3Result<()> {
        match self.query.get("versionId") {
            None | Some("null" | "") => Ok(()),
            Some(version) => Err(S3Error::from(Code::NoSuchVersion)
                .with("Key", self.key.as_str())
                .with("VersionId", version)),
        }
    }

    /// A query parameter that is a number up to a limit; larger ones are cut to it.
    fn number(&self, name: &str, default: usize, limit: usize) -> S3Result<usize> {
        let Some(value) = self.query.get(name).filter(|value| !value.is_empty()) else {
            return Ok(default);
        };
        if !value.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(S3Error::argument(
                name,
                value,
                format!("Provided {name} not an integer or within integer range"),
            ));
        }
        match value.parse::<u64>() {
            Ok(number) if number <= 2_147_483_647 => Ok(usize::try_from(number).unwrap_or(limit).min(limit)),
            _ => Err(S3Error::argument(
                name,
                value,
                format!("Argument {name} must be an integer between 0 and 2147483647"),
            )),
        }
    }
}

/// Does what was asked.
pub(crate) async fn perform(action: Action, call: Call) -> S3Result<Response> {
    match action {
        Action::ListBuckets => bucket::list(call).await,
        Action::CreateBucket => bucket::create(call).await,
        Action::HeadBucket => bucket::head(call).await,
        Action::DeleteBucket => bucket::delete(call).await,
        Action::GetBucketLocation => bucket::location(call).await,
        Action::GetBucketVersioning => bucket::empty_configuration(call, "VersioningConfiguration").await,
        Action::GetEmptyConfiguration(name) => bucket::empty_configuration(call, name).await,
        Action::GetRequestPayment => bucket::request_payment(call).await,
        Action::GetMissingConfiguration(code) => bucket::missing_configuration(call, code).await,
        Action::GetBucketAcl => acl::get_bucket(call).await,
        Action::PutBucketAcl => acl::put_bucket(call).await,
        Action::GetObjectAcl => acl::get_object(call).await,
        Action::PutObjectAcl => acl::put_object(call).await,
        Action::ListObjects => list::version_one(call).await,
        Action::ListObjectsV2 => list::version_two(call).await,
        Action::ListObjectVersions => list::versions(call).await,
        Action::DeleteObjects => delete::many(call).await,
        Action::DeleteObject => delete::one(call).await,
        Action::GetObject => get::object(call, http::Method::GET).await,
        Action::HeadObject => get::object(call, http::Method::HEAD).await,
        Action::GetObjectTagging => get::tagging(call).await,
        Action::GetObjectAttributes => get::attributes(call).await,
        Action::GetMissingObjectConfiguration(code) => get::missing_configuration(call, code).await,
        Action::PutObject if call.headers.contains_key("x-amz-copy-source") => copy::object(call).await,
        Action::PutObject => put::object(call).await,
        Action::CreateMultipartUpload => multipart::create(call).await,
        Action::UploadPart if call.headers.contains_key("x-amz-copy-source") => {
            multipart::copy_part(call).await
        }
        Action::UploadPart => multipart::put_part(call).await,
        Action::ListParts => multipart::list_parts(call).await,
        Action::ListMultipartUploads => multipart::list_uploads(call).await,
        Action::CompleteMultipartUpload => multipart::complete(call).await,
        Action::AbortMultipartUpload => multipart::abort(call).await,
    }
}

/// A document as an answer.
fn document(text: String) -> Response {
    let mut response = Response::new(Body::full(text));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

/// An answer with no body.
fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
