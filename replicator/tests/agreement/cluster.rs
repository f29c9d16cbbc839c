//! A cluster of devices for tests: four nodes with one device each, three replicas, no proxy. Writes are made on the
//! devices that a test names, as if the others had been away.

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Method, StatusCode};
use martlet_node_client::{NodeClient, NodeClientConfig};
use martlet_protocol::hash::{HashSalt, PathHash};
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::record::{ObjectMeta, ObjectRecord};
use martlet_protocol::timestamp::Timestamp;
use martlet_replicator::{
    Auditor, AuditorConfig, Clients, ContainerSync, ContainerSyncConfig, DarkData, DarkDataAction,
    DeviceReport, Expirer, ExpirerConfig, Neighbours, PassReport, Reaper, ReaperConfig, Reclaimer,
    ReclaimerConfig, Reconciler, ReplicationServer, Replicator, ReplicatorConfig, Rings, Updater,
    UpdaterConfig, WorkerSet,
};
use martlet_ring::{Device as Node, Ring, RingParts, RingSet, Row as RingRow};
use martlet_service::{
    BoxFuture, Clock, Handler, Request, Response, ServeOptions, Shutdown, ShutdownTrigger, respond,
};
use martlet_storage::{
    DeleteObject, Device, DeviceConfig, DeviceIdentity, DeviceSet, PutObject, Reserve, Space, StorageError,
    Version,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub const POLICY: PolicyIndex = PolicyIndex(0);
pub const OBJECTS: Space = Space::Objects(POLICY);
pub const ACCOUNT: &str = "AUTH_test";
pub const CONTAINER: &str = "c";
pub const NODES: usize = 4;
const PART_POWER: u32 = 4;

pub struct Cluster {
    pub nodes: Vec<TestNode>,
    pub rings: Rings,
    pub client: NodeClient,
    pub clock: Clock,
    pub salt: HashSalt,
    /// Rows that arrived at container and account servers, and what these answer.
    pub rows: Arc<RowServer>,
    /// How nodes that start from now on replicate.
    pub replication: ReplicatorConfig,
    /// What the devices were asked by replicators, and whether they answer as before there were packs.
    pub asked: Arc<Asked>,
    /// Clients of the devices, told of by all of them.
    pub busy: Clients,
    sockets: bool,
    _shutdown: ShutdownTrigger,
    _folder: tempfile::TempDir,
}

pub struct TestNode {
    pub name: String,
    pub port: u16,
    pub path: PathBuf,
    pub devices: DeviceSet,
    pub replicator: Replicator,
    pub updater: Updater,
    pub expirer: Expirer,
    pub reclaimer: Reclaimer,
    pub auditor: Auditor,
    pub reaper: Reaper,
    pub reconciler: Reconciler,
    pub container_sync: ContainerSync,
}

impl TestNode {
    pub fn set(&self) -> WorkerSet {
        WorkerSet {
            replicator: self.replicator.clone(),
            updater: self.updater.clone(),
            expirer: self.expirer.clone(),
            reclaimer: self.reclaimer.clone(),
            auditor: self.auditor.clone(),
            reaper: self.reaper.clone(),
            reconciler: self.reconciler.clone(),
            container_sync: self.container_sync.clone(),
        }
    }
}

/// Objects that no container lists are dark after so long in these tests, seconds.
pub const GRACE_AGE: u64 = 50_000;

/// Deletions are kept so long in these tests, seconds.
pub const RECLAIM_AGE: u64 = 100_000;

/// Stands where container and account servers stand: writes down what it is told.
#[derive(Default)]
pub struct RowServer {
    pub answer: Mutex<Option<StatusCode>>,
    /// Method, path, timestamp.
    pub told: Mutex<Vec<(Method, String, String)>>,
}

impl RowServer {
    pub fn answer_with(&self, status: StatusCode) {
        *self.answer.lock().unwrap() = Some(status);
    }

    pub fn told(&self) -> Vec<(Method, String, String)> {
        self.told.lock().unwrap().clone()
    }
}

/// Stands at the door of every device.
#[derive(Default)]
pub struct Asked {
    pub is_old: AtomicBool,
    verbs: Mutex<BTreeMap<String, usize>>,
}

impl Asked {
    /// How often since the last look.
    pub fn take(&self, verb: &str) -> usize {
        self.verbs.lock().unwrap().remove(verb).unwrap_or(0)
    }

    /// Writes the question down; as an old device understands it. `None`: such a one does not.
    fn hear(&self, mut request: Request) -> Option<Request> {
        let verb = request
            .uri()
            .path()
            .split('/')
            .nth(3)
            .unwrap_or_default()
            .to_owned();
        *self.verbs.lock().unwrap().entry(verb.clone()).or_default() += 1;
        if self.is_old.load(Ordering::Relaxed) {
            if request.uri().query().is_some_and(|query| query.contains("also=")) {
                *request.uri_mut() = request.uri().path().parse().unwrap();
            }
            return Some(request).filter(|_| verb != "objects");
        }
        Some(request)
    }
}

struct NodeHandler {
    replication: ReplicationServer,
    rows: Arc<RowServer>,
    asked: Arc<Asked>,
}

impl Handler for NodeHandler {
    fn call(&self, request: Request) -> BoxFuture<'_, Response> {
        if request.uri().path().split('/').nth(2) == Some("martlet") {
            return match self.asked.hear(request) {
                Some(request) => self.replication.call(request),
                None => Box::pin(async { respond::empty(StatusCode::NOT_FOUND) }),
            };
        }
        Box::pin(async move {
            let status = self.rows.answer.lock().unwrap().unwrap_or(StatusCode::CREATED);
            if status.is_success() {
                let timestamp = request.headers()["x-timestamp"].to_str().unwrap().to_owned();
                let told = (
                    request.method().clone(),
                    request.uri().path().to_owned(),
                    timestamp,
                );
                self.rows.told.lock().unwrap().push(told);
            }
            respond::empty(status)
        })
    }
}

