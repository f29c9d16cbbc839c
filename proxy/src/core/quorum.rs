//! Counts the answers of replicas to a write: when to wait, when to try a handoff, when and what to answer.

use http::StatusCode;

/// How many of `replicas` must agree: a majority, so that any two quorums share a replica.
pub fn quorum_size(replicas: usize) -> usize {
    replicas / 2 + 1
}

/// Chooses the answer that a quorum gave. Classes are tried in the order 2xx, 3xx, 4xx; within the winning class the
/// commonest status wins, the earliest of equals. `None`: no class has a quorum, the client must hear 503.
///
/// Returns the position of the chosen answer.
pub fn best_response(statuses: &[StatusCode], quorum: usize) -> Option<usize> {
    for class in [2, 3, 4] {
        let of_class = |status: &&StatusCode| status.as_u16() / 100 == class;
        if statuses.iter().filter(of_class).count() < quorum {
            continue;
        }
        let count = |status: StatusCode| statuses.iter().filter(|other| **other == status).count();
        let most = statuses
            .iter()
            .filter(of_class)
            .map(|status| count(*status))
            .max()?;
        return statuses
            .iter()
            .position(|status| status.as_u16() / 100 == class && count(*status) == most);
    }
    None
}

/// As [`best_response`], but when no class has a quorum, 404 is taken for 204 and asked again: a DELETE that some
/// replicas did and others had no need to do is done.
pub fn best_delete_response(statuses: &[StatusCode], quorum: usize) -> Option<StatusCode> {
    if let Some(at) = best_response(statuses, quorum) {
        return Some(statuses[at]);
    }
    let done = |status: &StatusCode| match *status {
        StatusCode::NOT_FOUND => StatusCode::NO_CONTENT,
        other => other,
    };
    let taken: Vec<StatusCode> = statuses.iter().map(done).collect();
    best_response(&taken, quorum).map(|at| taken[at])
}

/// Where one replica's request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    /// Connecting, or waiting for `100 Continue`.
    Opening,
    /// Takes bytes.
    Ready,
    /// Gave its final answer.
    Answered(StatusCode),
    /// No device could be found for it, or it broke after bytes had flowed.
    Lost,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Wait,
    /// Open this slot again on the next handoff.
    TryHandoff(usize),
    /// A quorum can take the body: read the client. Slots still opening may catch up within their queues.
    StartBody,
    /// Answer the client so; replicas still out may finish behind the answer.
    Succeed(StatusCode),
    /// Answer the client so and store nothing more.
    Fail(StatusCode),
}

/// The state of one object PUT over its replicas. Told what happens to each slot, says the next [`Step`].
///
/// Invariant: `Succeed` is said only when a quorum of slots has answered 2xx (or 409, which says that something newer
/// is stored), `StartBody` only when a quorum can still be reached.
#[derive(Debug)]
pub struct PutQuorum {
    slots: Vec<Slot>,
    quorum: usize,
    handoffs_left: usize,
    /// Bytes have flowed: a broken slot cannot begin again elsewhere.
    streaming: bool,
}

impl PutQuorum {
    pub fn new(replicas: usize, handoffs: usize) -> Self {
        PutQuorum {
            slots: vec![Slot::Opening; replicas],
            quorum: quorum_size(replicas),
            handoffs_left: handoffs,
            streaming: false,
        }
    }

    /// The slot's device says it takes the body.
    pub fn connected(&mut self, slot: usize) -> Step {
        self.slots[slot] = Slot::Ready;
        self.next()
    }

    /// The slot's device cannot be reached, broke, or answered that it is not able (507, 5xx).
    pub fn failed(&mut self, slot: usize) -> Step {
        if !self.streaming && self.handoffs_left > 0 {
            self.handoffs_left -= 1;
            self.slots[slot] = Slot::Opening;
            return Step::TryHandoff(slot);
        }
        self.slots[slot] = Slot::Lost;
        self.next()
    }

