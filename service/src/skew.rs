//! How far the clocks of other machines are from this one's: the newest write wins everywhere, so a clock that is wrong
//! makes old writes win.
//!
//! Every exchange carries the other side's clock, read between two moments that this side knows. Only what is certain
//! counts: a clock that may have been read right within the time that the exchange took is right.

use crate::clock::wall_micros;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Machines that are remembered; further ones are not, so that nobody fills memory by calling from many addresses.
const MAX_PEERS: usize = 4_096;
/// A machine that was not heard of for so long is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(900);
/// Between two looks for such machines.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// Between two warnings of one machine.
const WARN_EVERY: Duration = Duration::from_secs(300);
/// An exchange that took longer tells too little to take a warning back.
const TELLING_MICROS: u64 = 500_000;

/// What is known of the clocks of others. Clones share it.
#[derive(Clone)]
pub struct Skews(Arc<Inner>);

struct Inner {
    limit_micros: u64,
    peers: Mutex<Peers>,
}

struct Peers {
    seen: BTreeMap<String, Seen>,
    tidied: Instant,
}

impl Peers {
    /// Forgets who was not heard of for long. What was said of its clock is no longer true then.
    fn tidy(&mut self) {
        self.tidied = Instant::now();
        self.seen.retain(|peer, seen| {
            let is_known = seen.at.elapsed() < FORGOTTEN_AFTER;
            if !is_known {
                gauge(peer, 0.0);
            }
            is_known
        });
    }
}

fn gauge(peer: &str, seconds: f64) {
    metrics::gauge!("martlet_clock_skew_seconds", "peer" => peer.to_owned()).set(seconds);
}

struct Seen {
    /// Positive: the other clock is ahead.
    skew_micros: i64,
    at: Instant,
    warned: Option<Instant>,
}

impl Skews {
    /// Clocks further apart than `limit_ms` are warned of.
    pub fn new(limit_ms: u64) -> Self {
        Skews(Arc::new(Inner {
            limit_micros: limit_ms.saturating_mul(1_000),
            peers: Mutex::new(Peers {
                seen: BTreeMap::new(),
                tidied: Instant::now(),
            }),
        }))
    }

    pub fn limit_seconds(&self) -> f64 {
        self.0.limit_micros as f64 / 1e6
    }

    /// A clock was read between `sent` and now (all microseconds since 1970).
    pub fn heard(&self, peer: &str, their_clock: u64, sent: u64) {
        self.saw(peer, their_clock, sent, wall_micros());
    }

    /// A clock was read between two moments of this side, all microseconds since 1970.
    pub fn saw(&self, peer: &str, their_clock: u64, sent: u64, received: u64) {
        let took = received.saturating_sub(sent);
        let skew = certain_skew(their_clock, sent, received);
        let is_over = skew.unsigned_abs() > self.0.limit_micros;
        if !is_over && took > TELLING_MICROS {
            return;
        }
        let mut peers = self.0.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.tidied.elapsed() > TIDY_EVERY {
            peers.tidy();
        }
        if peers.seen.len() >= MAX_PEERS && !peers.seen.contains_key(peer) {
            return;
        }
        let seen = peers.seen.entry(peer.to_owned()).or_insert_with(|| Seen {
            skew_micros: 0,
            at: Instant::now(),
            warned: None,
        });
        seen.skew_micros = skew;
        seen.at = Instant::now();
        let seconds = skew as f64 / 1e6;
        gauge(peer, seconds);
        if is_over {
            if seen.warned.is_none_or(|warned| warned.elapsed() > WARN_EVERY) {
                seen.warned = Some(Instant::now());
                tracing::warn!(
                    peer,
                    seconds,
                    limit = self.limit_seconds(),
                    "the clock of a machine is off: the newest write wins, so old ones may"
                );
            }
        } else if seen.warned.take().is_some() {
            tracing::info!(peer, seconds, "the clock of a machine is right again");
        }
    }

    /// Machines heard of lately and by how many seconds their clocks are certainly ahead (negative: behind).
    pub fn all(&self) -> BTreeMap<String, f64> {
        let mut peers = self.0.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.tidy();
        let seconds = |(peer, seen): (&String, &Seen)| (peer.clone(), seen.skew_micros as f64 / 1e6);
        peers.seen.iter().map(seconds).collect()
    }
}

impl fmt::Debug for Skews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Skews(over {} s)", self.limit_seconds())
    }
}

/// By how much a clock is certainly off that was read between two moments.
fn certain_skew(their_clock: u64, sent: u64, received: u64) -> i64 {
    let apart = |ahead: u64, behind: u64| i64::try_from(ahead - behind).unwrap_or(i64::MAX);
    if their_clock > received {
        apart(their_clock, received)
    } else if their_clock < sent {
        -apart(sent, their_clock)
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_certain_counts() {
        for (clock, sent, received, skew) in [
            (150, 100, 200, 0),
            (100, 100, 200, 0),
            (260, 100, 200, 60),
            (40, 100, 200, -60),
            (u64::MAX, 1, 2, i64::MAX),
            (0, u64::MAX, u64::MAX, -i64::MAX),
        ] {
            assert_eq!(certain_skew(clock, sent, received), skew);
        }
    }

    #[test]
    fn a_slow_exchange_takes_nothing_back() {
        let skews = Skews::new(1_000);
        skews.saw("a", 9_000_000, 1_000_000, 1_000_100);
        assert_eq!(skews.all()["a"], 7.9999);
        skews.saw("a", 9_000_000, 1_000_000, 20_000_000);
        assert_eq!(skews.all()["a"], 7.9999);
        skews.saw("a", 1_000_050, 1_000_000, 1_000_100);
        assert_eq!(skews.all()["a"], 0.0);
    }

    #[test]
    fn memory_is_bounded() {
        let skews = Skews::new(1_000);
        for number in 0..MAX_PEERS + 10 {
            skews.saw(&number.to_string(), 0, 0, 0);
        }
        assert_eq!(skews.all().len(), MAX_PEERS);
    }
}
