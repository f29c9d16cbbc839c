//! What Keystone's users may do: by their roles in the project an account belongs to, by container ACLs. Pure.
//!
//! See "Keystone Auth" in Swift's middleware documentation and "Keystone Auth and ACLs" in its overview.

mod config;
#[cfg(test)]
mod tests;

pub use config::{AccountPrefix, KeystoneAuthConfig};

use crate::acl::ContainerAcl;
use crate::core::AccountInfo;
use crate::steps::guard::Standing;
use http::Method;
use martlet_protocol::identity::{Identity, KeystoneUser};
use martlet_protocol::name::Target;

/// Where an account keeps the domain of its project, without the prefix of system metadata.
pub const DOMAIN_SYSMETA: &str = "project-domain-id";
/// What is kept when an account is made by someone who cannot know the domain. No id of a domain looks like it.
const UNKNOWN_DOMAIN: &str = "_unknown";

/// The rules of one configuration.
#[derive(Debug)]
pub struct Rules {
    families: Vec<Family>,
    reseller_admin_role: String,
    system_reader_roles: Vec<String>,
    default_domain_id: String,
    allow_names_in_acls: bool,
    allow_overrides: bool,
}

/// Accounts of one prefix; roles in lower case.
#[derive(Debug)]
struct Family {
    /// With its underscore, or empty.
    prefix: String,
    operator_roles: Vec<String>,
    service_roles: Vec<String>,
    project_reader_roles: Vec<String>,
}

/// Whether ACLs may name a user and a project by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    Allowed,
    Forbidden,
    /// It depends on the domain of the account's project.
    AskAccount,
}

impl Rules {
    pub fn new(config: &KeystoneAuthConfig) -> Self {
        if config.is_admin {
            tracing::warn!("keystoneauth: is_admin is no longer supported; remove it");
        }
        let lower = |roles: &[String]| -> Vec<String> {
            let trimmed = roles.iter().map(|role| role.trim().to_lowercase());
            trimmed.filter(|role| !role.is_empty()).collect()
        };
        let or = |own: &Option<Vec<String>>, all: &[String]| lower(own.as_deref().unwrap_or(all));
        let defaults = KeystoneAuthConfig::default().reseller_prefixes;
        let prefixes = match config.reseller_prefixes.is_empty() {
            true => &defaults,
            false => &config.reseller_prefixes,
        };
        let families = prefixes.iter().map(|family| Family {
            prefix: with_underscore(&family.name),
            operator_roles: or(&family.operator_roles, &config.operator_roles),
            service_roles: or(&family.service_roles, &config.service_roles),
            project_reader_roles: or(&family.project_reader_roles, &config.project_reader_roles),
        });
        Rules {
            families: families.collect(),
            reseller_admin_role: config.reseller_admin_role.to_lowercase(),
            system_reader_roles: lower(&config.system_reader_roles),
            default_domain_id: config.default_domain_id.clone(),
            allow_names_in_acls: config.allow_names_in_acls,
            allow_overrides: config.allow_overrides,
        }
    }

    /// Whether temporary URLs and forms stand in for a user.
    pub fn allow_overrides(&self) -> bool {
        self.allow_overrides
    }

    /// The identity of a user whom Keystone has proved.
    pub fn identity(&self, user: KeystoneUser) -> Identity {
        let project = user.project.as_ref();
        let accounts = |project_id: &str| -> Vec<String> {
            let accounts = self
                .families
                .iter()
                .map(|family| format!("{}{project_id}", family.prefix));
            accounts.filter(|account| self.operates(&user, account)).collect()
        };
        Identity {
            user: match project {
                Some(project) => format!("{}:{}", project.name, user.name),
                None => format!(":{}", user.name),
            },
            account: project.map_or_else(String::new, |project| {
                format!("{}{}", self.families[0].prefix, project.id)
            }),
            groups: project.map_or_else(Vec::new, |project| accounts(&project.id)),
            is_reseller_admin: user.roles.contains(&self.reseller_admin_role),
            is_reseller_reader: share(&user.roles, &self.system_reader_roles),
            keystone: Some(Box::new(user)),
        }
    }

    /// The same user with the roles and the project of a service token beside.
    pub fn with_service(&self, identity: &Identity, service: &Identity) -> Identity {
        let mut user = identity.keystone.as_deref().cloned().unwrap_or_default();
        if let Some(service) = &service.keystone {
            user.service_roles = service.roles.clone();
            user.service_project = service.project.clone();
        }
        self.identity(user)
    }

    /// Whether the account is of a family that these rules speak for.
    pub fn knows(&self, account: &str) -> bool {
        self.family(account).is_some()
    }

    /// What a user may do before any ACL is read.
    pub fn standing(
        &self,
        identity: &Identity,
        user: &KeystoneUser,
        method: &Method,
        target: &Target,
    ) -> Standing {
        let account = target.account().as_str();
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        if *method == Method::OPTIONS {
            return Standing::Allowed;
        }
        if identity.is_reseller_admin {
            return Standing::Owner;
        }
        if identity.is_reseller_reader && is_read {
            return Standing::Allowed;
        }
        if matches!(target, Target::Account(_)) && *method == Method::DELETE {
            return Standing::Refused;
        }
        if identity.groups.iter().any(|own| own == account) {
            return Standing::Owner;
        }
        let reads = |family: &Family| share(&user.roles, &family.project_reader_roles);
        if is_read && self.is_of_project(account, user) && self.family(account).is_some_and(reads) {
            return Standing::Allowed;
        }
        Standing::AskAcls
    }

