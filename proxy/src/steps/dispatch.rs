//! The last step: judges who may do what, keeps owners' headers for owners, and hands the request to the core.

use super::answer;
use super::guard::{Guard, Standing};
use crate::Edge;
use crate::acl;
use crate::context::{self, Asker, allows_reserved_names, target};
use crate::core::{Authorize, Need};
use crate::pipeline::Next;
use http::header::{HeaderMap, HeaderName};
use http::{Method, StatusCode};
use martlet_protocol::header;
use martlet_protocol::name::{ContainerPath, ObjectPath, Target};
use martlet_service::{Request, Response, headers};
use std::sync::Arc;

/// Headers that only owners may set or see (Swift's `swift_owner_headers`).
const OWNER_HEADERS: [&str; 9] = [
    header::X_CONTAINER_READ,
    header::X_CONTAINER_WRITE,
    "x-container-sync-key",
    "x-container-sync-to",
    "x-account-meta-temp-url-key",
    "x-account-meta-temp-url-key-2",
    "x-container-meta-temp-url-key",
    "x-container-meta-temp-url-key-2",
    header::X_ACCOUNT_ACCESS_CONTROL,
];
/// Where an account keeps its ACL.
const STORED_ACCOUNT_ACL: &str = "x-account-sysmeta-core-access-control";
/// Where an account keeps the domain of its Keystone project, and how that is shown.
const STORED_DOMAIN: &str = "x-account-sysmeta-project-domain-id";
const SHOWN_DOMAIN: &str = "x-account-project-domain-id";

pub async fn run(mut request: Request, next: Next) -> Response {
    let edge = next.edge();
    let Some(target) = target(&request) else {
        return answer::status(StatusCode::NOT_FOUND);
    };
    if names_reserved(&target) && !allows_reserved_names(request.headers()) {
        return answer::words(StatusCode::PRECONDITION_FAILED, "Invalid UTF8 or contains NULL");
    }
    let mut guard = guard(&next, &request, &target);
    if guard.standing == Standing::Refused {
        return guard.refusal();
    }
    ask_account(edge, &mut guard, &target).await;
    if guard.may_tell_domain() {
        keep_domain(edge, &guard, &target, request.headers_mut()).await;
    }
    let is_change = matches!(*request.method(), Method::PUT | Method::POST);
    if is_change && let Err(refusal) = clean_change(request.headers_mut(), &target, guard.is_owner()) {
        return *refusal;
    }
    // The first policy stays: further segments of a large object need not be looked up for it.
    let context = context::context(&request)
        .filter(|context| context.policy().is_none())
        .cloned();
    let mut response = edge.core.handle(request, (*target).clone(), &guard).await;
    if let (Some(context), Target::Object(path)) = (context, &*target)
        && let Some(container) = edge.core.remembered_container(&path.container_path()).await
    {
        context.set_policy(container.policy);
    }
    show(response.headers_mut(), &target, guard.is_owner());
    response
}

/// What a request may do, judged as the core would judge it, for steps that act on its behalf before it
/// goes on (Swift's `swift.authorize`). The request itself is judged again when it gets here.
pub struct Judge {
    edge: Arc<Edge>,
    guard: Guard,
    method: Method,
    target: Arc<Target>,
    container: ContainerPath,
}

impl Judge {
    /// `path` may be another than the request's.
    pub fn of(request: &Request, next: &Next, path: &ObjectPath) -> Self {
        Self::about(request, next, Target::Object(path.clone()), path.container_path())
    }

    /// Of a change of a container.
    pub fn of_container(request: &Request, next: &Next, path: &ContainerPath) -> Self {
        Self::about(request, next, Target::Container(path.clone()), path.clone())
    }

    fn about(request: &Request, next: &Next, target: Target, container: ContainerPath) -> Self {
        let target = Arc::new(target);
        Judge {
            edge: next.edge().clone(),
            guard: guard(next, request, &target),
            method: request.method().clone(),
            target,
            container,
        }
    }

    /// # Errors
    /// The refusal that the client gets.
    pub async fn verdict(mut self) -> Result<(), Box<Response>> {
        if self.guard.standing == Standing::Refused {
            return Err(Box::new(self.guard.refusal()));
        }
        ask_account(&self.edge, &mut self.guard, &self.target).await;
        let info = self.edge.core.container_info(&self.container).await;
        let need = Need {
            method: &self.method,
            target: &self.target,
            container_read_acl: info.read_acl.as_deref(),
            container_write_acl: info.write_acl.as_deref(),
            account: None,
            is_listing: false,
        };
        self.guard.authorize(need).map_err(Box::new)
    }
}

/// Lets what is kept with the account speak, if it could change anything.
pub async fn ask_account(edge: &Edge, guard: &mut Guard, target: &Target) {
    if guard.wants_account() {
        guard.read_account(&*edge.core.account_info(target.account()).await);
    }
}

/// Keeps the domain of the account's project with the account, by which ACLs that say names are judged later.
async fn keep_domain(edge: &Edge, guard: &Guard, target: &Target, map: &mut HeaderMap) {
    let account = edge.core.account_info(target.account()).await;
    if let Some(domain) = guard.domain_to_keep(&account) {
        headers::set(map, STORED_DOMAIN, &domain);
    }
}

/// Whoever stands behind a request, as a judge of what it may do.
pub fn guard(next: &Next, request: &Request, target: &Arc<Target>) -> Guard {
    guard_against(
        next.edge(),
        Asker::of(request),
        request.method().clone(),
        target.clone(),
    )
}

