//! What an operator may set about placing, writing and reading; names are Swift's where Swift has them.

use super::seconds::Seconds;
use martlet_node_client::Waits;
use serde::{Deserialize, Serialize};

/// The `app` section of the proxy's configuration. Times are milliseconds, unless they have Swift's names and units; sizes
/// are bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CoreConfig {
    /// Accounts come into being when a container is made in them.
    pub account_autocreate: bool,
    /// Whether PUT and DELETE of accounts are served at all; who may is the authoriser's to say.
    pub allow_account_management: bool,
    /// `X-Open-Expired` reads and changes objects whose time is over, as long as they are not yet deleted.
    pub allow_open_expired: bool,
    /// How long an account is remembered.
    pub recheck_account_existence_ms: u64,
    /// How long a container is remembered.
    pub recheck_container_existence_ms: u64,
    /// Silence of a client in the middle of its body after which it hears 408.
    pub client_timeout_ms: u64,
    /// For a connection to a node to be made. A node that took longer is not called for a moment, see `node-client`'s
    /// `absence`. Seconds, as in Swift.
    pub conn_timeout: Seconds,
    /// From the end of a request to a node to the head of its response, and between two pieces of a body. Seconds, as in
    /// Swift.
    pub node_timeout: Seconds,
    /// The same for reads, for which another node can stand in; `node_timeout` when not set. Seconds, as in Swift.
    pub recoverable_node_timeout: Option<Seconds>,
    /// Faults in a row after which a device is asked last and written to only when it can be reached. Swift's option.
    pub error_suppression_limit: u32,
    /// For how long. Seconds, as in Swift.
    pub error_suppression_interval: Seconds,
    /// How long replicas that have not answered are waited for once a quorum has.
    pub post_quorum_timeout_ms: u64,
    /// How long devices that are still opening are waited for once a quorum can take the body.
    pub open_grace_ms: u64,
    /// Bodies up to this length with a known length are sent to the nodes in one piece.
    pub small_body_bytes: usize,
    /// Chunks that may wait for one node; when full we stop reading the client, and a node that stays full for
    /// `upload_stall_ms` is dropped.
    pub upload_queue_chunks: usize,
    pub upload_stall_ms: u64,
    /// Bounds of the time a read waits for one node before it asks another too.
    pub hedge_min_ms: u64,
    pub hedge_max_ms: u64,
    /// Containers an account may have; 0: as many as it likes.
    pub max_containers_per_account: u64,
    /// Accounts that may have more.
    pub max_containers_whitelist: Vec<String>,
}

impl Default for CoreConfig {
    fn default() -> Self {
        CoreConfig {
            account_autocreate: true,
            allow_account_management: true,
            allow_open_expired: false,
            recheck_account_existence_ms: 60_000,
            recheck_container_existence_ms: 60_000,
            client_timeout_ms: 60_000,
            conn_timeout: Seconds::from_millis(500),
            node_timeout: Seconds::from_millis(10_000),
            recoverable_node_timeout: None,
            error_suppression_limit: 3,
            error_suppression_interval: Seconds::from_millis(5_000),
            post_quorum_timeout_ms: 500,
            open_grace_ms: 200,
            small_body_bytes: 64 << 10,
            upload_queue_chunks: 10,
            upload_stall_ms: 3_000,
            hedge_min_ms: 20,
            hedge_max_ms: 500,
            max_containers_per_account: 0,
            max_containers_whitelist: Vec::new(),
        }
    }
}

impl CoreConfig {
    /// The waits of writes.
    pub(super) fn write_waits(&self) -> Waits {
        self.waits(self.node_timeout)
    }

    /// The waits of reads.
    pub(super) fn read_waits(&self) -> Waits {
        self.waits(self.recoverable_node_timeout.unwrap_or(self.node_timeout))
    }

    fn waits(&self, node_timeout: Seconds) -> Waits {
        Waits {
            connect: self.conn_timeout.get(),
            response: node_timeout.get(),
            stall: node_timeout.get(),
            insists: false,
        }
    }
}
