//! Both servers over one real device in a temporary folder, called in process.

// Each test file uses its own part of this.
#![allow(dead_code)]

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use martlet_container_server::{
    AccountServer, AccountServerConfig, AccountTargets, ContainerServer, ContainerServerConfig,
};
use martlet_node_client::{NodeClient, NodeClientConfig};
use martlet_protocol::hash::HashSalt;
use martlet_protocol::limits::Limits;
use martlet_protocol::policy::{Policies, Policy, PolicyIndex};
use martlet_protocol::row::ListingEntry;
use martlet_protocol::rows::{self, Packed};
use martlet_protocol::timestamp::Timestamp;
use martlet_protocol::update::{Update, UpdateTarget};
use martlet_service::{Body, BoxFuture, Clock, Handler, Request, Response, collect, respond};
use martlet_storage::{Device, DeviceConfig, DeviceIdentity, DeviceSet, Reserve};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

pub const DEVICE: &str = "sda";

/// One node with one device.
pub struct Node {
    pub containers: Arc<ContainerServer>,
    pub accounts: Arc<AccountServer>,
    pub client: NodeClient,
    pub device: Device,
    _folder: TempDir,
}

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
    page: bytes::Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        martlet_service::headers::text(&self.headers, name)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("the body is JSON")
    }

    /// The rows of a packed listing.
    pub fn rows<T: Packed>(&self) -> Vec<ListingEntry<T>> {
        rows::unpack(&self.page).expect("the body is a page of rows")
    }

    /// The names and subdirs of a JSON listing.
    pub fn names(&self) -> Vec<String> {
        let rows = self.json();
        let name = |row: &serde_json::Value| {
            let name = if row["subdir"].is_string() {
                &row["subdir"]
            } else {
                &row["name"]
            };
            name.as_str().expect("each row is named").to_owned()
        };
        rows.as_array()
            .expect("a listing is an array")
            .iter()
            .map(name)
            .collect()
    }
}

/// Policies 0 `gold` (default) and 1 `silver`.
pub fn policies() -> Policies {
    let policy = |index, name: &str, is_default| Policy {
        index: PolicyIndex(index),
        name: name.into(),
        aliases: vec![],
        is_default,
        is_deprecated: false,
    };
    Policies::new(vec![policy(0, "gold", true), policy(1, "silver", false)])
        .expect("two policies, one default")
}

/// A node that knows no replicas of accounts by itself.
pub fn node() -> Node {
    node_with(Limits::default(), Arc::new(|_| Vec::new()))
}

pub fn node_with(limits: Limits, targets: AccountTargets) -> Node {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let identity = DeviceIdentity {
        cluster: "test".into(),
        device: DEVICE.into(),
    };
    Device::format(folder.path(), &identity).expect("an empty folder can be formatted");
    let config = DeviceConfig {
        reserve: Reserve::Bytes(0),
        ..DeviceConfig::new(folder.path(), identity)
    };
    let devices = DeviceSet::new(vec![(DEVICE.to_owned(), config)]);
    let device = devices.get(DEVICE).expect("the device was just formatted");
    let client = NodeClient::new(NodeClientConfig::default());
    let salt = HashSalt {
        prefix: String::new(),
        suffix: "test".into(),
    };
    let clock = Clock::manual(Timestamp::from_secs(1_000_000));
    let config = ContainerServerConfig {
        limits: limits.clone(),
        ..ContainerServerConfig::default()
    };
    let containers = ContainerServer::new(
        config,
        devices.clone(),
        client.clone(),
        targets,
        clock.clone(),
        salt.clone(),
        policies(),
    );
    let config = AccountServerConfig {
        limits,
        ..AccountServerConfig::default()
    };
    let accounts = AccountServer::new(config, devices, clock, salt, policies());
    Node {
        containers,
        accounts,
        client,
        device,
        _folder: folder,
    }
}

impl Node {
    /// Asks the container server about `/a/...`.
    pub async fn container(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        call(&self.containers, method, &format!("/{DEVICE}/7{path}"), headers).await
    }

    /// Asks the account server about `/a...`.
    pub async fn account(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        call(&self.accounts, method, &format!("/{DEVICE}/7{path}"), headers).await
    }

    pub async fn make_container(&self, path: &str, at: u64) {
        let answer = self
            .container(Method::PUT, path, &[("x-timestamp", &at.to_string())])
            .await;
        assert_eq!(answer.status, StatusCode::CREATED);
    }

