//! Contenders in turn, the tables of what came of it, and the figures that we want to reach.

use postgres::Client;
use std::cell::RefCell;
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

/// Seconds of each contender, round by round.
pub struct Times(Vec<(&'static str, Vec<f64>)>);

impl Times {
    fn of(&self, name: &str) -> &[f64] {
        let found = self.0.iter().find(|(n, _)| *n == name);
        &found.unwrap_or_else(|| panic!("no contender {name}")).1
    }

    /// The time of one as a multiple of another's, round by round: both ran in the same minute.
    pub fn ratio(&self, one: &str, other: &str) -> Spread {
        let pairs = self.of(one).iter().zip(self.of(other));
        Spread::of(&pairs.map(|(a, b)| a / b).collect::<Vec<_>>())
    }

    /// How much of `work` one did in a second.
    pub fn per_second(&self, one: &str, work: usize) -> Spread {
        let each = self.of(one).iter().map(|s| work as f64 / s);
        Spread::of(&each.collect::<Vec<_>>())
    }
}

/// Median, smallest and largest.
#[derive(Clone, Copy)]
pub struct Spread {
    pub median: f64,
    low: f64,
    high: f64,
}

impl Spread {
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let even = sorted.len().is_multiple_of(2);
        Self {
            median: if even {
                f64::midpoint(sorted[middle - 1], sorted[middle])
            } else {
                sorted[middle]
            },
            low: sorted[0],
            high: sorted[sorted.len() - 1],
        }
    }

    pub fn scaled(self, by: f64) -> Self {
        Self {
            median: self.median * by,
            low: self.low * by,
            high: self.high * by,
        }
    }

    fn text(&self) -> String {
        format!("{:.2} ({:.2} to {:.2})", self.median, self.low, self.high)
    }
}

/// What is wanted of a figure.
pub enum Wanted {
    AtMost(f64),
    AtLeast(f64),
    /// Nothing; it is there to be read.
    Told,
}

thread_local! {
    static FIGURES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Notes a figure for the table at the end.
pub fn figure(what: &str, measured: Spread, wanted: Wanted) {
    let (text, met) = match wanted {
        Wanted::AtMost(limit) => (format!("≤ {limit}"), measured.median <= limit),
        Wanted::AtLeast(limit) => (format!("≥ {limit}"), measured.median >= limit),
        Wanted::Told => (String::new(), true),
    };
    let met = match (text.is_empty(), met) {
        (true, _) => "",
        (_, true) => "yes",
        (_, false) => "no",
    };
    let line = format!("| {what} | {} | {text} | {met} |", measured.text());
    FIGURES.with_borrow_mut(|f| f.push(line));
}

/// All figures, each with what was wanted of it.
pub fn print_figures() {
    println!("\n### Figures\n\n| | median (min to max) | wanted | met |\n|---|---|---|---|");
    FIGURES.with_borrow(|f| f.iter().for_each(|line| println!("{line}")));
}

/// Runs all of them once for warmth, then `count()` rounds, each beginning with another one; prints a Markdown table with
/// ratios to the first.
pub fn compare(title: &str, mut all: Vec<Contender>) -> Times {
    let mut times: Vec<(&str, Vec<f64>)> = all.iter().map(|c| (c.name, Vec::new())).collect();
    for round in 0..=count() {
        for n in 0..all.len() {
            let which = (n + round) % all.len();
            let took = (all[which].run)().as_secs_f64();
            if round > 0 {
                times[which].1.push(took);
            }
        }
    }
    let times = Times(times);
    println!("\n### {title}\n");
    println!("| | seconds, median (min to max) | × the first |\n|---|---|---|");
    let first = times.0[0].0;
    for (name, took) in &times.0 {
        println!(
            "| {name} | {} | {} |",
            Spread::of(took).text(),
            times.ratio(name, first).text()
        );
    }
    times
}

pub fn settings(client: &mut Client) {
    let rows = client
        .query(
            "SELECT name, current_setting(name) FROM pg_settings WHERE name IN ('server_version', 'shared_buffers', 'work_mem', \
             'maintenance_work_mem', 'max_parallel_maintenance_workers', 'max_wal_size', 'synchronous_commit', 'fsync', \
             'max_parallel_workers_per_gather', 'jit', 'autovacuum', 'wal_level') ORDER BY name",
            &[],
        )
        .expect("settings read");
    let all = rows
        .iter()
        .map(|r| format!("{} = {}", r.get::<_, String>(0), r.get::<_, String>(1)));
    println!("{}", all.collect::<Vec<_>>().join(", "));
}
