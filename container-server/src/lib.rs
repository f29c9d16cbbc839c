//! Backend HTTP for containers and for accounts, in Swift's protocol.
//!
//! The two servers are alike: both answer `/device/partition/account[/container[/object]]`, keep a record with timestamped
//! metadata and counts, and list rows. What they share stands here once; what they do stands in a folder each.
//!
//! A request is read strictly ([`request`]), done by storage in one batch, and answered with Swift's status. Storage's
//! errors become statuses in one place ([`errors`]). When a container is created, deleted or its counts change, its
//! account owes a row: the update is committed in the same batch (the outbox), sent at once where the request named the
//! account's servers, and otherwise left to the replicator's updater ([`account_update`]).
//!
//! This room does not know rings: who asks names the device, and root hands in where an account's replicas are.

mod account_server;
mod account_update;
mod config;
mod container_server;
mod errors;
mod front;
mod listing_body;
mod listing_response;
mod metadata;
mod request;

pub use account_server::AccountServer;
pub use account_update::AccountTargets;
pub use config::{AccountServerConfig, ContainerServerConfig};
pub use container_server::ContainerServer;
