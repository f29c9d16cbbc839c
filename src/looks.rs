//! When files that others maintain are looked at again.

use martlet_service::Shutdown;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The moments of a watch over files.
pub struct Looks {
    interval: Duration,
    hangup: Option<Signal>,
    shutdown: Shutdown,
}

impl Looks {
    /// One every `interval` until the end. With `on_hangup`, SIGHUP makes one at once.
    pub fn new(interval: Duration, on_hangup: bool, shutdown: Shutdown) -> std::io::Result<Self> {
        let hangup = match on_hangup {
            true => Some(signal(SignalKind::hangup())?),
            false => None,
        };
        Ok(Looks {
            interval,
            hangup,
            shutdown,
        })
    }

    /// Waits for the next one: whether it was asked for by SIGHUP. `None` at the end.
    pub async fn next(&mut self) -> Option<bool> {
        let asked = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.shutdown.requested() => None,
            _ = asked => Some(true),
            _ = tokio::time::sleep(self.interval) => Some(false),
        }
    }
}
