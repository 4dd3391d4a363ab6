//! `make conformance`: PostgreSQL's own isolation specs and the regression scripts that write rows, without pg_mig and with mirrors on every table
//! that they make, in each phase and on both sides. What is printed has to be the same, but for `allowed.txt`, and both sides have to be equal
//! whenever a migration ends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod allowed;
#[path = "../common/cluster.rs"]
mod cluster;
mod lexer;
#[path = "../common/patience.rs"]
mod patience;
mod phase;
mod script;
mod spec;
mod suite;
mod verdict;

use allowed::Allowances;
use cluster::Cluster;
use phase::Phase;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use suite::{Suite, Test};
use verdict::{Tally, Verdict};

const CONF: &str = "max_connections = 100\nmax_prepared_transactions = 20\nmax_worker_processes = 24\ndeadlock_timeout = 1s";

/// Tests wait more than they work.
const AT_ONCE: usize = 3;

/// The regression scripts that write rows in every way there is.
const SCRIPTS: [&str; 11] = [
    "triggers",
    "foreign_key",
    "insert_conflict",
    "update",
    "merge",
    "generated",
    "identity",
    "returning",
    "copy2",
    "with",
    "truncate",
];

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let folder = PathBuf::from(words.next().expect("the folder of the suite"));
    let wanted: Vec<String> = words.collect();
    let mut tests = all_tests(&folder);
    for group in &mut tests {
        group.retain(|test| wanted.is_empty() || wanted.contains(&test.name()));
    }
    let phases = mirrored_phases();
    let suite = Suite::new(Cluster::start("conformance", CONF), folder);
    let allowances = Allowances::read();
    let verdict = Verdict {
        suite: &suite,
        allowances: &allowances,
    };
    let tallies = run_tests(&verdict, &tests, &phases);
    let mut failures = report(&tallies);
    if phases.len() == Phase::MIRRORED.len() {
        let names: Vec<String> = tests.iter().flatten().map(Test::name).collect();
        for line in allowances.unused(&names) {
            println!("allowed, and the same: {line}");
            failures += 1;
        }
    }
    ExitCode::from(u8::from(failures > 0))
}

/// Those that PG_MIG_CONFORMANCE_PHASES names, or all.
fn mirrored_phases() -> Vec<Phase> {
    let wanted = std::env::var("PG_MIG_CONFORMANCE_PHASES").ok();
    let is_wanted = |phase: &Phase| {
        wanted
            .as_ref()
            .is_none_or(|w| w.split(',').any(|name| name == phase.as_str()))
    };
    Phase::MIRRORED.into_iter().filter(is_wanted).collect()
}

/// Tests that one thread runs, one after the other.
type Group = Vec<Test>;

/// The scripts, which take longest, and the specs of the suite's own schedule, which need nothing special. A script makes roles, so it does not
/// run beside itself with keys.
fn all_tests(folder: &Path) -> Vec<Group> {
    let schedule = folder.join("isolation/isolation_schedule");
    let schedule = std::fs::read_to_string(schedule).expect("a schedule");
    let specs = schedule.lines().filter_map(|l| l.strip_prefix("test: "));
    let specs = specs.flat_map(str::split_whitespace);
    let specs = specs.map(|name| vec![Test::Spec(name.to_owned())]);
    let scripts = SCRIPTS.iter().map(|name| {
        let name = || (*name).to_owned();
        vec![Test::Script(name()), Test::KeyedScript(name())]
    });
    scripts.chain(specs).collect()
}

/// Runs each test without mirrors and then in each phase.
fn run_tests(verdict: &Verdict, tests: &[Group], phases: &[Phase]) -> BTreeMap<Phase, Tally> {
    let next = Mutex::new(tests.iter());
    let tallies = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let taken = next.lock().unwrap().next();
                    let Some(group) = taken else {
                        break;
                    };
                    for test in group {
                        run_test(verdict, test, phases, &tallies);
                    }
                }
            });
        }
    });
    tallies.into_inner().unwrap()
}

fn run_test(
    verdict: &Verdict,
    test: &Test,
    phases: &[Phase],
    tallies: &Mutex<BTreeMap<Phase, Tally>>,
) {
    let plain = verdict.suite.run(test, Phase::Plain);
    for phase in phases.iter().copied() {
        let with = verdict.suite.run(test, phase);
        let mut tallies = tallies.lock().unwrap();
        let tally = tallies.entry(phase).or_default();
        verdict.judge(test, phase, &plain, &with, tally);
    }
}

/// Prints the sums; returns the failures.
fn report(tallies: &BTreeMap<Phase, Tally>) -> usize {
    for (phase, tally) in tallies {
        println!(
            "{}: {} permutations and statements the same, {} as allowed, {} comparisons of two sides",
            phase.as_str(),
            tally.same,
            tally.allowed,
            tally.comparisons
        );
    }
    tallies.values().map(|tally| tally.failures).sum()
}
