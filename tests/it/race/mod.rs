//! The race matrix: one batch against one transaction of an application, at every moment, at every level; each kind of case in `make test`,
//! and every case in `make soak`. `family` has sessions against each other instead.

mod arena;
mod broken;
mod family;
mod ids;
mod matrix;
mod session;

use crate::common::cluster::Cluster;
use crate::wait::is_long;
use arena::Arena;
use ids::{BELOW, BY_SQL, DRAWN, Ids, KEPT, MERGED, NAMED, TREE, UNION};
use matrix::{Case, ENDS, LEVELS, Moment, OPERATIONS, OPERATIONS_ON_A_DEFERRABLE_KEY, Operation};

const KEY: &str = "PRIMARY KEY (id)";
const DEFERRABLE_KEY: &str = "PRIMARY KEY (id) DEFERRABLE";

/// So many cases, then new sessions.
const SESSION: usize = 100;

#[test]
fn no_interleaving_loses_or_resurrects_a_row() {
    let cluster = Cluster::start("it_race", "");
    let halves = OPERATIONS.split_at(OPERATIONS.len() / 2);
    let late = &OPERATIONS_ON_A_DEFERRABLE_KEY;
    let failed = std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut failed = play(&cluster, "race_1", KEY, &BELOW, halves.0);
            failed.extend(play(&cluster, "race_2", KEY, &BY_SQL, halves.1));
            failed
        });
        let mut failed = play(&cluster, "race_3", KEY, &BELOW, halves.1);
        failed.extend(play(&cluster, "race_4", KEY, &BY_SQL, halves.0));
        failed.extend(play(&cluster, "race_5", DEFERRABLE_KEY, &KEPT, late));
        failed.extend(other.join().expect("the thread ends"));
        failed
    });
    report(&failed);
}

#[test]
fn no_interleaving_loses_a_row_or_its_id_where_ids_change() {
    let cluster = Cluster::start("it_race_ids", "");
    let late = &OPERATIONS_ON_A_DEFERRABLE_KEY;
    let all = |ids: &Ids| [&OPERATIONS[..], ids.operations].concat();
    let failed = std::thread::scope(|scope| {
        let other = scope.spawn(|| play(&cluster, "named", KEY, &NAMED, &all(&NAMED)));
        let drawn = scope.spawn(|| {
            let mut failed = play(&cluster, "drawn", KEY, &DRAWN, &OPERATIONS);
            failed.extend(play(&cluster, "late", DEFERRABLE_KEY, &DRAWN, late));
            failed
        });
        let mut failed = play(&cluster, "tree", KEY, &TREE, &all(&TREE));
        failed.extend(drawn.join().expect("the thread ends"));
        failed.extend(other.join().expect("the thread ends"));
        failed
    });
    report(&failed);
}

#[test]
fn no_interleaving_loses_a_row_where_tables_become_one() {
    let cluster = Cluster::start("it_race_together", "");
    let all = |ids: &Ids| [&OPERATIONS[..], ids.operations].concat();
    let failed = std::thread::scope(|scope| {
        let merged = scope.spawn(|| play(&cluster, "merged", KEY, &MERGED, &all(&MERGED)));
        let mut failed = play(&cluster, "side_by_side", KEY, &UNION, &all(&UNION));
        failed.extend(merged.join().expect("the thread ends"));
        failed
    });
    report(&failed);
}

#[test]
fn the_worker_loses_no_row_either_nor_does_the_one_that_takes_over() {
    let cluster = Cluster::start("it_race_worker", "");
    let arenas = [&BELOW, &BY_SQL].map(|ids| {
        let database = ids.name.replace(' ', "_").to_lowercase();
        Arena::new(&cluster, &database, KEY, ids)
    });
    let failed: Vec<String> = arenas.into_iter().flat_map(by_worker).collect();
    report(&failed);
}

/// What failed of the cases that a worker is raced through.
fn by_worker(mut arena: Arena) -> Vec<String> {
    let mut failed = Vec::new();
    let raced = ["update", "delete", "key change", "truncate"];
    let operations = OPERATIONS.into_iter().filter(|o| raced.contains(&o.0));
    for (o, operation) in operations.enumerate() {
        for (visit, n) in [1, 3, 6, 8, 11, 15].into_iter().enumerate() {
            for (at, level) in LEVELS.into_iter().enumerate() {
                for (e, end) in ENDS.into_iter().enumerate() {
                    if (visit + at + e) % 2 == 1 && !is_long() {
                        continue;
                    }
                    let ends = end == "COMMIT";
                    let moment = Moment::Visit { n, ends };
                    let case = Case {
                        operation,
                        moment,
                        level,
                        end,
                    };
                    // Every second worker is killed, at each visit and at each level.
                    let killed = (visit + at + o) % 2 == 0;
                    let outcome = arena.race_worker(&case, killed);
                    failed.extend(outcome.err().map(|f| f.to_string()));
                }
            }
        }
    }
    failed
}

fn report(failed: &[String]) {
    assert!(
        failed.is_empty(),
        "{} cases failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

/// What failed of all cases of some operations.
fn play(
    cluster: &Cluster,
    database: &str,
    key: &str,
    ids: &Ids,
    operations: &[Operation],
) -> Vec<String> {
    let mut arena = Arena::new(cluster, database, key, ids);
    let share = if is_long() { 1 } else { ids.share };
    let mut failed = Vec::new();
    for (n, case) in matrix::all(operations).iter().step_by(share).enumerate() {
        if n % SESSION == SESSION - 1 {
            arena.reconnect(cluster, database);
        }
        let outcome = arena.race(case);
        failed.extend(outcome.err().map(|f| format!("{}: {f}", ids.name)));
    }
    failed
}