/// Three devices hold everything; the one of this id is not in the ring.
pub fn ring_set_without(ports: &[u16], id: usize) -> RingSet {
    let others: Vec<usize> = (0..NODES).filter(|other| *other != id).collect();
    let make = || {
        let device = |other: &usize| Node {
            id: *other as u32,
            ..Node::at("127.0.0.1", ports[*other], &format!("d{other}"))
        };
        let devices = (0..NODES)
            .map(|slot| others.iter().find(|other| **other == slot).map(device))
            .collect();
        let row = |other: &usize| RingRow::Narrow(vec![*other as u16; 1 << PART_POWER]);
        Ring::new(RingParts {
            part_power: PART_POWER,
            devices,
            rows: others.iter().map(row).collect(),
            version: None,
            next_part_power: None,
        })
        .unwrap()
    };
    RingSet {
        account: make(),
        container: make(),
        objects: BTreeMap::from([(POLICY, make())]),
    }
}

/// Partition `p` is on devices `p`, `p + 1` and `p + 2`, counted round.
pub fn ring(ports: &[u16], rotation: usize) -> Ring {
    let devices = (0..NODES)
        .map(|id| {
            Some(Node {
                id: id as u32,
                ..Node::at("127.0.0.1", ports[id], &format!("d{id}"))
            })
        })
        .collect();
    let row = |replica: usize| {
        let owner = |partition: usize| ((partition + replica + rotation) % NODES) as u16;
        RingRow::Narrow((0..1 << PART_POWER).map(owner).collect())
    };
    let rows = (0..3).map(row).collect();
    Ring::new(RingParts {
        part_power: PART_POWER,
        devices,
        rows,
        version: None,
        next_part_power: None,
    })
    .unwrap()
}

pub fn ring_set(ports: &[u16], rotation: usize) -> RingSet {
    RingSet {
        account: ring(ports, rotation),
        container: ring(ports, rotation),
        objects: BTreeMap::from([(POLICY, ring(ports, rotation))]),
    }
}

fn device_config(path: &Path, name: &str) -> DeviceConfig {
    let identity = DeviceIdentity {
        cluster: "test".into(),
        device: name.into(),
    };
    DeviceConfig {
        reserve: Reserve::Bytes(0),
        ..DeviceConfig::new(path, identity)
    }
}

/// A folder in memory, where the machine has enough of it. What these tests prove holds on any disk, and most of their
/// time went into syncs; `storage/tests/crash` sees to it that what is synced stays.
fn quick_folder() -> tempfile::TempDir {
    const ENOUGH: u64 = 2 << 30;
    let memory = Path::new("/dev/shm");
    let has_room = rustix::fs::statvfs(memory).is_ok_and(|fs| fs.f_bavail * fs.f_frsize >= ENOUGH);
    let folder = match has_room {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    };
    folder.unwrap()
}

