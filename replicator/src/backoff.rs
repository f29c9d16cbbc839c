//! When what failed is tried again. Pure: the moment is passed in.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Things in pause that are remembered. Past it, those whose pause is over are forgotten, then the rest: they are
/// merely tried sooner.
const MAX_REMEMBERED: usize = 100_000;

#[derive(Debug)]
struct Pause {
    until: Instant,
    length: Duration,
}

/// Pauses that double with each refusal in a row.
#[derive(Debug)]
pub struct Backoff<K> {
    first: Duration,
    longest: Duration,
    pauses: HashMap<K, Pause>,
}

impl<K: Eq + Hash> Backoff<K> {
    pub fn new(first: Duration, longest: Duration) -> Self {
        Backoff {
            first,
            longest,
            pauses: HashMap::new(),
        }
    }

    pub fn may_try(&self, key: &K, now: Instant) -> bool {
        self.pauses.get(key).is_none_or(|pause| pause.until <= now)
    }

    pub fn succeeded(&mut self, key: &K) {
        self.pauses.remove(key);
    }

    pub fn failed(&mut self, key: K, now: Instant) {
        if self.pauses.len() >= MAX_REMEMBERED {
            self.pauses.retain(|_, pause| pause.until > now);
            if self.pauses.len() >= MAX_REMEMBERED {
                self.pauses.clear();
            }
        }
        let pause = self.pauses.entry(key).or_insert(Pause {
            until: now,
            length: Duration::ZERO,
        });
        // Several failures at once are one.
        if pause.until <= now {
            pause.length = (pause.length * 2).clamp(self.first, self.longest.max(self.first));
            pause.until = now + pause.length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_end_with_a_success() {
        let key = "c".to_owned();
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(3));
        assert!(backoff.may_try(&key, start));
        backoff.failed(key.clone(), start);
        backoff.failed(key.clone(), start);
        assert!(!backoff.may_try(&key, start) && backoff.may_try(&key, at(1)));
        backoff.failed(key.clone(), at(1));
        assert!(!backoff.may_try(&key, at(2)) && backoff.may_try(&key, at(3)));
        backoff.failed(key.clone(), at(3));
        assert!(!backoff.may_try(&key, at(5)) && backoff.may_try(&key, at(6)));
        backoff.succeeded(&key);
        assert!(backoff.may_try(&key, at(3)));
    }
}