    /// Whether an ACL may name this user and its project by names, in an account.
    pub fn names(&self, user: &KeystoneUser, account: &str) -> Names {
        let is_other = |domain: Option<&String>| {
            domain.is_some_and(|id| !id.is_empty() && *id != self.default_domain_id)
        };
        let project_domain = user
            .project
            .as_ref()
            .and_then(|project| project.domain_id.as_ref());
        if !self.allow_names_in_acls || is_other(user.domain_id.as_ref()) || is_other(project_domain) {
            Names::Forbidden
        } else if self.is_of_project(account, user) {
            Names::Allowed
        } else {
            Names::AskAccount
        }
    }

    /// The answer to [`Names::AskAccount`]: accounts of the default domain, and those older than domains.
    pub fn account_allows_names(&self, account: &AccountInfo) -> bool {
        let domain = account.sysmeta.get(DOMAIN_SYSMETA);
        account.exists() && domain.is_none_or(|id| *id == self.default_domain_id)
    }

    /// Whether a container's ACL allows what the user's own standing does not. `referer` is the page the request names.
    pub fn is_allowed_by_acl(
        &self,
        user: &KeystoneUser,
        target: &Target,
        acl: &ContainerAcl,
        referer: Option<&str>,
        by_names: bool,
    ) -> bool {
        if is_named(user, acl, by_names) {
            return true;
        }
        // A page that may read objects but not list is an answer: roles are not asked then.
        if acl.allows_referrer(referer) {
            return matches!(target, Target::Object(_)) || acl.allows_listings();
        }
        self.is_of_project(target.account().as_str(), user)
            && user.roles.iter().any(|role| acl.names_role(role))
    }

    /// The project domain to keep with an account that a request makes or changes; `None` leaves what is kept.
    pub fn domain_to_keep(
        &self,
        user: &KeystoneUser,
        method: &Method,
        target: &Target,
        info: &AccountInfo,
    ) -> Option<String> {
        let is_concerned = match target {
            Target::Account(_) => matches!(*method, Method::PUT | Method::POST),
            Target::Container(_) => *method == Method::PUT,
            Target::Object(_) => false,
        };
        if !is_concerned {
            return None;
        }
        let is_own = self.is_of_project(target.account().as_str(), user);
        let told = user
            .project
            .as_ref()
            .and_then(|project| project.domain_id.clone())
            .filter(|_| is_own);
        let kept = info.sysmeta.get(DOMAIN_SYSMETA).map(String::as_str);
        match kept {
            _ if !info.exists() && is_own => told,
            _ if !info.exists() => Some(UNKNOWN_DOMAIN.into()),
            None => told.filter(|id| *id == self.default_domain_id),
            Some(UNKNOWN_DOMAIN) if is_own => Some(told.unwrap_or_default()),
            Some(kept) => {
                if is_own && told.as_deref() != Some(kept) {
                    tracing::warn!(
                        account = target.account().as_str(),
                        kept,
                        ?told,
                        "the project's domain has changed"
                    );
                }
                None
            }
        }
    }

    /// Whether the user's roles make it an owner of this account of its project.
    fn operates(&self, user: &KeystoneUser, account: &str) -> bool {
        self.family(account).is_some_and(|family| {
            share(&user.roles, &family.operator_roles)
                && (family.service_roles.is_empty() || share(&user.service_roles, &family.service_roles))
        })
    }

    /// The family of an account; the empty prefix is everybody's, so it comes last.
    fn family(&self, account: &str) -> Option<&Family> {
        let named = self.families.iter().filter(|family| !family.prefix.is_empty());
        let unnamed = self.families.iter().filter(|family| family.prefix.is_empty());
        named
            .chain(unnamed)
            .find(|family| account.starts_with(&family.prefix))
    }

    fn is_of_project(&self, account: &str, user: &KeystoneUser) -> bool {
        user.project.as_ref().is_some_and(|project| {
            self.families
                .iter()
                .any(|family| account.strip_prefix(&family.prefix) == Some(&project.id))
        })
    }
}

/// `project:user` by ids, by `*`, and by names where those are allowed.
fn is_named(user: &KeystoneUser, acl: &ContainerAcl, by_names: bool) -> bool {
    let mut projects = vec!["*"];
    let mut users = vec!["*", user.id.as_str()];
    if by_names {
        users.push(&user.name);
    }
    if let Some(project) = &user.project {
        projects.push(&project.id);
        if by_names {
            projects.push(&project.name);
        }
    }
    projects
        .iter()
        .any(|project| users.iter().any(|user| acl.names_pair(project, user)))
}

fn share(left: &[String], right: &[String]) -> bool {
    left.iter().any(|role| right.contains(role))
}

fn with_underscore(prefix: &str) -> String {
    match prefix {
        "" | "''" => String::new(),
        _ if prefix.ends_with('_') => prefix.into(),
        _ => format!("{prefix}_"),
    }
}
