//! The command line.

use clap::{Args, Parser, Subcommand};
use martlet_proxy::keystone::{AuthTokenConfig, AuthUrl};
use std::ffi::OsString;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Martlet: a Swift-compatible object storage cluster in one binary, with an S3 door.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Starts a whole cluster on this machine: four devices, three replicas, Swift and S3 on one port.
    Dev(DevOptions),
    /// Starts the roles that one configuration file names: storage servers, a proxy, or both.
    Node(NodeOptions),
    /// Asks nodes for one full round of their workers now, and waits for it.
    Pass(PassOptions),
    /// Builds and looks into rings, with the arguments of swift-ring-builder; `martlet ring` alone shows them.
    #[command(disable_help_flag = true)]
    Ring(RingOptions),
    /// Makes the folders that a configuration file names devices of its cluster, once, before the first start.
    Format(NodeOptions),
    /// Shows every device of the cluster: its state, fill, lag, owed rows and quarantine.
    Status(ClusterOptions),
    /// Shows each copy of an account, container or object, and why it is where it is.
    Where(WhereOptions),
    /// Asks every storage node one of the questions of swift-recon.
    Recon(ReconOptions),
    /// Compares a sample of all records on all devices and says how many copies are where they belong.
    Dispersion(DispersionOptions),
}

#[derive(Args, Clone, Debug)]
pub struct DevOptions {
    /// Port for clients; 0 takes any free one and prints it.
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// Address for clients. The users and keys of a dev cluster are known to everyone: keep it on loopback.
    #[arg(long, default_value = "127.0.0.1")]
    pub bind: IpAddr,
    /// Keeps the data in this folder; without it, a temporary folder that is removed at the end.
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// Runs each storage node as a process of its own, over sockets.
    #[arg(long)]
    pub processes: bool,
    /// Speaks TLS with clients, with this certificate (PEM, what links it to an authority behind it); looked at again when
    /// it changes.
    #[arg(long, requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The key of that certificate, PEM.
    #[arg(long, requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Threads of each process that serve requests; when left out one a core, with --processes half as many.
    #[arg(long)]
    pub threads: Option<NonZeroUsize>,
    /// What to log: error, warn, info, debug, or a filter such as info,martlet_storage=debug.
    #[arg(long, default_value = "info")]
    pub log: String,
    #[command(flatten)]
    pub keystone: KeystoneOptions,
}

impl DevOptions {
    /// Threads of each process; `None`: one a core. Five processes share the cores: with a thread for each of them they
    /// would mostly wake each other.
    pub fn threads(&self) -> Option<NonZeroUsize> {
        let half = || {
            let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
            NonZeroUsize::new(cores / 2).unwrap_or(NonZeroUsize::MIN)
        };
        self.threads.or_else(|| self.processes.then(half))
    }
}

/// Keystone for a dev cluster; in a configuration file the same stands in `[proxy.pipeline.authtoken]`.
#[derive(Args, Clone, Debug)]
pub struct KeystoneOptions {
    /// Takes Keystone's users beside tempauth's: the address of its v3 API. Several, parted by commas, are tried in turn.
    #[arg(
        long = "keystone",
        value_name = "URL",
        value_delimiter = ',',
        requires = "user",
        requires = "password",
        requires = "project"
    )]
    pub urls: Vec<AuthUrl>,
    /// The service user that asks Keystone about tokens.
    #[arg(long = "keystone-user", value_name = "NAME", requires = "urls")]
    pub user: Option<String>,
    /// The service user's password. Everybody on this machine can read it here; a configuration file can be kept from them.
    #[arg(long = "keystone-password", value_name = "PASSWORD", requires = "urls")]
    pub password: Option<String>,
    /// The project of the service user.
    #[arg(long = "keystone-project", value_name = "NAME", requires = "urls")]
    pub project: Option<String>,
    /// The domain of the service user.
    #[arg(long = "keystone-user-domain", value_name = "NAME", default_value = "Default")]
    pub user_domain: String,
    /// The domain of the service user's project.
    #[arg(
        long = "keystone-project-domain",
        value_name = "NAME",
        default_value = "Default"
    )]
    pub project_domain: String,
}

impl KeystoneOptions {
    /// As a configuration file would say it; `None` when Keystone is not asked for.
    pub fn authtoken(&self) -> Option<AuthTokenConfig> {
        let (user, password, project) = (
            self.user.as_ref()?,
            self.password.as_ref()?,
            self.project.as_ref()?,
        );
        Some(AuthTokenConfig {
            user_domain_name: self.user_domain.clone(),
            project_domain_name: self.project_domain.clone(),
            ..AuthTokenConfig::new(self.urls.clone(), user, password, project)
        })
    }
}

#[derive(Args, Clone, Debug)]
pub struct NodeOptions {
    /// The node's configuration file.
    #[arg(long)]
    pub config: PathBuf,
    /// Threads that serve requests (Swift's `workers`); one a core when left out.
    #[arg(long)]
    pub threads: Option<NonZeroUsize>,
    /// Ends when standard input closes, that is, with the process that started this one.
    #[arg(long, hide = true)]
    pub exit_with_stdin: bool,
}

/// Which cluster a command looks at.
#[derive(Args, Clone, Debug)]
pub struct ClusterOptions {
    /// The data folder of a dev cluster.
    #[arg(long, conflicts_with = "config", required_unless_present = "config")]
    pub data: Option<PathBuf>,
    /// The configuration file of any node: its rings name all others.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Clone, Debug)]
pub struct WhereOptions {
    #[command(flatten)]
    pub cluster: ClusterOptions,
    /// `/v1/ACCOUNT[/CONTAINER[/OBJECT]]`, or the same without `/v1`; not percent-encoded.
    pub path: String,
    /// Look under this policy index rather than the container's.
    #[arg(long)]
    pub policy: Option<u16>,
}

#[derive(Args, Clone, Debug)]
pub struct ReconOptions {
    #[command(flatten)]
    pub cluster: ClusterOptions,
    /// What follows `/recon/`: async, diskusage, quarantined, replication/object, auditor/object, ringmd5, time ...
    #[arg(default_value = "diskusage")]
    pub check: String,
}

#[derive(Args, Clone, Debug)]
pub struct DispersionOptions {
    #[command(flatten)]
    pub cluster: ClusterOptions,
    /// How much of the range of hashes is looked at, percent.
    #[arg(long, default_value_t = 100.0)]
    pub percent: f64,
}

#[derive(Args, Clone, Debug)]
pub struct PassOptions {
    /// Every node below the data folder of a dev cluster.
    #[arg(long, conflicts_with = "config", required_unless_present = "config")]
    pub data: Option<PathBuf>,
    /// One node, by its configuration file.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Only this worker: replicator, updater, expirer, reconciler, reaper, reclaimer, container-sync or auditor.
    #[arg(long)]
    pub worker: Option<String>,
}

#[derive(Args, Clone, Debug)]
pub struct RingOptions {
    /// A builder's file and a command, or `composer` or `analyze` and what they take.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<OsString>,
}