pub fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(1_000_000 + secs)
}

impl Drop for Cluster {
    /// A database that stays open when its folder is gone tries to flush for ever, on the one thread that all databases
    /// of the process flush with: after some tests, each further one waited for minutes.
    fn drop(&mut self) {
        let sets: Vec<DeviceSet> = self.nodes.iter().map(|node| node.devices.clone()).collect();
        let closing = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                for set in sets {
                    set.close().await;
                }
            });
        });
        // A test that failed says why itself.
        let _ = closing.join();
    }
}

impl Cluster {
    /// Calls stay in the process.
    pub async fn start() -> Cluster {
        Self::start_with(false).await
    }

    /// Calls go over sockets.
    pub async fn start_over_sockets() -> Cluster {
        Self::start_with(true).await
    }

    async fn start_with(sockets: bool) -> Cluster {
        let folder = quick_folder();
        let mut listeners = Vec::new();
        let mut ports = Vec::new();
        for id in 0..NODES as u16 {
            if sockets {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                ports.push(listener.local_addr().unwrap().port());
                listeners.push(listener);
            } else {
                // Nobody listens there: an unregistered device is a refused connection.
                ports.push(id + 1);
            }
        }
        let rings: Rings = Arc::new(ArcSwap::from_pointee(ring_set(&ports, 0)));
        let client = NodeClient::new(NodeClientConfig::default());
        let clock = Clock::manual(at(1_000));
        let salt = HashSalt {
            prefix: String::new(),
            suffix: "test".into(),
        };
        let (trigger, shutdown) = Shutdown::new();
        let mut cluster = Cluster {
            nodes: Vec::new(),
            rings,
            client,
            clock,
            salt,
            rows: Arc::default(),
            replication: ReplicatorConfig::default(),
            asked: Arc::default(),
            busy: Clients::default(),
            sockets,
            _shutdown: trigger,
            _folder: folder,
        };
        for (id, port) in ports.into_iter().enumerate() {
            let name = format!("d{id}");
            let path = cluster._folder.path().join(&name);
            std::fs::create_dir(&path).unwrap();
            Device::format(&path, &device_config(&path, &name).identity).unwrap();
            let node = cluster.node(name, port, path);
            cluster.nodes.push(node);
            if sockets {
                let handler: Arc<dyn Handler> = cluster.handler(id);
                let options = ServeOptions::internal("test");
                tokio::spawn(martlet_service::serve(
                    listeners.remove(0),
                    handler,
                    options,
                    shutdown.clone(),
                ));
            } else {
                cluster.up(id);
            }
        }
        cluster
    }

    fn node(&self, name: String, port: u16, path: PathBuf) -> TestNode {
        let devices = DeviceSet::new(vec![(name.clone(), device_config(&path, &name))]);
        let addresses = vec![("127.0.0.1".to_owned(), port)];
        let (rings, client) = (self.rings.clone(), self.client.clone());
        let (clock, salt) = (self.clock.clone(), self.salt.clone());
        let replicator = Replicator::new(
            ReplicatorConfig {
                addresses: addresses.clone(),
                reclaim_age_secs: RECLAIM_AGE,
                ..self.replication.clone()
            },
            devices.clone(),
            rings.clone(),
            client.clone(),
            clock.clone(),
            salt.clone(),
        );
        replicator.admit_all();
        let updater = Updater::new(
            UpdaterConfig::default(),
            devices.clone(),
            rings.clone(),
            client.clone(),
            clock.clone(),
            salt.clone(),
        );
        let expirer = Expirer::new(
            ExpirerConfig {
                addresses: addresses.clone(),
                ..ExpirerConfig::default()
            },
            devices.clone(),
            rings.clone(),
            clock.clone(),
            salt.clone(),
        );
        let neighbours = Neighbours::new(addresses, client, 10_000);
        let reclaimer = Reclaimer::new(
            ReclaimerConfig {
                reclaim_age_secs: RECLAIM_AGE,
                ..ReclaimerConfig::default()
            },
            neighbours.clone(),
            devices.clone(),
            rings.clone(),
            clock.clone(),
        );
        let reaper = Reaper::new(
            ReaperConfig::default(),
            neighbours.clone(),
            devices.clone(),
            rings.clone(),
            clock.clone(),
            salt.clone(),
        );
        let reconciler = Reconciler::new(
            neighbours.clone(),
            devices.clone(),
            rings.clone(),
            clock.clone(),
            salt.clone(),
        );
        let container_sync = ContainerSync::new(
            ContainerSyncConfig::default(),
            neighbours.clone(),
            devices.clone(),
            rings.clone(),
            salt.clone(),
        );
        let auditor = Auditor::new(
            AuditorConfig::default(),
            devices.clone(),
            replicator.clone(),
            DarkData {
                action: DarkDataAction::Quarantine,
                grace_age_secs: GRACE_AGE,
                neighbours: neighbours.clone(),
                rings: rings.clone(),
                clock: clock.clone(),
                salt: salt.clone(),
            },
        );
        TestNode {
            name,
            port,
            path,
            devices,
            replicator,
            updater,
            expirer,
            reclaimer,
            auditor,
            reaper,
            reconciler,
            container_sync,
        }
    }

