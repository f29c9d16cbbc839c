//! Authtoken: has Keystone say whose token a request carries.
//!
//! See keystonemiddleware's `auth_token`. Below tempauth, whose own tokens it does not ask Keystone about. Neither it nor
//! `keystoneauth` has a section in `/info`, as in Swift.

use super::answer;
use crate::Edge;
use crate::context;
use crate::grant::Grant;
use crate::keystone::{Caller, Keystone};
use crate::pipeline::Next;
use http::StatusCode;
use http::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use martlet_protocol::header;
use martlet_service::{Request, Response, headers};
use std::sync::Arc;

/// Everything, where Keystone is on.
pub fn concerns(_: &Request, edge: &Edge) -> bool {
    edge.keystone.is_some()
}

pub async fn run(mut request: Request, next: Next) -> Response {
    let edge = next.edge().clone();
    let Some(keystone) = &edge.keystone else {
        return next.run(request).await;
    };
    // Proved already, by tempauth or by a signature.
    if context::identity(&request).is_some() || request.extensions().get::<Arc<Grant>>().is_some() {
        return next.run(request).await;
    }
    let tokens = Tokens::of(request.headers());
    match Box::pin(tokens.caller(keystone)).await {
        Caller::User(identity) => {
            if let (Some(context), Some(user)) = (context::context(&request), &identity.keystone) {
                context.set_user(&user.id);
            }
            request.extensions_mut().insert(identity);
        }
        Caller::Unavailable => return unavailable(),
        Caller::Nobody if keystone.delays_decision() => {}
        Caller::Nobody => {
            let realm = context::target(&request).map(|target| target.account().to_string());
            return challenged(
                answer::unauthorized(realm.as_deref().unwrap_or("unknown")),
                keystone,
            );
        }
    }
    challenged(next.run(request).await, keystone)
}

/// The tokens a request carries.
struct Tokens {
    user: Option<String>,
    service: Option<String>,
}

impl Tokens {
    fn of(map: &HeaderMap) -> Self {
        let text = |name: &str| headers::text(map, name).filter(|value| !value.is_empty());
        let user = text(header::X_AUTH_TOKEN).or_else(|| text(header::X_STORAGE_TOKEN));
        Tokens {
            user: user.map(str::to_owned),
            service: text(header::X_SERVICE_TOKEN).map(str::to_owned),
        }
    }

    async fn caller(&self, keystone: &Keystone) -> Caller {
        match &self.user {
            None => Caller::Nobody,
            Some(token) => keystone.caller(token, self.service.as_deref()).await,
        }
    }
}

/// Nobody is refused for what could not be asked: the client is to try again.
fn unavailable() -> Response {
    answer::words(
        StatusCode::SERVICE_UNAVAILABLE,
        "The Keystone service is temporarily unavailable.",
    )
}

/// A refusal of nobody in particular also says where to get a token.
fn challenged(mut response: Response, keystone: &Keystone) -> Response {
    if response.status() == StatusCode::UNAUTHORIZED
        && let Ok(value) =
            HeaderValue::from_str(&format!("Keystone uri=\"{}\"", keystone.www_authenticate_uri()))
    {
        response.headers_mut().append(WWW_AUTHENTICATE, value);
    }
    response
}
