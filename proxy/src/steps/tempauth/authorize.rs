//! Whether a user of the configuration may do what is asked: by owning the account, by its groups in ACLs.

use super::users::Users;
use crate::acl::{AccountRight, ContainerAcl};
use crate::steps::guard::Standing;
use http::Method;
use martlet_protocol::identity::Identity;
use martlet_protocol::name::Target;

/// What a user may do before any ACL is read.
pub fn standing(users: &Users, identity: Option<&Identity>, method: &Method, target: &Target) -> Standing {
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

/// What the account's ACL allows a user who has a right by it.
pub fn is_allowed_by_right(right: AccountRight, method: &Method, target: &Target) -> bool {
    let is_account = matches!(target, Target::Account(_));
    match right {
        AccountRight::Admin => true,
        AccountRight::ReadWrite => !is_account || is_read(method),
        AccountRight::ReadOnly => is_read(method),
    }
}

/// What a container's ACL allows a user, or nobody in particular.
pub fn is_allowed_by_acl(
    identity: Option<&Identity>,
    method: &Method,
    target: &Target,
    acl: &ContainerAcl,
    referer: Option<&str>,
) -> bool {
    let is_object = matches!(target, Target::Object(_));
    let by_referrer = is_read(method) && acl.allows_referrer(referer) && (is_object || acl.allows_listings());
    by_referrer || identity.is_some_and(|identity| acl.names_any_of(&identity.groups))
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

#[cfg(test)]
mod tests {
    use super::super::users::tests::sample;
    use super::*;
    use crate::core::AccountInfo;
    use crate::core::authorize::{Authorize, Need};
    use crate::steps::guard::Guard;
    use std::sync::Arc;

    fn guard(user: Option<(&str, &str)>, method: &Method, path: &str, referer: Option<&str>) -> Guard {
        let users = sample();
        let identity = user.map(|(name, key)| users.login(name, key).unwrap());
        let target = Arc::new(Target::parse(path).unwrap());
        Guard::new(
            &users,
            None,
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
        let guard = Guard::new(&users, None, Some(Arc::new(both)), Method::PUT, target, None);
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
            assert!(guard.wants_account());
            let mut info = AccountInfo::default();
            let acl = format!("{{\"{right}\":[\"test:tester3\"]}}");
            info.sysmeta.insert("core-access-control".into(), acl);
            guard.read_account(&info);
            assert_eq!(
                (status(&guard, None), guard.is_owner()),
                (expected, is_owner),
                "{right} {method} {path}"
            );
        }
        assert!(!guard(None, &Method::GET, "AUTH_test", None).wants_account());
    }

    #[test]
    fn refusals_name_the_realm() {
        let refusal = guard(None, &Method::GET, "AUTH_test/c", None).refusal();
        assert_eq!(refusal.headers()["www-authenticate"], "Swift realm=\"AUTH_test\"");
    }
}
