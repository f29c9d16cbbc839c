//! GET and HEAD through links: from one to the next, at most so many, to the object they stand for.

use super::link::{Link, bare_etag};
use crate::context::{self, PreAuthorized};
use crate::pipeline::Next;
use crate::steps::answer;
use http::StatusCode;
use http::header::{CONTENT_LOCATION, ETAG};
use http::request::Parts;
use martlet_protocol::header;
use martlet_protocol::name::{AccountName, Target};
use martlet_service::{Body, Request, Response, headers};

/// One walk along links.
pub struct Follow {
    next: Next,
    /// Of the object being asked: the account that a link means when it names none.
    account: AccountName,
    symloop_max: usize,
    followed: usize,
    /// What the static link just followed says of its target.
    promised_etag: Option<String>,
    /// `/v1/account/container/object` of the last target.
    last_target: Option<String>,
    follows_dynamic: bool,
}

impl Follow {
    pub fn new(next: Next, account: AccountName) -> Self {
        let symloop_max = next.edge().config.symlink.symloop_max();
        Follow {
            next,
            account,
            symloop_max,
            followed: 0,
            promised_etag: None,
            last_target: None,
            follows_dynamic: true,
        }
    }

    /// A walk that proves the target of a static link being made: a dynamic link is an object as any other then.
    pub fn proving(next: Next, account: AccountName, target: String, etag: String) -> Self {
        Follow {
            promised_etag: Some(etag),
            last_target: Some(target),
            follows_dynamic: false,
            ..Follow::new(next, account)
        }
    }

    /// The target's answer. An `Err` is the refusal for a walk that cannot go on.
    pub async fn run(mut self, request: Request) -> Result<Response, Box<Response>> {
        let (asked, _) = request.into_parts();
        let mut response = self.ask(asked.clone()).await;
        while let Some(link) = self.link_of(&response) {
            let found = link.etag.clone().or_else(|| own_etag(&response));
            if self.promised_etag.is_some() && self.promised_etag != found {
                return Err(self.conflict("X-Symlink-Target-Etag headers do not match"));
            }
            if self.followed >= self.symloop_max {
                let words = format!(
                    "Too many levels of symbolic links, maximum allowed is {}",
                    self.symloop_max
                );
                return Err(Box::new(answer::words(StatusCode::CONFLICT, words)));
            }
            self.followed += 1;
            let Some(path) = link.path(&self.account) else {
                tracing::error!(target = link.target, "a link names no object");
                return Err(Box::new(answer::status(StatusCode::NOT_FOUND)));
            };
            self.last_target = Some(link.location(&self.account));
            self.account = path.account.clone();
            self.promised_etag = link.etag;
            let onwards = towards(asked.clone(), Target::Object(path));
            response = self.ask(onwards).await;
        }
        if let (Some(promised), Some(found)) = (&self.promised_etag, own_etag(&response))
            && *promised != found
        {
            let words =
                format!("Object Etag '{found}' does not match X-Symlink-Target-Etag header '{promised}'");
            return Err(self.conflict(&words));
        }
        if let Some(target) = &self.last_target {
            headers::set(response.headers_mut(), CONTENT_LOCATION.as_str(), target);
        }
        Ok(response)
    }

    async fn ask(&self, parts: Parts) -> Response {
        let request = Request::from_parts(parts, Body::empty());
        self.next.clone().run(request).await
    }

    fn link_of(&self, response: &Response) -> Option<Link> {
        Link::of(response.headers()).filter(|link| self.follows_dynamic || link.etag.is_some())
    }

    fn conflict(&self, words: &str) -> Box<Response> {
        let mut response = answer::words(StatusCode::CONFLICT, words);
        if let Some(target) = &self.last_target {
            headers::set(response.headers_mut(), CONTENT_LOCATION.as_str(), target);
        }
        Box::new(response)
    }
}

fn own_etag(response: &Response) -> Option<String> {
    headers::text(response.headers(), ETAG.as_str()).map(|etag| bare_etag(etag).to_owned())
}

/// The same request for another object. Where a client's link leads only the client may go, even when a step asked for
/// the link in the cluster's name: anyone can make a link to anything.
fn towards(parts: Parts, target: Target) -> Parts {
    let mut request = Request::from_parts(parts, Body::empty());
    context::retarget(&mut request, target, "");
    request.extensions_mut().remove::<PreAuthorized>();
    request
        .headers_mut()
        .remove(header::X_BACKEND_ALLOW_RESERVED_NAMES);
    request.into_parts().0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::paths::allow_reserved_names;

    #[test]
    fn a_clients_link_is_followed_with_the_clients_rights_only() {
        let mut request = Request::new(Body::empty());
        allow_reserved_names(&mut request);
        request.extensions_mut().insert(PreAuthorized);
        let privileged = request.into_parts().0;
        for asked in [privileged, Request::new(Body::empty()).into_parts().0] {
            let onwards = towards(asked, Target::parse("a/c/o").unwrap());
            assert!(onwards.extensions.get::<PreAuthorized>().is_none());
            assert!(!context::allows_reserved_names(&onwards.headers));
            assert_eq!(onwards.uri.path(), "/v1/a/c/o");
        }
    }
}