    fn handler(&self, id: usize) -> Arc<dyn Handler> {
        let devices = self.nodes[id].devices.clone();
        let replication =
            ReplicationServer::new(devices, self.salt.clone(), self.rings.clone(), self.clock.clone());
        Arc::new(NodeHandler {
            replication: replication.telling_of(self.busy.clone()),
            rows: self.rows.clone(),
            asked: self.asked.clone(),
        })
    }

    pub fn ports(&self) -> Vec<u16> {
        self.nodes.iter().map(|node| node.port).collect()
    }

    /// The node answers (again).
    pub fn up(&self, id: usize) {
        assert!(!self.sockets);
        let node = &self.nodes[id];
        self.client
            .register_local(&node.name, "127.0.0.1", node.port, self.handler(id));
    }

    /// Connections to the node are refused.
    pub fn down(&self, id: usize) {
        assert!(!self.sockets);
        self.client
            .unregister_local(&self.nodes[id].name, "127.0.0.1", self.nodes[id].port);
    }

    /// Puts an empty disk in the place of a device, and starts its node again.
    pub async fn wipe(&mut self, id: usize) {
        self.down(id);
        self.device(id).close().await;
        let TestNode { name, port, path, .. } = self.nodes.remove(id);
        std::fs::remove_dir_all(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        Device::format(&path, &device_config(&path, &name).identity).unwrap();
        let node = self.node(name, port, path);
        self.nodes.insert(id, node);
        self.up(id);
    }

    pub fn device(&self, id: usize) -> Device {
        self.nodes[id].devices.get(&self.nodes[id].name).unwrap()
    }

    pub fn hash(&self, object: &str) -> PathHash {
        self.salt.hash(ACCOUNT, Some(CONTAINER), Some(object))
    }

    pub fn container_hash(&self, container: &str) -> PathHash {
        self.salt.hash(ACCOUNT, Some(container), None)
    }

    /// The nodes that should hold this, in the order of replicas.
    pub fn primaries(&self, hash: PathHash) -> Vec<usize> {
        let rings = self.rings.load();
        let ring = rings.object(POLICY).unwrap();
        ring.primaries(ring.partition(&hash))
            .iter()
            .map(|node| node.id as usize)
            .collect()
    }

    /// The one node that should not.
    pub fn handoff(&self, hash: PathHash) -> usize {
        let primaries = self.primaries(hash);
        (0..NODES).find(|id| !primaries.contains(id)).unwrap()
    }

    pub async fn put(&self, ids: &[usize], object: &str, body: &[u8], timestamp: Timestamp) {
        self.put_expiring(ids, object, body, timestamp, None).await;
    }

    pub async fn put_expiring(
        &self,
        ids: &[usize],
        object: &str,
        body: &[u8],
        timestamp: Timestamp,
        delete_at: Option<u64>,
    ) {
        for id in ids {
            let device = self.device(*id);
            let mut writer = device.begin_body(Some(body.len() as u64)).await.unwrap();
            writer.write(Bytes::copy_from_slice(body)).await.unwrap();
            let put = PutObject {
                account: ACCOUNT.into(),
                container: CONTAINER.into(),
                object: object.into(),
                timestamp,
                etag: format!("etag of {} bytes", body.len()),
                content_type: "text/plain".into(),
                metadata: vec![("x-object-meta-put".into(), timestamp.normal())],
                delete_at,
                if_none_match_star: false,
            };
            device
                .put_object(POLICY, self.hash(object), put, writer, |_| None)
                .await
                .unwrap();
        }
    }

    pub async fn post(&self, ids: &[usize], object: &str, timestamp: Timestamp, delete_at: Option<u64>) {
        for id in ids {
            let meta = ObjectMeta {
                timestamp,
                metadata: vec![("x-object-meta-post".into(), timestamp.normal())],
                delete_at,
                content_type: None,
            };
            self.device(*id)
                .post_object(POLICY, self.hash(object), meta, |_| None)
                .await
                .unwrap();
        }
    }

    pub async fn delete(&self, ids: &[usize], object: &str, timestamp: Timestamp) {
        for id in ids {
            let delete = DeleteObject {
                account: ACCOUNT.into(),
                container: CONTAINER.into(),
                object: object.into(),
                timestamp,
                if_delete_at: None,
            };
            self.device(*id)
                .delete_object(POLICY, self.hash(object), delete, |_| None)
                .await
                .unwrap();
        }
    }

    pub async fn record(&self, id: usize, object: &str) -> Option<ObjectRecord> {
        self.device(id)
            .read_object(POLICY, self.hash(object))
            .await
            .unwrap()
    }

    /// The bytes of a copy; `None` when there is none, or a tombstone.
    pub async fn body(&self, id: usize, object: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let open = self.device(id).open_object(POLICY, self.hash(object)).await?;
        let Some(mut open) = open.filter(|open| !open.record.is_tombstone()) else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        while let Some(chunk) = open.body.next().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some(bytes))
    }

