//! One object server over one device, with a container server that remembers what it was told.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use martlet_node_client::{NodeClient, NodeClientConfig};
use martlet_object_server::{ObjectServer, ObjectServerConfig};
use martlet_protocol::hash::{HashSalt, PathHash};
use martlet_protocol::policy::{Policies, PolicyIndex};
use martlet_protocol::timestamp::Timestamp;
use martlet_protocol::update::Update;
use martlet_service::{Body, BodyError, BoxFuture, Clock, Handler, Request, Response, headers, respond};
use martlet_storage::{Device, DeviceConfig, DeviceIdentity, DeviceSet};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// Where the container server of these tests is.
pub const CONTAINER: [(&str, &str); 3] = [
    ("x-container-host", "10.0.0.9:6201"),
    ("x-container-device", "cdev"),
    ("x-container-partition", "42"),
];

pub struct House {
    pub server: Arc<ObjectServer>,
    pub device: Device,
    pub containers: Arc<FakeContainers>,
    pub clock: Clock,
    pub directory: TempDir,
}

/// Answers every row with one status, or not at all.
pub struct FakeContainers {
    status: AtomicU16,
    pub rows: Mutex<Vec<Row>>,
}

/// A row as it arrived.
#[derive(Debug)]
pub struct Row {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
}

impl Row {
    pub fn header(&self, name: &str) -> Option<&str> {
        headers::text(&self.headers, name)
    }
}

/// The status that stands for a server that takes requests and never answers.
pub const SILENT: u16 = 0;

impl FakeContainers {
    pub fn answer_with(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    pub fn take_rows(&self) -> Vec<Row> {
        std::mem::take(&mut *self.rows.lock().unwrap())
    }
}

impl Handler for FakeContainers {
    fn call(&self, request: Request) -> BoxFuture<'_, Response> {
        Box::pin(async move {
            let (parts, _) = request.into_parts();
            let path = parts.uri.path().to_owned();
            self.rows.lock().unwrap().push(Row {
                method: parts.method,
                path,
                headers: parts.headers,
            });
            match self.status.load(Ordering::SeqCst) {
                SILENT => std::future::pending().await,
                status => respond::empty(StatusCode::from_u16(status).unwrap()),
            }
        })
    }
}

impl House {
    pub fn new() -> House {
        House::with(|_| {})
    }

    /// A house whose settings are changed before it opens.
    pub fn with(change: impl FnOnce(&mut ObjectServerConfig)) -> House {
        let directory = TempDir::new().unwrap();
        let identity = DeviceIdentity {
            cluster: "test".into(),
            device: "sda".into(),
        };
        Device::format(directory.path(), &identity).unwrap();
        let devices = DeviceSet::new(vec![(
            "sda".into(),
            DeviceConfig::new(directory.path(), identity),
        )]);
        let device = devices.get("sda").unwrap();
        let containers = Arc::new(FakeContainers {
            status: AtomicU16::new(201),
            rows: Mutex::default(),
        });
        let client = NodeClient::new(NodeClientConfig::default());
        client.register_local("cdev", "10.0.0.9", 6201, containers.clone());
        client.register_local("cdev2", "10.0.0.9", 6201, containers.clone());
        let clock = Clock::manual(Timestamp::from_secs(1_000_000));
        let mut config = ObjectServerConfig::new(salt(), Policies::single("gold"));
        change(&mut config);
        let server = ObjectServer::new(config, devices, client, clock.clone(), None);
        House {
            server,
            device,
            containers,
            clock,
            directory,
        }
    }

    /// The hash of an object in the container of these tests.
    pub fn hash(&self, object: &str) -> PathHash {
        salt().hash("a", Some("c"), Some(object))
    }

    pub fn policy(&self) -> PolicyIndex {
        PolicyIndex(0)
    }

    pub async fn outbox(&self) -> Vec<Update> {
        let entries = self.device.outbox(None, 100).await.unwrap();
        entries.into_iter().map(|(_, update)| update).collect()
    }

    /// Stores `o` at a moment with the pieces that a test does not care about filled in.
    pub async fn store(&self, at: &str, body: &'static [u8]) -> Answer {
        put(at).body(body).send(self).await
    }
}

fn salt() -> HashSalt {
    HashSalt {
        prefix: String::new(),
        suffix: "test".into(),
    }
}

/// A request to be sent.
pub struct Ask {
    method: Method,
    pub path: String,
    headers: HeaderMap,
    body: Body,
}

pub fn ask(method: &str) -> Ask {
    Ask {
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        path: "/sda/7/a/c/o".into(),
        headers: HeaderMap::new(),
        body: Body::empty(),
    }
}

pub fn put(at: &str) -> Ask {
    ask("PUT")
        .with("x-timestamp", at)
        .with("content-type", "text/plain")
}

pub fn post(at: &str) -> Ask {
    ask("POST").with("x-timestamp", at)
}

pub fn delete(at: &str) -> Ask {
    ask("DELETE").with("x-timestamp", at)
}

impl Ask {
    pub fn with(mut self, name: &str, value: &str) -> Ask {
        let name: HeaderName = name.parse().unwrap();
        self.headers
            .append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        self
    }

    pub fn with_all(self, pairs: &[(&str, &str)]) -> Ask {
        pairs
            .iter()
            .fold(self, |ask, (name, value)| ask.with(name, value))
    }

    pub fn without(mut self, name: &str) -> Ask {
        self.headers.remove(name);
        self
    }

    pub fn path(mut self, path: &str) -> Ask {
        self.path = path.into();
        self
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Ask {
        self.body = Body::full(body);
        self
    }

    pub fn stream(mut self, body: Body) -> Ask {
        self.body = body;
        self
    }

    pub fn into_request(self) -> Request {
        let mut request = Request::new(self.body);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.path.parse().unwrap();
        *request.headers_mut() = self.headers;
        request
    }

    pub async fn send(self, house: &House) -> Answer {
        let (parts, mut body) = house.server.call(self.into_request()).await.into_parts();
        let mut bytes = Vec::new();
        let mut broken = None;
        while let Some(piece) = body.next().await {
            match piece {
                Ok(piece) => bytes.extend_from_slice(&piece),
                Err(error) => {
                    broken = Some(error);
                    break;
                }
            }
        }
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: bytes,
            broken,
        }
    }
}

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// How the body broke off, if it did.
    pub broken: Option<BodyError>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        headers::text(&self.headers, name)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

pub async fn get(house: &House) -> Answer {
    ask("GET").send(house).await
}

/// Whether a condition comes to hold within ten seconds.
pub async fn eventually(mut holds: impl AsyncFnMut() -> bool) -> bool {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while std::time::Instant::now() < deadline {
        if holds().await {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}
