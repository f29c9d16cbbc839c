//! The one path by which a device changes: a queue, one committer thread, one batch, one sync.
//!
//! Operations wait in a bounded queue. The committer takes what waits, lets each operation decide against the state
//! that the operations before it in the same batch leave ([`batch::Batch`] overlays the index), writes one batch, syncs
//! once, and only then tells every waiter. Invariants:
//! - an operation reads and decides first and stages last: one that fails stages nothing;
//! - nobody hears of a change, not even of a conflict with one, before it is durable;
//! - a caller that leaves takes nothing back;
//! - operations that need no sync wait for a synced batch to ride with, at most `lazy_flush_ms`.

pub(crate) mod batch;
mod committer;
pub(crate) mod containers;
pub(crate) mod graves;
pub(crate) mod objects;
pub(crate) mod outbox;
pub(crate) mod quarantine;
mod queue;
pub(crate) mod recount;
pub(crate) mod rows;
pub(crate) mod strays;
pub(crate) mod syncs;
mod versions;

pub(crate) use committer::run;
pub(crate) use queue::{CommitQueue, Kind, Slot};
