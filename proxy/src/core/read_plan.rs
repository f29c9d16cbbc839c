//! Chooses the nodes a read asks, in which order, when to ask one more, and when to give up.
//!
//! One *fresh* primary (see `freshness`) is believed alone. When none is known to be fresh, or the one asked does not
//! prove it, a majority of the primaries is asked and the newest timestamp wins, tombstones included. A primary that
//! fails is stood in for by a handoff, as it was when something was written while it was away.
//!
//! Invariant: "not there" is said only when the newest thing heard is a tombstone, or a majority of primaries had
//! nothing; with neither, the client hears 503 rather than a lie.

use super::quorum::quorum_size;
use martlet_protocol::timestamp::Timestamp;

/// What a node said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It has the thing, of this moment.
    Found(Timestamp),
    /// It does not; with the moment of the deletion it knows of.
    Missing(Option<Timestamp>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unasked,
    Asked,
    Heard(Heard),
    Failed,
}

#[derive(Debug)]
struct Candidate {
    primary: bool,
    /// Its last answer proved it fresh, as far as is known before asking.
    hoped_fresh: bool,
    state: State,
    /// Asked for the body too, not only for the head.
    whole: bool,
    /// Its answer proved it fresh.
    proved_fresh: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send the request to this candidate; `whole` asks for the body, else only the head is wanted.
    Ask {
        candidate: usize,
        whole: bool,
    },
    Wait,
    /// Answer with what this candidate has.
    Take(usize),
    /// Answer 404.
    NotFound,
    /// Answer 503.
    Unavailable,
}

/// How many answers the reader wants before it believes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    OneFresh,
    Majority,
}

/// The state of one read over its candidates: primaries first, then handoffs, each in the order they are preferred.
#[derive(Debug)]
pub struct ReadPlan {
    candidates: Vec<Candidate>,
    mode: Mode,
    /// All primaries are waited for, not only a majority (`X-Newest`).
    newest: bool,
    quorum: usize,
    /// Nothing more is waited for once a majority has answered.
    patience_over: bool,
    /// Asks that are owed to slow candidates.
    hedges: usize,
}

impl ReadPlan {
    /// `primaries` says for each primary whether it is hoped to be fresh; `replicas` counts the ring's replicas.
    pub fn new(primaries: &[bool], handoffs: usize, replicas: usize, newest: bool) -> Self {
        let candidate = |primary, hoped_fresh| Candidate {
            primary,
            hoped_fresh,
            state: State::Unasked,
            whole: false,
            proved_fresh: false,
        };
        let mut candidates: Vec<Candidate> = primaries.iter().map(|fresh| candidate(true, *fresh)).collect();
        candidates.extend((0..handoffs).map(|_| candidate(false, false)));
        let one = !newest && primaries.contains(&true);
        ReadPlan {
            candidates,
            mode: if one { Mode::OneFresh } else { Mode::Majority },
            newest,
            quorum: quorum_size(replicas.min(primaries.len()).max(1)),
            patience_over: false,
            hedges: 0,
        }
    }

    /// A plan that always asks a majority: for containers and accounts, whose rows arrive one replica at a time.
    pub fn majority(primaries: usize, handoffs: usize, replicas: usize) -> Self {
        Self::new(&vec![false; primaries], handoffs, replicas, false)
    }

    /// A candidate answered; `fresh` when the answer itself proves that its device has missed nothing.
    pub fn heard(&mut self, candidate: usize, heard: Heard, fresh: bool) {
        self.candidates[candidate].state = State::Heard(heard);
        self.candidates[candidate].proved_fresh = fresh;
    }

    /// A candidate could not be reached, broke, or is not able to answer.
    pub fn failed(&mut self, candidate: usize) {
        self.candidates[candidate].state = State::Failed;
    }

    /// The hedge delay passed without an answer: one more is asked. In majority mode, stand-ins and (for `X-Newest`)
    /// slow primaries are no longer waited for once a majority has answered.
    pub fn overdue(&mut self) {
        match self.mode {
            Mode::OneFresh => self.hedges += 1,
            Mode::Majority => self.patience_over = true,
        }
    }

    /// Whether a majority is being asked: the reader then waits longer before it calls [`ReadPlan::overdue`].
    pub fn asks_majority(&self) -> bool {
        self.mode == Mode::Majority
    }

    /// Whether this candidate was asked for the body.
    pub fn was_asked_whole(&self, candidate: usize) -> bool {
        self.candidates[candidate].whole
    }

