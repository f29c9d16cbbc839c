//! Tempauth: logs users of the configuration in, and says whose token a request carries.
//!
//! See "TempAuth" in Swift's middleware documentation.

pub mod authorize;
mod login;
pub mod tokens;
pub mod users;

use super::answer;
use crate::context::{self, target};
use crate::grant::Grant;
use crate::pipeline::Next;
use martlet_protocol::header;
use martlet_protocol::identity::Identity;
use martlet_service::{Request, Response, headers};
use std::sync::Arc;

pub async fn run(mut request: Request, next: Next) -> Response {
    let edge = next.edge();
    if let Some(rest) = request
        .uri()
        .path()
        .strip_prefix(edge.config.tempauth.auth_prefix.as_str())
    {
        return login::answer(edge, &request, rest);
    }
    // A signature that was checked says more than a token: it alone is judged.
    if request.extensions().get::<Arc<Grant>>().is_some() {
        return next.run(request).await;
    }
    match caller(edge, &request) {
        Caller::Nobody => {}
        Caller::User(identity) => {
            if let Some(context) = context::context(&request) {
                context.set_user(&identity.user);
            }
            request.extensions_mut().insert(identity);
        }
        Caller::BadToken => {
            let realm = target(&request).map(|target| target.account().to_string());
            return answer::unauthorized(realm.as_deref().unwrap_or("unknown"));
        }
    }
    next.run(request).await
}

enum Caller {
    Nobody,
    User(Arc<Identity>),
    /// A token of ours that has ended or never was.
    BadToken,
}

fn caller(edge: &crate::Edge, request: &Request) -> Caller {
    let text = |name: &str| headers::text(request.headers(), name).filter(|value| !value.is_empty());
    let Some(token) = text(header::X_AUTH_TOKEN).or_else(|| text(header::X_STORAGE_TOKEN)) else {
        return Caller::Nobody;
    };
    if !edge.tokens.is_ours(token) {
        return Caller::Nobody;
    }
    let now_secs = edge.clock.now().secs();
    let Some(identity) = edge.tokens.find(token, now_secs) else {
        return Caller::BadToken;
    };
    let service = text(header::X_SERVICE_TOKEN).and_then(|token| edge.tokens.find(token, now_secs));
    match service {
        None => Caller::User(identity),
        Some(service) => {
            let mut both = (*identity).clone();
            both.is_reseller_admin |= service.is_reseller_admin;
            both.is_reseller_reader |= service.is_reseller_reader;
            both.groups.extend(service.groups.iter().cloned());
            Caller::User(Arc::new(both))
        }
    }
}
