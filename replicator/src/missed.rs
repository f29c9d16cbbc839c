//! When a round begins because a proxy says that a device here missed writes. Pure: the moment is passed in.
//!
//! A proxy that could not deliver a write tells the device so with its next requests, until the device has finished a
//! round that began after it. The first word of it is acted on at once; then rounds keep apart, and further the longer
//! they do not succeed, so that no number of proxies and requests can make a node do nothing else.

use martlet_protocol::timestamp::Timestamp;
use std::time::{Duration, Instant};

/// Between the beginnings of two rounds, when the latter is owed to a proxy's word.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// The same after rounds that did not succeed, however seldom the node's own turns come.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What proxies said, and what was done about it.
#[derive(Debug)]
pub struct Missed {
    /// Writes up to here may be missing; `ZERO` when none may.
    newest: Timestamp,
    /// When the last round began.
    began: Option<(Timestamp, Instant)>,
    pause: Duration,
    longest: Duration,
}

impl Missed {
    /// `longest`: rounds begin so often anyway.
    pub fn new(longest: Duration) -> Self {
        Missed {
            newest: Timestamp::ZERO,
            began: None,
            pause: FIRST_PAUSE,
            longest: longest.clamp(FIRST_PAUSE, LONGEST_PAUSE),
        }
    }

    /// A write of this moment was missed. `true`: that is news.
    pub fn note(&mut self, moment: Timestamp) -> bool {
        let is_news = moment > self.newest;
        self.newest = self.newest.max(moment);
        is_news
    }

    /// A round begins, for whatever reason.
    pub fn began(&mut self, at: Timestamp, now: Instant) {
        self.began = Some((at, now));
    }

    /// The round has ended. What it was to bring is here only when it was complete.
    pub fn ended(&mut self, is_complete: bool) {
        if !is_complete {
            // Rounds that nobody asked for, while others start too, say nothing of the ones to come.
            if self.newest.is_zero() {
                return;
            }
            self.pause = (self.pause * 2).min(self.longest);
            return;
        }
        self.pause = FIRST_PAUSE;
        if self.began.is_some_and(|(at, _)| at > self.newest) {
            self.newest = Timestamp::ZERO;
        }
    }

    /// When the next round is to begin; `None` when nothing is owed.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        if self.newest.is_zero() {
            return None;
        }
        Some(self.began.map_or(now, |(_, began)| (began + self.pause).max(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_is_acted_on_at_once_and_later_ones_wait() {
        let at = Timestamp::from_secs;
        let start = Instant::now();
        let after = |secs| start + Duration::from_secs(secs);
        let mut missed = Missed::new(Duration::from_secs(30));
        assert_eq!(missed.due(start), None);
        missed.began(at(100), start);
        missed.ended(true);
        assert_eq!(missed.due(after(10)), None, "nobody said anything");
        assert!(missed.note(at(105)));
        assert!(!missed.note(at(104)) && !missed.note(at(105)), "no news");
        assert_eq!(missed.due(after(10)), Some(after(10)));
        missed.began(at(110), after(10));
        missed.ended(true);
        assert_eq!(missed.due(after(10)), None, "it is here now");
        missed.note(at(111));
        assert_eq!(missed.due(after(11)), Some(after(12)), "too soon after the last");
    }

    #[test]
    fn rounds_that_do_not_succeed_come_less_and_less_often() {
        let at = Timestamp::from_secs;
        let start = Instant::now();
        let mut missed = Missed::new(Duration::from_secs(10));
        missed.note(at(100));
        let mut pauses = Vec::new();
        for _ in 0..4 {
            missed.began(at(101), start);
            missed.ended(false);
            pauses.push(missed.due(start).map(|due| (due - start).as_secs()));
        }
        assert_eq!(pauses, [Some(4), Some(8), Some(10), Some(10)]);
        missed.began(at(101), start);
        missed.ended(true);
        assert_eq!(missed.due(start), None);
        missed.note(at(102));
        assert_eq!(missed.due(start), Some(start + FIRST_PAUSE));
    }

    #[test]
    fn what_failed_before_anybody_asked_does_not_count() {
        let start = Instant::now();
        let mut missed = Missed::new(Duration::from_secs(3_600));
        for _ in 0..9 {
            missed.began(Timestamp::from_secs(100), start);
            missed.ended(false);
        }
        missed.note(Timestamp::from_secs(101));
        assert_eq!(missed.due(start), Some(start + FIRST_PAUSE));
        for _ in 0..9 {
            missed.ended(false);
        }
        assert_eq!(missed.due(start), Some(start + LONGEST_PAUSE));
    }

    #[test]
    fn a_round_begun_before_the_write_does_not_count() {
        let start = Instant::now();
        let mut missed = Missed::new(Duration::from_secs(10));
        missed.began(Timestamp::from_secs(100), start);
        missed.note(Timestamp::from_secs(101));
        missed.ended(true);
        assert_eq!(missed.due(start), Some(start + FIRST_PAUSE));
    }
}
