//! The files of a dev cluster: rings, devices and one `node.toml` for each node, made at first and kept after.
//!
//! `DIR/rings/*.ring.gz`, `DIR/nodeN/node.toml`, `DIR/nodeN/node.pid`, `DIR/nodeN/disk` (the device `dN`).

use crate::cli::DevOptions;
use crate::config::{
    ClusterConfig, ClusterTls, DeviceEntry, DeviceTuning, LogConfig, NodeConfig, ProxyRoleConfig,
    StorageConfig, TlsFiles,
};
use crate::node::format_device;
use crate::security;
use martlet_protocol::policy::{Policy, PolicyIndex};
use martlet_proxy::config::{DomainRemapConfig, ResellerPrefix, TempAuthConfig, UserConfig};
use martlet_proxy::keystone::rules::AccountPrefix;
use martlet_proxy::keystone::{AuthTokenConfig, KeystoneAuthConfig};
use martlet_proxy::steps::formpost::FormPostConfig;
use martlet_proxy::steps::tempurl::TempUrlConfig;
use martlet_proxy::steps::tempurl::signature::Digest;
use martlet_proxy::steps::versioned_writes::VersionedWritesConfig;
use martlet_proxy::{CoreConfig, ProxyConfig};
use martlet_ring::builder::{Builder, NewDevice};
use martlet_s3_shim::S3Config;
use std::collections::BTreeMap;
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

/// Storage nodes of a dev cluster, one device each.
pub const NODES: usize = 4;
/// Partitions are 2 to this power: plenty for four devices.
const PART_POWER: u32 = 10;
/// The same rings come out on every machine.
const RING_SEED: u64 = 1;

/// Where node `number` (from 1) keeps its things.
pub fn node_folder(data: &Path, number: usize) -> PathBuf {
    data.join(format!("node{number}"))
}

/// A prepared data folder.
pub struct Layout {
    /// The storage nodes' configuration files.
    pub nodes: Vec<PathBuf>,
    /// The proxy's configuration; it is not kept in a file, since the port is the command line's.
    pub proxy: NodeConfig,
}

impl Layout {
    /// Makes what is missing. Nodes keep their ports as long as those are free.
    pub fn prepare(data: &Path, proxy: SocketAddr, options: &DevOptions) -> Result<Layout, Box<dyn Error>> {
        let paths: Vec<PathBuf> = (1..=NODES)
            .map(|number| node_folder(data, number).join("node.toml"))
            .collect();
        let known: Vec<Option<NodeConfig>> = paths
            .iter()
            .map(|path| known_config(path))
            .collect::<Result<_, _>>()?;
        let cluster = match known.iter().flatten().next() {
            Some(config) => ClusterConfig {
                rings: "../rings".into(),
                ..config.cluster.clone()
            },
            None => new_cluster()?,
        };
        let key_file = data.join("cluster.key");
        let cluster = match (&cluster.key, &cluster.key_file) {
            (None, None) => ClusterConfig {
                key_file: Some("../cluster.key".into()),
                ..cluster
            },
            _ => cluster,
        };
        security::make_key_file(&key_file)?;
        let ports = choose_ports(&known)?;
        write_rings(&data.join("rings"), &ports)?;
        for (at, (path, known)) in paths.iter().zip(&known).enumerate() {
            let number = at + 1;
            let folder = node_folder(data, number);
            format_device(&folder.join("disk"), &cluster.name, &device_name(number))?;
            let tuning = known.as_ref().and_then(|config| config.storage.clone());
            let storage = node_storage(number, ports[at], tuning);
            let config = NodeConfig {
                cluster: cluster.clone(),
                log: LogConfig {
                    filter: options.log.clone(),
                    ..LogConfig::default()
                },
                storage: Some(storage),
                proxy: None,
            };
            write_atomically(path, toml::to_string(&config)?.as_bytes())?;
        }
        let mut role = dev_proxy(proxy, options.keystone.authtoken());
        role.tls = match (&options.tls_cert, &options.tls_key) {
            (Some(certificate), Some(key)) => Some(TlsFiles {
                certificate: certificate.clone(),
                key: key.clone(),
            }),
            _ => None,
        };
        let beside_nodes = |path: PathBuf| node_folder(data, 1).join(path);
        let proxy = NodeConfig {
            cluster: ClusterConfig {
                rings: data.join("rings"),
                key_file: cluster.key_file.clone().map(beside_nodes),
                tls: cluster.tls.clone().map(|tls| ClusterTls {
                    ca: beside_nodes(tls.ca),
                    certificate: beside_nodes(tls.certificate),
                    key: beside_nodes(tls.key),
                    server_name: tls.server_name,
                }),
                ..cluster
            },
            log: LogConfig::default(),
            storage: None,
            proxy: Some(role),
        };
        Ok(Layout { nodes: paths, proxy })
    }
}

