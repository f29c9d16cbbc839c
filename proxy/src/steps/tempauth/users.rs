//! The users of the configuration, and the families of accounts they may own.

use crate::config::{ResellerPrefix, TempAuthConfig};
use martlet_protocol::identity::Identity;
use std::collections::HashMap;
use std::sync::Arc;
use subtle::ConstantTimeEq;

const ADMIN: &str = ".admin";
const RESELLER_ADMIN: &str = ".reseller_admin";
const RESELLER_READER: &str = ".reseller_reader";

/// All users, by `account:user`. Does not change while the process runs.
#[derive(Debug)]
pub struct Users {
    by_name: HashMap<String, User>,
    prefixes: Vec<ResellerPrefix>,
}

#[derive(Debug)]
struct User {
    key: String,
    identity: Arc<Identity>,
}

impl Users {
    pub fn new(config: &TempAuthConfig) -> Self {
        let prefixes = if config.reseller_prefixes.is_empty() {
            TempAuthConfig::default().reseller_prefixes
        } else {
            config.reseller_prefixes.clone()
        };
        let users = config.users.iter().filter_map(|(name, user)| {
            let Some((account, _)) = name.split_once(':') else {
                tracing::error!(user = %name, "user left out: its name must be account:user");
                return None;
            };
            let identity = Arc::new(identity(name, account, &user.groups, &prefixes));
            Some((
                name.clone(),
                User {
                    key: user.key.clone(),
                    identity,
                },
            ))
        });
        Users {
            by_name: users.collect(),
            prefixes,
        }
    }

    /// The user, if the key is right. The comparison takes as long for a wrong key as for a right one.
    pub fn login(&self, account_user: &str, key: &str) -> Option<Arc<Identity>> {
        let user = self.by_name.get(account_user)?;
        let is_right: bool = user.key.as_bytes().ct_eq(key.as_bytes()).into();
        is_right.then(|| user.identity.clone())
    }

    /// The key of a user, with which its signatures are checked.
    pub fn secret(&self, account_user: &str) -> Option<(String, Identity)> {
        let user = self.by_name.get(account_user)?;
        Some((user.key.clone(), (*user.identity).clone()))
    }

    /// The prefix that tokens carry, such as `AUTH_`.
    pub fn token_prefix(&self) -> String {
        underscored(&self.prefixes[0].name)
    }

    /// The family an account belongs to, such as `AUTH` for `AUTH_test`.
    pub fn family(&self, account: &str) -> Option<Family<'_>> {
        self.prefixes.iter().find_map(|prefix| {
            let rest = match prefix.name.as_str() {
                "" => account,
                name => account.strip_prefix(name)?.strip_prefix('_')?,
            };
            Some(Family {
                require_group: prefix.require_group.as_deref().filter(|group| !group.is_empty()),
                is_bare: rest.is_empty(),
                is_dot_account: rest.starts_with('.'),
            })
        })
    }
}

/// What the prefix of an account says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family<'a> {
    /// A group that owners must have beside.
    pub require_group: Option<&'a str>,
    /// The account is nothing but the prefix.
    pub is_bare: bool,
    /// The cluster's own accounts; not even a reseller admin enters.
    pub is_dot_account: bool,
}

fn underscored(prefix: &str) -> String {
    if prefix.is_empty() {
        String::new()
    } else {
        format!("{prefix}_")
    }
}

fn identity(name: &str, account: &str, own: &[String], prefixes: &[ResellerPrefix]) -> Identity {
    let mut groups = vec![account.to_owned(), name.to_owned()];
    groups.extend(own.iter().filter(|group| *group != ADMIN).cloned());
    if own.iter().any(|group| group == ADMIN) {
        groups.extend(
            prefixes
                .iter()
                .map(|prefix| format!("{}{account}", underscored(&prefix.name))),
        );
    }
    Identity {
        user: name.to_owned(),
        account: format!("{}{account}", underscored(&prefixes[0].name)),
        is_reseller_admin: own.iter().any(|group| group == RESELLER_ADMIN),
        is_reseller_reader: own.iter().any(|group| group == RESELLER_READER),
        keystone: None,
        groups,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::UserConfig;

    /// The users of Swift's sample configuration.
    pub fn sample() -> Users {
        let user = |name: &str, key: &str, groups: &[&str]| {
            let groups = groups.iter().map(|group| group.to_string()).collect();
            (
                name.to_owned(),
                UserConfig {
                    key: key.into(),
                    groups,
                },
            )
        };
        Users::new(&TempAuthConfig {
            users: [
                user("admin:admin", "admin", &[".admin", ".reseller_admin"]),
                user("admin:auditor", "audit", &[".reseller_reader"]),
                user("test:tester", "testing", &[".admin"]),
                user("test:tester3", "testing3", &[]),
                user("test2:tester2", "testing2", &[".admin"]),
                user("test5:tester5", "testing5", &["service"]),
            ]
            .into(),
            reseller_prefixes: vec![
                ResellerPrefix {
                    name: "AUTH".into(),
                    require_group: None,
                },
                ResellerPrefix {
                    name: "SERVICE".into(),
                    require_group: Some("service".into()),
                },
            ],
            ..TempAuthConfig::default()
        })
    }

    #[test]
    fn admins_carry_their_accounts_as_groups() {
        let users = sample();
        let identity = users.login("test:tester", "testing").unwrap();
        assert_eq!(
            identity.groups,
            ["test", "test:tester", "AUTH_test", "SERVICE_test"]
        );
        assert_eq!(identity.account, "AUTH_test");
        let identity = users.login("test:tester3", "testing3").unwrap();
        assert_eq!(identity.groups, ["test", "test:tester3"]);
        assert!(users.login("test:tester", "testing3").is_none());
        assert!(users.login("test:tester", "").is_none());
        assert!(users.login("nobody:x", "").is_none());
        assert!(users.secret("admin:admin").unwrap().1.is_reseller_admin);
    }

    #[test]
    fn accounts_have_families() {
        let users = sample();
        assert_eq!(users.family("AUTH_test").unwrap().require_group, None);
        assert_eq!(
            users.family("SERVICE_test").unwrap().require_group,
            Some("service")
        );
        assert!(users.family("AUTH_.hidden").unwrap().is_dot_account);
        assert!(users.family("AUTH_").unwrap().is_bare);
        assert_eq!(users.family("OTHER_test"), None);
        assert_eq!(users.family("AUTHtest"), None);
    }
}
