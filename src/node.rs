//! A set of roles in one process: what `martlet node` runs, and what `martlet dev` runs four times.

use crate::cli::NodeOptions;
use crate::config::{NodeConfig, StorageConfig, parse_reserve};
use crate::proxy_role;
use crate::recon::Recon;
use crate::rings::RingWatch;
use crate::router::{Router, Server};
use crate::security::Security;
use martlet_container_server::{AccountServer, AccountTargets, ContainerServer};
use martlet_node_client::{NodeClient, NodeClientConfig, Waits};
use martlet_object_server::{ObjectServer, ObjectServerConfig};
use martlet_protocol::hash::HashSalt;
use martlet_protocol::update::UpdateTarget;
use martlet_replicator::{
    Auditor, Clients, ContainerSync, DarkData, Expirer, Neighbours, PassEndpoint, Reaper, Reclaimer,
    Reconciler, ReplicationServer, Replicator, ReplicatorConfig, Rings, StatusEndpoint, Updater, WorkerSet,
    Workers, WorkersConfig,
};
use martlet_service::logging::LogOptions;
use martlet_service::{Clock, Handler, Shutdown, ShutdownTrigger, Tasks, metrics, serve};
use martlet_storage::{DeviceConfig, DeviceIdentity, DeviceSet};
use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// How long listeners and workers may take to end once the end was asked for: a little more than a listener's own drain.
const TASK_DRAIN: Duration = Duration::from_secs(6);

/// For one question of a worker to another device, milliseconds.
const CALL_TIMEOUT_MS: u64 = 10_000;

/// Runs what a configuration file names, until SIGTERM or Ctrl-C.
pub async fn run(options: &NodeOptions) -> Result<(), Box<dyn Error>> {
    let config = NodeConfig::load(&options.config)?;
    let log = LogOptions {
        filter: &config.log.filter,
        json: config.log.json,
        file: config.log.file.as_deref(),
    };
    martlet_service::logging::init(&log)?;
    metrics::install();
    let (trigger, shutdown) = Shutdown::new();
    let security = Security::open(&config.cluster)?;
    let client = security.client(NodeClientConfig::default());
    let clock = Clock::system();
    let watch = RingWatch::open(&config.cluster)?;
    let rings = watch.rings();
    let storage = match &config.storage {
        Some(storage) => {
            Some(StorageNode::start(&config, storage, &security, &rings, &client, &clock).await?)
        }
        None => None,
    };
    let mut watched = security.watched();
    let proxy = match &config.proxy {
        Some(proxy) => {
            let options = proxy_role::listener(proxy, &mut watched)?;
            let listener = TcpListener::bind(proxy.bind).await?;
            let front = proxy_role::build(&config, proxy, rings.clone(), &client, &clock)?;
            Some(tokio::spawn(front.serve(listener, options, shutdown.clone())))
        }
        None => None,
    };
    let interval = Duration::from_secs(config.cluster.ring_check_interval.max(1));
    let watching_files = tokio::spawn(watched.run(interval, true, shutdown.clone()));
    let watching = tokio::spawn(watch.run(true, shutdown.clone()));
    tracing::info!(config = %options.config.display(), "node is up");
    end_asked_for(options.exit_with_stdin).await?;
    trigger.trigger();
    if let Some(proxy) = proxy {
        proxy.await?;
    }
    if let Some(storage) = storage {
        storage.stop().await;
    }
    watching.await??;
    watching_files.await??;
    Ok(())
}

/// Returns on SIGTERM, Ctrl-C, or (when asked to watch it) the end of standard input.
pub async fn end_asked_for(watch_stdin: bool) -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let (closed_sender, closed) = tokio::sync::oneshot::channel();
    if watch_stdin {
        // A thread of its own: reading standard input cannot be cancelled and must not hold up the end.
        std::thread::Builder::new().name("stdin".into()).spawn(move || {
            let mut ignored = [0; 64];
            while std::io::Read::read(&mut std::io::stdin(), &mut ignored).is_ok_and(|count| count > 0) {}
            let _ = closed_sender.send(());
        })?;
    } else {
        std::mem::forget(closed_sender);
    }
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = closed => {}
    }
    Ok(())
}

/// A running storage role.
pub struct StorageNode {
    devices: DeviceSet,
    /// Listeners and workers.
    tasks: Tasks,
    trigger: ShutdownTrigger,
    pid_file: Option<std::path::PathBuf>,
}

