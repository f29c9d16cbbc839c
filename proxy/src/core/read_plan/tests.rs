//! Reads as stories: who was hoped for, what each node told, and what came of it.

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
fn a_fresh_handoff_proves_nothing() {
    let told = [Stale(0, 5), Stale(1, 9), Failed(2), Fresh(3, 5)];
    let (asked, step) = run([false; 3], false, &told);
    assert_eq!((asked, step), (vec![0, 1, 2, 3], Step::Take(1)));
    let told = [Failed(2), Fresh(3, 5)];
    assert_eq!(
        run([false; 3], false, &told).1,
        Step::Wait,
        "the primaries know better"
    );
}

#[test]
fn after_a_thin_write_two_primaries_are_not_enough() {
    let mut plan = ReadPlan::new(&[false; 3], 2, 3, false).after_thin_writes(true);
    while plan.next() != Step::Wait {}
    plan.heard(0, Heard::Missing(None), false);
    plan.heard(1, Heard::Missing(None), false);
    assert_eq!(plan.next(), Step::Wait, "the third may have it");
    plan.failed(2);
    assert_eq!(
        plan.next(),
        Step::Ask {
            candidate: 3,
            whole: false
        },
        "or the handoff that stood in"
    );
    assert_eq!(plan.next(), Step::Wait);
    plan.heard(3, Heard::Found(Timestamp::from_secs(5)), false);
    assert_eq!(plan.next(), Step::Take(3));
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

/// Three primaries, of which some are new, one (candidate 3) or two devices that were primaries, two handoffs.
#[test]
fn after_a_ring_change_those_that_had_it_are_asked() {
    let at = Timestamp::from_secs;
    let found = |when| Some(Heard::Found(at(when)));
    let nothing = Some(Heard::Missing(None));
    let tombstone = |when| Some(Heard::Missing(Some(at(when))));
    for (name, newcomers, former, told, step) in [
        (
            "a new one has nothing",
            [false, false, true],
            1,
            &[found(5), None, nothing][..],
            Step::Wait,
        ),
        (
            "only the new one has it yet",
            [false, false, true],
            1,
            &[nothing, None, found(6), nothing],
            Step::Take(2),
        ),
        (
            "all had nothing",
            [false, false, true],
            1,
            &[nothing, nothing, nothing, nothing],
            Step::NotFound,
        ),
        (
            "two new ones have nothing",
            [false, true, true],
            2,
            &[None, nothing, nothing],
            Step::Wait,
        ),
        (
            "where it was it is",
            [false, true, true],
            2,
            &[None, nothing, nothing, found(5), nothing],
            Step::Take(3),
        ),
        (
            "where it was it was deleted",
            [false, true, true],
            2,
            &[found(4), nothing, nothing, tombstone(5), nothing],
            Step::NotFound,
        ),
        (
            "nothing is left of before",
            [true, true, true],
            0,
            &[nothing, nothing],
            Step::NotFound,
        ),
    ] {
        let mut plan = ReadPlan::new(&[false; 3], 2, 3, false).after_a_ring_change(&newcomers, former, 3);
        let mut asked = 0;
        while let Step::Ask { .. } = plan.next() {
            asked += 1;
        }
        assert_eq!(asked, 3 + former, "{name}: all that may know are asked");
        for (candidate, heard) in told.iter().enumerate() {
            if let Some(heard) = heard {
                plan.heard(candidate, *heard, false);
            }
        }
        assert_eq!(plan.next(), step, "{name}");
    }
}

#[test]
fn without_those_that_had_it_nothing_is_said_to_be_missing() {
    let mut plan = ReadPlan::new(&[false; 3], 0, 3, false).after_a_ring_change(&[false, true, true], 2, 3);
    while let Step::Ask { .. } = plan.next() {}
    for candidate in 0..3 {
        plan.heard(candidate, Heard::Missing(None), false);
    }
    plan.overdue();
    assert_eq!(plan.next(), Step::Wait);
    plan.failed(3);
    plan.failed(4);
    assert_eq!(plan.next(), Step::Unavailable);
    // A new one that proves to have everything speaks for itself.
    plan.heard(1, Heard::Missing(None), true);
    assert_eq!(plan.next(), Step::NotFound);
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
