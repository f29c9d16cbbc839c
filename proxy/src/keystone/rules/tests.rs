use super::*;
use http::Method;
use martlet_protocol::identity::KeystoneProject;

fn user(project: Option<&str>, roles: &[&str], service_roles: &[&str]) -> KeystoneUser {
    let list = |roles: &[&str]| roles.iter().map(|role| role.to_string()).collect();
    KeystoneUser {
        id: "u1".into(),
        name: "ann".into(),
        domain_id: Some("default".into()),
        project: project.map(|id| KeystoneProject {
            id: id.into(),
            name: format!("{id}-name"),
            domain_id: Some("default".into()),
        }),
        roles: list(roles),
        service_roles: list(service_roles),
        service_project: None,
    }
}

fn rules() -> Rules {
    let family = |name: &str| AccountPrefix {
        name: name.into(),
        ..AccountPrefix::default()
    };
    Rules::new(&KeystoneAuthConfig {
        reseller_prefixes: vec![
            family("AUTH"),
            AccountPrefix {
                operator_roles: Some(vec!["admin".into(), "Some_Other".into()]),
                service_roles: Some(vec!["service".into(), "composite".into()]),
                ..family("SERVICE_")
            },
            family(""),
        ],
        project_reader_roles: vec!["reader".into()],
        system_reader_roles: vec!["Auditor".into()],
        ..KeystoneAuthConfig::default()
    })
}

fn standing(user: &KeystoneUser, method: &Method, path: &str) -> Standing {
    let rules = rules();
    rules.standing(
        &rules.identity(user.clone()),
        user,
        method,
        &Target::parse(path).unwrap(),
    )
}

#[test]
fn roles_and_their_standing() {
    use Standing::{Allowed, AskAcls, Owner, Refused};
    for (roles, service_roles, method, path, expected) in [
        (&["admin"][..], &[][..], Method::PUT, "AUTH_p/c/o", Owner),
        (&["swiftoperator"], &[], Method::PUT, "AUTH_p/c", Owner),
        (&["admin"], &[], Method::DELETE, "AUTH_p/c", Owner),
        (&["admin"], &[], Method::DELETE, "AUTH_p", Refused),
        (&["admin"], &[], Method::GET, "AUTH_p2/c", AskAcls),
        // The empty prefix: the account is the project.
        (&["admin"], &[], Method::PUT, "p/c", Owner),
        (&["admin"], &[], Method::PUT, "SERVICE_p/c", AskAcls),
        (&["admin"], &["service"], Method::PUT, "SERVICE_p/c", Owner),
        (&["admin"], &["composite"], Method::PUT, "SERVICE_p/c", Owner),
        (&["some_other"], &["service"], Method::PUT, "SERVICE_p/c", Owner),
        (
            &["swiftoperator"],
            &["service"],
            Method::PUT,
            "SERVICE_p/c",
            AskAcls,
        ),
        (&["some_other"], &[], Method::PUT, "AUTH_p/c", AskAcls),
        (&["service"], &["service"], Method::PUT, "SERVICE_p/c", AskAcls),
        (&["member"], &[], Method::GET, "AUTH_p/c", AskAcls),
        (&[], &[], Method::GET, "AUTH_p/c", AskAcls),
        (&["reader"], &[], Method::GET, "AUTH_p/c", Allowed),
        (&["reader"], &[], Method::HEAD, "AUTH_p", Allowed),
        (&["reader"], &[], Method::PUT, "AUTH_p/c", AskAcls),
        (&["reader"], &[], Method::GET, "AUTH_p2/c", AskAcls),
        (&["auditor"], &[], Method::GET, "AUTH_p2/c/o", Allowed),
        (&["auditor"], &[], Method::PUT, "AUTH_p2/c/o", AskAcls),
        (&["reselleradmin"], &[], Method::DELETE, "AUTH_p2", Owner),
        (&["member"], &[], Method::OPTIONS, "AUTH_p2/c", Allowed),
    ] {
        let found = standing(&user(Some("p"), roles, service_roles), &method, path);
        assert_eq!(found, expected, "{roles:?} {service_roles:?} {method} {path}");
    }
    let unscoped = user(None, &["admin"], &[]);
    assert_eq!(standing(&unscoped, &Method::GET, "AUTH_/c"), Standing::AskAcls);
    assert_eq!(rules().identity(unscoped).account, "");
}

