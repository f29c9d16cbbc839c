//! The workers that make all copies agree: replicate, deliver what is owed, expire, forget, audit, reap, reconcile, mirror.
//!
//! - [`planner`] decides, in pure code, what a device pulls, pushes and lets go. Read it first.
//! - [`Replicator`] carries it out: one full round per [`Replicator::pass`].
//! - [`ReplicationServer`] answers the replicators of other nodes; [`wire`] is what they say to each other.
//! - [`Updater`] brings owed rows to container and account servers; [`Expirer`] deletes what is due.
//! - [`Reclaimer`] forgets deletions that everybody has; `doubt.rs` says who is not believed after that.
//! - [`Auditor`] reads everything again and again; [`Reaper`] empties deleted accounts; [`Reconciler`] moves what lies
//!   under the wrong policy.
//! - [`ContainerSync`] brings changes to other clusters that mirror a container.
//! - [`status`] and [`inspect`] tell operators what there is and why; [`Ledger`] keeps what each worker did last.
//! - [`Workers`] runs all of them in the background, and on demand.
//!
//! This room talks to other nodes only through `martlet-node-client`, and to disks only through `martlet-storage`.

mod account_report;
mod auditor;
mod backoff;
mod clients;
mod container_sync;
mod courtesy;
mod doubt;
mod expirer;
pub mod inspect;
mod ledger;
mod missed;
mod neighbours;
mod pace;
mod peer;
pub mod planner;
mod progress;
mod pull;
mod push;
mod reaper;
mod reclaimer;
mod reconciler;
mod repair;
mod replicator;
mod report;
mod server;
pub mod status;
mod sweep;
mod transfer;
mod updater;
pub mod wire;
mod workers;

pub use auditor::{AuditReport, Auditor, AuditorConfig, DarkData, DarkDataAction};
pub use clients::Clients;
pub use container_sync::{ContainerSync, ContainerSyncConfig, ContainerSyncReport};
pub use expirer::{ExpireReport, Expirer, ExpirerConfig};
pub use ledger::{LastPass, Ledger};
pub use neighbours::Neighbours;
pub use progress::Remaining;
pub use reaper::{ReapReport, Reaper, ReaperConfig};
pub use reclaimer::{ReclaimReport, Reclaimer, ReclaimerConfig};
pub use reconciler::{ReconcileReport, Reconciler};
pub use replicator::{Replicator, ReplicatorConfig, Rings};
pub use report::{DeviceReport, PassReport};
pub use server::ReplicationServer;
pub use updater::{UpdateReport, Updater, UpdaterConfig};
pub use workers::{FullReport, PassEndpoint, StatusEndpoint, WorkerSet, Workers, WorkersConfig};
