//! The other devices of a ring, as a worker of one device sees them: who is local, who acts, how to ask.

use crate::clients::Clients;
use crate::peer::Peer;
use martlet_node_client::{BackendRequest, Node, NodeClient};
use martlet_ring::Ring;
use martlet_service::Response;
use std::time::Duration;

/// Calls to the devices of the rings. Clones share connections.
#[derive(Clone)]
pub struct Neighbours {
    /// Where this node listens, as the rings write it.
    addresses: Vec<(String, u16)>,
    client: NodeClient,
    deadline: Duration,
}

impl Neighbours {
    pub fn new(addresses: Vec<(String, u16)>, client: NodeClient, call_timeout_ms: u64) -> Self {
        Neighbours {
            addresses,
            client,
            deadline: Duration::from_millis(call_timeout_ms),
        }
    }

    /// The ring's entry for a local device.
    pub fn own<'r>(&self, ring: &'r Ring, name: &str) -> Option<&'r Node> {
        let is_local = |node: &Node| {
            let addresses = &self.addresses;
            addresses
                .iter()
                .any(|(ip, port)| *ip == node.ip && *port == node.port)
        };
        ring.devices().find(|node| node.device == name && is_local(node))
    }

    pub fn peer(&self, node: &Node) -> Peer {
        Peer::new(
            self.client.clone(),
            node.clone(),
            self.deadline,
            Clients::default(),
        )
    }

    /// Whether this device acts for a partition: it is the first primary that answers. Two may think so for a moment;
    /// what they do must be fit to be done twice.
    pub async fn acts(&self, ring: &Ring, own: &Node, partition: u32) -> bool {
        for node in ring.primaries(partition) {
            if node.id == own.id {
                return true;
            }
            if self.peer(node).ping().await.is_ok() {
                return false;
            }
        }
        false
    }

    /// A request of Swift's backend protocol. `None`: no answer in time.
    pub async fn call(&self, node: &Node, request: BackendRequest) -> Option<Response> {
        let call = self.client.call(node, request);
        tokio::time::timeout(self.deadline, call).await.ok()?.ok()
    }
}
