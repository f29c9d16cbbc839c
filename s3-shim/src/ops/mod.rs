//! The operations. Each takes a proved, routed request and speaks Swift to the inside.

mod access;
mod acl;
mod bucket;
mod copy;
mod delete;
mod get;
mod list;
mod multipart;
mod put;
mod swift_acl;
mod time;
mod versioning;

use crate::errors::{Code, S3Error, S3Result};
use crate::payload::{self, Upload};
use crate::route::Action;
use crate::signature::Payload;
use crate::swift::Swift;
use crate::{Credentials, S3Config};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use http_body::{Frame, SizeHint};
use martlet_protocol::identity::Identity;
use martlet_protocol::query::Query;
use martlet_service::headers::text;
use martlet_service::{Body, BodyError, Clock, Handler, OddHeaders, Response};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

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
    /// Speaks to the inside in the user's own name.
    pub user: Swift,
    /// Speaks to the inside with the rights that the judgement of the action gave; the user's own at first.
    pub swift: Swift,
    pub found: access::Found,
    pub identity: Identity,
    pub payload: Payload,
    pub query: Query,
    pub headers: HeaderMap,
    pub odd: Option<OddHeaders>,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// In a lock only so that the request can be shared between tasks; see [`Call::take_body`].
    pub body: Mutex<Body>,
    pub bucket: String,
    pub key: String,
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
        self.document_up_to(self.core.config.max_document_bytes).await
    }

    /// The same with a bound of its own.
    async fn document_up_to(&mut self, limit: usize) -> S3Result<Bytes> {
        let body = self.take_body();
        payload::document(body, &self.headers, &self.payload, limit).await
    }

    /// The headers of the bucket's container, as they were found or as they are.
    async fn head_bucket(&self) -> S3Result<HeaderMap> {
        match &self.found.bucket {
            Some(headers) => Ok(headers.clone()),
            None => self.swift.head_bucket(&self.bucket).await,
        }
    }

    /// The headers of the object, or of the version that is asked for, as they were found or as they are.
    async fn head_object(&self) -> S3Result<HeaderMap> {
        if let Some(headers) = &self.found.object {
            return Ok(headers.clone());
        }
        let ask = self
            .swift
            .object(http::Method::HEAD, &self.bucket, &self.key)
            .query_if("version-id", self.version());
        let response = self.swift.send(ask).await?;
        if response.status().is_success() {
            Ok(response.into_parts().0.headers)
        } else {
            Err(access::missing(self, response.status(), &self.bucket, &self.key).await)
        }
    }

    /// The owner of the bucket's list; without a list it is the user, as far as S3 can say.
    fn bucket_owner(&self) -> &str {
        let owner = self.found.bucket_acl.as_ref().map(|acl| acl.owner.as_str());
        owner
            .filter(|owner| !owner.is_empty())
            .unwrap_or(&self.identity.user)
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

    /// The version that is asked for; `null` is the one an object has without versions.
    fn version(&self) -> Option<&str> {
        self.query.get("versionId").filter(|version| !version.is_empty())
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
pub(crate) async fn perform(action: Action, mut call: Call) -> S3Result<Response> {
    access::admit(action, &mut call).await?;
    match action {
        Action::ListBuckets => bucket::list(call).await,
        Action::CreateBucket => bucket::create(call).await,
        Action::HeadBucket => bucket::head(call).await,
        Action::DeleteBucket => bucket::delete(call).await,
        Action::GetBucketLocation => bucket::location(call).await,
        Action::GetBucketVersioning => versioning::get(call).await,
        Action::PutBucketVersioning => versioning::put(call).await,
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

/// An answer with no body. It has Swift's type, and says its length of nothing even where HTTP takes that for granted:
/// clients of S3 look for both.
fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::boxed(Nothing));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=UTF-8"));
    response
}

/// A body of no bytes that must be asked to be known as one; one that is known at once would lose its length of zero on
/// the way out.
struct Nothing;

impl http_body::Body for Nothing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(None)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(0)
    }
}