#[test]
fn acls_name_ids_names_and_roles() {
    let rules = rules();
    let ann = user(Some("p"), &["member"], &[]);
    for (acl, path, by_names, referer, expected) in [
        ("p:u1", "AUTH_other/c/o", false, None, true),
        ("p:*", "AUTH_other/c/o", false, None, true),
        ("*:u1", "AUTH_other/c/o", false, None, true),
        ("*:*", "AUTH_other/c/o", false, None, true),
        ("p-name:ann", "AUTH_other/c/o", true, None, true),
        ("p-name:ann", "AUTH_other/c/o", false, None, false),
        ("p-name:u1", "AUTH_other/c/o", true, None, true),
        ("*:ann", "AUTH_other/c/o", true, None, true),
        ("*:ann", "AUTH_other/c/o", false, None, false),
        ("p-name:*", "AUTH_other/c/o", true, None, true),
        ("p2:u1", "AUTH_other/c/o", true, None, false),
        ("p:u2", "AUTH_other/c/o", true, None, false),
        ("p", "AUTH_other/c/o", true, None, false),
        ("u1", "AUTH_p/c/o", true, None, false),
        ("x,p%3Au1", "AUTH_other/c/o", false, None, true),
        // Roles count in the user's own project only.
        ("member", "AUTH_p/c/o", false, None, true),
        ("MEMBER", "AUTH_p/c/o", false, None, true),
        ("member", "AUTH_other/c/o", false, None, false),
        (".r:*", "AUTH_other/c/o", false, None, true),
        (".r:*", "AUTH_other/c", false, None, false),
        (".r:*,.rlistings", "AUTH_other/c", false, None, true),
        // A page that may not list is an answer already.
        (".r:*,member", "AUTH_p/c", false, None, false),
        (".r:a.com,member", "AUTH_p/c", false, Some("http://b.com/"), true),
        (".r:a.com", "AUTH_p/c/o", false, Some("http://a.com/"), true),
        (
            ".r:*,.r:-a.com",
            "AUTH_p/c/o",
            false,
            Some("http://a.com/"),
            false,
        ),
    ] {
        let parsed = ContainerAcl::parse(acl);
        let target = Target::parse(path).unwrap();
        let found = rules.is_allowed_by_acl(&ann, &target, &parsed, referer, by_names);
        assert_eq!(found, expected, "{acl} {path} {by_names} {referer:?}");
    }
    let everybody = ContainerAcl::parse("*:*");
    let target = Target::parse("AUTH_other/c/o").unwrap();
    let unscoped = user(None, &[], &[]);
    assert!(rules.is_allowed_by_acl(&unscoped, &target, &everybody, None, false));
}

#[test]
fn names_are_for_the_default_domain() {
    let rules = rules();
    let ann = user(Some("p"), &[], &[]);
    assert_eq!(rules.names(&ann, "AUTH_p"), Names::Allowed);
    assert_eq!(rules.names(&ann, "AUTH_other"), Names::AskAccount);
    let mut stranger = ann.clone();
    stranger.domain_id = Some("d2".into());
    assert_eq!(rules.names(&stranger, "AUTH_p"), Names::Forbidden);
    let mut elsewhere = ann.clone();
    elsewhere.project.as_mut().unwrap().domain_id = Some("d2".into());
    assert_eq!(rules.names(&elsewhere, "AUTH_p"), Names::Forbidden);
    let never = Rules::new(&KeystoneAuthConfig {
        allow_names_in_acls: false,
        ..KeystoneAuthConfig::default()
    });
    assert_eq!(never.names(&ann, "AUTH_p"), Names::Forbidden);
    for (info, expected) in [
        (account(None, true), true),
        (account(Some("default"), true), true),
        (account(Some("d2"), true), false),
        (account(Some("_unknown"), true), false),
        (account(Some(""), true), false),
        (account(None, false), false),
    ] {
        assert_eq!(rules.account_allows_names(&info), expected, "{info:?}");
    }
}

fn account(domain: Option<&str>, exists: bool) -> AccountInfo {
    let mut info = AccountInfo::default();
    if exists {
        info.existence = crate::core::Existence::Exists;
    }
    if let Some(domain) = domain {
        info.sysmeta.insert(DOMAIN_SYSMETA.into(), domain.into());
    }
    info
}

/// As the table in the comment of Swift's `keystoneauth`: a new account, an old one without a domain, an unknown one.
#[test]
fn the_domain_that_is_kept() {
    let rules = rules();
    for (path, method, token_domain, kept, exists, expected) in [
        (
            "AUTH_p",
            Method::PUT,
            Some("default"),
            None,
            false,
            Some("default"),
        ),
        ("AUTH_p/c", Method::PUT, Some("d2"), None, false, Some("d2")),
        ("AUTH_p/c", Method::PUT, None, None, false, None),
        (
            "AUTH_other",
            Method::PUT,
            Some("default"),
            None,
            false,
            Some("_unknown"),
        ),
        (
            "AUTH_p",
            Method::POST,
            Some("default"),
            None,
            true,
            Some("default"),
        ),
        ("AUTH_p", Method::POST, Some("d2"), None, true, None),
        (
            "AUTH_p",
            Method::POST,
            Some("d2"),
            Some("_unknown"),
            true,
            Some("d2"),
        ),
        ("AUTH_p", Method::POST, None, Some("_unknown"), true, Some("")),
        (
            "AUTH_other",
            Method::POST,
            Some("d2"),
            Some("_unknown"),
            true,
            None,
        ),
        ("AUTH_p", Method::POST, Some("d2"), Some("default"), true, None),
        ("AUTH_p", Method::GET, Some("default"), None, false, None),
        ("AUTH_p/c", Method::POST, Some("default"), None, false, None),
        ("AUTH_p/c/o", Method::PUT, Some("default"), None, false, None),
    ] {
        let mut ann = user(Some("p"), &["admin"], &[]);
        ann.project.as_mut().unwrap().domain_id = token_domain.map(str::to_owned);
        let target = Target::parse(path).unwrap();
        let found = rules.domain_to_keep(&ann, &method, &target, &account(kept, exists));
        assert_eq!(
            found.as_deref(),
            expected,
            "{method} {path} {token_domain:?} {kept:?} {exists}"
        );
    }
}
