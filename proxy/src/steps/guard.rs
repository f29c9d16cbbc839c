//! One request's judge: knows who asks, and by whose rules (tempauth's or Keystone's) that user is judged.

use super::answer;
use super::tempauth::authorize as tempauth;
use super::tempauth::users::Users;
use crate::acl::{AccountAcl, AccountRight, ContainerAcl};
use crate::core::AccountInfo;
use crate::core::authorize::{Authorize, Need};
use crate::grant::Grant;
use crate::keystone::Rules;
use crate::keystone::rules::Names;
use http::{Method, StatusCode};
use martlet_protocol::identity::{Identity, KeystoneUser};
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
    pub(super) method: Method,
    pub(super) target: Arc<Target>,
    referer: Option<String>,
    account_right: Option<AccountRight>,
    /// Present when Keystone is on; used for its users.
    rules: Option<Arc<Rules>>,
    /// Whether the container's ACL may name the user of Keystone by name.
    by_names: bool,
}

impl Guard {
    pub fn new(
        users: &Users,
        rules: Option<&Arc<Rules>>,
        identity: Option<Arc<Identity>>,
        method: Method,
        target: Arc<Target>,
        referer: Option<String>,
    ) -> Self {
        let keystone = identity
            .as_ref()
            .and_then(|identity| Some((identity, identity.keystone.as_deref()?)));
        let standing = match (rules, keystone) {
            (Some(rules), Some((identity, user))) => rules.standing(identity, user, &method, &target),
            // Never so: only Keystone makes such users.
            (None, Some(_)) => Standing::Refused,
            (rules, None) => {
                let is_nobodys =
                    identity.is_none() && rules.is_some_and(|rules| rules.knows(target.account()));
                match tempauth::standing(users, identity.as_deref(), &method, &target) {
                    // Accounts that only Keystone knows may be public too.
                    Standing::Refused if is_nobodys && method == Method::OPTIONS => Standing::Allowed,
                    Standing::Refused if is_nobodys => Standing::AskAcls,
                    standing => standing,
                }
            }
        };
        let by_names = match (rules, keystone) {
            (Some(rules), Some((_, user))) => rules.names(user, target.account()) == Names::Allowed,
            _ => false,
        };
        Guard {
            rules: rules.cloned(),
            by_names,
            identity,
            referer,
            ..Guard::fixed(standing, method, target)
        }
    }

    /// For requests the cluster makes in its own name.
    pub fn open(method: Method, target: Arc<Target>) -> Self {
        Guard::fixed(Standing::Owner, method, target)
    }

    /// For requests that a signature allows, or does not; no ACL is asked.
    pub fn granted(grant: &Grant, method: Method, target: Arc<Target>) -> Self {
        let standing = match grant.allows(&method, &target) {
            true => Standing::Allowed,
            false => Standing::Refused,
        };
        Guard::fixed(standing, method, target)
    }

    fn fixed(standing: Standing, method: Method, target: Arc<Target>) -> Self {
        Guard {
            standing,
            identity: None,
            method,
            target,
            referer: None,
            account_right: None,
            rules: None,
            by_names: false,
        }
    }

    /// The user, if it is one of Keystone's, and the rules for it.
    fn keystone(&self) -> Option<(&Arc<Rules>, &KeystoneUser)> {
        let user = self.identity.as_ref()?.keystone.as_deref()?;
        Some((self.rules.as_ref()?, user))
    }

    /// Whether what is kept with the account could change the verdict, so that it is worth reading.
    pub fn wants_account(&self) -> bool {
        match self.keystone() {
            _ if self.standing != Standing::AskAcls => false,
            None => self.identity.is_some(),
            Some((rules, user)) => {
                !matches!(*self.target, Target::Account(_))
                    && rules.names(user, self.target.account()) == Names::AskAccount
            }
        }
    }

    /// Takes what is kept with the account into account: its ACL, whose admins are owners, or its project's domain.
    pub fn read_account(&mut self, account: &AccountInfo) {
        if let Some((rules, user)) = self.keystone() {
            self.by_names = match rules.names(user, self.target.account()) {
                Names::AskAccount => rules.account_allows_names(account),
                names => names == Names::Allowed,
            };
            return;
        }
        let (Some(identity), Some(stored)) = (&self.identity, account.sysmeta.get("core-access-control"))
        else {
            return;
        };
        self.account_right = AccountAcl::parse(stored).right_of(&identity.groups);
        if self.account_right == Some(AccountRight::Admin) && self.standing == Standing::AskAcls {
            self.standing = Standing::Owner;
        }
    }

    /// Whether the request may make or tell the domain of the account's project, which is then to be kept.
    pub fn may_tell_domain(&self) -> bool {
        self.keystone().is_some()
            && match *self.target {
                Target::Account(_) => matches!(self.method, Method::PUT | Method::POST),
                Target::Container(_) => self.method == Method::PUT,
                Target::Object(_) => false,
            }
    }

    /// That domain, if it is to be kept anew.
    pub fn domain_to_keep(&self, account: &AccountInfo) -> Option<String> {
        let (rules, user) = self.keystone()?;
        rules.domain_to_keep(user, &self.method, &self.target, account)
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
        if let Some(right) = self.account_right
            && tempauth::is_allowed_by_right(right, &self.method, &self.target)
        {
            return true;
        }
        let Some(acl) = container_acl
            .filter(|acl| !acl.is_empty())
            .map(ContainerAcl::parse)
        else {
            return false;
        };
        let referer = self.referer.as_deref();
        match self.keystone() {
            Some((rules, user)) => rules.is_allowed_by_acl(user, &self.target, &acl, referer, self.by_names),
            None => tempauth::is_allowed_by_acl(
                self.identity.as_deref(),
                &self.method,
                &self.target,
                &acl,
                referer,
            ),
        }
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
