//! The one source of time: handed in, so that tests choose it.

use martlet_protocol::timestamp::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The machine's clock as it is, microseconds since 1970: to compare with the clocks of others.
pub fn wall_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_micros() as u64
}

/// Gives timestamps that strictly increase within a process, so that two writes through one proxy never tie.
#[derive(Clone, Debug)]
pub struct Clock {
    last: Arc<AtomicU64>,
    is_manual: bool,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Clock {
            last: Arc::new(AtomicU64::new(0)),
            is_manual: false,
        }
    }

    /// A clock that stands at a moment (each reading is still one unit later than the one before) until it is moved.
    pub fn manual(at: Timestamp) -> Self {
        Clock {
            last: Arc::new(AtomicU64::new(at.raw())),
            is_manual: true,
        }
    }

    /// Moves a manual clock forward by whole seconds.
    pub fn advance_secs(&self, secs: u64) {
        assert!(self.is_manual, "only a manual clock can be moved");
        self.last.fetch_add(
            secs * martlet_protocol::timestamp::UNITS_PER_SECOND,
            Ordering::SeqCst,
        );
    }

    /// Now, later than every reading before.
    pub fn now(&self) -> Timestamp {
        let machine = if self.is_manual { 0 } else { wall_micros() / 10 };
        let later = |last: u64| Some(machine.max(last + 1));
        let last = self.last.fetch_update(Ordering::SeqCst, Ordering::SeqCst, later);
        let last = last.unwrap_or_else(|last| last);
        Timestamp::from_raw(machine.max(last + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_strictly_increase() {
        for clock in [Clock::system(), Clock::manual(Timestamp::from_secs(5))] {
            let readings: Vec<_> = (0..1000).map(|_| clock.now()).collect();
            assert!(readings.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
