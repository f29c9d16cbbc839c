//! Whether a user may do what is asked: by owning the account, by the container's ACL, by the account's ACL.

use super::super::answer;
use super::users::Users;
use crate::acl::{AccountAcl, AccountRight, ContainerAcl};
use crate::core::authorize::{Authorize, Need};
use crate::grant::Grant;
use http::{Method, StatusCode};
use martlet_protocol::identity::Identity;
use martlet_protocol::name::Target;
use martlet_service::Response;
use std::sync::Arc;

/// What is known of a user's rights before any ACL was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Everything, privileged headers included (Swift's `swift_owner`).
    Owner,
    /// This request, as anyone's.
    Allowed,
    /// Only if an ACL says so.
    AskAcls,
    /// Not even an ACL helps.
    Refused,
}

/// One request's guard.
pub struct Guard {
    pub standing: Standing,
    identity: Option<Arc<Identity>>,
    method: Method,
    target: Arc<Target>,
    referer: Option<String>,
    account_right: Option<AccountRight>,
}

impl Guard {
    pub fn new(
        users: &Users,
        identity: Option<Arc<Identity>>,
        method: Method,
        target: Arc<Target>,
        referer: Option<String>,
    ) -> Self {
        let standing = standing(users, identity.as_deref(), &method, &target);
        Guard {
            standing,
            identity,
            method,
            target,
            referer,
            account_right: None,
        }
    }

    /// For requests the cluster makes in its own name.
    pub fn open(method: Method, target: Arc<Target>) -> Self {
        let standing = Standing::Owner;
        Guard {
            standing,
            identity: None,
            method,
            target,
            referer: None,
            account_right: None,
        }
    }

    /// For requests that a signature allows, or does not; no ACL is asked.
    pub fn granted(grant: &Grant, method: Method, target: Arc<Target>) -> Self {
        let standing = match grant.allows(&method, &target) {
            true => Standing::Allowed,
            false => Standing::Refused,
        };
        Guard {
            standing,
            identity: None,
            method,
            target,
            referer: None,
            account_right: None,
        }
    }

    /// Whether the account's ACL could change anything, so that it is worth reading.
    pub fn wants_account_acl(&self) -> bool {
        self.standing == Standing::AskAcls && self.identity.is_some()
    }

    /// Takes the account's ACL into account. Its admins are owners.
    pub fn read_account_acl(&mut self, stored: &str) {
        let Some(identity) = &self.identity else { return };
        self.account_right = AccountAcl::parse(stored).right_of(&identity.groups);
        if self.account_right == Some(AccountRight::Admin) && self.standing == Standing::AskAcls {
            self.standing = Standing::Owner;
        }
    }

    pub fn is_owner(&self) -> bool {
        self.standing == Standing::Owner
    }

    /// 403 for someone, 401 for nobody.
    pub fn refusal(&self) -> Response {
        match self.identity {
            Some(_) => answer::status(StatusCode::FORBIDDEN),
            None => answer::unauthorized(self.target.account()),
        }
    }

    fn is_allowed_by_acls(&self, container_acl: Option<&str>) -> bool {
        let is_read = is_read(&self.method);
        let is_account = matches!(*self.target, Target::Account(_));
        match self.account_right {
            Some(AccountRight::Admin) => return true,
            Some(AccountRight::ReadWrite) if !is_account || is_read => return true,
            Some(AccountRight::ReadOnly) if is_read => return true,
            Some(_) | None => {}
        }
        let Some(acl) = container_acl
            .filter(|acl| !acl.is_empty())
            .map(ContainerAcl::parse)
        else {
            return false;
        };
        let is_object = matches!(*self.target, Target::Object(_));
        let by_referrer =
            is_read && acl.allows_referrer(self.referer.as_deref()) && (is_object || acl.allows_listings());
        by_referrer
            || self
                .identity
                .as_ref()
                .is_some_and(|identity| acl.names_any_of(&identity.groups))
    }
}

impl Authorize for Guard {
    fn authorize(&self, need: Need<'_>) -> Result<(), Response> {
        let is_allowed = match self.standing {
            Standing::Owner | Standing::Allowed => true,
            Standing::AskAcls => self.is_allowed_by_acls(need.acl()),
            Standing::Refused => false,
        };
        if is_allowed { Ok(()) } else { Err(self.refusal()) }
    }
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn standing(users: &Users, identity: Option<&Identity>, method: &Method, target: &Target) -> Standing {
    let account = target.account();
    let Some(family) = users.family(account) else {
        return Standing::Refused;
    };
    if *method == Method::OPTIONS {
        return Standing::Allowed;
    }
    let Some(identity) = identity else {
        return Standing::AskAcls;
    };
    let is_enterable = !family.is_bare && !family.is_dot_account;
    if identity.is_reseller_admin && is_enterable {
        return Standing::Owner;
    }
    if identity.is_reseller_reader && is_enterable && is_read(method) {
        return Standing::Allowed;
    }
    let has = |wanted: &str| identity.groups.iter().any(|group| group == wanted);
    // Accounts are created and deleted by resellers only, not by their own admins.
    let manages_account =
        matches!(target, Target::Account(_)) && matches!(*method, Method::PUT | Method::DELETE);
    if has(account) && !manages_account && family.require_group.is_none_or(has) {
        return Standing::Owner;
    }
    Standing::AskAcls
}

#[cfg(test)]
mod tests {
    use super::super::users::tests::sample;
    use super::*;

