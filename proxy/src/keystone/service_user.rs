//! The service user's own token: taken when first needed, renewed before it ends or when Keystone no longer takes it.

use super::client::{Answer, Client, Question, Unavailable};
use super::config::AuthTokenConfig;
use super::token;
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use martlet_service::Clock;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Mutex;

const X_AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");
const X_SUBJECT_TOKEN: HeaderName = HeaderName::from_static("x-subject-token");
/// A token that ends within so many seconds is not used any more.
const RENEW_BEFORE_SECS: u64 = 120;

/// Who asks Keystone in the proxy's name.
pub struct ServiceUser {
    login: Bytes,
    held: Mutex<Option<Held>>,
    /// When Keystone last took the token, in seconds.
    taken_secs: AtomicU64,
}

#[derive(Clone)]
struct Held {
    token: HeaderValue,
    expires_secs: u64,
}

impl ServiceUser {
    pub fn new(config: &AuthTokenConfig) -> Self {
        ServiceUser {
            login: Bytes::from(login(config).to_string()),
            held: Mutex::new(None),
            taken_secs: AtomicU64::new(0),
        }
    }

    /// Asks with this user's token; one that Keystone no longer takes is renewed once.
    ///
    /// # Errors
    /// When no Keystone answers, or none takes the service user.
    pub async fn ask(
        &self,
        client: &Client,
        clock: &Clock,
        question: &Question,
    ) -> Result<Answer, Unavailable> {
        for _ in 0..2 {
            let (token, answer) = self.ask_once(client, clock, question).await?;
            if answer.status != StatusCode::UNAUTHORIZED {
                self.taken_secs.store(clock.now().secs(), Ordering::Relaxed);
                return Ok(answer);
            }
            self.forget(&token).await;
        }
        Err(Unavailable("does not take the service user's token".into()))
    }

    /// The same for a question whose own answer may be 401: that is told apart from a token that is no longer taken.
    ///
    /// # Errors
    /// As [`ServiceUser::ask`].
    pub async fn ask_for_verdict(
        &self,
        client: &Client,
        clock: &Clock,
        question: &Question,
    ) -> Result<Answer, Unavailable> {
        let (token, answer) = self.ask_once(client, clock, question).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            self.taken_secs.store(clock.now().secs(), Ordering::Relaxed);
            return Ok(answer);
        }
        // Known to have been good just now: the 401 is about what was asked. This bounds what guessing can cost Keystone.
        const FRESH_SECS: u64 = 5;
        if clock.now().secs() < self.taken_secs.load(Ordering::Relaxed) + FRESH_SECS {
            return Ok(answer);
        }
        let mut headers = HeaderMap::new();
        headers.insert(X_SUBJECT_TOKEN, token.clone());
        let about_itself = Question {
            method: Method::HEAD,
            path: "/auth/tokens".into(),
            headers,
            body: Bytes::new(),
        };
        let (_, itself) = self.ask_once(client, clock, &about_itself).await?;
        if itself.status.is_success() {
            self.taken_secs.store(clock.now().secs(), Ordering::Relaxed);
            return Ok(answer);
        }
        self.forget(&token).await;
        let (_, answer) = self.ask_once(client, clock, question).await?;
        Ok(answer)
    }

    async fn ask_once(
        &self,
        client: &Client,
        clock: &Clock,
        question: &Question,
    ) -> Result<(HeaderValue, Answer), Unavailable> {
        let token = self.token(client, clock).await?;
        let mut question = question.clone();
        question.headers.insert(X_AUTH_TOKEN, token.clone());
        let answer = client.ask(&question).await?;
        Ok((token, answer))
    }

    /// The token; the lock is held while it is fetched, so that many who need it fetch it once.
    async fn token(&self, client: &Client, clock: &Clock) -> Result<HeaderValue, Unavailable> {
        let mut held = self.held.lock().await;
        let now_secs = clock.now().secs();
        if let Some(held) = held.as_ref()
            && held.expires_secs > now_secs + RENEW_BEFORE_SECS
        {
            return Ok(held.token.clone());
        }
        let new = self.log_in(client).await?;
        let token = new.token.clone();
        *held = Some(new);
        Ok(token)
    }

    async fn log_in(&self, client: &Client) -> Result<Held, Unavailable> {
        let question = Question {
            method: Method::POST,
            path: "/auth/tokens?nocatalog".into(),
            headers: HeaderMap::new(),
            body: self.login.clone(),
        };
        let answer = client.ask(&question).await?;
        if !answer.status.is_success() {
            tracing::error!(status = %answer.status, "Keystone refuses the service user: check its name, password and project");
            return Err(Unavailable(format!(
                "refuses the service user: {}",
                answer.status
            )));
        }
        let expires_secs = token::expiry(&answer.body)
            .ok_or_else(|| Unavailable("gave a token without an end that could be read".into()))?;
        let mut token = answer
            .headers
            .get(X_SUBJECT_TOKEN)
            .cloned()
            .ok_or_else(|| Unavailable("gave no token".into()))?;
        token.set_sensitive(true);
        Ok(Held { token, expires_secs })
    }

    /// Drops a token, unless another has taken its place already.
    async fn forget(&self, token: &HeaderValue) {
        let mut held = self.held.lock().await;
        if held.as_ref().is_some_and(|held| held.token == *token) {
            *held = None;
        }
    }
}

fn login(config: &AuthTokenConfig) -> Value {
    let domain = |id: &Option<String>, name: &str| match id {
        Some(id) => json!({"id": id}),
        None => json!({"name": name}),
    };
    let scope = match config.system_scope {
        Some(_) => json!({"system": {"all": true}}),
        None => json!({"project": {
            "name": config.project_name,
            "domain": domain(&config.project_domain_id, &config.project_domain_name),
        }}),
    };
    json!({"auth": {
        "identity": {"methods": ["password"], "password": {"user": {
            "name": config.username,
            "password": config.password.reveal(),
            "domain": domain(&config.user_domain_id, &config.user_domain_name),
        }}},
        "scope": scope,
    }})
}
