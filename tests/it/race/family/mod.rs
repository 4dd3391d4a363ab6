//! Parents and children on both sides: sessions that write them against each other, judged by rows and by errors. What each transaction comes to
//! is what it comes to in the same interleaving in tables without mirrors.

mod cases;
mod stage;
mod turns;

use crate::common::cluster::Cluster;
use crate::wait::is_long;
use cases::Case;
use stage::{Outcome, Phase, Stage};

const PHASES: [Phase; 3] = [Phase::DualWrite, Phase::Backfilled, Phase::Switched];

/// A phase, and the side that each session writes.
type Place = (Phase, [&'static str; 3]);

const PLACES: [Place; 6] = [
    (Phase::DualWrite, ["old"; 3]),
    (Phase::Backfilled, ["old"; 3]),
    (Phase::Switched, ["old"; 3]),
    (Phase::Switched, ["new"; 3]),
    (Phase::Switched, ["old", "new", "old"]),
    (Phase::Switched, ["new", "old", "new"]),
];

const DEADLOCK: &str = "40P01";
const NOT_SERIALIZABLE: &str = "40001";

#[test]
fn no_interleaving_of_parents_and_children_meets_an_error_of_ours() {
    let cluster = Cluster::start("it_race_family", "autovacuum = off");
    let failed = std::thread::scope(|scope| {
        let cluster = &cluster;
        let halves = [0, 1].map(|half| scope.spawn(move || play_half(cluster, half)));
        halves.map(|h| h.join().expect("the thread ends")).concat()
    });
    super::report(&failed);
}

/// What failed of every second case.
fn play_half(cluster: &Cluster, half: usize) -> Vec<String> {
    let mut stages = PHASES.map(|phase| {
        let database = format!("family_{half}_{phase:?}").to_lowercase();
        Stage::open(cluster, &database, phase)
    });
    let mut failed = Vec::new();
    for case in choose_cases().iter().skip(half).step_by(2) {
        let plain = stages[0].play(case, ["plain"; 3]);
        for (phase, sides) in PLACES {
            let outcome = stages[phase as usize].play(case, sides);
            let wrong = find_fault(case, &plain, &outcome, sides);
            failed.extend(wrong.map(|wrong| {
                format!("{phase:?} {sides:?}: {case}: {wrong}\n    {outcome}\n    plain: {plain}")
            }));
        }
    }
    failed
}

/// All cases, or some of each kind.
fn choose_cases() -> Vec<Case> {
    let chosen = cases::kinds().into_iter().flat_map(|(share, cases)| {
        let share = if is_long() { 1 } else { share };
        cases.into_iter().step_by(share)
    });
    chosen.collect()
}

/// What is wrong with an outcome, if anything is.
fn find_fault(
    case: &Case,
    plain: &Outcome,
    outcome: &Outcome,
    sides: [&str; 3],
) -> Option<&'static str> {
    if outcome.differences > 0 {
        return Some("rows differ");
    }
    // Whom a deadlock ends is up to a clock.
    if has_deadlock(plain) {
        return None;
    }
    // Sessions on two sides have no counterpart that locks and checks at the same moments.
    if is_mixed(sides) {
        let is_ours = has_deadlock(outcome) && !case.may_cross_sides();
        return is_ours.then_some("a deadlock");
    }
    let (ours, theirs) = (outcome.list_errors(), plain.list_errors());
    if ours != theirs {
        return (!is_another_victim(ours, theirs)).then_some("other errors");
    }
    // Keys of the new tables are checked later: there an error may come with another statement.
    if sides[0] == "old" && outcome.traces != plain.traces {
        return Some("other answers");
    }
    (outcome.rows != plain.rows).then_some("other rows")
}

/// Whether as many transactions cannot be serialized, but others: where both sides are written parents are locked before they are read, so a
/// conflict is seen by another one of those that take part in it.
fn is_another_victim(mut ours: Vec<Option<&str>>, mut theirs: Vec<Option<&str>>) -> bool {
    ours.sort_unstable();
    theirs.sort_unstable();
    ours == theirs && ours.contains(&Some(NOT_SERIALIZABLE))
}

fn has_deadlock(outcome: &Outcome) -> bool {
    outcome.list_errors().contains(&Some(DEADLOCK))
}

fn is_mixed(sides: [&str; 3]) -> bool {
    sides[0] != sides[1]
}

#[test]
fn a_mirror_that_locks_no_parents_meets_deadlocks() {
    let cluster = Cluster::start("it_broken_family", "autovacuum = off");
    let mut stage = Stage::open(&cluster, "broken", Phase::Switched);
    stage
        .control
        .batch_execute(include_str!("broken.sql"))
        .expect("breaks");
    let red = cases::list_crossings().iter().any(|case| {
        let plain = stage.play(case, ["plain"; 3]);
        let outcome = stage.play(case, ["new"; 3]);
        has_deadlock(&outcome) && find_fault(case, &plain, &outcome, ["new"; 3]).is_some()
    });
    assert!(red, "no case meets a deadlock");
}
