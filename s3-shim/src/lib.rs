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

pub mod acl;
pub mod checksum;
pub mod chunked;
mod config;
mod door;
pub mod errors;
mod metadata;
mod ops;
mod payload;
mod preflight;
pub mod route;
pub mod signature;
mod swift;
mod target;
pub mod xml;

pub use config::S3Config;
pub use door::S3;

use martlet_protocol::identity::Identity;
use martlet_service::BoxFuture;

/// A key and the user it belongs to.
#[derive(Clone, Debug)]
pub struct Credential {
    /// `None`: whoever was asked has checked the claim itself and keeps the secret.
    pub secret: Option<String>,
    pub identity: Identity,
}

/// What is known of the key that a request claims to be signed with.
#[derive(Clone, Debug)]
pub enum Lookup {
    Known(Box<Credential>),
    /// There is no such key.
    UnknownKey,
    /// Whoever keeps the secret says that the signature is wrong, or that there is no such key.
    Refused,
    /// Whoever keeps the secret cannot be asked now.
    Unavailable,
}

/// Knows the secrets of access keys, or whom to ask about them.
pub trait Credentials: Send + Sync {
    /// Looks the key of a claim up.
    fn find<'a>(&'a self, claim: &'a signature::Claim) -> BoxFuture<'a, Lookup>;
}
