//! What an operator can set of the two servers.

use martlet_protocol::limits::Limits;
use serde::{Deserialize, Serialize};

/// Settings of a container server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContainerServerConfig {
    pub limits: Limits,
    /// Accounts of the cluster itself: rows for their containers create them. Swift's `.`.
    pub auto_create_account_prefix: String,
    /// How long a container PUT or DELETE waits for the account servers it was told, in milliseconds. What has not
    /// answered by then stays in the outbox.
    pub account_update_timeout_ms: u64,
}

impl Default for ContainerServerConfig {
    fn default() -> Self {
        ContainerServerConfig {
            limits: Limits::default(),
            auto_create_account_prefix: ".".into(),
            account_update_timeout_ms: 1_000,
        }
    }
}

/// Settings of an account server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccountServerConfig {
    pub limits: Limits,
    /// Accounts of the cluster itself: a container row creates them. Swift's `.`.
    pub auto_create_account_prefix: String,
}

impl Default for AccountServerConfig {
    fn default() -> Self {
        AccountServerConfig {
            limits: Limits::default(),
            auto_create_account_prefix: ".".into(),
        }
    }
}