fn device_name(number: usize) -> String {
    format!("d{number}")
}

fn known_config(path: &Path) -> Result<Option<NodeConfig>, Box<dyn Error>> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let config = NodeConfig::parse(&text).map_err(|error| format!("{}: {error}", path.display()))?;
            Ok(Some(config))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display()).into()),
    }
}

/// A cluster of its own name and salt, so that its devices are never taken for another's.
fn new_cluster() -> Result<ClusterConfig, Box<dyn Error>> {
    let policy = |index, name: &str, is_default| Policy {
        index: PolicyIndex(index),
        name: name.into(),
        aliases: Vec::new(),
        is_default,
        is_deprecated: false,
    };
    Ok(ClusterConfig {
        name: format!("dev-{}", random_hex()?),
        hash_path_prefix: random_hex()?,
        hash_path_suffix: random_hex()?,
        rings: "../rings".into(),
        ring_check_interval: crate::config::ring_check_interval(),
        key: None,
        key_file: None,
        clock_skew_limit_ms: crate::config::clock_skew_limit_ms(),
        tls: None,
        policies: vec![policy(0, "gold", true), policy(1, "silver", false)],
    })
}

fn random_bytes<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes)
}

fn random_hex() -> std::io::Result<String> {
    let bytes: [u8; 8] = random_bytes()?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Ports for nodes, if the kernel does not deal them out: one that is free while its node is down must not become the
/// near end of somebody's connection meanwhile.
const NODE_PORTS: std::ops::Range<u16> = 20_000..32_768;
/// So many ports are tried before any free one is taken.
const PORT_TRIES: usize = 32;

/// A free port that stays free until its node binds it, as far as that can be had.
fn free_port() -> std::io::Result<TcpListener> {
    // The kernel's own ports: `32768	60999`, unless an operator said otherwise.
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut dealt = range
        .split_whitespace()
        .filter_map(|port| port.parse::<u16>().ok());
    let dealt = dealt.next().unwrap_or(0)..=dealt.next().unwrap_or(0);
    for _ in 0..PORT_TRIES {
        let port = NODE_PORTS.start + u16::from_le_bytes(random_bytes()?) % NODE_PORTS.len() as u16;
        if !dealt.contains(&port)
            && let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        {
            return Ok(listener);
        }
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
}

/// The ports nodes had, where they are still free; otherwise free ones. All are held until all are chosen.
fn choose_ports(known: &[Option<NodeConfig>]) -> std::io::Result<Vec<u16>> {
    let mut held = Vec::new();
    for config in known {
        let before = config
            .as_ref()
            .and_then(|config| config.storage.as_ref())
            .map(|storage| storage.bind);
        let kept = before.and_then(|address| TcpListener::bind(address).ok());
        let listener = match kept {
            Some(listener) => listener,
            None => free_port()?,
        };
        held.push(listener);
    }
    held.iter()
        .map(|listener| listener.local_addr().map(|address| address.port()))
        .collect()
}

fn node_storage(number: usize, port: u16, known: Option<StorageConfig>) -> StorageConfig {
    let bind = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    match known {
        // What somebody set by hand in a kept node.toml stays.
        Some(known) => StorageConfig { bind, ..known },
        None => StorageConfig {
            bind,
            object_bind: None,
            container_bind: None,
            account_bind: None,
            replication_bind: None,
            open_metrics: crate::config::open_metrics(),
            pid_file: Some("node.pid".into()),
            devices: vec![DeviceEntry {
                name: device_name(number),
                path: "disk".into(),
            }],
            device: DeviceTuning::default(),
            object_server: Default::default(),
            container_server: Default::default(),
            account_server: Default::default(),
            workers: Default::default(),
            container_sync: Default::default(),
        },
    }
}

/// Builds all rings from the same four devices. The same seed gives the same placement whatever the ports.
fn write_rings(folder: &Path, ports: &[u16]) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    for (name, replicas) in [
        ("account", 3.0),
        ("container", 3.0),
        ("object", 3.0),
        ("object-1", 2.0),
    ] {
        let mut builder = Builder::create(PART_POWER, replicas, 1)?;
        for (at, port) in ports.iter().enumerate() {
            let number = at + 1;
            builder.add_device(NewDevice {
                region: 1,
                zone: number as u32,
                ip: Ipv4Addr::LOCALHOST.to_string(),
                port: *port,
                replication_ip: None,
                replication_port: None,
                device: device_name(number),
                weight: 100.0,
                meta: String::new(),
            })?;
        }
        builder.rebalance(RING_SEED, 0)?;
        write_atomically(
            &folder.join(format!("{name}.ring.gz")),
            &martlet_ring::file::write_v1(&builder.to_ring()?)?,
        )?;
    }
    Ok(())
}

/// Replaces a file in one step, so that a reader or a crash sees the old one or the new one.
fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, bytes)?;
    std::fs::rename(temporary, path)
}

