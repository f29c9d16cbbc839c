//! The way of every request: find the target, prove the user, name the action, do it, and answer in S3's form.

use crate::errors::Code;
use crate::errors::{S3Error, S3Result};
use crate::ops::{self, Call, Core};
use crate::route::{Level, route};
use crate::signature::Checker;
use crate::swift::Swift;
use crate::target::{self, Target};
use crate::{Credentials, Lookup, S3Config, preflight};
use http::Method;
use http::header::{HeaderName, HeaderValue, ORIGIN};
use martlet_protocol::query::Query;
use martlet_service::headers::text;
use martlet_service::{BoxFuture, Clock, Handler, OddHeaders, Request, Response, trans_id};
use std::sync::{Arc, Mutex};

/// The S3 door. Cheap to share.
pub struct S3 {
    core: Arc<Core>,
}

impl S3 {
    /// A door to `inner`, which speaks the Swift API and takes the user from an `Identity` extension.
    pub fn new(
        config: S3Config,
        credentials: Arc<dyn Credentials>,
        inner: Arc<dyn Handler>,
        clock: Clock,
    ) -> Arc<S3> {
        Arc::new(S3 {
            core: Arc::new(Core {
                config,
                credentials,
                inner,
                clock,
            }),
        })
    }

    async fn answer(&self, request: Request) -> Response {
        let request_id = text(request.headers(), "x-trans-id").map_or_else(trans_id::new, str::to_owned);
        let method = request.method().clone();
        let mut response = match self.perform(request, &request_id).await {
            Ok(response) => response,
            Err(error) => {
                metrics::counter!("martlet_s3_errors_total", "code" => error.code.as_str()).increment(1);
                tracing::debug!(
                    code = error.code.as_str(),
                    message = error.message(),
                    request_id,
                    "S3 request refused"
                );
                error.respond(&method, &request_id)
            }
        };
        if let Ok(value) = HeaderValue::from_str(&request_id) {
            response
                .headers_mut()
                .insert(HeaderName::from_static("x-amz-request-id"), value.clone());
            response
                .headers_mut()
                .insert(HeaderName::from_static("x-amz-id-2"), value);
        }
        response
    }

    async fn perform(&self, request: Request, request_id: &str) -> S3Result<Response> {
        let config = &self.core.config;
        let (parts, body) = request.into_parts();
        let origins = &config.cors_preflight_allow_origin;
        if parts.method == Method::OPTIONS && !origins.is_empty() && parts.headers.contains_key(ORIGIN) {
            return Ok(preflight::answer(origins, &parts.headers));
        }
        let host_bucket = target::host_bucket(&parts, &config.storage_domain);
        let checker = Checker {
            region: &config.location,
            now_secs: self.core.clock.now().secs(),
            host_bucket: host_bucket.as_deref(),
        };
        let claim = checker.read(&parts)?;
        let credential = match self.core.credentials.find(&claim).await {
            Lookup::Known(credential) => *credential,
            Lookup::UnknownKey => {
                return Err(S3Error::from(Code::InvalidAccessKeyId).with("AWSAccessKeyId", claim.access_key));
            }
            Lookup::Refused => {
                return Err(
                    S3Error::from(Code::SignatureDoesNotMatch).with("AWSAccessKeyId", claim.access_key)
                );
            }
            Lookup::Unavailable => return Err(Code::ServiceUnavailable.into()),
        };
        let authenticated = claim.prove(credential)?;
        let Target { bucket, key } =
            target::parse(parts.uri.path(), host_bucket.as_deref(), config.max_key_bytes)?;
        let query = Query::parse(parts.uri.query().unwrap_or_default())
            .map_err(|_| S3Error::from(Code::InvalidURI))?;
        let level = match (bucket.is_empty(), key.is_empty()) {
            (true, true) => Level::Service,
            (true, false) => return Err(target::invalid_bucket("")),
            (false, true) => Level::Bucket,
            (false, false) => Level::Object,
        };
        let action = route(&parts.method, level, &query)?;
        if level != Level::Service && !target::is_bucket_name(&bucket) {
            return Err(target::invalid_bucket(&bucket));
        }
        let identity = authenticated.identity;
        let odd = parts.extensions.get::<OddHeaders>().cloned();
        let scheme = martlet_service::scheme(&parts.extensions);
        let swift = Swift::new(self.core.inner.clone(), &identity, request_id, parts.extensions);
        let call = Call {
            core: self.core.clone(),
            user: swift.clone(),
            swift,
            found: Default::default(),
            identity,
            payload: authenticated.payload,
            query,
            headers: parts.headers,
            odd,
            scheme,
            body: Mutex::new(body),
            bucket,
            key,
            request_id: request_id.to_owned(),
        };
        ops::perform(action, call).await
    }
}

impl Handler for S3 {
    fn call(&self, request: Request) -> BoxFuture<'_, Response> {
        Box::pin(self.answer(request))
    }
}
