//! Swift API requests to the inside, in the name of one user, and what their statuses mean in S3.

use crate::errors::{Code, S3Error, S3Result};
use bytes::Bytes;
use http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode};
use martlet_protocol::identity::Identity;
use martlet_protocol::percent::{quote, quote_segment};
use martlet_service::headers::set;
use martlet_service::{Body, Handler, Request, Response, collect};
use serde::Deserialize;
use std::sync::Arc;

/// Largest answer of the inside that is read whole: a page of 10,000 rows.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// Speaks to the inside for one request.
#[derive(Clone)]
pub struct Swift {
    inner: Arc<dyn Handler>,
    identity: Identity,
    trans_id: String,
    extensions: Extensions,
}

/// A request to the inside.
pub struct Ask {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Body,
}

impl Ask {
    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        set(&mut self.headers, name, value);
        self
    }

    /// Adds headers.
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        self.headers.extend(headers);
        self
    }

    /// Adds a query parameter.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        if !self.query.is_empty() {
            self.query.push('&');
        }
        self.query.push_str(&quote_segment(name));
        self.query.push('=');
        self.query.push_str(&quote_segment(value));
        self
    }

    /// Adds a query parameter if there is a value.
    pub fn query_if(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) if !value.is_empty() => self.query(name, value),
            _ => self,
        }
    }

    /// The value of a query parameter that was added before.
    pub fn query_value(&self, name: &str) -> Option<String> {
        let query = martlet_protocol::query::Query::parse(&self.query).ok()?;
        query.get(name).map(str::to_owned)
    }

    /// Sends a body along; its length is announced when it is known.
    pub fn body(mut self, body: Body, length: Option<u64>) -> Self {
        if let Some(length) = length {
            self.headers
                .insert(http::header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        self.body = body;
        self
    }
}

impl Swift {
    /// `extensions` are those of the client's request; the user's identity is added to them.
    pub fn new(
        inner: Arc<dyn Handler>,
        identity: &Identity,
        trans_id: &str,
        mut extensions: Extensions,
    ) -> Self {
        extensions.insert(identity.clone());
        Swift {
            inner,
            identity: identity.clone(),
            trans_id: trans_id.to_owned(),
            extensions,
        }
    }

    /// The same with the rights of the account's owner, in the user's own account only. For what an access list of S3's
    /// has allowed; Swift's ACLs are not asked then.
    pub fn as_account(&self) -> Self {
        let mut owner = self.clone();
        if !self.owns_account() {
            owner.identity.groups.push(self.identity.account.clone());
            owner.extensions.insert(owner.identity.clone());
        }
        owner
    }

    /// Whether the user owns the account already: its admins do.
    pub fn owns_account(&self) -> bool {
        self.identity.is_reseller_admin || self.identity.groups.contains(&self.identity.account)
    }

    fn ask(&self, method: Method, path: String) -> Ask {
        Ask {
            method,
            path,
            query: String::new(),
            headers: HeaderMap::new(),
            body: Body::empty(),
        }
    }

    pub fn account(&self, method: Method) -> Ask {
        self.ask(method, format!("/v1/{}", quote_segment(&self.identity.account)))
    }

    pub fn container(&self, method: Method, container: &str) -> Ask {
        let ask = self.ask(
            method,
            format!(
                "/v1/{}/{}",
                quote_segment(&self.identity.account),
                quote_segment(container)
            ),
        );
        Self::reserve(ask, container)
    }

    pub fn object(&self, method: Method, container: &str, object: &str) -> Ask {
        let path = format!(
            "/v1/{}/{}/{}",
            quote_segment(&self.identity.account),
            quote_segment(container),
            quote(object)
        );
        Self::reserve(self.ask(method, path), container)
    }

    /// Containers of the cluster's own begin with NUL; the client can not name one.
    fn reserve(ask: Ask, container: &str) -> Ask {
        if container.starts_with('\0') {
            ask.header("x-backend-allow-reserved-names", "true")
        } else {
            ask
        }
    }

    /// Sends a request.
    pub async fn send(&self, ask: Ask) -> S3Result<Response> {
        let Ask {
            method,
            mut path,
            query,
            mut headers,
            body,
        } = ask;
        if !query.is_empty() {
            path.push('?');
            path.push_str(&query);
        }
        set(&mut headers, "x-trans-id", &self.trans_id);
        set(&mut headers, "user-agent", "martlet-s3");
        if matches!(method, Method::PUT | Method::POST)
            && !headers.contains_key(http::header::CONTENT_LENGTH)
            && let Some(length) = body.content_length()
        {
            headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        let uri: http::Uri = path.parse().map_err(|_| S3Error::from(Code::InvalidURI))?;
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        *request.extensions_mut() = self.extensions.clone();
        Ok(self.inner.call(request).await)
    }

    /// The headers of a bucket's container, or `NoSuchBucket`.
    pub async fn head_bucket(&self, bucket: &str) -> S3Result<HeaderMap> {
        let response = self.send(self.container(Method::HEAD, bucket)).await?;
        if response.status().is_success() {
            return Ok(response.into_parts().0.headers);
        }
        Err(bucket_error(response.status(), bucket))
    }

    /// The headers of an object, or `NoSuchKey`, or `NoSuchBucket`.
    pub async fn head_object(&self, bucket: &str, key: &str) -> S3Result<HeaderMap> {
        self.head_version(bucket, key, None).await
    }

    /// The headers of a version of an object; of the object itself when none is named.
    pub async fn head_version(&self, bucket: &str, key: &str, version: Option<&str>) -> S3Result<HeaderMap> {
        let ask = self
            .object(Method::HEAD, bucket, key)
            .query_if("version-id", version);
        let response = self.send(ask).await?;
        if response.status().is_success() {
            return Ok(response.into_parts().0.headers);
        }
        Err(self.object_error(response.status(), bucket, key).await)
    }

    /// One page of a container's listing; `NoSuchBucket` when there is no such container.
    pub async fn list(&self, bucket: &str, ask: Ask) -> S3Result<Vec<Row>> {
        let response = self.send(ask.query("format", "json")).await?;
        match response.status() {
            StatusCode::OK => {
                let bytes = read(response).await?;
                serde_json::from_slice(&bytes).map_err(|error| {
                    tracing::error!(%error, bucket, "a listing of the inside could not be read");
                    Code::InternalError.into()
                })
            }
            StatusCode::NO_CONTENT => Ok(Vec::new()),
            status => Err(bucket_error(status, bucket)),
        }
    }

    /// What a status about an object means; a 404 may mean that the bucket is missing.
    pub async fn object_error(&self, status: StatusCode, bucket: &str, key: &str) -> S3Error {
        if status == StatusCode::NOT_FOUND {
            if let Err(error) = self.head_bucket(bucket).await {
                return error;
            }
            return S3Error::from(Code::NoSuchKey).with("Key", key);
        }
        status_error(status)
    }
}

/// A row of a listing of an account or a container.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Row {
    pub name: String,
    pub subdir: Option<String>,
    pub hash: String,
    pub bytes: u64,
    pub last_modified: String,
    pub content_type: String,
    /// Only in listings of versions.
    pub version_id: Option<String>,
    pub is_latest: Option<bool>,
}

/// Reads a whole answer of the inside.
pub async fn read(response: Response) -> S3Result<Bytes> {
    collect(response.into_body(), MAX_ANSWER_BYTES)
        .await
        .map_err(|error| {
            tracing::warn!(?error, "an answer of the inside ended early");
            Code::InternalError.into()
        })
}

/// What a status about a bucket means.
pub fn bucket_error(status: StatusCode, bucket: &str) -> S3Error {
    match status {
        StatusCode::NOT_FOUND => S3Error::from(Code::NoSuchBucket).with("BucketName", bucket),
        StatusCode::CONFLICT => S3Error::from(Code::BucketNotEmpty).with("BucketName", bucket),
        StatusCode::BAD_REQUEST => S3Error::from(Code::InvalidBucketName).with("BucketName", bucket),
        _ => status_error(status),
    }
}

/// What a status means when it is not about a missing thing.
pub fn status_error(status: StatusCode) -> S3Error {
    let code = match status.as_u16() {
        400 => Code::InvalidRequest,
        401 | 403 => Code::AccessDenied,
        404 => Code::NoSuchKey,
        405 => Code::MethodNotAllowed,
        408 => Code::RequestTimeout,
        411 => Code::MissingContentLength,
        412 => Code::PreconditionFailed,
        413 => Code::EntityTooLarge,
        416 => Code::InvalidRange,
        422 => Code::BadDigest,
        429 | 498 => Code::SlowDown,
        499 => Code::IncompleteBody,
        503 | 507 => Code::ServiceUnavailable,
        _ => Code::InternalError,
    };
    if code == Code::InternalError {
        tracing::error!(
            status = status.as_u16(),
            "the inside gave an answer that has no meaning here"
        );
    }
    code.into()
}
