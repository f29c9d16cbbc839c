//! Makes a connection to a node: TCP, TLS where the cluster has it, and the proof on both sides that they have the cluster
//! key.

use crate::{NodeClientConfig, NodeError};
use martlet_service::{ClusterKeys, HandshakeError, Skews, Stream, TlsClient, prove_key};
use std::time::Duration;
use tokio::net::TcpStream;

pub(crate) struct Dialler {
    keys: Option<ClusterKeys>,
    tls: Option<TlsClient>,
    pub skews: Skews,
    handshake_timeout: Duration,
}

impl Dialler {
    pub fn new(config: &NodeClientConfig) -> Self {
        Dialler {
            keys: config.keys.clone(),
            tls: config.tls.clone(),
            skews: config.skews.clone(),
            handshake_timeout: Duration::from_millis(config.handshake_timeout_ms),
        }
    }

    /// A connection over which HTTP can be spoken; `within` is for TCP alone.
    pub async fn dial(&self, ip: &str, port: u16, within: Duration) -> Result<Stream, NodeError> {
        let connecting = tokio::time::timeout(within, TcpStream::connect((ip, port)));
        let stream = connecting.await.map_err(|_| NodeError::ConnectTimeout)?;
        let stream = stream.map_err(|error| NodeError::Connect(error.to_string()))?;
        // Small requests must not wait for the peer's acknowledgement; a socket that refuses still works.
        let _ = stream.set_nodelay(true);
        if self.keys.is_none() && self.tls.is_none() {
            return Ok(stream.into());
        }
        let trusting = tokio::time::timeout(self.handshake_timeout, self.trust(stream, ip, port));
        trusting.await.map_err(|_| NodeError::HandshakeTimeout)?
    }

    async fn trust(&self, stream: TcpStream, ip: &str, port: u16) -> Result<Stream, NodeError> {
        let (mut stream, binding) = match &self.tls {
            Some(tls) => tls
                .connect(ip, stream)
                .await
                .map_err(|error| NodeError::Untrusted(format!("TLS: {error}")))?,
            None => (stream.into(), [0; 32]),
        };
        if let Some(keys) = &self.keys {
            let proved = prove_key(&mut stream, keys, &binding).await;
            let proved = proved.map_err(|error| match error {
                HandshakeError::Io(error) => NodeError::Connect(error.to_string()),
                error => NodeError::Untrusted(error.to_string()),
            })?;
            let peer = format!("{ip}:{port}");
            self.skews
                .saw(&peer, proved.their_clock, proved.sent, proved.received);
        }
        Ok(stream)
    }
}
