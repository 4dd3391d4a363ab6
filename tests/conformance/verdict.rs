//! Compares what a test printed with mirrors with what it printed without.

use crate::allowed::Allowances;
use crate::phase::Phase;
use crate::suite::{Outcome, Suite, Test};
use std::collections::BTreeMap;

/// How many permutations and statements of a phase were the same, differed as they may, and how often two sides were compared.
#[derive(Default)]
pub struct Tally {
    pub same: usize,
    pub allowed: usize,
    pub comparisons: usize,
    pub failures: usize,
}

pub struct Verdict<'a> {
    pub suite: &'a Suite,
    pub allowances: &'a Allowances,
}

impl Verdict<'_> {
    /// Prints what differs and may not.
    pub fn judge(
        &self,
        test: &Test,
        phase: Phase,
        plain: &Outcome,
        with: &Outcome,
        tally: &mut Tally,
    ) {
        for (key, output) in &plain.printed {
            let found = with.printed.get(key);
            if found.is_some_and(|f| f == output || self.suite.expected(test, key).contains(f)) {
                tally.same += 1;
            } else if self.allowances.permit(phase, &test.name(), key) {
                tally.allowed += 1;
            } else {
                tally.failures += 1;
                println!("differs: {} {} {key}", phase.as_str(), test.name());
            }
        }
        judge_rows(test, phase, with, tally);
    }
}

fn judge_rows(test: &Test, phase: Phase, outcome: &Outcome, tally: &mut Tally) {
    let (name, phase) = (test.name(), phase.as_str());
    let mut without: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for note in &outcome.notes {
        tally.comparisons += usize::from(note.differences.is_some());
        if let Some(n @ 1..) = note.differences {
            tally.failures += 1;
            println!("rows differ: {phase} {name} {}: {n}", note.relation);
        }
        if let Some(why) = &note.why {
            *without.entry((&note.relation, why)).or_default() += 1;
        }
    }
    for ((relation, why), times) in without {
        println!("without mirrors: {phase} {name} {relation}, {times} times: {why}");
    }
}
