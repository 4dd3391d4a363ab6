//! Contenders in turn, and the table of what came of it.

use postgres::Client;
use std::time::{Duration, Instant};

/// One way to do the work; the time that counts.
pub struct Contender<'a> {
    pub name: &'static str,
    pub run: Box<dyn FnMut() -> Duration + 'a>,
}

/// Rounds of each table.
pub fn count() -> usize {
    setting("PG_MIG_BENCH_ROUNDS", 5)
}

pub fn setting(name: &str, otherwise: usize) -> usize {
    let given = std::env::var(name).ok();
    given.and_then(|s| s.parse().ok()).unwrap_or(otherwise)
}

pub fn timed(f: impl FnOnce()) -> Duration {
    let began = Instant::now();
    f();
    began.elapsed()
}

/// Runs all of them once for warmth, then `count()` rounds, each beginning with another one; prints a Markdown table with
/// ratios to the first.
pub fn compare(title: &str, mut all: Vec<Contender>) {
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); all.len()];
    for round in 0..=count() {
        for n in 0..all.len() {
            let which = (n + round) % all.len();
            let took = (all[which].run)().as_secs_f64();
            if round > 0 {
                times[which].push(took);
            }
        }
    }
    println!("\n### {title}\n");
    println!("| | seconds, median (min to max) | × the first |\n|---|---|---|");
    let first = median(&times[0]);
    for (c, t) in all.iter().zip(&times) {
        let low = t.iter().copied().fold(f64::INFINITY, f64::min);
        let high = t.iter().copied().fold(0.0, f64::max);
        println!(
            "| {} | {:.2} ({low:.2} to {high:.2}) | {:.2} |",
            c.name,
            median(t),
            median(t) / first
        );
    }
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    }
}

pub fn settings(client: &mut Client) {
    let rows = client
        .query(
            "SELECT name, current_setting(name) FROM pg_settings WHERE name IN ('server_version', 'shared_buffers', 'work_mem', \
             'max_wal_size', 'synchronous_commit', 'fsync', 'max_parallel_workers_per_gather', 'jit', 'autovacuum', 'wal_level') ORDER BY name",
            &[],
        )
        .expect("settings read");
    let all = rows
        .iter()
        .map(|r| format!("{} = {}", r.get::<_, String>(0), r.get::<_, String>(1)));
    println!("{}", all.collect::<Vec<_>>().join(", "));
}