/// A judge of what somebody may do.
pub fn guard_against(edge: &Edge, asker: Asker<'_>, method: Method, target: Arc<Target>) -> Guard {
    if asker.is_pre_authorized {
        return Guard::open(method, target);
    }
    let keystone = edge.keystone.as_ref();
    let allows_grants = keystone.is_none_or(|keystone| keystone.rules().allow_overrides());
    if let Some(grant) = asker.grant
        && allows_grants
    {
        return Guard::granted(grant, method, target);
    }
    Guard::new(
        &edge.users,
        keystone.map(|keystone| keystone.rules()),
        asker.identity,
        method,
        target,
        asker.referer.map(str::to_owned),
    )
}

pub fn names_reserved(target: &Target) -> bool {
    let reserved = super::paths::RESERVED;
    target.account().contains(reserved)
        || target
            .container()
            .is_some_and(|container| container.contains(reserved))
        || target.object().is_some_and(|object| object.contains(reserved))
}

/// Checks and tidies ACLs that are being set; takes owners' headers from those who are none.
fn clean_change(map: &mut HeaderMap, target: &Target, is_owner: bool) -> Result<(), Box<Response>> {
    let bad = |words: String| Box::new(answer::words(StatusCode::BAD_REQUEST, words));
    match target {
        Target::Account(_) => {
            if let Some(input) = headers::text(map, header::X_ACCOUNT_ACCESS_CONTROL).map(str::to_owned) {
                acl::check_account_acl(&input).map_err(|problem| {
                    bad(format!(
                        "X-Account-Access-Control invalid: {problem}\n\nInput: {input}\n"
                    ))
                })?;
                if is_owner {
                    headers::set(map, STORED_ACCOUNT_ACL, &input);
                }
            }
        }
        Target::Container(_) => {
            for name in [header::X_CONTAINER_READ, header::X_CONTAINER_WRITE] {
                let Some(value) = headers::text(map, name) else {
                    continue;
                };
                let cleaned = acl::clean(name, value).map_err(bad)?;
                headers::set(map, name, &cleaned);
            }
        }
        Target::Object(_) => {}
    }
    map.remove(header::X_ACCOUNT_ACCESS_CONTROL);
    if !is_owner {
        for name in OWNER_HEADERS {
            map.remove(name);
            if let Ok(removal) = HeaderName::from_bytes(name.replacen("x-", "x-remove-", 1).as_bytes()) {
                map.remove(removal);
            }
        }
    }
    Ok(())
}

/// What an answer shows: the account's ACL under its public name, and owners' headers to owners only.
fn show(map: &mut HeaderMap, target: &Target, is_owner: bool) {
    if matches!(target, Target::Account(_))
        && let Some(domain) = map.get(STORED_DOMAIN).filter(|value| !value.is_empty()).cloned()
    {
        map.insert(SHOWN_DOMAIN, domain);
    }
    if !is_owner {
        for name in OWNER_HEADERS {
            map.remove(name);
        }
        return;
    }
    if matches!(target, Target::Account(_))
        && let Some(shown) = headers::text(map, STORED_ACCOUNT_ACL).and_then(acl::shown_account_acl)
    {
        headers::set(map, header::X_ACCOUNT_ACCESS_CONTROL, &shown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_service::headers::of as map;

    #[test]
    fn acls_are_cleaned_or_refused() {
        let container = Target::parse("a/c").unwrap();
        let mut headers = map(&[
            ("x-container-read", ".referrer:*, bob"),
            ("x-container-write", "bob"),
        ]);
        clean_change(&mut headers, &container, true).unwrap();
        assert_eq!(headers["x-container-read"], ".r:*,bob");
        let mut headers = map(&[("x-container-write", ".r:*")]);
        assert_eq!(
            clean_change(&mut headers, &container, true).unwrap_err().status(),
            400
        );
        let account = Target::parse("a").unwrap();
        let mut headers = map(&[("x-account-access-control", r#"{"admin":["a"]}"#)]);
        clean_change(&mut headers, &account, true).unwrap();
        assert_eq!(headers[STORED_ACCOUNT_ACL], r#"{"admin":["a"]}"#);
        let mut headers = map(&[("x-account-access-control", "junk")]);
        assert_eq!(
            clean_change(&mut headers, &account, true).unwrap_err().status(),
            400
        );
    }

    #[test]
    fn owners_headers_are_for_owners() {
        let container = Target::parse("a/c").unwrap();
        let mut headers = map(&[
            ("x-container-read", "bob"),
            ("x-remove-container-read", "x"),
            ("x-container-sync-key", "k"),
            ("x-container-meta-a", "b"),
        ]);
        clean_change(&mut headers, &container, false).unwrap();
        assert_eq!(headers.len(), 1);
        let mut headers = map(&[("x-container-read", "bob"), ("x-container-meta-a", "b")]);
        show(&mut headers, &container, false);
        assert_eq!(headers.len(), 1);
        let account = Target::parse("a").unwrap();
        let mut headers = map(&[(STORED_ACCOUNT_ACL, r#"{ "read-only": ["b"], "admin": ["a"] }"#)]);
        show(&mut headers, &account, true);
        assert_eq!(
            headers["x-account-access-control"],
            r#"{"admin":["a"],"read-only":["b"]}"#
        );
        for nothing in ["", "{}", "junk"] {
            let mut headers = map(&[(STORED_ACCOUNT_ACL, nothing)]);
            show(&mut headers, &account, true);
            assert!(!headers.contains_key("x-account-access-control"), "{nothing}");
        }
    }

    #[test]
    fn reserved_names_are_seen_anywhere() {
        for (path, expected) in [
            ("a/c/o", false),
            ("a/\0mpu\0c", true),
            ("a/c/\0o", true),
            ("\0a", true),
        ] {
            assert_eq!(names_reserved(&Target::parse(path).unwrap()), expected);
        }
    }
}
