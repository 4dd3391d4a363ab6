//! The list of what may differ (`allowed.txt`): a line each has a phase or `*`, a test, `*` or the permutation or statement, and after a colon
//! the reason.

use crate::phase::Phase;
use std::sync::atomic::{AtomicBool, Ordering};

pub struct Allowances(Vec<Allowance>);

struct Allowance {
    phase: String,
    test: String,
    key: String,
    used: AtomicBool,
    line: &'static str,
}

impl Allowances {
    pub fn read() -> Self {
        let lines = include_str!("allowed.txt").lines();
        let lines = lines.filter(|l| !l.is_empty() && !l.starts_with('#'));
        Self(lines.map(parse).collect())
    }

    /// Whether the permutation or statement may differ.
    pub fn permit(&self, phase: Phase, test: &str, key: &str) -> bool {
        let fits = |a: &&Allowance| {
            [(&a.phase, phase.as_str()), (&a.test, test), (&a.key, key)]
                .iter()
                .all(|(allowed, is)| *allowed == "*" || *allowed == is)
        };
        let found = self.0.iter().find(fits);
        found
            .inspect(|a| a.used.store(true, Ordering::Relaxed))
            .is_some()
    }

    /// Returns the lines of these tests that nothing needed.
    pub fn unused(&self, tests: &[String]) -> Vec<&str> {
        let idle = |a: &&Allowance| tests.contains(&a.test) && !a.used.load(Ordering::Relaxed);
        self.0.iter().filter(idle).map(|a| a.line).collect()
    }
}

fn parse(line: &'static str) -> Allowance {
    let (what, why) = line.split_once(':').expect("a line has a reason");
    assert!(!why.trim().is_empty(), "no reason: {line}");
    let mut words = what.split_whitespace();
    let mut word = || words.next().expect("a phase and a test").to_owned();
    let (phase, test) = (word(), word());
    Allowance {
        phase,
        test,
        key: words.collect::<Vec<_>>().join(" "),
        used: AtomicBool::new(false),
        line,
    }
}
