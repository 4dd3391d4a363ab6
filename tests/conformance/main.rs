//! `make conformance`: PostgreSQL's own isolation specs, without pg_mig and with mirrors on every table that they make, in each phase and on both
//! sides. What the tester prints has to be the same, but for `allowed.txt`, and both sides have to be equal when a permutation ends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod allowed;
#[path = "../common/cluster.rs"]
mod cluster;
#[path = "../common/patience.rs"]
mod patience;
mod spec;

use allowed::Allowance;
use cluster::{Cluster, shell};
use spec::Phase;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

const CONF: &str = "max_connections = 100\nmax_prepared_transactions = 20\nmax_worker_processes = 24\ndeadlock_timeout = 1s";

/// What is tested, and what has been seen.
struct Run<'a> {
    cluster: &'a Cluster,
    tester: PathBuf,
    suite: PathBuf,
    specs: Vec<String>,
    out: PathBuf,
}

type Printed = BTreeMap<String, String>;

fn main() {
    let mut words = std::env::args().skip(1);
    let suite = PathBuf::from(words.next().expect("the folder of the suite"));
    let wanted: Vec<String> = words.collect();
    let cluster = Cluster::start("conformance", CONF);
    let run = Run {
        cluster: &cluster,
        tester: PathBuf::from(shell("printf %s \"$pgxs_test/isolation/isolationtester\"")),
        specs: if wanted.is_empty() {
            all_specs(&suite)
        } else {
            wanted
        },
        suite,
        out: PathBuf::from(shell(
            "mkdir -p $work/out/conformance; printf %s \"$work/out/conformance\"",
        )),
    };
    let mirrored = mirrored_phases();
    let phases: Vec<Phase> = std::iter::once(Phase::Plain)
        .chain(mirrored.iter().copied())
        .collect();
    let printed = run_phases(&run, &phases);
    let failures = judge(&run, &mirrored, &printed);
    std::process::exit(i32::from(failures > 0));
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

/// The suite's own schedule names the specs that need nothing special.
fn all_specs(suite: &Path) -> Vec<String> {
    let schedule = std::fs::read_to_string(suite.join("isolation_schedule")).expect("a schedule");
    let tests = schedule.lines().filter_map(|l| l.strip_prefix("test: "));
    tests
        .flat_map(str::split_whitespace)
        .map(str::to_owned)
        .collect()
}

/// Runs all phases, two at a time, each in a database of its own.
fn run_phases(run: &Run, phases: &[Phase]) -> BTreeMap<(Phase, String), Printed> {
    let next = Mutex::new(phases.iter());
    let printed = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let taken = next.lock().unwrap().next().copied();
                    let Some(phase) = taken else {
                        break;
                    };
                    prepare(run.cluster, phase);
                    for name in &run.specs {
                        let output = run.print(name, phase);
                        let parts = spec::permutations(&output);
                        printed.lock().unwrap().insert((phase, name.clone()), parts);
                    }
                    println!("ran {}", phase.as_str());
                }
            });
        }
    });
    printed.into_inner().unwrap()
}

fn prepare(cluster: &Cluster, phase: Phase) {
    let mut admin = cluster.connect("postgres");
    let database = phase.as_str();
    admin
        .batch_execute(&format!("CREATE DATABASE {database}"))
        .expect("creates");
    if phase == Phase::Plain {
        return;
    }
    let mut client = cluster.connect(database);
    client
        .batch_execute(include_str!("attach.sql"))
        .expect("attaches");
    if phase == Phase::SwitchedNew {
        admin
            .batch_execute(&format!(
                "ALTER DATABASE {database} SET search_path = new, public"
            ))
            .expect("sets");
    }
}

