//! Says 503 to connections for which there is no place, at once and without HTTP's help.

use crate::ServeOptions;
use crate::shed::RETRY_AFTER_SECS;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// Connections that are told so at once; beyond them they are hung up on without a word.
const MAX_TOLD: usize = 64;
/// How long a client may take to hear it.
const PATIENCE: Duration = Duration::from_secs(1);
/// What is read of a request that nobody answers: closing a connection with bytes unread would take the answer back.
const MAX_UNREAD_BYTES: u64 = 64 * 1024;

/// Bounds the telling.
pub(crate) struct TurnedAway(Arc<Semaphore>);

impl Default for TurnedAway {
    fn default() -> Self {
        TurnedAway(Arc::new(Semaphore::new(MAX_TOLD)))
    }
}

impl TurnedAway {
    /// Tells a client, in the background, that there is too much to do.
    pub fn turn(&self, stream: TcpStream, options: &ServeOptions) {
        metrics::counter!("martlet_shed_total", "what" => "connections").increment(1);
        // Making TLS first would be the work that there is no room for.
        if options.tls.is_some() {
            return;
        }
        let Ok(place) = self.0.clone().try_acquire_owned() else {
            return;
        };
        tokio::spawn(async move {
            // A client that does not listen is gone anyhow.
            let _ = tokio::time::timeout(PATIENCE, tell(stream)).await;
            drop(place);
        });
    }
}

async fn tell(mut stream: TcpStream) -> std::io::Result<()> {
    let text = "Too many connections at once, come back in a moment";
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: {RETRY_AFTER_SECS}\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(MAX_UNREAD_BYTES), &mut tokio::io::sink()).await?;
    Ok(())
}