    fn guard(user: Option<(&str, &str)>, method: &Method, path: &str, referer: Option<&str>) -> Guard {
        let users = sample();
        let identity = user.map(|(name, key)| users.login(name, key).unwrap());
        let target = Arc::new(Target::parse(path).unwrap());
        Guard::new(
            &users,
            identity,
            method.clone(),
            target,
            referer.map(str::to_owned),
        )
    }

    fn status(guard: &Guard, acl: Option<&str>) -> u16 {
        let need = Need {
            method: &guard.method,
            target: &guard.target,
            container_read_acl: acl,
            container_write_acl: acl,
            account: None,
            is_listing: matches!(*guard.target, Target::Container(_)),
        };
        guard
            .authorize(need)
            .map_or_else(|refusal| refusal.status().as_u16(), |()| 200)
    }

    const TESTER: Option<(&str, &str)> = Some(("test:tester", "testing"));
    const TESTER3: Option<(&str, &str)> = Some(("test:tester3", "testing3"));
    const OTHER: Option<(&str, &str)> = Some(("test2:tester2", "testing2"));
    const RESELLER: Option<(&str, &str)> = Some(("admin:admin", "admin"));
    const READER: Option<(&str, &str)> = Some(("admin:auditor", "audit"));

    #[test]
    fn who_may_do_what() {
        for (user, method, path, acl, expected) in [
            (TESTER, Method::PUT, "AUTH_test/c/o", None, 200),
            (TESTER, Method::GET, "AUTH_test", None, 200),
            (TESTER, Method::PUT, "AUTH_test", None, 403),
            (TESTER, Method::DELETE, "AUTH_test", None, 403),
            (TESTER, Method::DELETE, "AUTH_test/c", None, 200),
            (TESTER, Method::GET, "AUTH_test2/c/o", None, 403),
            (TESTER, Method::GET, "SERVICE_test/c", None, 403),
            (TESTER, Method::GET, "OTHER_test/c", Some("*:*"), 403),
            (TESTER3, Method::GET, "AUTH_test/c/o", None, 403),
            (TESTER3, Method::GET, "AUTH_test/c/o", Some("test:tester3"), 200),
            (TESTER3, Method::PUT, "AUTH_test/c/o", Some("test:tester3"), 200),
            (TESTER3, Method::PUT, "AUTH_test/c", Some("test:tester3"), 403),
            (TESTER3, Method::GET, "AUTH_test/c", Some("test"), 200),
            (TESTER3, Method::GET, "AUTH_test", Some("test"), 403),
            (OTHER, Method::GET, "AUTH_test/c/o", Some("test2:*"), 200),
            (OTHER, Method::DELETE, "AUTH_test/c/o", Some("test2"), 200),
            (OTHER, Method::PUT, "AUTH_test/c/o", Some(".r:*"), 403),
            (RESELLER, Method::DELETE, "AUTH_test", None, 200),
            (RESELLER, Method::GET, "AUTH_.hidden/c", None, 403),
            (RESELLER, Method::GET, "OTHER_x", None, 403),
            (READER, Method::GET, "AUTH_test/c/o", None, 200),
            (READER, Method::PUT, "AUTH_test/c/o", None, 403),
            (None, Method::GET, "AUTH_test/c/o", None, 401),
            (None, Method::GET, "AUTH_test/c/o", Some(".r:*"), 200),
            (None, Method::PUT, "AUTH_test/c/o", Some(".r:*"), 401),
            (None, Method::GET, "AUTH_test/c", Some(".r:*"), 401),
            (None, Method::GET, "AUTH_test/c", Some(".r:*,.rlistings"), 200),
            (None, Method::GET, "AUTH_test/c/o", Some("*:*"), 401),
            (None, Method::OPTIONS, "AUTH_test/c/o", None, 200),
        ] {
            let found = status(&guard(user, &method, path, None), acl);
            assert_eq!(found, expected, "{user:?} {method} {path} {acl:?}");
        }
    }

    #[test]
    fn service_accounts_need_the_second_token() {
        let users = sample();
        let tester = users.login("test:tester", "testing").unwrap();
        let service = users.login("test5:tester5", "testing5").unwrap();
        let mut both = (*tester).clone();
        both.groups.extend(service.groups.iter().cloned());
        let target = Arc::new(Target::parse("SERVICE_test/c").unwrap());
        let guard = Guard::new(&users, Some(Arc::new(both)), Method::PUT, target, None);
        assert!(guard.is_owner());
    }

    #[test]
    fn account_acls_grant_up_to_their_right() {
        for (right, method, path, expected, is_owner) in [
            ("read-only", Method::GET, "AUTH_test", 200, false),
            ("read-only", Method::GET, "AUTH_test/c/o", 200, false),
            ("read-only", Method::PUT, "AUTH_test/c/o", 403, false),
            ("read-write", Method::PUT, "AUTH_test/c", 200, false),
            ("read-write", Method::POST, "AUTH_test", 403, false),
            ("admin", Method::POST, "AUTH_test", 200, true),
        ] {
            let mut guard = guard(TESTER3, &method, path, None);
            assert!(guard.wants_account_acl());
            guard.read_account_acl(&format!("{{\"{right}\":[\"test:tester3\"]}}"));
            assert_eq!(
                (status(&guard, None), guard.is_owner()),
                (expected, is_owner),
                "{right} {method} {path}"
            );
        }
        assert!(!guard(None, &Method::GET, "AUTH_test", None).wants_account_acl());
    }

    #[test]
    fn refusals_name_the_realm() {
        let refusal = guard(None, &Method::GET, "AUTH_test/c", None).refusal();
        assert_eq!(refusal.headers()["www-authenticate"], "Swift realm=\"AUTH_test\"");
    }
}
