//! Keystone, OpenStack's identity service: whose a token is, whose an S3 credential is, and what they may do.
//!
//! `client` asks over HTTP, `service_user` in whose name; `tokens` remembers what was said of tokens (and `shared_cache`
//! among proxies), `s3` what of EC2 credentials; `rules` judges.
//! The step `authtoken` brings tokens here; `steps::guard` asks the rules.

pub mod client;
pub mod config;
pub mod rules;
pub mod s3;
pub mod service_user;
pub mod shared_cache;
pub mod token;
pub mod tokens;

pub use config::{AuthTokenConfig, AuthUrl, S3TokenConfig, Secret};
pub use rules::{KeystoneAuthConfig, Rules};
pub use tokens::Verdict;

use client::Client;
use martlet_protocol::identity::Identity;
use martlet_service::Clock;
use s3::{S3Credentials, S3Verdict, Signed};
use service_user::ServiceUser;
use std::sync::Arc;
use tokens::Tokens;

/// What every question to Keystone takes.
#[derive(Clone)]
struct Asker {
    client: Arc<Client>,
    service: Arc<ServiceUser>,
    rules: Arc<Rules>,
    clock: Clock,
}

/// One for a process, when Keystone is on.
pub struct Keystone {
    config: AuthTokenConfig,
    rules: Arc<Rules>,
    tokens: Tokens,
    s3: S3Credentials,
}

/// What the tokens of a request are worth together.
#[derive(Clone, Debug)]
pub enum Caller {
    User(Arc<Identity>),
    /// No token, or one that is not good; whoever it is goes on as nobody.
    Nobody,
    /// Keystone cannot be asked.
    Unavailable,
}

impl Keystone {
    /// # Errors
    /// A sentence for the operator when the settings cannot work.
    pub fn new(
        config: &AuthTokenConfig,
        rules: &KeystoneAuthConfig,
        s3token: &S3TokenConfig,
        clock: &Clock,
    ) -> Result<Self, String> {
        config.check()?;
        let client = Arc::new(Client::new(config)?);
        let service = Arc::new(ServiceUser::new(config));
        let rules = Arc::new(Rules::new(rules));
        let asker = Asker {
            client,
            service,
            rules: rules.clone(),
            clock: clock.clone(),
        };
        Ok(Keystone {
            s3: S3Credentials::new(s3token, asker.clone()),
            tokens: Tokens::new(config, asker),
            config: config.clone(),
            rules,
        })
    }

    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Whether a request without a good token goes on as nobody's.
    pub fn delays_decision(&self) -> bool {
        self.config.delay_auth_decision
    }

    /// What a refused client is told to log in at.
    pub fn www_authenticate_uri(&self) -> &str {
        let first = self.config.auth_url.first().map_or("", AuthUrl::as_str);
        self.config.www_authenticate_uri.as_deref().unwrap_or(first)
    }

    /// Whose request it is, by its token and the service token beside. A bad service token spoils a good token, as in
    /// Swift; a good one lets a token count that has ended while the service was at work.
    pub async fn caller(&self, token: &str, service_token: Option<&str>) -> Caller {
        let service = match service_token {
            None => None,
            Some(token) => match self.tokens.find(token, false).await {
                Verdict::Valid(service) => Some(service),
                Verdict::Invalid => return Caller::Nobody,
                Verdict::Unavailable => return Caller::Unavailable,
            },
        };
        let is_trusted = service
            .as_ref()
            .is_some_and(|service| self.is_trusted_service(service));
        if service.is_some() && !is_trusted && self.config.service_token_roles_required {
            return Caller::Nobody;
        }
        match (self.tokens.find(token, is_trusted).await, service) {
            (Verdict::Valid(user), None) => Caller::User(user),
            (Verdict::Valid(user), Some(service)) => {
                Caller::User(Arc::new(self.rules.with_service(&user, &service)))
            }
            (Verdict::Invalid, _) => Caller::Nobody,
            (Verdict::Unavailable, _) => Caller::Unavailable,
        }
    }

    /// Whose an S3 request is that claims to be signed with an EC2 credential.
    pub async fn s3_credential(&self, signed: Signed<'_>) -> S3Verdict {
        self.s3.find(signed).await
    }

    /// Says in the log what S3 requests would find amiss with the service user.
    pub async fn try_out_s3(&self) {
        self.s3.try_out().await;
    }

    fn is_trusted_service(&self, service: &Identity) -> bool {
        service.keystone.as_ref().is_some_and(|user| {
            let wanted = &self.config.service_token_roles;
            let is_wanted = |role: &String| wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(role));
            user.roles.iter().any(is_wanted)
        })
    }
}
