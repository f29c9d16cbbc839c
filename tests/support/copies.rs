//! Looking at every copy of an object, on the devices themselves.

use super::http::request;
use super::{Cluster, NODES};
use martlet_protocol::hash::HashSalt;
use martlet_ring::Ring;

/// The rings and salt of a running cluster: enough to know where each copy belongs.
pub struct Placement {
    ring: Ring,
    salt: HashSalt,
    policy: u16,
    nodes: Vec<String>,
}

/// One copy as its device tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    pub status: u16,
    /// `X-Backend-Timestamp`: of the data and metadata, or of the tombstone.
    pub timestamp: String,
    pub etag: String,
    pub body: bytes::Bytes,
}

impl Placement {
    /// Of objects under policy 0.
    pub fn of(cluster: &Cluster) -> Placement {
        Self::with_ring(cluster, "object", 0)
    }

    /// By another ring: of accounts, containers, or objects under another policy.
    pub fn with_ring(cluster: &Cluster, ring: &str, policy: u16) -> Placement {
        let text =
            std::fs::read_to_string(cluster.node_folder(1).join("node.toml")).expect("node.toml is there");
        let config: toml::Table = text.parse().expect("node.toml is TOML");
        let text = |key: &str| config["cluster"][key].as_str().expect("a string").to_owned();
        let salt = HashSalt {
            prefix: text("hash_path_prefix"),
            suffix: text("hash_path_suffix"),
        };
        let file = cluster.data().join(format!("rings/{ring}.ring.gz"));
        let bytes = std::fs::read(file).expect("the ring is there");
        let ring = martlet_ring::file::read(&bytes).expect("the ring is one");
        Placement {
            ring,
            salt,
            policy,
            nodes: (1..=NODES).map(|number| cluster.node_address(number)).collect(),
        }
    }

    /// The nodes (from 1) that hold an object, in the ring's order.
    pub fn primaries(&self, account: &str, container: &str, object: &str) -> Vec<usize> {
        self.holders(self.partition(account, container, object))
    }

    /// The nodes that hold a container, when this is the ring of containers.
    pub fn container_primaries(&self, account: &str, container: &str) -> Vec<usize> {
        let hash = self.salt.hash(account, Some(container), None);
        self.holders(self.ring.partition(&hash))
    }

    /// The nodes that hold an account, when this is the ring of accounts.
    pub fn account_primaries(&self, account: &str) -> Vec<usize> {
        let hash = self.salt.hash(account, None, None);
        self.holders(self.ring.partition(&hash))
    }

    fn holders(&self, partition: u32) -> Vec<usize> {
        let number =
            |device: &&martlet_ring::Device| device.device[1..].parse().expect("devices are d1 to d4");
        self.ring.primaries(partition).iter().map(number).collect()
    }

    fn partition(&self, account: &str, container: &str, object: &str) -> u32 {
        self.ring
            .partition(&self.salt.hash(account, Some(container), Some(object)))
    }

    /// What node `number` holds of an object.
    pub async fn copy(&self, number: usize, account: &str, container: &str, object: &str) -> Copy {
        let partition = self.partition(account, container, object);
        let target = format!("/d{number}/{partition}/{account}/{container}/{object}");
        let policy = self.policy.to_string();
        let headers = [
            ("x-backend-storage-policy-index", policy.as_str()),
            ("x-backend-martlet-server", "object"),
        ];
        let answer = request(&self.nodes[number - 1], "GET", &target, &headers, "")
            .await
            .expect("the node answers");
        Copy {
            status: answer.status,
            timestamp: answer.header("x-backend-timestamp").to_owned(),
            etag: answer.header("etag").to_owned(),
            body: if answer.status == 200 {
                answer.body
            } else {
                bytes::Bytes::new()
            },
        }
    }

    /// Every primary's copy.
    pub async fn copies(&self, account: &str, container: &str, object: &str) -> Vec<Copy> {
        let mut copies = Vec::new();
        for number in self.primaries(account, container, object) {
            copies.push(self.copy(number, account, container, object).await);
        }
        copies
    }
}
