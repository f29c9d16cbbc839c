//! Where a partition's stand-ins are: the failure domains of a ring and the walk over them.

mod handoff;
mod tiers;

pub use handoff::Handoffs;
pub(crate) use tiers::Tiers;
