//! Chooses the nodes a read asks, in which order, when to ask one more, and when to give up.
//!
//! One *fresh* primary (see `freshness`) is believed alone. When none is known to be fresh, or the one asked does not
//! prove it, a majority of the primaries is asked and the newest timestamp wins, tombstones included. A primary that
//! fails is stood in for by a handoff, as it was when something was written while it was away.
//!
//! After a change of the rings a primary may have nothing yet. It is asked late, and the devices that were primaries
//! before are asked too: "not there" then takes a majority of those that had it as well.
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
    /// It was a primary before the rings changed.
    was_primary: bool,
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
    /// The newest of all is wanted (`X-Newest`): no fresh one is believed alone.
    newest: bool,
    /// All primaries are waited for, not only a majority.
    waits_for_all: bool,
    quorum: usize,
    /// Answers of devices that were primaries before the rings changed without which nothing is said to be missing.
    former_quorum: usize,
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
            was_primary: primary,
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
            waits_for_all: newest,
            quorum: quorum_size(replicas.min(primaries.len()).max(1)),
            former_quorum: 0,
            patience_over: false,
            hedges: 0,
        }
    }

    /// `newcomers` says for each primary whether it may have nothing yet; when one may, `former` candidates follow the
    /// primaries: devices that were primaries, of `former_replicas`.
    pub fn after_a_ring_change(mut self, newcomers: &[bool], former: usize, former_replicas: usize) -> Self {
        if !newcomers.contains(&true) {
            return self;
        }
        for (candidate, is_new) in self.candidates.iter_mut().zip(newcomers) {
            candidate.was_primary = !is_new;
        }
        let at = newcomers.len();
        let added = (0..former).map(|_| Candidate {
            primary: false,
            was_primary: true,
            hoped_fresh: false,
            state: State::Unasked,
            whole: false,
            proved_fresh: false,
        });
        self.candidates.splice(at..at, added);
        // Those that left the rings cannot be asked.
        let left = self
            .candidates
            .iter()
            .filter(|candidate| candidate.was_primary)
            .count();
        self.former_quorum = quorum_size(former_replicas).min(left);
        self
    }

    /// Some write is known to be on fewer primaries than a majority, because handoffs stood in: any two primaries may
    /// both lack it, so that all are waited for, and a handoff is heard for each that fails.
    pub fn after_thin_writes(mut self, any: bool) -> Self {
        self.waits_for_all |= any;
        self
    }

    /// A plan that always asks a majority: for containers and accounts, whose rows arrive one replica at a time.
    pub fn majority(primaries: usize, handoffs: usize, replicas: usize) -> Self {
        Self::new(&vec![false; primaries], handoffs, replicas, false)
    }

    /// A candidate answered; `fresh` when the answer itself proves that its device has missed nothing. Of a device that
    /// is not a primary that proves nothing: a write that all primaries took never came to it, and what it holds may be
    /// what it kept for one of them before.
    pub fn heard(&mut self, candidate: usize, heard: Heard, fresh: bool) {
        let candidate = &mut self.candidates[candidate];
        candidate.state = State::Heard(heard);
        candidate.proved_fresh = fresh && candidate.primary;
    }

    /// A candidate could not be reached, broke, or is not able to answer.
    pub fn failed(&mut self, candidate: usize) {
        self.candidates[candidate].state = State::Failed;
    }

    /// The hedge delay passed without an answer: one more is asked. In majority mode, stand-ins and (where all
    /// are wanted) slow primaries are no longer waited for once a majority has answered.
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
        let waits_for_more = pending(false) > 0 || (self.waits_for_all && pending(true) > 0);
        let nothing_pending = pending(true) + pending(false) == 0;
        let former_heard = self.former_votes() >= self.former_quorum;
        let enough = !waits_for_more && former_heard;
        if self.votes() >= self.quorum && (nothing_pending || enough || self.patience_over) {
            let knows_something = self.candidates.iter().any(
                |candidate| matches!(candidate.state, State::Heard(heard) if heard != Heard::Missing(None)),
            );
            if knows_something || former_heard {
                return self.newest_heard();
            }
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

    /// Primaries not asked yet, those of before too, then one handoff for each primary or handoff that failed.
    fn next_to_ask(&self) -> Option<usize> {
        let is_handoff = |candidate: &Candidate| !candidate.primary && !candidate.was_primary;
        let unasked = |handoff: bool| {
            let at = |(_, candidate): &(usize, &Candidate)| {
                is_handoff(candidate) == handoff && candidate.state == State::Unasked
            };
            self.candidates.iter().enumerate().find(at).map(|(at, _)| at)
        };
        if let Some(primary) = unasked(false) {
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
            .filter(|candidate| is_handoff(candidate) && candidate.state != State::Unasked)
            .count();
        if failed > stand_ins { unasked(true) } else { None }
    }

    /// Answers of those that had it before the rings changed, or prove that they have it now.
    fn former_votes(&self) -> usize {
        let votes = |candidate: &&Candidate| {
            matches!(candidate.state, State::Heard(_)) && (candidate.was_primary || candidate.proved_fresh)
        };
        self.candidates.iter().filter(votes).count()
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
mod tests;
