//! Who a request was made by, after its token or signature was checked.

use serde::{Deserialize, Serialize};

/// A user that a door (tempauth, Keystone, an S3 signature) has proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `account:user` as the user logs in; `project:user` by names for a user of Keystone.
    pub user: String,
    /// The storage account that is the user's own, such as `AUTH_test`.
    pub account: String,
    /// What ACLs are matched against: `account`, `account:user`, and the groups the user was given. Of a user of
    /// Keystone: the accounts that its roles make its own.
    pub groups: Vec<String>,
    /// May do everything in every account.
    pub is_reseller_admin: bool,
    /// May read everything in every account.
    pub is_reseller_reader: bool,
    /// Present when Keystone vouches for the user: Keystone's rules then judge, not tempauth's.
    pub keystone: Option<Box<KeystoneUser>>,
}

/// What Keystone says about the user of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeystoneUser {
    pub id: String,
    pub name: String,
    pub domain_id: Option<String>,
    /// What the token is scoped to; a token may also be scoped to a domain, the system or nothing.
    pub project: Option<KeystoneProject>,
    /// Names of roles, lower case.
    pub roles: Vec<String>,
    /// Those of the service token that came with it, lower case.
    #[serde(default)]
    pub service_roles: Vec<String>,
    /// The project of that service token.
    #[serde(default)]
    pub service_project: Option<KeystoneProject>,
}

/// A project of Keystone, with which an account goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeystoneProject {
    pub id: String,
    pub name: String,
    pub domain_id: Option<String>,
}
