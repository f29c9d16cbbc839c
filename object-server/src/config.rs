//! What an object server is told at its start.

use martlet_protocol::hash::HashSalt;
use martlet_protocol::limits::Limits;
use martlet_protocol::policy::Policies;
use serde::{Deserialize, Serialize};

/// The cluster's facts, and this server's own settings.
#[derive(Clone, Debug)]
pub struct ObjectServerConfig {
    /// Turns a path into the hash that records are kept by.
    pub salt: HashSalt,
    /// A request for a policy that is not here is refused with 503, as in Swift.
    pub policies: Policies,
    pub limits: Limits,
    pub settings: ObjectServerSettings,
}

impl ObjectServerConfig {
    /// Default limits and settings.
    pub fn new(salt: HashSalt, policies: Policies) -> Self {
        ObjectServerConfig {
            salt,
            policies,
            limits: Limits::default(),
            settings: ObjectServerSettings::default(),
        }
    }
}

/// Settings of the configuration file, named as in Swift's `object-server.conf` with the unit put last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectServerSettings {
    /// Headers kept with an object beside its metadata families. Content-Type, Content-Length and ETag always are.
    pub allowed_headers: Vec<String>,
    /// How long an answer waits for the container server; past it the outbox delivers the row.
    pub container_update_timeout_ms: u64,
    /// How long a caller may pause within a body; past it the upload is given up with 408.
    pub client_timeout_ms: u64,
    /// How long one upload may take from its first byte to its last; past it it is given up with 408.
    pub max_upload_time_secs: u64,
    /// Requests one device works on at a time; past it they are refused with 503 and the caller goes elsewhere.
    pub max_requests_per_device: usize,
}

impl Default for ObjectServerSettings {
    fn default() -> Self {
        let allowed = [
            "cache-control",
            "content-disposition",
            "content-encoding",
            "content-language",
            "expires",
            "x-delete-at",
            "x-object-manifest",
            "x-robots-tag",
            "x-static-large-object",
        ];
        ObjectServerSettings {
            allowed_headers: allowed.map(String::from).to_vec(),
            container_update_timeout_ms: 1_000,
            client_timeout_ms: 60_000,
            max_upload_time_secs: 86_400,
            max_requests_per_device: 1_024,
        }
    }
}
