//! A small cluster in memory: four devices that speak the backend protocol, with faults that a test switches on.

// Each test file uses its own part of the cluster.
#![allow(dead_code, unused_imports)]

mod device;

pub use device::{FakeDevice, Faults, Stored};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Method, StatusCode};
use martlet_node_client::{Node, NodeClient, NodeClientConfig};
use martlet_protocol::hash::HashSalt;
use martlet_protocol::limits::Limits;
use martlet_protocol::name::Target;
use martlet_protocol::policy::{Policies, PolicyIndex};
use martlet_protocol::timestamp::Timestamp;
use martlet_proxy::core::{AllowAll, Core, CoreConfig};
use martlet_proxy::{Proxy, ProxyConfig};
use martlet_ring::{Ring, RingParts, RingSet, Row};
use martlet_service::{Body, Clock, Request, Response, collect};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Ports on which nothing listens: a device taken from the process is refused at once.
const FIRST_PORT: u16 = 2;

pub struct Cluster {
    pub devices: Vec<Arc<FakeDevice>>,
    pub core: Arc<Core>,
    pub client: NodeClient,
    pub clock: Clock,
    nodes: Vec<Node>,
    salt: HashSalt,
    ring: Ring,
    rings: Arc<ArcSwap<RingSet>>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Cluster {
    /// Four devices, three replicas, account `a` and container `c` made.
    pub async fn start() -> Cluster {
        let cluster = Self::empty(CoreConfig::default());
        assert_eq!(
            cluster.send(Method::PUT, "a/c", &[], Body::empty()).await.status,
            201
        );
        cluster
    }

    pub fn empty(config: CoreConfig) -> Cluster {
        let node = |id: u32| Node {
            id,
            region: 1,
            zone: id,
            ip: "127.0.0.1".into(),
            port: FIRST_PORT + id as u16,
            replication_ip: "127.0.0.1".into(),
            replication_port: FIRST_PORT + id as u16,
            device: format!("d{id}"),
            weight: 100.0,
            meta: String::new(),
        };
        let nodes: Vec<Node> = (0..4).map(node).collect();
        let row = |replica: u16| Row::Narrow((0..4).map(|partition| (partition + replica) % 4).collect());
        let ring = Ring::new(RingParts {
            part_power: 2,
            devices: nodes.iter().cloned().map(Some).collect(),
            rows: (0..3).map(row).collect(),
            version: Some(1),
            next_part_power: None,
        });
        let ring = ring.unwrap();
        let set = RingSet {
            account: ring.clone(),
            container: ring.clone(),
            objects: BTreeMap::from([(PolicyIndex(0), ring.clone())]),
        };
        let client = NodeClient::new(NodeClientConfig {
            response_timeout_ms: 8_000,
            ..NodeClientConfig::default()
        });
        let devices: Vec<Arc<FakeDevice>> = nodes.iter().map(|node| FakeDevice::new(&node.device)).collect();
        for device in &devices {
            device.know(&devices);
            device.set_rings(set.fingerprint());
        }
        let salt = HashSalt {
            prefix: String::new(),
            suffix: "test".into(),
        };
        let clock = Clock::system();
        let rings = Arc::new(ArcSwap::from_pointee(set));
        let policies = Policies::single("gold");
        let limits = Limits {
            container_listing_limit: 100,
            ..Limits::default()
        };
        let core = Core::new(
            config,
            rings.clone(),
            salt.clone(),
            policies,
            limits,
            client.clone(),
            clock.clone(),
        );
        let cluster = Cluster {
            devices,
            core,
            client,
            clock,
            nodes,
            salt,
            ring,
            rings,
        };
        for at in 0..4 {
            cluster.revive(at);
        }
        cluster
    }

    /// A whole proxy before the devices.
    pub fn proxy(&self, config: ProxyConfig, clock: Clock) -> Arc<Proxy> {
        Proxy::new(
            config,
            self.rings.clone(),
            self.salt.clone(),
            Policies::single("gold"),
            self.client.clone(),
            clock,
        )
        .unwrap()
    }

    pub fn revive(&self, device: usize) {
        let node = &self.nodes[device];
        self.client
            .register_local(&node.device, &node.ip, node.port, self.devices[device].clone());
    }

    /// From now on the device refuses connections.
    pub fn kill(&self, device: usize) {
        let node = &self.nodes[device];
        self.client.unregister_local(&node.device, &node.ip, node.port);
    }

    /// The devices of an object: three primaries, then the handoff.
    pub fn places(&self, container: &str, object: &str) -> Vec<usize> {
        self.places_of(&self.salt.hash("a", Some(container), Some(object)))
    }

    pub fn places_of_container(&self, container: &str) -> Vec<usize> {
        self.places_of(&self.salt.hash("a", Some(container), None))
    }

    fn places_of(&self, hash: &martlet_protocol::hash::PathHash) -> Vec<usize> {
        let partition = self.ring.partition(hash);
        let primaries = self
            .ring
            .primaries(partition)
            .into_iter()
            .map(|node| node.id as usize);
        primaries
            .chain(self.ring.handoffs(partition).map(|node| node.id as usize))
            .collect()
    }

    /// Every device says its full replication pass began just now.
    pub fn all_synced(&self) {
        let now = self.clock.now();
        for device in &self.devices {
            device.set_synced(now);
        }
    }

    /// Lets the core hear from every device of an object.
    pub async fn acquaint(&self, path: &str) {
        let answer = self
            .send(Method::HEAD, path, &[("x-newest", "true")], Body::empty())
            .await;
        assert_eq!(answer.status, 200);
    }

    pub async fn respond(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Response {
        let (name, query) = path.split_once('?').unwrap_or((path, ""));
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = format!("/v1/{}?{query}", martlet_protocol::percent::quote(name))
            .parse()
            .unwrap();
        for (name, value) in headers {
            martlet_service::headers::set(request.headers_mut(), name, value);
        }
        let has_length = headers
            .iter()
            .any(|(name, _)| ["content-length", "transfer-encoding"].contains(name));
        if !has_length && let Some(length) = request.body().as_full().map(|bytes| bytes.len()) {
            request.headers_mut().insert("content-length", length.into());
        }
        self.core
            .handle(request, Target::parse(name).unwrap(), &AllowAll)
            .await
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let response = self.respond(method, path, headers, body.into()).await;
        let (parts, body) = response.into_parts();
        let body = collect(body, 64 << 20).await.unwrap();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Body::empty()).await
    }

    /// Puts bytes; 201 is expected.
    pub async fn put(&self, path: &str, bytes: impl Into<Bytes>) -> Answer {
        let answer = self.send(Method::PUT, path, &[], Body::full(bytes.into())).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer
    }

    /// The devices that hold a live object.
    pub fn holders(&self, path: &str) -> Vec<usize> {
        let holds = |at: &usize| {
            self.devices[*at]
                .object(path)
                .is_some_and(|stored| !stored.deleted)
        };
        (0..self.devices.len()).filter(holds).collect()
    }

    pub fn names(answer: &Answer) -> Vec<String> {
        assert_eq!(answer.status, StatusCode::OK.as_u16());
        let lines: Vec<serde_json::Value> = serde_json::from_slice(&answer.body).unwrap();
        let name = |line: &serde_json::Value| {
            line.get("name")
                .or_else(|| line.get("subdir"))
                .unwrap()
                .as_str()
                .unwrap()
                .to_owned()
        };
        lines.iter().map(name).collect()
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// A body that looks random and is easy to compare.
pub fn pattern(length: usize) -> Bytes {
    (0..length).map(|at| (at * 31 + at / 251) as u8).collect()
}

/// The same bytes as a stream of pieces whose length nobody announces.
pub fn pieces(bytes: &Bytes, size: usize) -> Body {
    let chunks: Vec<_> = bytes
        .chunks(size)
        .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
        .collect();
    Body::stream(futures_util::stream::iter(chunks))
}
