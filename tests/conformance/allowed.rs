//! The list of what may differ (`allowed.txt`): a line each has a phase or `*`, a spec, `*` or the steps of one permutation, and after a colon the
//! reason.

use crate::spec::Phase;

pub struct Allowance {
    phase: String,
    spec: String,
    steps: String,
    used: std::cell::Cell<bool>,
    pub line: String,
}

pub fn read() -> Vec<Allowance> {
    let lines = include_str!("allowed.txt").lines();
    let lines = lines.filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines.map(parse).collect()
}

fn parse(line: &str) -> Allowance {
    let (what, why) = line.split_once(':').expect("a line has a reason");
    assert!(!why.trim().is_empty(), "no reason: {line}");
    let mut words = what.split_whitespace();
    let mut word = || words.next().expect("a phase and a spec").to_owned();
    let (phase, spec) = (word(), word());
    Allowance {
        phase,
        spec,
        steps: words.collect::<Vec<_>>().join(" "),
        used: false.into(),
        line: line.to_owned(),
    }
}

/// Whether the permutation may differ.
pub fn permits(all: &[Allowance], phase: Phase, spec: &str, steps: &str) -> bool {
    let fits = |a: &&Allowance| {
        [
            (&a.phase, phase.as_str()),
            (&a.spec, spec),
            (&a.steps, steps),
        ]
        .iter()
        .all(|(allowed, is)| *allowed == "*" || *allowed == is)
    };
    let found = all.iter().find(fits);
    found.inspect(|a| a.used.set(true)).is_some()
}

/// Returns the lines that nothing needed.
pub fn unused<'a>(all: &'a [Allowance], specs: &[String]) -> Vec<&'a str> {
    let ran = |a: &&Allowance| specs.contains(&a.spec) && !a.used.get();
    all.iter().filter(ran).map(|a| a.line.as_str()).collect()
}
