//! Says whose token it is: from what is remembered, from what other proxies have left in memcached, or by asking Keystone,
//! once for each token however many requests carry it.
//!
//! Invariant: nothing is believed for longer than the configured time after Keystone said it, nor past the token's own end.

use super::Asker;
use super::client::{Question, Unavailable};
use super::config::AuthTokenConfig;
use super::shared_cache::{Shared, SharedCache};
use super::token::{self, TokenInfo};
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use martlet_protocol::identity::Identity;
use moka::future::Cache;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;

/// Longer tokens are nobody's: Keystone's are some hundred bytes, signed ones of old a few thousand.
const MAX_TOKEN_BYTES: usize = 8192;
/// How long a token that Keystone does not know is remembered as such, in seconds.
const INVALID_SECS: u64 = 10;
/// How long nobody asks again about a token after Keystone could not be asked, in seconds.
const UNAVAILABLE_SECS: u64 = 1;

/// What a token is worth.
#[derive(Clone, Debug)]
pub enum Verdict {
    Valid(Arc<Identity>),
    Invalid,
    /// Keystone cannot be asked, and nothing is remembered.
    Unavailable,
}

/// A token by its hash: the tokens themselves are not kept.
pub type Key = [u8; 32];

#[derive(Clone)]
struct Entry {
    verdict: Verdict,
    /// Asked again from this second on.
    until_secs: u64,
}

/// The tokens that are remembered, and how to ask about others.
pub struct Tokens {
    entries: Cache<Key, Entry>,
    cache_secs: u64,
    shared: Option<SharedCache>,
    asker: Asker,
}

impl Tokens {
    pub(super) fn new(config: &AuthTokenConfig, asker: Asker) -> Self {
        Tokens {
            entries: Cache::builder()
                .max_capacity(config.max_cached_tokens.max(1))
                .time_to_live(Duration::from_secs(config.token_cache_time.max(INVALID_SECS)))
                .build(),
            cache_secs: config.token_cache_time,
            shared: SharedCache::new(config),
            asker,
        }
    }

    /// Whose token it is. With `allow_expired` a token that has ended lately counts as well (Keystone decides how lately).
    pub async fn find(&self, token: &str, allow_expired: bool) -> Verdict {
        let Some(subject) = subject(token) else {
            return Verdict::Invalid;
        };
        let key = key(token, allow_expired);
        let now_secs = self.asker.clock.now().secs();
        let entry = self
            .entries
            .entry(key)
            .or_insert_with_if(self.learn(&key, subject, allow_expired), |held| {
                held.until_secs <= now_secs
            })
            .await;
        entry.into_value().verdict
    }

    /// From the proxy that asked last, or from Keystone.
    async fn learn(&self, key: &Key, subject: HeaderValue, allow_expired: bool) -> Entry {
        let asked_secs = self.asker.clock.now().secs();
        // Nothing is believed for longer than this side's own time, whatever another proxy's is.
        let believed_secs = asked_secs.saturating_add(self.cache_secs);
        if let Some(cache) = &self.shared
            && let Some(shared) = cache.get(key, asked_secs).await
        {
            return self.valid(shared, believed_secs);
        }
        let outcome = self.ask_keystone(subject, allow_expired).await;
        let now_secs = self.asker.clock.now().secs();
        match outcome {
            Ok(Some(info)) => {
                let until_secs = match allow_expired {
                    true => believed_secs,
                    false => believed_secs.min(info.expires_secs),
                };
                let shared = Shared {
                    user: info.user,
                    until_secs,
                };
                if let Some(cache) = &self.shared {
                    cache.set(key, &shared, now_secs).await;
                }
                self.valid(shared, believed_secs)
            }
            Ok(None) => Entry {
                verdict: Verdict::Invalid,
                until_secs: now_secs + INVALID_SECS.min(self.cache_secs),
            },
            Err(problem) => {
                tracing::warn!(%problem, "a token could not be validated");
                Entry {
                    verdict: Verdict::Unavailable,
                    until_secs: now_secs + UNAVAILABLE_SECS,
                }
            }
        }
    }

    fn valid(&self, shared: Shared, believed_secs: u64) -> Entry {
        Entry {
            verdict: Verdict::Valid(Arc::new(self.asker.rules.identity(shared.user))),
            until_secs: shared.until_secs.min(believed_secs),
        }
    }

    /// `None`: Keystone does not know the token, or it has ended.
    async fn ask_keystone(
        &self,
        subject: HeaderValue,
        allow_expired: bool,
    ) -> Result<Option<TokenInfo>, Unavailable> {
        const X_SUBJECT_TOKEN: HeaderName = HeaderName::from_static("x-subject-token");
        let mut headers = HeaderMap::new();
        headers.insert(X_SUBJECT_TOKEN, subject);
        let path = match allow_expired {
            true => "/auth/tokens?nocatalog&allow_expired=1",
            false => "/auth/tokens?nocatalog",
        };
        let question = Question {
            method: Method::GET,
            path: path.into(),
            headers,
            body: Bytes::new(),
        };
        let Asker {
            client,
            service,
            clock,
            ..
        } = &self.asker;
        let answer = service.ask(client, clock, &question).await?;
        match answer.status {
            StatusCode::OK => {
                let info = token::parse(&answer.body)
                    .ok_or_else(|| Unavailable("described a token in a way that could not be read".into()))?;
                let is_alive = allow_expired || info.expires_secs > self.asker.clock.now().secs();
                Ok(Some(info).filter(|_| is_alive))
            }
            StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => Ok(None),
            status => Err(Unavailable(format!("answered {status} about a token"))),
        }
    }
}

/// The token as a header; `None` for what cannot be one.
fn subject(token: &str) -> Option<HeaderValue> {
    if token.is_empty() || token.len() > MAX_TOKEN_BYTES || !token.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return None;
    }
    let mut subject = HeaderValue::from_str(token).ok()?;
    subject.set_sensitive(true);
    Some(subject)
}

fn key(token: &str, allow_expired: bool) -> Key {
    let mut hash = Sha256::new();
    hash.update([u8::from(allow_expired)]);
    hash.update(token.as_bytes());
    hash.finalize().into()
}