    /// A round of one node; it has one device.
    pub async fn pass(&self, id: usize) -> DeviceReport {
        let report: PassReport = self.nodes[id].replicator.pass().await;
        assert_eq!(report.devices.len(), 1);
        report.devices.into_values().next().unwrap()
    }

    /// A round of every node.
    pub async fn pass_all(&self) {
        for id in 0..NODES {
            let report = self.pass(id).await;
            assert!(report.complete, "node {id}: {report:?}");
        }
    }

    /// All primaries hold equal copies of everything, nobody else holds anything.
    pub async fn assert_agreement(&self) {
        for space in [OBJECTS, Space::Containers, Space::Accounts] {
            let mut holders: BTreeMap<PathHash, Vec<(usize, Version)>> = BTreeMap::new();
            for id in 0..NODES {
                for version in versions(&self.device(id), space).await {
                    holders.entry(version.hash).or_default().push((id, version));
                }
            }
            for (hash, copies) in holders {
                let mut expected = self.primaries(hash);
                expected.sort_unstable();
                let found: Vec<usize> = copies.iter().map(|(id, _)| *id).collect();
                assert_eq!(found, expected, "{space:?} {hash}");
                let first = copies[0].1;
                assert!(
                    copies.iter().all(|(_, version)| *version == first),
                    "{space:?} {hash}: {copies:?}"
                );
            }
        }
    }

    /// Fails unless so many copies come to lie in a device's quarantine; they are moved there behind the answer.
    pub async fn assert_quarantined(&self, id: usize, copies: u64) {
        let device = self.device(id);
        let moved = async {
            while device.quarantined() != copies {
                tokio::task::yield_now().await;
            }
        };
        let moved = tokio::time::timeout(Duration::from_secs(20), moved).await;
        assert!(
            moved.is_ok(),
            "{} in quarantine, not {copies}",
            device.quarantined()
        );
    }

    /// Turns one bit of every body that lies in a file of its own. Returns how many there were.
    pub fn damage_body_files(&self, id: usize) -> usize {
        // A body that is just being moved to its place would be met twice.
        let incoming = self.nodes[id].path.join("incoming");
        while std::fs::read_dir(&incoming).unwrap().next().is_some() {
            std::thread::yield_now();
        }
        let mut damaged = 0;
        let mut folders = vec![
            self.nodes[id].path.join("bodies"),
            self.nodes[id].path.join("incoming"),
        ];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let mut bytes = std::fs::read(&path).unwrap();
                bytes[1_000] ^= 1;
                std::fs::write(&path, bytes).unwrap();
                damaged += 1;
            }
        }
        damaged
    }
}

async fn versions(device: &Device, space: Space) -> Vec<Version> {
    let mut all = Vec::new();
    for (prefix, _) in device.digests(space).await.unwrap() {
        all.extend(device.versions(space, prefix, None, 10_000).await.unwrap());
    }
    all
}
