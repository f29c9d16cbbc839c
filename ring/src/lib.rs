//! The ring: which devices hold a partition, in which order they are asked, and how a ring is built.
//!
//! A path hash's leading bits name a partition ([`Ring::partition`]); a table names, for each replica of each
//! partition, a device ([`Ring::primaries`]); the other devices stand in for them in a fixed order
//! ([`Ring::handoffs`]). All three answers equal OpenStack Swift's for the same ring file and hash salt, so that
//! Martlet and Swift nodes can serve one cluster.
//!
//! - [`file`] reads and writes Swift's `.ring.gz`, versions 1 and 2, from bytes and to bytes.
//! - [`builder`] makes rings: devices with weights in, an as-unique-as-possible table out. Its files are Swift's.
//! - [`composite`] joins rings of several builders into one.
//! - [`syntax`] is how operators name devices on a command line.
//!
//! This room opens no file and reads no clock: bytes and times are passed in. It knows nothing of requests, storage or
//! which nodes are alive.
//!
//! Swift's pages: <https://docs.openstack.org/swift/latest/overview_ring.html> and
//! <https://docs.openstack.org/swift/latest/overview_ring_format.html>.

pub mod builder;
pub mod composite;
pub mod file;
pub mod syntax;

mod device;
mod pickle;
mod placement;
mod ring;
mod set;

pub use builder::{Builder, BuilderError, NewDevice, RebalanceReport};
pub use device::{Device, MAX_DEVICES};
pub use file::RingFileError;
pub use pickle::PickleError;
pub use placement::Handoffs;
pub use ring::{MAX_PART_POWER, MAX_REPLICAS, Ring, RingError, RingParts, Row};
pub use set::RingSet;
