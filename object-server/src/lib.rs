//! The backend server for objects: Swift's backend protocol over the devices of this node.
//!
//! Start with `put`, the life of a PUT. One file per verb; `request` reads what came, `response` and `errors` say what
//! goes back, `container_update` keeps listings current.

mod body_out;
mod config;
mod container_update;
mod delete;
mod errors;
mod get;
mod metadata;
mod multipart;
mod post;
mod put;
mod raw_value;
mod receive;
mod request;
mod response;
mod run_to_end;
mod server;

pub use config::{ObjectServerConfig, ObjectServerSettings};
pub use server::ObjectServer;
