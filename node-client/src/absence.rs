//! What is remembered of a node that could not be reached. Pure: the moment is passed in.
//!
//! Only what cost time is remembered: a refused connection is known at once, and its node may be back at once. While a
//! node counts as absent, calls to it fail without a wait, and those calls see to it that it is tried in the background.
//! So nobody waits for it, and it is found soon after it is back, as long as anybody wants it.

use std::time::{Duration, Instant};

/// Between two tries of an absent node that somebody wants.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// An absence of which nothing was heard for so long is forgotten: the next caller finds out.
const MEMORY: Duration = Duration::from_secs(60);

/// One node address.
#[derive(Debug, Default)]
pub struct Absence {
    /// When a connection last could not be made in time, since one could.
    failed: Option<Instant>,
    /// Somebody is trying.
    is_tried: bool,
    /// When a connection was last made.
    proved: Option<Instant>,
}

/// What a caller is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Nothing speaks against a call.
    Call,
    /// It is away: give up at once.
    GiveUp,
    /// The same, and see in the background whether it is back: [`Absence::failed`] or [`Absence::succeeded`] must follow.
    GiveUpAndTry,
}

impl Absence {
    pub fn advice(&mut self, now: Instant) -> Advice {
        match self.failed {
            None => Advice::Call,
            Some(_) if self.is_tried => Advice::GiveUp,
            Some(failed) if now.duration_since(failed) > MEMORY => Advice::Call,
            Some(failed) if now.duration_since(failed) < RETRY_PAUSE => Advice::GiveUp,
            Some(_) => {
                self.is_tried = true;
                Advice::GiveUpAndTry
            }
        }
    }

    /// A connection could not be made in time.
    pub fn failed(&mut self, now: Instant) {
        *self = Absence {
            failed: Some(now),
            is_tried: false,
            proved: None,
        };
    }

    /// The node answered: with a connection, or by refusing one (`is_connected` is `false`).
    pub fn answered(&mut self, now: Instant, is_connected: bool) {
        *self = Absence {
            failed: None,
            is_tried: false,
            proved: is_connected.then_some(now),
        };
    }

    /// Whether a connection was made within this time.
    pub fn was_reached(&self, now: Instant, within: Duration) -> bool {
        self.proved
            .is_some_and(|proved| now.duration_since(proved) < within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_pays_and_one_tries_until_the_node_is_back() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut node = Absence::default();
        assert_eq!(node.advice(at(0)), Advice::Call);
        node.failed(at(500));
        assert_eq!(node.advice(at(501)), Advice::GiveUp);
        assert_eq!(node.advice(at(749)), Advice::GiveUp);
        assert_eq!(node.advice(at(750)), Advice::GiveUpAndTry);
        assert_eq!(node.advice(at(751)), Advice::GiveUp, "one tries");
        node.failed(at(1_250));
        assert_eq!(node.advice(at(1_300)), Advice::GiveUp);
        assert_eq!(node.advice(at(1_500)), Advice::GiveUpAndTry);
        node.answered(at(1_501), true);
        assert_eq!(node.advice(at(1_502)), Advice::Call);
        assert!(node.was_reached(at(1_600), Duration::from_millis(500)));
        assert!(!node.was_reached(at(2_001), Duration::from_millis(500)));
        node.answered(at(1_503), false);
        assert!(
            !node.was_reached(at(1_503), Duration::from_millis(500)),
            "refused"
        );
    }

    #[test]
    fn an_old_absence_is_forgotten() {
        let start = Instant::now();
        let mut node = Absence::default();
        node.failed(start);
        assert_eq!(node.advice(start + Duration::from_secs(61)), Advice::Call);
    }
}