    /// The slot's queue stayed full for the stall timeout: it is dropped.
    pub fn stalled(&mut self, slot: usize) -> Step {
        self.slots[slot] = Slot::Lost;
        self.next()
    }

    /// The slot gave a final answer, before or after the body.
    pub fn answered(&mut self, slot: usize, status: StatusCode) -> Step {
        if status.is_server_error() {
            return self.failed(slot);
        }
        self.slots[slot] = Slot::Answered(status);
        self.next()
    }

    /// The client's body is being sent; from here on lost slots stay lost.
    pub fn body_started(&mut self) {
        self.streaming = true;
    }

    /// Whether every slot knows where it stands: nothing is left to wait for before the body.
    pub fn settled(&self) -> bool {
        !self.slots.contains(&Slot::Opening)
    }

    /// The step that follows from what is known.
    pub fn next(&self) -> Step {
        let count = |wanted: fn(&Slot) -> bool| self.slots.iter().filter(|slot| wanted(slot)).count();
        let answered = |status: StatusCode| {
            self.slots
                .iter()
                .filter(|slot| **slot == Slot::Answered(status))
                .count()
        };
        // One replica that holds the object is enough to refuse "only if it is not there".
        if answered(StatusCode::PRECONDITION_FAILED) > 0 {
            return Step::Fail(StatusCode::PRECONDITION_FAILED);
        }
        let open = count(|slot| matches!(slot, Slot::Opening | Slot::Ready));
        let stored = count(|slot| matches!(slot, Slot::Answered(status) if status.is_success()));
        let newer = answered(StatusCode::CONFLICT);
        if stored >= self.quorum {
            return Step::Succeed(StatusCode::CREATED);
        }
        // Swift: what is stored is newer than this request, so the request counts as done and overwritten.
        if stored + newer >= self.quorum && newer > 0 {
            return Step::Succeed(StatusCode::ACCEPTED);
        }
        if stored + newer + open < self.quorum {
            let statuses: Vec<StatusCode> = self.slots.iter().filter_map(Slot::status).collect();
            let refused = best_response(&statuses, self.quorum).map(|at| statuses[at]);
            return Step::Fail(refused.unwrap_or(StatusCode::SERVICE_UNAVAILABLE));
        }
        let ready = count(|slot| *slot == Slot::Ready);
        if !self.streaming && ready + stored + newer >= self.quorum && ready > 0 {
            return Step::StartBody;
        }
        Step::Wait
    }
}

impl Slot {
    fn status(&self) -> Option<StatusCode> {
        match self {
            Slot::Answered(status) => Some(*status),
            Slot::Opening | Slot::Ready | Slot::Lost => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statuses(codes: &[u16]) -> Vec<StatusCode> {
        codes
            .iter()
            .map(|code| StatusCode::from_u16(*code).unwrap())
            .collect()
    }

    #[test]
    fn quorum_sizes_are_majorities() {
        for (replicas, quorum) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)] {
            assert_eq!(quorum_size(replicas), quorum, "{replicas}");
        }
    }

    #[test]
    fn the_best_response_is_what_a_quorum_said() {
        for (given, chosen) in [
            (&[201, 201, 202][..], Some(201)),
            (&[202, 201, 202], Some(202)),
            (&[201, 202, 503], Some(201)),
            (&[201, 503, 503], None),
            (&[404, 404, 201], Some(404)),
            (&[404, 409, 503], Some(404)),
            (&[409, 404, 409], Some(409)),
            (&[503, 503, 503], None),
            (&[507, 201, 404], None),
            (&[], None),
        ] {
            let given = statuses(given);
            let found = best_response(&given, 2).map(|at| given[at].as_u16());
            assert_eq!(found, chosen, "{given:?}");
        }
    }

