//! How hard the replicator works on one device: so many things at once, one at a time while clients are served, and
//! no more a second than its budget allows.

use crate::clients::Clients;
use crate::pace::Pace;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, SemaphorePermit};

/// The longest rest after one piece of work. A piece that took longer waited for something, and clients did not.
const LONGEST_REST: Duration = Duration::from_millis(50);

/// Records carried together while clients are served: more keep the processors busy for longer than a request takes.
const SMALL_HANDFUL: usize = 8;

/// The turns of one device. What it has spent counts on from round to round.
pub struct Courtesy {
    clients: Clients,
    at_once: u32,
    turns: Semaphore,
    records_per_second: u64,
    pace: Mutex<Pace>,
}

/// The right to do one piece of work.
pub struct Turn<'a> {
    _permit: Option<SemaphorePermit<'a>>,
    /// Set while clients are served.
    begun: Option<Instant>,
}

impl Courtesy {
    /// `at_once` pieces of work together; 0 in a rate is no limit.
    pub fn new(clients: Clients, at_once: usize, bytes_per_second: u64, records_per_second: u64) -> Self {
        let at_once = at_once.clamp(1, 1 << 16) as u32;
        Courtesy {
            clients,
            at_once,
            turns: Semaphore::new(at_once as usize),
            records_per_second,
            pace: Mutex::new(Pace::new(bytes_per_second, records_per_second, Instant::now())),
        }
    }

    /// Waits until so many records may be carried and it is this piece's turn. While clients are served here or at a peer, only
    /// one piece is under way.
    pub async fn turn(&self, records: u64) -> Turn<'_> {
        tokio::time::sleep(self.pause(records, 0, Instant::now())).await;
        let is_alone = self.clients.are_waiting();
        let permits = if is_alone { self.at_once } else { 1 };
        Turn {
            // Nobody closes it.
            _permit: self.turns.acquire_many(permits).await.ok(),
            begun: is_alone.then(Instant::now),
        }
    }

    /// So many bytes of a body were carried: waits until that is within the budget. A large body is paid for while it
    /// travels, so that the device is neither idle before it nor flooded by it.
    pub async fn carried(&self, bytes: u64) {
        tokio::time::sleep(self.pause(0, bytes, Instant::now())).await;
    }

    /// How many of up to `most` records to carry together: no more than the budget gives in a quarter of a second, and few
    /// while clients are served.
    pub fn handful(&self, most: usize) -> usize {
        let most = if self.clients.are_waiting() {
            most.min(SMALL_HANDFUL)
        } else {
            most
        };
        match self.records_per_second {
            0 => most,
            rate => ((rate / 4) as usize).clamp(1, most),
        }
    }

    /// How long the budget makes wait who wants to carry so much now.
    fn pause(&self, records: u64, bytes: u64, now: Instant) -> Duration {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.spent(records, bytes, now)
    }
}

impl Turn<'_> {
    /// The piece is done. While clients are served, the device rests for as long as it took, so that at least half of
    /// the time is theirs.
    pub async fn end(self) {
        if let Some(begun) = self.begun {
            tokio::time::sleep(rest(begun.elapsed())).await;
        }
    }
}

fn rest(worked: Duration) -> Duration {
    worked.min(LONGEST_REST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn a_budget_is_one_for_all_that_works_at_once() {
        let courtesy = Courtesy::new(Clients::default(), 4, 1_000, 10);
        let now = Instant::now();
        let first = courtesy.pause(1, 2_000, now);
        let second = courtesy.pause(1, 500, now);
        assert_eq!(
            second - first,
            Duration::from_millis(500),
            "500 bytes at 1,000 a second"
        );
        let third = courtesy.pause(10, 0, now);
        assert_eq!(
            third - second,
            Duration::from_secs(1),
            "10 records at 10 a second"
        );
        let free = Courtesy::new(Clients::default(), 4, 0, 0);
        assert_eq!(free.pause(1 << 20, 1 << 40, now), Duration::ZERO);
        assert_eq!((courtesy.handful(32), free.handful(32)), (2, 32));
        assert_eq!(Courtesy::new(Clients::default(), 4, 0, 1).handful(32), 1);
        free.clients.served();
        assert_eq!(free.handful(32), SMALL_HANDFUL);
    }

    #[tokio::test]
    async fn while_clients_are_served_one_works_at_a_time() {
        let clients = Clients::default();
        let courtesy = Courtesy::new(clients.clone(), 2, 0, 0);
        let (first, second) = (courtesy.turn(1).await, courtesy.turn(1).await);
        assert!(courtesy.turn(1).now_or_never().is_none(), "two are under way");
        drop((first, second));
        clients.served_elsewhere();
        let alone = courtesy.turn(1).await;
        assert!(courtesy.turn(1).now_or_never().is_none(), "one is under way");
        assert!(alone.begun.is_some(), "it rests afterwards");
        drop(alone);
        drop(courtesy.turn(1).await);
    }

    #[test]
    fn a_rest_is_as_long_as_the_work_and_has_an_end() {
        assert_eq!(rest(Duration::from_millis(3)), Duration::from_millis(3));
        assert_eq!(rest(Duration::from_secs(60)), LONGEST_REST);
    }
}