    /// Stores the row of an object.
    pub async fn row(&self, path: &str, at: u64, size: u64) {
        let answer = self
            .container(Method::PUT, path, &row_headers(at, size).each())
            .await;
        assert_eq!(answer.status, StatusCode::CREATED, "{path}");
    }

    /// Stores the tombstone of an object.
    pub async fn gone(&self, path: &str, at: u64) {
        let answer = self
            .container(Method::DELETE, path, &[("x-timestamp", &at.to_string())])
            .await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{path}");
    }

    /// Objects and bytes a container says it has.
    pub async fn counts(&self, path: &str) -> (String, String) {
        let answer = self.container(Method::HEAD, path, &[]).await;
        let text = |name| answer.header(name).unwrap_or("absent").to_owned();
        (text("x-container-object-count"), text("x-container-bytes-used"))
    }

    pub async fn outbox(&self) -> Vec<Update> {
        let entries = self
            .device
            .outbox(None, 100)
            .await
            .expect("the outbox can be read");
        entries.into_iter().map(|(_, update)| update).collect()
    }
}

impl Node {
    /// Waits until nothing is owed: acknowledgements leave the outbox with the next commit, not at once.
    pub async fn owes_nothing(&self) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        loop {
            let owed = self.outbox().await;
            if owed.is_empty() {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "still owed: {owed:?}");
        }
    }
}

/// Header pairs that own their values.
pub struct Pairs(pub Vec<(&'static str, String)>);

impl Pairs {
    pub fn each(&self) -> Vec<(&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect()
    }
}

/// What an object server sends with a row.
pub fn row_headers(at: u64, size: u64) -> Pairs {
    Pairs(vec![
        ("x-timestamp", at.to_string()),
        ("x-size", size.to_string()),
        ("x-content-type", "text/plain".to_owned()),
        ("x-etag", format!("etag{at}")),
    ])
}

/// What a container server sends with a row.
pub fn report_headers(reported: u64, put: u64, deleted: u64, objects: u64, bytes: u64) -> Pairs {
    Pairs(vec![
        ("x-timestamp", reported.to_string()),
        ("x-put-timestamp", put.to_string()),
        ("x-delete-timestamp", deleted.to_string()),
        ("x-object-count", objects.to_string()),
        ("x-bytes-used", bytes.to_string()),
    ])
}

/// One request to a handler, its whole answer read.
pub async fn call(
    handler: &Arc<impl Handler>,
    method: Method,
    uri: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method;
    *request.uri_mut() = uri.parse().expect("tests ask for valid URIs");
    for (name, value) in headers {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("tests send valid values");
        request
            .headers_mut()
            .append(HeaderName::from_bytes(name.as_bytes()).expect("and names"), value);
    }
    let (head, body) = handler.call(request).await.into_parts();
    let body = collect(body, 64 << 20).await.expect("the answer's body is whole");
    let text = String::from_utf8_lossy(&body).into_owned();
    Answer {
        status: head.status,
        headers: head.headers,
        body: text,
        page: body,
    }
}

/// An account server that answers with one status, set from outside, and remembers what it was sent.
pub struct FakeAccounts {
    pub status: AtomicU16,
    pub seen: Mutex<Vec<(String, HeaderMap)>>,
}

impl FakeAccounts {
    /// Stands at `ip:6202`, device `ip`'s own, of a node's client; the target that reaches it comes with it.
    pub fn at(node: &Node, ip: &str, status: u16) -> (Arc<Self>, UpdateTarget) {
        let fake = Arc::new(FakeAccounts {
            status: AtomicU16::new(status),
            seen: Mutex::default(),
        });
        let target = UpdateTarget {
            ip: ip.into(),
            port: 6202,
            device: format!("disk-{ip}"),
            partition: 3,
        };
        node.client
            .register_local(&target.device, &target.ip, target.port, fake.clone());
        (fake, target)
    }

    pub fn requests(&self) -> usize {
        self.seen.lock().expect("no test panics while holding it").len()
    }
}

impl Handler for FakeAccounts {
    fn call(&self, request: Request) -> BoxFuture<'_, Response> {
        let seen = (request.uri().path().to_owned(), request.headers().clone());
        self.seen
            .lock()
            .expect("no test panics while holding it")
            .push(seen);
        let status =
            StatusCode::from_u16(self.status.load(Ordering::SeqCst)).expect("tests set real statuses");
        Box::pin(std::future::ready(respond::empty(status)))
    }
}
