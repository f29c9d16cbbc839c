//! The workers that make all copies agree: replicate, deliver what is owed, expire.
//!
//! - [`planner`] decides, in pure code, what a device pulls, pushes and lets go. Read it first.
//! - [`Replicator`] carries it out: one full round per [`Replicator::pass`].
//! - [`ReplicationServer`] answers the replicators of other nodes; [`wire`] is what they say to each other.
//! - [`Updater`] brings owed rows to container and account servers; [`Expirer`] deletes what is due.
//! - [`Workers`] runs all of them in the background, and on demand.
//!
//! This room talks to other nodes only through `martlet-node-client`, and to disks only through `martlet-storage`.

mod account_report;
mod expirer;
mod peer;
pub mod planner;
mod pull;
mod push;
mod replicator;
mod report;
mod server;
mod transfer;
mod updater;
pub mod wire;
mod workers;

pub use expirer::{ExpireReport, Expirer, ExpirerConfig};
pub use replicator::{Replicator, ReplicatorConfig, Rings};
pub use report::{DeviceReport, PassReport};
pub use server::ReplicationServer;
pub use updater::{UpdateReport, Updater, UpdaterConfig};
pub use workers::{FullReport, PassEndpoint, Workers, WorkersConfig};
