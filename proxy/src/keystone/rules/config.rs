//! Which roles may what in which accounts. Names and defaults are those of Swift's `keystoneauth` filter.

use serde::{Deserialize, Serialize};

/// `[proxy.pipeline.keystoneauth]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeystoneAuthConfig {
    /// Families of accounts that go with projects; Swift's `reseller_prefix`. The first is the one of S3.
    pub reseller_prefixes: Vec<AccountPrefix>,
    /// Own the accounts of their project.
    pub operator_roles: Vec<String>,
    /// One of them must be in a service token beside; none are needed when empty.
    pub service_roles: Vec<String>,
    /// Read everything of their project.
    pub project_reader_roles: Vec<String>,
    /// Owns every account.
    pub reseller_admin_role: String,
    /// Read everything of every account.
    pub system_reader_roles: Vec<String>,
    /// The domain whose users and projects ACLs may name by names.
    pub default_domain_id: String,
    /// Whether ACLs may say names where ids are meant, within the default domain.
    pub allow_names_in_acls: bool,
    /// Whether temporary URLs and forms stand in for a user.
    pub allow_overrides: bool,
    /// Swift gave this up and warns of it; so do we.
    pub is_admin: bool,
}

/// A family of accounts, and roles that differ in it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccountPrefix {
    /// `AUTH` for `AUTH_<project id>`; empty for accounts that are just the project's id.
    pub name: String,
    pub operator_roles: Option<Vec<String>>,
    pub service_roles: Option<Vec<String>>,
    pub project_reader_roles: Option<Vec<String>>,
}

impl Default for KeystoneAuthConfig {
    fn default() -> Self {
        KeystoneAuthConfig {
            reseller_prefixes: vec![AccountPrefix {
                name: "AUTH".into(),
                ..AccountPrefix::default()
            }],
            operator_roles: vec!["admin".into(), "swiftoperator".into()],
            service_roles: Vec::new(),
            project_reader_roles: Vec::new(),
            reseller_admin_role: "ResellerAdmin".into(),
            system_reader_roles: Vec::new(),
            default_domain_id: "default".into(),
            allow_names_in_acls: true,
            allow_overrides: true,
            is_admin: false,
        }
    }
}