/// Swift's sample users, both doors, everything a person may want to try.
fn dev_proxy(bind: SocketAddr, authtoken: Option<AuthTokenConfig>) -> ProxyRoleConfig {
    let users = [
        ("admin:admin", "admin", vec![".admin", ".reseller_admin"]),
        ("test:tester", "testing", vec![".admin"]),
        ("test:tester2", "testing2", vec![".admin"]),
        ("test:tester3", "testing3", vec![]),
        ("test2:tester2", "testing2", vec![".admin"]),
        ("test5:tester5", "testing5", vec!["service"]),
    ];
    let user = |(name, key, groups): (&str, &str, Vec<&str>)| {
        let groups = groups.into_iter().map(str::to_owned).collect();
        (
            name.to_owned(),
            UserConfig {
                key: key.into(),
                groups,
            },
        )
    };
    let prefix = |name: &str, require_group: Option<&str>| ResellerPrefix {
        name: name.into(),
        require_group: require_group.map(str::to_owned),
    };
    let tempauth = TempAuthConfig {
        users: users.into_iter().map(user).collect::<BTreeMap<_, _>>(),
        reseller_prefixes: vec![prefix("AUTH", None), prefix("SERVICE", Some("service"))],
        ..TempAuthConfig::default()
    };
    // The same families of accounts for Keystone's projects.
    let family = |name: &str, service_role: Option<&str>| AccountPrefix {
        name: name.into(),
        service_roles: service_role.map(|role| vec![role.into()]),
        ..AccountPrefix::default()
    };
    let keystoneauth = KeystoneAuthConfig {
        reseller_prefixes: vec![family("AUTH", None), family("SERVICE", Some("service"))],
        ..KeystoneAuthConfig::default()
    };
    let domain_remap = DomainRemapConfig {
        storage_domain: vec!["example.net".into()],
        ..DomainRemapConfig::default()
    };
    let allowed_digests = vec![Digest::Sha1, Digest::Sha256, Digest::Sha512];
    let tempurl = TempUrlConfig {
        allowed_digests: allowed_digests.clone(),
        ..TempUrlConfig::default()
    };
    let formpost = FormPostConfig { allowed_digests };
    let versioned_writes = VersionedWritesConfig {
        allow_versioned_writes: Some(true),
        allow_object_versioning: true,
    };
    let app = CoreConfig {
        allow_open_expired: true,
        ..CoreConfig::default()
    };
    let pipeline = ProxyConfig {
        app,
        tempauth,
        authtoken,
        keystoneauth,
        tempurl,
        formpost,
        domain_remap,
        versioned_writes,
        container_sync: Some(Default::default()),
        crossdomain: Some(Default::default()),
        ..ProxyConfig::default()
    };
    ProxyRoleConfig {
        bind,
        tls: None,
        max_connections: crate::config::max_connections(),
        max_requests: crate::config::max_requests(),
        max_waiting_requests: crate::config::max_requests(),
        max_wait_ms: crate::config::max_wait_ms(),
        expose_metrics: true,
        pipeline,
        s3: Some(S3Config {
            s3_acl: true,
            check_bucket_owner: true,
            cors_preflight_allow_origin: vec!["*".into()],
            ..S3Config::default()
        }),
    }
}