impl StorageNode {
    /// Opens the devices, starts the workers, and listens. The devices answer calls of `client` without a socket.
    pub async fn start(
        config: &NodeConfig,
        storage: &StorageConfig,
        security: &Security,
        rings: &Rings,
        client: &NodeClient,
        clock: &Clock,
    ) -> Result<StorageNode, Box<dyn Error>> {
        let rings = rings.clone();
        let (salt, policies) = (config.cluster.salt(), config.policies());
        let devices = open_devices(config, storage).await?;
        let mut listeners = Vec::new();
        let replicates_apart = storage.replication_bind.is_some();
        listeners.push((TcpListener::bind(storage.bind).await?, None, !replicates_apart));
        if let Some(address) = storage.replication_bind {
            listeners.push((TcpListener::bind(address).await?, None, true));
        }
        let single = [
            (storage.object_bind, Server::Object),
            (storage.container_bind, Server::Container),
            (storage.account_bind, Server::Account),
        ];
        for (address, server) in single {
            if let Some(address) = address {
                listeners.push((TcpListener::bind(address).await?, Some(server), !replicates_apart));
            }
        }

        let container = ContainerServer::new(
            storage.container_server.clone(),
            devices.clone(),
            client.clone(),
            account_targets(rings.clone(), salt.clone()),
            clock.clone(),
            salt.clone(),
            policies.clone(),
        );
        let object = ObjectServer::new(
            ObjectServerConfig {
                settings: storage.object_server.clone(),
                ..ObjectServerConfig::new(salt.clone(), policies.clone())
            },
            devices.clone(),
            client.clone(),
            clock.clone(),
            Some(container.clone()),
        );
        let account = AccountServer::new(
            storage.account_server.clone(),
            devices.clone(),
            clock.clone(),
            salt.clone(),
            policies.clone(),
        );
        let (trigger, shutdown) = Shutdown::new();
        let tasks = Tasks::new();
        let named = rings.load_full();
        let clients = Clients::default();
        let settings = storage
            .workers
            .replicator(own_addresses(storage), clients.clone());
        let workers = spawn_workers(
            storage, settings, &devices, &rings, client, clock, &salt, &tasks, &shutdown,
        );
        let router = Arc::new(Router {
            object,
            container,
            account,
            replication: Arc::new(
                ReplicationServer::new(devices.clone(), salt, rings, clock.clone())
                    .telling_of(clients.clone()),
            ),
            workers: workers.clone(),
            clients,
            pass: Arc::new(PassEndpoint(workers.clone())),
            status: Arc::new(StatusEndpoint::new(workers.clone(), client.skews().clone())),
            recon: Arc::new(Recon::new(
                config,
                devices.clone(),
                workers,
                client.skews().clone(),
            )),
            only: None,
            replicates: true,
        });
        warn_of_strange_rings(storage, &named);

        // Within this process there is one way to a device, whichever of its addresses a ring names.
        for name in devices.names() {
            register(client, &name, storage.bind, &router);
            if let Some(address) = storage.replication_bind {
                register(client, &name, address, &router);
            }
        }
        let options = security.internal("storage", storage.open_metrics);
        for (listener, server, replicates) in listeners {
            let handler: Arc<dyn Handler> = Arc::new(router.behind(server, replicates));
            let serving = serve(listener, handler, options.clone(), shutdown.clone());
            tasks.spawn("storage listener", serving);
        }
        if let Some(path) = &storage.pid_file {
            std::fs::write(path, format!("{}\n", std::process::id()))?;
        }
        Ok(StorageNode {
            devices,
            tasks,
            trigger,
            pid_file: storage.pid_file.clone(),
        })
    }