    #[test]
    fn a_delete_that_some_had_no_need_to_do_is_done() {
        for (given, chosen) in [
            (&[204, 204, 404][..], Some(204)),
            (&[404, 404, 204], Some(404)),
            (&[204, 404, 503], Some(204)),
            (&[204, 503, 503], None),
            (&[404, 404, 503], Some(404)),
            (&[409, 404, 503], Some(409)),
            (&[409, 409, 503], Some(409)),
        ] {
            let found = best_delete_response(&statuses(given), 2).map(|status| status.as_u16());
            assert_eq!(found, chosen, "{given:?}");
        }
    }

    #[derive(Clone, Copy)]
    enum Told {
        Connected(usize),
        Failed(usize),
        Stalled(usize),
        Answered(usize, u16),
        Body,
    }
    use Told::*;

    /// Tells a PUT of three replicas and two handoffs each event in turn; returns the last step.
    fn run(events: &[Told]) -> Step {
        let mut put = PutQuorum::new(3, 2);
        let mut step = put.next();
        for event in events {
            step = match *event {
                Connected(slot) => put.connected(slot),
                Failed(slot) => put.failed(slot),
                Stalled(slot) => put.stalled(slot),
                Answered(slot, code) => put.answered(slot, StatusCode::from_u16(code).unwrap()),
                Body => {
                    put.body_started();
                    put.next()
                }
            };
        }
        step
    }

    #[test]
    fn a_put_goes_as_its_replicas_go() {
        let created = Step::Succeed(StatusCode::CREATED);
        let unavailable = Step::Fail(StatusCode::SERVICE_UNAVAILABLE);
        for (name, events, expected) in [
            ("nothing yet", &[][..], Step::Wait),
            ("one is ready", &[Connected(0)], Step::Wait),
            ("two are ready", &[Connected(0), Connected(2)], Step::StartBody),
            ("a dead one gets a handoff", &[Failed(1)], Step::TryHandoff(1)),
            ("507 gets a handoff", &[Answered(1, 507)], Step::TryHandoff(1)),
            (
                "handoffs run out, two remain possible",
                &[Failed(0), Failed(0), Failed(0)],
                Step::Wait,
            ),
            (
                "too few before the body",
                &[Failed(0), Failed(0), Failed(0), Failed(1)],
                unavailable,
            ),
            (
                "broken after the body began: no handoff",
                &[Connected(0), Connected(1), Connected(2), Body, Failed(0)],
                Step::Wait,
            ),
            (
                "two broken after the body began",
                &[
                    Connected(0),
                    Connected(1),
                    Connected(2),
                    Body,
                    Failed(0),
                    Stalled(1),
                ],
                unavailable,
            ),
            (
                "a quorum stored it",
                &[
                    Connected(0),
                    Connected(1),
                    Body,
                    Answered(0, 201),
                    Answered(1, 201),
                ],
                created,
            ),
            (
                "one stored, one stalled, one may still",
                &[
                    Connected(0),
                    Connected(1),
                    Connected(2),
                    Body,
                    Answered(0, 201),
                    Stalled(1),
                ],
                Step::Wait,
            ),
            (
                "it is there already",
                &[Connected(0), Answered(1, 412)],
                Step::Fail(StatusCode::PRECONDITION_FAILED),
            ),
            (
                "something newer is there",
                &[Answered(0, 409), Answered(1, 409)],
                Step::Succeed(StatusCode::ACCEPTED),
            ),
            (
                "newer on one, stored on another",
                &[Connected(0), Answered(1, 409), Body, Answered(0, 201)],
                Step::Succeed(StatusCode::ACCEPTED),
            ),
            (
                "the bytes were wrong",
                &[
                    Connected(0),
                    Connected(1),
                    Body,
                    Answered(0, 422),
                    Answered(1, 422),
                ],
                Step::Fail(StatusCode::UNPROCESSABLE_ENTITY),
            ),
        ] {
            assert_eq!(run(events), expected, "{name}");
        }
    }
}