    /// Candidates that may hold the rest of a body of this moment, best first: those known to, then those not asked.
    pub fn others(&self, taken: usize, timestamp: Timestamp) -> Vec<usize> {
        let known = |state: State| state == State::Heard(Heard::Found(timestamp));
        let others = || (0..self.candidates.len()).filter(|at| *at != taken);
        let mut order: Vec<usize> = others().filter(|at| known(self.candidates[*at].state)).collect();
        order.extend(others().filter(|at| {
            let state = self.candidates[*at].state;
            !known(state) && matches!(state, State::Unasked | State::Asked)
        }));
        order
    }

    /// The step that follows. Each `Ask` counts as sent; call again until the step is another.
    pub fn next(&mut self) -> Step {
        if self.mode == Mode::OneFresh {
            if let Some(step) = self.next_of_one() {
                return step;
            }
            self.mode = Mode::Majority;
        }
        self.next_of_majority()
    }

    /// `None`: no single node can be believed, a majority is to be asked.
    fn next_of_one(&mut self) -> Option<Step> {
        let mut asked = 0;
        for (at, candidate) in self.candidates.iter().enumerate() {
            match candidate.state {
                State::Heard(Heard::Found(_)) if candidate.proved_fresh => return Some(Step::Take(at)),
                State::Heard(Heard::Missing(Some(_))) if candidate.proved_fresh => {
                    return Some(Step::NotFound);
                }
                State::Heard(_) => return None,
                State::Asked => asked += 1,
                State::Unasked | State::Failed => {}
            }
        }
        if asked > 0 && asked > self.hedges {
            return Some(Step::Wait);
        }
        let next = (0..self.candidates.len()).find(|at| {
            let candidate = &self.candidates[*at];
            candidate.hoped_fresh && candidate.state == State::Unasked
        })?;
        Some(self.ask(next, true))
    }

    fn next_of_majority(&mut self) -> Step {
        // A fresh node is believed here too, unless all are to be compared.
        if !self.newest
            && let Some(step) = self.believe_a_fresh_one()
        {
            return step;
        }
        if let Some(next) = self.next_to_ask() {
            let whole = !self.candidates.iter().any(|candidate| {
                candidate.whole && matches!(candidate.state, State::Asked | State::Heard(_))
            });
            return self.ask(next, whole);
        }
        let pending = |primary: bool| {
            let of = self
                .candidates
                .iter()
                .filter(move |candidate| candidate.primary == primary);
            of.filter(|candidate| candidate.state == State::Asked).count()
        };
        let waits_for_more = pending(false) > 0 || (self.newest && pending(true) > 0);
        let nothing_pending = pending(true) + pending(false) == 0;
        if self.votes() >= self.quorum && (nothing_pending || !waits_for_more || self.patience_over) {
            return self.newest_heard();
        }
        if nothing_pending {
            return Step::Unavailable;
        }
        Step::Wait
    }

    fn believe_a_fresh_one(&self) -> Option<Step> {
        self.candidates
            .iter()
            .enumerate()
            .find_map(|(at, candidate)| match candidate.state {
                State::Heard(Heard::Found(_)) if candidate.proved_fresh => Some(Step::Take(at)),
                State::Heard(Heard::Missing(Some(_))) if candidate.proved_fresh => Some(Step::NotFound),
                _ => None,
            })
    }

    /// Primaries not asked yet, then one handoff for each primary or handoff that failed.
    fn next_to_ask(&self) -> Option<usize> {
        let unasked = |primary: bool| {
            let at = |(_, candidate): &(usize, &Candidate)| {
                candidate.primary == primary && candidate.state == State::Unasked
            };
            self.candidates.iter().enumerate().find(at).map(|(at, _)| at)
        };
        if let Some(primary) = unasked(true) {
            return Some(primary);
        }
        let failed = self
            .candidates
            .iter()
            .filter(|candidate| candidate.state == State::Failed)
            .count();
        let stand_ins = self
            .candidates
            .iter()
            .filter(|candidate| !candidate.primary && candidate.state != State::Unasked)
            .count();
        if failed > stand_ins { unasked(false) } else { None }
    }

    /// Primaries count with any answer, stand-ins only when they know something.
    fn votes(&self) -> usize {
        let votes = |candidate: &&Candidate| match candidate.state {
            State::Heard(Heard::Missing(None)) => candidate.primary,
            State::Heard(_) => true,
            _ => false,
        };
        self.candidates.iter().filter(votes).count()
    }

