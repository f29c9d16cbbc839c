//! Whether clients are being served, here or where something is pulled from: background work gives way to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// For so long after a request clients are thought to be waiting for more.
const LATELY: Duration = Duration::from_secs(1);

/// When requests were seen last. Clones share it.
#[derive(Clone, Debug)]
pub struct Clients(Arc<Seen>);

#[derive(Debug)]
struct Seen {
    begun: Instant,
    /// Milliseconds after `begun`, plus one; 0 is never.
    here: AtomicU64,
    elsewhere: AtomicU64,
}

impl Default for Clients {
    fn default() -> Self {
        Clients(Arc::new(Seen {
            begun: Instant::now(),
            here: AtomicU64::new(0),
            elsewhere: AtomicU64::new(0),
        }))
    }
}

impl Clients {
    /// This node serves a request.
    pub fn served(&self) {
        self.0.here.store(self.moment(Instant::now()), Ordering::Relaxed);
    }

    /// A peer said that it served one a moment ago.
    pub fn served_elsewhere(&self) {
        self.0
            .elsewhere
            .store(self.moment(Instant::now()), Ordering::Relaxed);
    }

    /// Whether this node served one a moment ago. What is said to others: they do not hear of each other's in a circle.
    pub fn are_here(&self) -> bool {
        self.lately(&self.0.here, Instant::now())
    }

    /// Whether this node or one that it pulls from did.
    pub fn are_waiting(&self) -> bool {
        let now = Instant::now();
        self.lately(&self.0.here, now) || self.lately(&self.0.elsewhere, now)
    }

    fn moment(&self, now: Instant) -> u64 {
        now.duration_since(self.0.begun).as_millis() as u64 + 1
    }

    fn lately(&self, seen: &AtomicU64, now: Instant) -> bool {
        match seen.load(Ordering::Relaxed) {
            0 => false,
            seen => self.moment(now).saturating_sub(seen) < LATELY.as_millis() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_heard_of_others_is_not_told_on() {
        let clients = Clients::default();
        assert!(!clients.are_here() && !clients.are_waiting());
        clients.served_elsewhere();
        assert!(!clients.are_here() && clients.are_waiting());
        clients.served();
        assert!(clients.are_here() && clients.are_waiting());
        let later = Instant::now() + LATELY;
        assert!(!clients.lately(&clients.0.here, later));
    }
}
