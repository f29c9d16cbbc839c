//! How long to pause so that a rate is kept. Pure: the moment is passed in.

use std::time::{Duration, Instant};

/// Pauses shorter than this are saved up: a timer is not finer.
const SHORTEST: Duration = Duration::from_millis(5);
/// What was not used of the rate for longer than this is lost: no burst makes up for a slow hour.
const MEMORY: Duration = Duration::from_secs(1);

/// Two rates, of which the slower one counts. 0 is no limit.
pub struct Pace {
    bytes_per_second: u64,
    records_per_second: u64,
    /// When everything spent so far will have been paid for.
    paid: Instant,
}

impl Pace {
    pub fn new(bytes_per_second: u64, records_per_second: u64, now: Instant) -> Self {
        Pace {
            bytes_per_second,
            records_per_second,
            paid: now,
        }
    }

    /// How long to pause now that so much was spent.
    pub fn spent(&mut self, records: u64, bytes: u64, now: Instant) -> Duration {
        let cost = |amount: u64, rate: u64| match rate {
            0 => Duration::ZERO,
            rate => Duration::from_secs_f64(amount as f64 / rate as f64),
        };
        let cost = cost(records, self.records_per_second).max(cost(bytes, self.bytes_per_second));
        let earliest = now.checked_sub(MEMORY).unwrap_or(now);
        self.paid = self.paid.max(earliest) + cost;
        let pause = self.paid.saturating_duration_since(now);
        if pause < SHORTEST { Duration::ZERO } else { pause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slower_rate_counts_and_debts_add_up() {
        let now = Instant::now();
        let mut pace = Pace::new(1_000, 10, now);
        assert_eq!(pace.spent(1, 10, now), Duration::from_millis(100));
        assert_eq!(pace.spent(0, 1_000, now), Duration::from_millis(1_100));
        let later = now + Duration::from_millis(1_100);
        assert_eq!(pace.spent(0, 1, later), Duration::ZERO, "too short to pause for");
        assert_eq!(Pace::new(0, 0, now).spent(9, 1 << 40, now), Duration::ZERO);
    }

    #[test]
    fn what_was_not_used_is_not_made_up_for() {
        let now = Instant::now();
        let mut pace = Pace::new(0, 10, now);
        let much_later = now + Duration::from_secs(3_600);
        assert_eq!(pace.spent(10, 0, much_later), Duration::ZERO);
        assert_eq!(pace.spent(10, 0, much_later), Duration::from_secs(1));
    }
}
