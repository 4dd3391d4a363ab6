//! The soak: random schemas, random transactions, and a migration that is paused, cancelled, killed, rolled back and
//! begun again, until both sides are compared. `PG_MIG_SOAK_SECONDS` says how long (without it, a round), `PG_MIG_SOAK_SEED`
//! repeats a run.

mod conductor;
mod ddl;
mod fuzz;
mod schema;
mod writers;

use crate::common::cluster::Cluster;
use crate::common::writers::Random;
use conductor::{Conductor, Figures};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// From here on a run is a long one, with more kills in each round and at least fifty in all.
const LONG: u64 = 1200;
const KILLS: u64 = 50;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(1, |d| d.as_secs())
}

#[test]
fn soak() {
    let seconds = setting("PG_MIG_SOAK_SECONDS").unwrap_or(0);
    let first = setting("PG_MIG_SOAK_SEED").unwrap_or_else(now);
    let (kills, at_least) = if seconds < LONG { (1, 0) } else { (4, KILLS) };
    let cluster = Cluster::start("it_soak", "");
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut all = Figures::default();
    let mut seed = first;
    while all.rounds == 0
        || Instant::now() < deadline
        || all.killed_backends + all.killed_servers < at_least
    {
        println!("soak: PG_MIG_SOAK_SEED={seed}");
        let mut conductor = Conductor::new(&cluster, Random::new(seed), kills);
        conductor.round(seed);
        all.add(&conductor.figures);
        println!("{all}");
        seed += 1;
    }
    assert!(
        all.compared > 0 && all.writers.statements > 0,
        "something was compared"
    );
}
