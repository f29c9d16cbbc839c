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
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;

/// Longer access keys are nobody's: Keystone's are 32 letters.
const MAX_ACCESS_BYTES: usize = 256;
/// How long nobody asks again about a credential after Keystone could not be asked, in seconds.
const UNAVAILABLE_SECS: u64 = 1;
/// How long nobody asks for a secret again after the service user was refused one, in seconds.
const HIDDEN_SECS: u64 = 60;

/// What a request claims.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    pub access: &'a str,
    pub string_to_sign: &'a [u8],
    pub signature: &'a str,
}

impl Signed<'_> {
    fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [
            self.access.as_bytes(),
            self.string_to_sign,
            self.signature.as_bytes(),
        ] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }
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
    /// Left out in what is remembered of one signed request.
    secret: Option<Secret>,
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
    /// What Keystone said of single requests, where it does not show secrets: without the secret only the very same request,
    /// as that of a presigned URL, can be answered again.
    repeats: Cache<[u8; 32], Entry>,
    /// Until this second nobody asks for a secret again.
    hidden_until_secs: AtomicU64,
    cache_secs: u64,
    asker: Asker,
    has_warned: AtomicBool,
}

impl S3Credentials {
    pub(super) fn new(config: &S3TokenConfig, asker: Asker) -> Self {
        let capacity = config.max_cached_credentials.max(1);
        let life = Duration::from_secs(config.secret_cache_duration.max(1));
        S3Credentials {
            entries: Cache::builder().max_capacity(capacity).time_to_live(life).build(),
            repeats: Cache::builder().max_capacity(capacity).time_to_live(life).build(),
            hidden_until_secs: AtomicU64::new(0),
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
        if self.are_hidden() {
            // Each request is asked about anyway: they need not wait for one another.
            if let Some(known) = self.known(self.repeats.get(&signed.hash()).await) {
                return known;
            }
            return self.ask(signed).await.unwrap_or_else(|problem| {
                tracing::warn!(%problem, "an S3 request could not be checked");
                S3Verdict::Unavailable
            });
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
        self.known(self.entries.get(access).await)
    }

    fn known(&self, entry: Option<Entry>) -> Option<S3Verdict> {
        let entry = entry?;
        (self.asker.clock.now().secs() < entry.until_secs).then_some(S3Verdict::Known {
            secret: entry.secret,
            identity: entry.identity,
        })
    }

    /// Whether Keystone has lately refused to show a secret.
    fn are_hidden(&self) -> bool {
        self.asker.clock.now().secs() < self.hidden_until_secs.load(Ordering::Relaxed)
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
        let secret = match self.are_hidden() {
            true => None,
            false => self.secret(&user_id, signed.access).await?,
        };
        if self.cache_secs > 0 {
            let entry = Entry {
                secret: secret.clone(),
                identity: identity.clone(),
                until_secs: asked_secs.saturating_add(self.cache_secs),
            };
            match secret.is_some() {
                true => self.entries.insert(signed.access.to_owned(), entry).await,
                false => self.repeats.insert(signed.hash(), entry).await,
            }
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
        if answer.status == StatusCode::FORBIDDEN {
            let until_secs = clock.now().secs().saturating_add(HIDDEN_SECS);
            self.hidden_until_secs.store(until_secs, Ordering::Relaxed);
        }
        self.warn_of_hidden_secrets(answer.status);
        Ok(None)
    }

    /// Says once, at the start and not in the middle of the night, that the service user may not see secrets. It asks for
    /// the credentials of a user that is not there, which Keystone judges by the same roles before it looks.
    pub async fn try_out(&self) {
        let Asker {
            client,
            service,
            clock,
            ..
        } = &self.asker;
        let path = format!("/users/{}/credentials/OS-EC2", "0".repeat(32));
        let question = question(Method::GET, path, Bytes::new());
        match service.ask(client, clock, &question).await {
            Ok(answer) if answer.status == StatusCode::FORBIDDEN => {
                self.warn_of_hidden_secrets(answer.status)
            }
            Ok(_) => {}
            Err(problem) => tracing::warn!(%problem, "Keystone cannot be asked yet"),
        }
    }

    fn warn_of_hidden_secrets(&self, status: StatusCode) {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %status,
                "Keystone does not show the secrets of EC2 credentials to the service user: it is asked about each S3 \
                 request, and uploads with signed chunks are refused. Give the user the role `reader` on the system and set \
                 system_scope, or the role `admin` in its project; see docs/openstack.md"
            );
        }
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
