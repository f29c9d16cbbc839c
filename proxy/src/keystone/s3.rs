//! Says whose an EC2 credential is, and its secret, so that S3 signatures are checked here and Keystone is asked once for
//! each credential and cache time.
//!
//! See "S3 token" in Keystone's `OS-EC2` documentation and Swift's `s3token`. Unlike Swift's, secrets are kept in this
//! process only and never in memcached.

use super::Asker;
use super::client::{Question, Unavailable};
use super::config::{S3TokenConfig, Secret};
use super::token;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use http::header::HeaderMap;
use http::{Method, StatusCode};
use martlet_protocol::identity::Identity;
use martlet_protocol::percent::quote_segment;
use moka::future::Cache;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;

/// Longer access keys are nobody's: Keystone's are 32 letters.
const MAX_ACCESS_BYTES: usize = 256;
/// How long nobody asks again about a credential after Keystone could not be asked, in seconds.
const UNAVAILABLE_SECS: u64 = 1;

/// What a request claims.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    pub access: &'a str,
    pub string_to_sign: &'a [u8],
    pub signature: &'a str,
}

/// What a credential is worth.
#[derive(Clone, Debug)]
pub enum S3Verdict {
    /// Without a secret Keystone has checked this one signature, and does not show the secret.
    Known {
        secret: Option<Secret>,
        identity: Arc<Identity>,
    },
    /// Keystone does not say whether the key or the signature is wrong.
    Refused,
    Unavailable,
}

#[derive(Clone)]
struct Entry {
    secret: Secret,
    identity: Arc<Identity>,
    /// Asked again from this second on.
    until_secs: u64,
}

/// The credentials that are remembered, and how to ask about others.
pub struct S3Credentials {
    entries: Cache<String, Entry>,
    /// One at a time asks about an access key; inside is the second until which nobody asks again. Wrong signatures are not
    /// remembered: who guesses must not keep the owner out.
    asking: Cache<String, Arc<Mutex<u64>>>,
    cache_secs: u64,
    asker: Asker,
    has_warned: AtomicBool,
}

impl S3Credentials {
    pub(super) fn new(config: &S3TokenConfig, asker: Asker) -> Self {
        let capacity = config.max_cached_credentials.max(1);
        S3Credentials {
            entries: Cache::builder()
                .max_capacity(capacity)
                .time_to_live(Duration::from_secs(config.secret_cache_duration.max(1)))
                .build(),
            asking: Cache::builder()
                .max_capacity(capacity)
                .time_to_idle(Duration::from_secs(60))
                .build(),
            cache_secs: config.secret_cache_duration,
            asker,
            has_warned: AtomicBool::new(false),
        }
    }

    /// Whose request it is.
    pub async fn find(&self, signed: Signed<'_>) -> S3Verdict {
        if signed.access.len() > MAX_ACCESS_BYTES {
            return S3Verdict::Refused;
        }
        if let Some(known) = self.remembered(signed.access).await {
            return known;
        }
        let turn = self
            .asking
            .get_with(signed.access.to_owned(), async { Arc::default() })
            .await;
        let mut not_before_secs = turn.lock().await;
        // Whoever was before may have found out.
        if let Some(known) = self.remembered(signed.access).await {
            return known;
        }
        if self.asker.clock.now().secs() < *not_before_secs {
            return S3Verdict::Unavailable;
        }
        match self.ask(signed).await {
            Ok(verdict) => verdict,
            Err(problem) => {
                tracing::warn!(%problem, "an S3 credential could not be checked");
                *not_before_secs = self.asker.clock.now().secs() + UNAVAILABLE_SECS;
                S3Verdict::Unavailable
            }
        }
    }

    async fn remembered(&self, access: &str) -> Option<S3Verdict> {
        let entry = self.entries.get(access).await?;
        (self.asker.clock.now().secs() < entry.until_secs).then_some(S3Verdict::Known {
            secret: Some(entry.secret),
            identity: entry.identity,
        })
    }

    async fn ask(&self, signed: Signed<'_>) -> Result<S3Verdict, Unavailable> {
        let Asker {
            client,
            service,
            rules,
            clock,
        } = &self.asker;
        let asked_secs = clock.now().secs();
        let claim = json!({"credentials": {
            "access": signed.access,
            "token": URL_SAFE.encode(signed.string_to_sign),
            "signature": signed.signature,
        }});
        let question = question(Method::POST, "/s3tokens".into(), Bytes::from(claim.to_string()));
        let answer = service.ask_for_verdict(client, clock, &question).await?;
        if !answer.status.is_success() {
            return match answer.status {
                StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => {
                    Ok(S3Verdict::Refused)
                }
                status => Err(Unavailable(format!("answered {status} about an S3 credential"))),
            };
        }
        let info = token::parse(&answer.body)
            .ok_or_else(|| Unavailable("described a credential in a way that could not be read".into()))?;
        // An account goes with a project.
        if info.user.project.is_none() || info.expires_secs <= asked_secs {
            return Ok(S3Verdict::Refused);
        }
        let user_id = info.user.id.clone();
        let identity = Arc::new(rules.identity(info.user));
        let secret = self.secret(&user_id, signed.access).await?;
        if let Some(secret) = &secret
            && self.cache_secs > 0
        {
            let entry = Entry {
                secret: secret.clone(),
                identity: identity.clone(),
                until_secs: asked_secs.saturating_add(self.cache_secs),
            };
            self.entries.insert(signed.access.to_owned(), entry).await;
        }
        Ok(S3Verdict::Known { secret, identity })
    }

    /// The secret; `None` when the service user may not see it.
    async fn secret(&self, user_id: &str, access: &str) -> Result<Option<Secret>, Unavailable> {
        #[derive(Deserialize)]
        struct Envelope {
            credential: Shown,
        }
        #[derive(Deserialize)]
        struct Shown {
            secret: Secret,
        }
        let path = format!(
            "/users/{}/credentials/OS-EC2/{}",
            quote_segment(user_id),
            quote_segment(access)
        );
        let Asker {
            client,
            service,
            clock,
            ..
        } = &self.asker;
        let answer = service
            .ask(client, clock, &question(Method::GET, path, Bytes::new()))
            .await?;
        if answer.status.is_success()
            && let Ok(Envelope { credential }) = serde_json::from_slice(&answer.body)
        {
            return Ok(Some(credential.secret));
        }
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                status = %answer.status,
                "Keystone does not show the secrets of EC2 credentials to the service user: it is asked for each S3 \
                 request, and signed chunks are refused; give the user a role that may read credentials"
            );
        }
        Ok(None)
    }
}

fn question(method: Method, path: String, body: Bytes) -> Question {
    Question {
        method,
        path,
        headers: HeaderMap::new(),
        body,
    }
}