impl Run<'_> {
    /// Returns what the tester prints for the spec. Also kept in a file, for reading.
    fn print(&self, name: &str, phase: Phase) -> String {
        let file = self.suite.join("specs").join(format!("{name}.spec"));
        let text = std::fs::read_to_string(&file).expect("a spec");
        let Some(text) = spec::in_phase(name, &text, phase) else {
            return String::new();
        };
        let mut child = Command::new(&self.tester)
            .arg(format!(
                "host={} user=postgres dbname={}",
                self.cluster.host(),
                phase.as_str()
            ))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the tester runs");
        child
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .expect("writes");
        let output = child.wait_with_output().expect("ends");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let all = format!("{printed}{}", String::from_utf8_lossy(&output.stderr));
        std::fs::write(self.out.join(format!("{name}.{}", phase.as_str())), &all).expect("writes");
        printed
    }

    /// Outputs that PostgreSQL itself expects for a permutation: some specs have several.
    fn expected(&self, name: &str, steps: &str) -> Vec<String> {
        let file = |suffix: &str| {
            self.suite
                .join("expected")
                .join(format!("{name}{suffix}.out"))
        };
        let files = ["", "_1", "_2", "_3"].map(file);
        let texts = files.iter().filter_map(|f| std::fs::read_to_string(f).ok());
        texts
            .filter_map(|t| spec::permutations(&t).remove(steps))
            .collect()
    }
}

/// Prints what differs; returns how much of it may not.
fn judge(run: &Run, mirrored: &[Phase], printed: &BTreeMap<(Phase, String), Printed>) -> usize {
    let allowances = allowed::read();
    let mut failures = 0;
    for phase in mirrored.iter().copied() {
        let (mut same, mut permitted) = (0, 0);
        for name in &run.specs {
            let (plain, with) = (
                &printed[&(Phase::Plain, name.clone())],
                &printed[&(phase, name.clone())],
            );
            for (steps, output) in plain {
                let found = with.get(steps);
                if found.is_some_and(|f| f == output || run.expected(name, steps).contains(f)) {
                    same += 1;
                } else if allowed::permits(&allowances, phase, name, steps) {
                    permitted += 1;
                } else {
                    failures += 1;
                    println!("differs: {} {name} {steps}", phase.as_str());
                }
            }
        }
        failures += compare_rows(run, phase);
        println!(
            "{}: {same} permutations the same, {permitted} as allowed",
            phase.as_str()
        );
    }
    if mirrored.len() < Phase::MIRRORED.len() {
        return failures;
    }
    failures + needless(run, &allowances)
}

fn needless(run: &Run, allowances: &[Allowance]) -> usize {
    let unused = allowed::unused(allowances, &run.specs);
    for line in &unused {
        println!("allowed, and the same: {line}");
    }
    unused.len()
}

/// Prints the tables whose two sides differ; returns how many they are.
fn compare_rows(run: &Run, phase: Phase) -> usize {
    let mut client = run.cluster.connect(phase.as_str());
    let rows = |client: &mut postgres::Client, sql: &str| client.query(sql, &[]).expect("reads");
    for row in rows(
        &mut client,
        "SELECT spec, coalesce(relation, '(all)'), why, count(*) FROM conformance.note WHERE why IS NOT NULL GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
    ) {
        let (spec, relation, why, times): (String, String, String, i64) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        println!(
            "{}: {spec} {relation} without mirrors, {times} times: {why}",
            phase.as_str()
        );
    }
    let compared = rows(
        &mut client,
        "SELECT count(*), count(*) FILTER (WHERE differences > 0) FROM conformance.note WHERE differences IS NOT NULL",
    );
    println!(
        "{}: {} comparisons of two sides",
        phase.as_str(),
        compared[0].get::<_, i64>(0)
    );
    let wrong = rows(
        &mut client,
        "SELECT spec, relation, sum(differences)::bigint FROM conformance.note WHERE differences > 0 GROUP BY 1, 2 ORDER BY 1, 2",
    );
    for row in &wrong {
        let (spec, relation, count): (String, String, i64) = (row.get(0), row.get(1), row.get(2));
        println!("{}: {spec} {relation}: {count} rows differ", phase.as_str());
    }
    wrong.len()
}
