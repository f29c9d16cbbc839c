//! What a file says of keys and certificates.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// TLS between nodes. All PEM; looked at as the rings are.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterTls {
    /// Who signs the certificates of the nodes.
    pub ca: PathBuf,
    /// This node's own certificate, and what links it to the authority.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// The name that stands in the certificate of every node. Left out: each stands for the address that the rings name.
    pub server_name: Option<String>,
}

/// A listener's certificate (its own first, then what links it to an authority) and its key, PEM.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// A word that no log may show.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}
