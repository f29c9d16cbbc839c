//! How long a caller waits, and whether it believes what others found out about a node.

use crate::NodeClientConfig;
use std::time::Duration;

/// The waits of a client's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// For a connection to be made, and for an answer before it is looked whether the node can still be reached. Swift's
    /// `conn_timeout`.
    pub connect: Duration,
    /// From the end of a request to the head of its response. Swift's `node_timeout`.
    pub response: Duration,
    /// Between two pieces of a body, either way.
    pub stall: Duration,
    /// A node that could not be reached lately is called all the same. For workers, that have nobody waiting; clients
    /// would pay for each call.
    pub insists: bool,
}

impl Waits {
    pub(crate) fn of(config: &NodeClientConfig) -> Self {
        Waits {
            connect: Duration::from_millis(config.connect_timeout_ms),
            response: Duration::from_millis(config.response_timeout_ms),
            stall: Duration::from_millis(config.stall_timeout_ms),
            insists: false,
        }
    }
}
