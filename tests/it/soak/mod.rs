//! The soak: random schemas, random transactions, and a migration that is paused, cancelled, killed, rolled back and
//! begun again, until both sides are compared. `PG_MIG_SOAK_SECONDS` says how long, `PG_MIG_SOAK_SEED` repeats a run.

mod conductor;
mod schema;
mod writers;

use crate::common::cluster::Cluster;
use crate::common::writers::Random;
use conductor::{Conductor, Figures};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const SECONDS: u64 = 25;
/// From here on a run is a long one, with more kills in each round and at least fifty in all.
const LONG: u64 = 1200;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn soak() {
    let seconds = setting("PG_MIG_SOAK_SECONDS").unwrap_or(SECONDS);
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(1, |d| d.as_secs())
    };
    let first = setting("PG_MIG_SOAK_SEED").unwrap_or_else(now);
    let kills = if seconds < LONG { 1 } else { 4 };
    let cluster = Cluster::start("it_soak", 54360, "");
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut all = Figures::default();
    let mut seed = first;
    while Instant::now() < deadline {
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
    let killed = all.killed_backends + all.killed_servers;
    assert!(seconds < LONG || killed >= 50, "{killed} kills only");
}