    /// Lets running requests end, stops the workers, closes the devices.
    pub async fn stop(self) {
        self.trigger.trigger();
        self.tasks.join_all(TASK_DRAIN).await;
        self.devices.close().await;
        if let Some(path) = &self.pid_file {
            // Another process may have cleaned up already.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Says when others would look for this node's replication where it does not listen.
fn warn_of_strange_rings(storage: &StorageConfig, rings: &martlet_ring::RingSet) {
    let (bind, replication) = (storage.bind, storage.replication_bind.unwrap_or(storage.bind));
    let devices = [&rings.account, &rings.container]
        .into_iter()
        .chain(rings.objects.values())
        .flat_map(|ring| ring.devices());
    let is_at =
        |address: SocketAddr, ip: &str, port: u16| address.ip().to_string() == ip && address.port() == port;
    let strange = devices
        .filter(|device| is_at(bind, &device.ip, device.port))
        .find(|device| !is_at(replication, &device.replication_ip, device.replication_port));
    if let Some(device) = strange {
        tracing::warn!(
            device = device.device,
            ring = %format_args!("{}:{}", device.replication_ip, device.replication_port),
            here = %replication,
            "the rings name another replication address than this node has"
        );
    }
}

/// Where this node listens, as the rings write it.
fn own_addresses(storage: &StorageConfig) -> Vec<(String, u16)> {
    vec![(storage.bind.ip().to_string(), storage.bind.port())]
}

/// Starts the workers of a node; they end with its shutdown.
#[expect(
    clippy::too_many_arguments,
    reason = "the parts of a node, joined in one place"
)]
fn spawn_workers(
    storage: &StorageConfig,
    replicator: ReplicatorConfig,
    devices: &DeviceSet,
    rings: &Rings,
    client: &NodeClient,
    clock: &Clock,
    salt: &HashSalt,
    tasks: &Tasks,
    shutdown: &Shutdown,
) -> Arc<Workers> {
    let addresses = own_addresses(storage);
    let (rings, clock, salt) = (|| rings.clone(), || clock.clone(), || salt.clone());
    let devices = || devices.clone();
    let settings = &storage.workers;
    // Workers have time: they find out for themselves who is away.
    let client = &client.with_waits(Waits {
        insists: true,
        ..client.waits()
    });
    let replicator = Replicator::new(replicator, devices(), rings(), client.clone(), clock(), salt());
    let neighbours = || Neighbours::new(addresses.clone(), client.clone(), CALL_TIMEOUT_MS);
    let set = WorkerSet {
        updater: Updater::new(
            settings.updater(),
            devices(),
            rings(),
            client.clone(),
            clock(),
            salt(),
        ),
        expirer: Expirer::new(
            settings.expirer(addresses.clone()),
            devices(),
            rings(),
            clock(),
            salt(),
        ),
        reclaimer: Reclaimer::new(settings.reclaimer(), neighbours(), devices(), rings(), clock()),
        reaper: Reaper::new(
            settings.reaper(),
            neighbours(),
            devices(),
            rings(),
            clock(),
            salt(),
        ),
        reconciler: Reconciler::new(neighbours(), devices(), rings(), clock(), salt()),
        container_sync: ContainerSync::new(
            storage.container_sync.worker(),
            neighbours(),
            devices(),
            rings(),
            salt(),
        ),
        auditor: Auditor::new(
            settings.auditor(),
            devices(),
            replicator.clone(),
            DarkData {
                action: settings.dark_data_action,
                grace_age_secs: settings.dark_data_grace_age,
                neighbours: neighbours(),
                rings: rings(),
                clock: clock(),
                salt: salt(),
            },
        ),
        replicator,
    };
    Workers::spawn(
        WorkersConfig {
            container_sync_interval_ms: storage.container_sync.interval_ms(),
            ..settings.workers()
        },
        devices(),
        set,
        clock(),
        tasks,
        shutdown.clone(),
    )
}

fn register(client: &NodeClient, device: &str, bind: SocketAddr, router: &Arc<Router>) {
    client.register_local(device, &bind.ip().to_string(), bind.port(), router.clone());
}

/// Opens every device that is mounted; an empty folder that is not one yet becomes one.
async fn open_devices(config: &NodeConfig, storage: &StorageConfig) -> Result<DeviceSet, Box<dyn Error>> {
    let reserve = parse_reserve(&storage.device.fallocate_reserve)?;
    let mut entries = Vec::new();
    for entry in &storage.devices {
        let identity = DeviceIdentity {
            cluster: config.cluster.name.clone(),
            device: entry.name.clone(),
        };
        let device = DeviceConfig {
            reserve,
            inline_limit_bytes: storage.device.inline_limit_bytes,
            ..DeviceConfig::new(&entry.path, identity)
        };
        entries.push((entry.name.clone(), device));
    }
    Ok(tokio::task::spawn_blocking(move || DeviceSet::new(entries)).await?)
}

/// Where the replicas of an account are: container servers owe them their counts.
fn account_targets(rings: Rings, salt: HashSalt) -> AccountTargets {
    Arc::new(move |account| {
        let rings = rings.load();
        let partition = rings.account.partition(&salt.hash(account, None, None));
        let primaries = rings.account.primaries(partition);
        let target = |device: &&martlet_ring::Device| UpdateTarget {
            ip: device.ip.clone(),
            port: device.port,
            device: device.device.clone(),
            partition,
        };
        primaries.iter().map(target).collect()
    })
}

/// Makes an empty folder a device of this cluster. A folder that already is one is left as it is.
pub fn format_device(path: &Path, cluster: &str, device: &str) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(path)?;
    let is_empty = std::fs::read_dir(path)?.next().is_none();
    if is_empty {
        let identity = DeviceIdentity {
            cluster: cluster.into(),
            device: device.into(),
        };
        martlet_storage::Device::format(path, &identity)?;
    }
    Ok(())
}
