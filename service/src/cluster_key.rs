//! The cluster key: what a node and its callers prove to each other once, when a connection begins.
//!
//! Why a connection and not each request: a read of 4 KiB costs a node some 60 microseconds, and hashing and checking two
//! heads would be a share of it that is paid for ever; connections between nodes live long. Both ends prove that they hold
//! the key over nonces of both, so nothing that was recorded can be used again, and a caller does not send so much as a
//! path to a stranger that sits at a node's address. What follows is as safe as the connection itself: on a network where
//! somebody could put himself between two nodes, TLS belongs below (`[cluster.tls]`); its session is part of what is
//! proved, so that a proof cannot be carried from one TLS connection to another.
//!
//! - `handshake`: the three messages.

mod handshake;

pub(crate) use handshake::{Caller, answer};
pub use handshake::{HandshakeError, Proved, call};

use arc_swap::ArcSwap;
use std::fmt;
use std::sync::Arc;

/// Letters of a key at least: 128 bits if they are hexadecimal.
pub const MIN_KEY_LETTERS: usize = 32;
/// Keys that may be in force at once; two are enough to change them.
const MAX_KEYS: usize = 8;
/// Says which of several keys is meant, and nothing about it.
pub(crate) const ID_BYTES: usize = 8;

#[derive(Clone)]
struct Key {
    secret: [u8; 32],
    id: [u8; ID_BYTES],
}

/// The keys in force. The first is used for calls; all are accepted, so that a key can be changed node by node.
/// Clones share what [`ClusterKeys::replace`] puts in.
#[derive(Clone)]
pub struct ClusterKeys(Arc<ArcSwap<Vec<Key>>>);

/// Why a text holds no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// No line that is not empty or a comment.
    Empty,
    /// A key of less than [`MIN_KEY_LETTERS`].
    Short,
    TooMany,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyError::Empty => f.write_str("holds no cluster key"),
            KeyError::Short => write!(f, "a cluster key has at least {MIN_KEY_LETTERS} letters"),
            KeyError::TooMany => write!(f, "at most {MAX_KEYS} cluster keys can be in force"),
        }
    }
}

impl std::error::Error for KeyError {}

impl ClusterKeys {
    /// One key a line; empty lines and lines that begin with `#` are left out.
    pub fn parse(text: &str) -> Result<ClusterKeys, KeyError> {
        Ok(ClusterKeys(Arc::new(ArcSwap::from_pointee(keys_in(text)?))))
    }

    /// From now on these keys are in force. Connections that were proved before stay.
    pub fn replace(&self, text: &str) -> Result<(), KeyError> {
        self.0.store(Arc::new(keys_in(text)?));
        Ok(())
    }

    fn first(&self) -> Option<Key> {
        self.0.load().first().cloned()
    }

    fn find(&self, id: &[u8]) -> Option<Key> {
        self.0.load().iter().find(|key| key.id == id).cloned()
    }
}

impl fmt::Debug for ClusterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKeys(secret)")
    }
}

fn keys_in(text: &str) -> Result<Vec<Key>, KeyError> {
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys: Vec<Key> = lines.map(key_of).collect::<Result<_, _>>()?;
    match keys.len() {
        0 => Err(KeyError::Empty),
        count if count > MAX_KEYS => Err(KeyError::TooMany),
        _ => Ok(keys),
    }
}

fn key_of(line: &str) -> Result<Key, KeyError> {
    if line.len() < MIN_KEY_LETTERS {
        return Err(KeyError::Short);
    }
    let secret = blake3::derive_key("martlet 2026 cluster key: proofs", line.as_bytes());
    let mut id = [0; ID_BYTES];
    let named = blake3::derive_key("martlet 2026 cluster key: its name", line.as_bytes());
    id.copy_from_slice(&named[..ID_BYTES]);
    Ok(Key { secret, id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_has_a_key_a_line() {
        let (one, two) = ("1".repeat(32), "2".repeat(40));
        let keys = ClusterKeys::parse(&format!("# ours\n{one}\n\n  {two}  \n")).unwrap();
        assert_eq!(keys.0.load().len(), 2);
        assert_ne!(keys.0.load()[0].id, keys.0.load()[1].id);
        assert_eq!(format!("{keys:?}"), "ClusterKeys(secret)");
        for (text, wrong) in [
            ("# none\n".to_owned(), KeyError::Empty),
            ("1".repeat(31), KeyError::Short),
            (format!("{one}\n").repeat(9), KeyError::TooMany),
        ] {
            assert_eq!(ClusterKeys::parse(&text).unwrap_err(), wrong);
            assert_eq!(keys.replace(&text).unwrap_err(), wrong);
        }
        assert_eq!(keys.0.load().len(), 2, "what cannot be used changes nothing");
    }
}
