//! What an operator can set of the two servers.

use martlet_protocol::limits::Limits;
use serde::{Deserialize, Serialize};

/// As many as an object server takes.
const MAX_REQUESTS_PER_DEVICE: usize = 1_024;

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
    /// Requests one device works on at a time; past it they are refused with 503 and the caller goes elsewhere.
    pub max_requests_per_device: usize,
}

impl Default for ContainerServerConfig {
    fn default() -> Self {
        ContainerServerConfig {
            limits: Limits::default(),
            auto_create_account_prefix: ".".into(),
            account_update_timeout_ms: 1_000,
            max_requests_per_device: MAX_REQUESTS_PER_DEVICE,
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
    /// Requests one device works on at a time; past it they are refused with 503 and the caller goes elsewhere.
    pub max_requests_per_device: usize,
}

impl Default for AccountServerConfig {
    fn default() -> Self {
        AccountServerConfig {
            limits: Limits::default(),
            auto_create_account_prefix: ".".into(),
            max_requests_per_device: MAX_REQUESTS_PER_DEVICE,
        }
    }
}