    /// Of equal moments a tombstone wins, then the candidate that already sends its body, then the first.
    fn newest_heard(&self) -> Step {
        let mut best: Option<((Timestamp, bool, bool), Step)> = None;
        for (at, candidate) in self.candidates.iter().enumerate() {
            let (key, step) = match candidate.state {
                State::Heard(Heard::Found(timestamp)) => {
                    ((timestamp, false, candidate.whole), Step::Take(at))
                }
                State::Heard(Heard::Missing(Some(timestamp))) => ((timestamp, true, false), Step::NotFound),
                _ => continue,
            };
            if best.as_ref().is_none_or(|(known, _)| key > *known) {
                best = Some((key, step));
            }
        }
        best.map_or(Step::NotFound, |(_, step)| step)
    }

    fn ask(&mut self, candidate: usize, whole: bool) -> Step {
        self.candidates[candidate].state = State::Asked;
        self.candidates[candidate].whole = whole;
        Step::Ask { candidate, whole }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy)]
    enum Told {
        /// Found at this second, by a node that proves to be fresh.
        Fresh(usize, u64),
        /// Found at this second, by a node that does not.
        Stale(usize, u64),
        Nothing(usize),
        FreshNothing(usize),
        Tombstone(usize, u64),
        Failed(usize),
        Overdue,
    }
    use Told::*;

    /// Plays a read of three primaries and two handoffs (candidates 3, 4). Returns whom it asked, and the last step.
    fn run(hopes: [bool; 3], newest: bool, told: &[Told]) -> (Vec<usize>, Step) {
        let mut plan = ReadPlan::new(&hopes, 2, 3, newest);
        let mut asked = Vec::new();
        let mut settle = |plan: &mut ReadPlan| loop {
            match plan.next() {
                Step::Ask { candidate, .. } => asked.push(candidate),
                other => return other,
            }
        };
        let mut step = settle(&mut plan);
        let at = Timestamp::from_secs;
        for event in told {
            match *event {
                Fresh(who, when) => plan.heard(who, Heard::Found(at(when)), true),
                Stale(who, when) => plan.heard(who, Heard::Found(at(when)), false),
                Nothing(who) => plan.heard(who, Heard::Missing(None), false),
                FreshNothing(who) => plan.heard(who, Heard::Missing(None), true),
                Tombstone(who, when) => plan.heard(who, Heard::Missing(Some(at(when))), false),
                Failed(who) => plan.failed(who),
                Overdue => plan.overdue(),
            }
            step = settle(&mut plan);
        }
        (asked, step)
    }

    #[test]
    fn one_fresh_primary_is_believed() {
        let hopes = [true, true, false];
        for (name, told, asked, step) in [
            ("starts with one", &[][..], vec![0], Step::Wait),
            ("it has it", &[Fresh(0, 5)], vec![0], Step::Take(0)),
            (
                "it is slow: the next fresh one",
                &[Overdue],
                vec![0, 1],
                Step::Wait,
            ),
            (
                "the hedge wins",
                &[Overdue, Fresh(1, 5)],
                vec![0, 1],
                Step::Take(1),
            ),
            (
                "it is dead: the next fresh one",
                &[Failed(0)],
                vec![0, 1],
                Step::Wait,
            ),
            (
                "both dead: a majority is needed",
                &[Failed(0), Failed(1)],
                vec![0, 1, 2, 3, 4],
                Step::Wait,
            ),
            (
                "it restarted unseen: ask the others",
                &[Stale(0, 5)],
                vec![0, 1, 2],
                Step::Wait,
            ),
            (
                "the others know newer",
                &[Stale(0, 5), Stale(1, 9)],
                vec![0, 1, 2],
                Step::Take(1),
            ),
            (
                "the others know it is gone",
                &[Stale(0, 5), Tombstone(1, 9)],
                vec![0, 1, 2],
                Step::NotFound,
            ),
            (
                "a fresh 404 is checked",
                &[FreshNothing(0)],
                vec![0, 1, 2],
                Step::Wait,
            ),
            (
                "a majority has nothing",
                &[FreshNothing(0), Nothing(1)],
                vec![0, 1, 2],
                Step::NotFound,
            ),
            (
                "another fresh one has it",
                &[FreshNothing(0), Fresh(1, 3)],
                vec![0, 1, 2],
                Step::Take(1),
            ),
            ("all are slow", &[Overdue, Overdue], vec![0, 1, 2], Step::Wait),
        ] {
            assert_eq!(run(hopes, false, told), (asked, step), "{name}");
        }
    }

    #[test]
    fn without_a_fresh_one_the_newest_of_a_majority_wins() {
        let all = vec![0, 1, 2];
        let with = |more: &[usize]| [&[0, 1, 2], more].concat();
        for (name, told, asked, step) in [
            ("asks all", &[][..], all.clone(), Step::Wait),
            (
                "one answer is no majority",
                &[Stale(0, 5)],
                all.clone(),
                Step::Wait,
            ),
            (
                "two that agree",
                &[Stale(1, 5), Stale(0, 5)],
                all.clone(),
                Step::Take(0),
            ),
            (
                "the newer one",
                &[Stale(0, 5), Stale(1, 6)],
                all.clone(),
                Step::Take(1),
            ),
            (
                "one has it, one does not",
                &[Nothing(0), Stale(1, 6)],
                all.clone(),
                Step::Take(1),
            ),
            (
                "a deletion of the same moment",
                &[Stale(0, 5), Tombstone(1, 5)],
                all.clone(),
                Step::NotFound,
            ),
            (
                "an older deletion",
                &[Stale(0, 5), Tombstone(1, 4)],
                all.clone(),
                Step::Take(0),
            ),
            (
                "a majority has nothing",
                &[Nothing(0), Nothing(2)],
                all.clone(),
                Step::NotFound,
            ),
            (
                "one dead: its stand-in is heard before a 404",
                &[Failed(0), Nothing(1), Nothing(2)],
                with(&[3]),
                Step::Wait,
            ),
            (
                "the stand-in has what the others missed",
                &[Failed(0), Nothing(1), Nothing(2), Stale(3, 7)],
                with(&[3]),
                Step::Take(3),
            ),
            (
                "the stand-in has nothing either",
                &[Failed(0), Nothing(1), Nothing(2), Nothing(3)],
                with(&[3]),
                Step::NotFound,
            ),
            (
                "the stand-in is too slow",
                &[Failed(0), Stale(1, 5), Stale(2, 5), Overdue],
                with(&[3]),
                Step::Take(1),
            ),
            (
                "two dead, nothing known: 503 rather than 404",
                &[Failed(0), Failed(1), Nothing(2), Nothing(3), Nothing(4)],
                with(&[3, 4]),
                Step::Unavailable,
            ),
            (
                "two dead, written meanwhile: the stand-in proves it (and already sends the body)",
                &[Failed(0), Failed(1), Stale(2, 5), Stale(3, 5), Nothing(4)],
                with(&[3, 4]),
                Step::Take(3),
            ),
            (
                "everything is dead",
                &[Failed(0), Failed(1), Failed(2), Failed(3), Failed(4)],
                with(&[3, 4]),
                Step::Unavailable,
            ),
        ] {
            assert_eq!(run([false; 3], false, told), (asked, step), "{name}");
        }
    }

    #[test]
    fn newest_waits_for_all_primaries() {
        for (name, told, step) in [
            ("two of three", &[Fresh(0, 5), Fresh(1, 5)][..], Step::Wait),
            (
                "the third is newer",
                &[Fresh(0, 5), Fresh(1, 5), Stale(2, 6)],
                Step::Take(2),
            ),
            (
                "the third is too slow",
                &[Fresh(0, 5), Fresh(1, 5), Overdue],
                Step::Take(0),
            ),
        ] {
            assert_eq!(run([true; 3], true, told).1, step, "{name}");
        }
    }

    #[test]
    fn a_body_is_asked_once_and_resumed_from_those_who_hold_it() {
        let mut plan = ReadPlan::new(&[false; 3], 1, 3, false);
        assert_eq!(
            plan.next(),
            Step::Ask {
                candidate: 0,
                whole: true
            }
        );
        assert_eq!(
            plan.next(),
            Step::Ask {
                candidate: 1,
                whole: false
            }
        );
        assert_eq!(
            plan.next(),
            Step::Ask {
                candidate: 2,
                whole: false
            }
        );
        assert_eq!(plan.next(), Step::Wait);
        let at = Timestamp::from_secs(5);
        plan.heard(0, Heard::Found(at), false);
        plan.heard(2, Heard::Found(at), false);
        assert_eq!(plan.next(), Step::Take(0));
        assert_eq!(plan.others(0, at), vec![2, 1, 3]);
    }
}
