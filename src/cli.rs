//! The command line.

use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::net::IpAddr;
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
    /// Asks nodes for one full round of replication now, and waits for it.
    Pass(PassOptions),
    /// Builds and looks into rings, with the arguments of swift-ring-builder; `martlet ring` alone shows them.
    #[command(disable_help_flag = true)]
    Ring(RingOptions),
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
    /// What to log: error, warn, info, debug, or a filter such as info,martlet_storage=debug.
    #[arg(long, default_value = "info")]
    pub log: String,
}

#[derive(Args, Clone, Debug)]
pub struct NodeOptions {
    /// The node's configuration file.
    #[arg(long)]
    pub config: PathBuf,
    /// Ends when standard input closes, that is, with the process that started this one.
    #[arg(long, hide = true)]
    pub exit_with_stdin: bool,
}

#[derive(Args, Clone, Debug)]
pub struct PassOptions {
    /// Every node below the data folder of a dev cluster.
    #[arg(long, conflicts_with = "config", required_unless_present = "config")]
    pub data: Option<PathBuf>,
    /// One node, by its configuration file.
    #[arg(long)]
    pub config: Option<PathBuf>,
}

#[derive(Args, Clone, Debug)]
pub struct RingOptions {
    /// A builder's file and a command, or `composer` or `analyze` and what they take.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<OsString>,
}
