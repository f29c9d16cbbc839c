//! Several real devices, each behind its own replication server: what one missed comes back, what lies astray goes home.

mod auditing;
mod cluster;
mod containers;
mod convergence;
mod expiry;
mod handoffs;
mod malformed;
mod owed_rows;
mod progress;
mod pulls;
mod reclaiming;
mod versions;
mod workers;
