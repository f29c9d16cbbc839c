//! Telling every part of a process that it is time to end.

use tokio::sync::watch;

/// Asks for the end. Dropping it asks as well, so that nothing outlives its owner.
#[derive(Debug)]
pub struct ShutdownTrigger(watch::Sender<bool>);

/// Hears about the end.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// A trigger and its listener, which can be cloned.
    pub fn new() -> (ShutdownTrigger, Shutdown) {
        let (sender, receiver) = watch::channel(false);
        (ShutdownTrigger(sender), Shutdown(receiver))
    }

    /// Returns when the end was asked for.
    pub async fn requested(&self) {
        // An error means that the trigger is gone, which asks for the end too.
        let _ = self.0.clone().wait_for(|requested| *requested).await;
    }

    pub fn is_requested(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

impl ShutdownTrigger {
    /// Asks for the end; more than once does no harm.
    pub fn trigger(&self) {
        self.0.send_replace(true);
    }
}
