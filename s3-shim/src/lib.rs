//! The S3 door: checks S3 signatures and says in Swift's words, to the handler it is given, what was asked in S3's.
//!
//! It knows no ring, no storage and no proxy: every operation is one or more Swift API requests to [`S3::new`]'s
//! `inner` handler, in the name of the user whose signature was proved.
//!
//! Signatures, XML and routing are our own. The crate s3s was weighed and left: its 150,000 generated lines cost
//! minutes of every build, and its errors, its limits on bodies and its strictness on unsigned headers are not
//! S3's, so that the parts that matter would have been written here anyway.
//!
//! A request's way: [`target`] finds bucket and key, [`signature`] proves the user, [`route`] names the action or
//! refuses it, [`ops`] does it; [`payload`] stands between the client's body and the inside.

pub mod checksum;
pub mod chunked;
mod door;
pub mod errors;
mod metadata;
mod ops;
mod payload;
pub mod route;
pub mod signature;
mod swift;
mod target;
pub mod xml;

pub use door::S3;

use martlet_protocol::identity::Identity;

/// A secret and the user it belongs to.
#[derive(Clone, Debug)]
pub struct Credential {
    pub secret: String,
    pub identity: Identity,
}

/// Knows the secrets of access keys.
pub trait Credentials: Send + Sync {
    /// The secret of an access key, or `None` when there is no such key.
    fn secret(&self, access_key: &str) -> Option<Credential>;
}

/// What an operator may choose.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3Config {
    /// The region that signatures must name.
    pub region: String,
    /// Host names under which `bucket.host` is a bucket; a port is not part of them.
    pub domains: Vec<String>,
    /// Most parts of one upload.
    pub max_upload_parts: u32,
    /// Smallest part but the last, in bytes.
    pub min_part_bytes: u64,
    /// Largest object one request may store or copy, in bytes.
    pub max_put_bytes: u64,
    /// Largest page of a listing.
    pub max_listing: usize,
    /// Most objects one DeleteObjects may name.
    pub max_multi_delete: usize,
    /// Largest XML document taken from a client, in bytes.
    pub max_document_bytes: usize,
    /// Longest key, in bytes of UTF-8.
    pub max_key_bytes: usize,
    /// How long a completion may take before white space is sent to keep the connection alive, in milliseconds.
    pub keep_alive_ms: u64,
}

impl Default for S3Config {
    fn default() -> Self {
        S3Config {
            region: "us-east-1".to_owned(),
            domains: Vec::new(),
            max_upload_parts: 10_000,
            min_part_bytes: 5 * 1024 * 1024,
            max_put_bytes: 5 * 1024 * 1024 * 1024,
            max_listing: 1_000,
            max_multi_delete: 1_000,
            max_document_bytes: 4 * 1024 * 1024,
            max_key_bytes: 1_024,
            keep_alive_ms: 5_000,
        }
    }
}
