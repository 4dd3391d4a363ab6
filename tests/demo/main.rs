//! `make demo`: five tables move while an application keeps writing. Ends with a report; the exit code is 0
//! only if nothing differs and no writer saw an error. `make demo ARGS=remap` gives the rounds new ids, `ARGS=mixed` the
//! sign-ups and submissions, too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

use common::both_sides::{Crew, ROLLING, Side, Tally};
use common::cluster::Cluster;
use common::cover::{DEFINE, Ids, TABLES, define_with_new, differences, fill};
use common::writers::{Report, Writers};
use postgres::{Client, SimpleQueryMessage};
use std::time::{Duration, Instant};

/// Sign-ups; all five tables together have about four times as many rows.
const SCALE: u32 = 80_000;
const WRITERS: u64 = 6;
/// Transactions while both sides are written at once, and while the new one is alone.
const LIVE: u64 = 4000;

/// What a user types: as the tables are, or with new ids for some.
fn definition() -> Vec<String> {
    match std::env::args().nth(1).as_deref() {
        None => DEFINE.iter().map(|sql| (*sql).to_owned()).collect(),
        Some("remap") => define_with_new(Ids::Rounds),
        Some("mixed") => define_with_new(Ids::Mixed),
        Some(other) => panic!("\"{other}\" is no way to run the demo: remap, mixed, or nothing"),
    }
}

fn main() {
    let definition = definition();
    let mut cluster = Cluster::start("demo", "max_connections = 60");
    cluster.keep();
    say("a server of its own is up; loading the five tables");
    let mut admin = cluster.connect("postgres");
    admin
        .batch_execute("CREATE DATABASE quickstart")
        .expect("creates");
    fill(&mut cluster.connect("quickstart"), SCALE);
    admin
        .batch_execute("CREATE DATABASE demo TEMPLATE quickstart")
        .expect("copies");
    let mut client = cluster.connect("demo");

    say(&format!(
        "{WRITERS} writers start: inserts, updates, deletes, key changes; READ COMMITTED and REPEATABLE READ"
    ));
    let writers = Writers::start(&cluster, "demo", WRITERS);
    migrate(&mut client, &definition);
    let mut result = Outcome::default();
    writers.wait_for(1);
    result.compare("while the writers go on", &mut client);
    let report = writers.stop();
    result.compare("after they stopped", &mut client);
    let tally = cut_over(&cluster, &mut client, &mut result);
    let clean = result.finish(&report, &tally);
    println!(
        "\nThe server goes on running; `make clean` stops it. The same tables, not migrated, for the README's quick start:\n  \
         psql -h {} -U postgres quickstart",
        cluster.host()
    );
    std::process::exit(if clean { 0 } else { 1 });
}

fn say(text: &str) {
    println!("-- {text}");
}

/// Types one statement as a user would, and shows what comes back.
fn sql(client: &mut Client, text: &str) {
    println!("demo=# {text}");
    for message in client
        .simple_query(text)
        .unwrap_or_else(|e| panic!("{text}: {e:?}"))
    {
        if let SimpleQueryMessage::Row(row) = message {
            let values: Vec<&str> = (0..row.len())
                .filter_map(|n| row.get(n))
                .filter(|v| !v.is_empty())
                .collect();
            if !values.is_empty() {
                println!("   {}", values.join(" | "));
            }
        }
    }
}

fn migrate(client: &mut Client, definition: &[String]) {
    sql(client, "CREATE EXTENSION pg_mig;");
    for text in definition {
        sql(client, text);
    }
    sql(
        client,
        "SELECT severity, check_name, relation, detail FROM mig_preflight() WHERE severity <> 'info';",
    );
    for text in [
        "SELECT * FROM mig_create();",
        "SELECT * FROM mig_dual_write();",
        "SELECT mig_backfill();",
    ] {
        sql(client, text);
    }
    progress(client);
    sql(client, "SELECT mig_wait(timeout => '5 min');");
    sql(client, "SELECT phase, state, next_step FROM mig_status();");
    sql(
        client,
        "SELECT source, check_name, source_value, target_value, ok FROM mig_check() WHERE ok IS NOT TRUE OR check_name = 'rows';",
    );
}

/// From `backfilled` to the archive, with old and new instances of the application at work side by side; once back from
/// the switch, and once back from the end of dual writing.
fn cut_over(cluster: &Cluster, client: &mut Client, result: &mut Outcome) -> Tally {
    const THINK: Duration = Duration::from_millis(4);
    let mut all = Tally::default();
    say(
        "the application is deployed anew: old instances write the old tables, new ones the new tables, all at once",
    );
    let old = Crew::start(cluster, "demo", &[Side::Old; 6], THINK);
    sql(client, "SELECT * FROM mig_switch();");
    all.add(old.stop());
    let both = Crew::start(cluster, "demo", &ROLLING, THINK);
    both.wait_for(LIVE);
    result.compare("while both write", client);
    all.add(both.stop());

    say("second thoughts: back to the old tables, and a second switch; no row is lost");
    let old = Crew::start(cluster, "demo", &[Side::Old; 6], THINK);
    sql(client, "SELECT * FROM mig_rollback('cover');");
    result.compare("after the rollback, with the old instances at work", client);
    sql(client, "SELECT * FROM mig_switch();");
    all.add(old.stop());

    say("no old instance is left: the end of dual writing");
    let new = Crew::start(cluster, "demo", &[Side::New; 6], THINK);
    sql(client, "SELECT * FROM mig_stop();");
    new.wait_for(LIVE);
    say("and back even from there: what the new tables took since comes back in batches");
    sql(client, "SELECT mig_rollback('cover');");
    sql(client, "SELECT mig_wait(timeout => '5 min');");
    sql(client, "SELECT phase, state, last_check FROM mig_status();");
    result.compare("after the way back, with the new instances at work", client);
    sql(client, "SELECT * FROM mig_stop();");
    sql(
        client,
        "SELECT * FROM mig_archive(compat_views => true, force => true);",
    );
    sql(
        client,
        "SELECT what FROM mig.history ORDER BY id DESC LIMIT 1;",
    );
    result.compare(
        "of the new tables with the views under the old names",
        client,
    );
    all.add(new.stop());
    all
}

/// A line a second until the job has ended: percent, rows a second, time left.
fn progress(client: &mut Client) {
    let began = Instant::now();
    let mut last_rows = 0_i64;
    let mut last = Instant::now();
    loop {
        let row = client
            .query_one(
                "SELECT s.phase, s.state, s.pct::float8, s.rows_done, s.rows_total, coalesce(s.problem, ''), \
                 coalesce((SELECT relation::text || ': ' || phase FROM mig.progress WHERE phase LIKE 'copying%' ORDER BY phase LIMIT 1), '') \
                 FROM mig.status s",
                &[],
            )
            .expect("status reads");
        let (phase, state): (String, String) = (row.get(0), row.get(1));
        let (pct, rows, total): (f64, i64, i64) = (row.get(2), row.get(3), row.get(4));
        let (problem, at): (String, String) = (row.get(5), row.get(6));
        let speed = (rows - last_rows) as f64 / last.elapsed().as_secs_f64().max(0.001);
        let left = match pct {
            0.0 => "time left unknown".to_owned(),
            _ => format!(
                "about {:4.1} s left",
                began.elapsed().as_secs_f64() * (100.0 - pct) / pct
            ),
        };
        let doing = if at.is_empty() {
            if pct >= 100.0 {
                "indexes and foreign keys".to_owned()
            } else {
                problem
            }
        } else {
            at
        };
        println!(
            "   {pct:5.1} %  {rows:>7} of about {total} rows  {speed:>7.0} rows/s  {left}  {doing}"
        );
        if phase != "dual_write" || state == "failed" {
            return;
        }
        (last_rows, last) = (rows, Instant::now());
        std::thread::sleep(Duration::from_millis(1000));
    }
}

#[derive(Default)]
struct Outcome {
    rows: i64,
    differences: i64,
}

impl Outcome {
    /// SELECT … EXCEPT ALL … both ways for each table, with none of our functions.
    fn compare(&mut self, when: &str, client: &mut Client) {
        say(&format!("EXCEPT ALL both ways, by hand, {when}"));
        for table in TABLES {
            let (rows, found) = differences(client, table);
            println!("   {:<22} {rows:>7} rows, {found} differences", table.0);
            self.rows += rows;
            self.differences += found;
        }
    }

    fn finish(&self, report: &Report, tally: &Tally) -> bool {
        println!("\n== report");
        println!(
            "   transactions done by the writers   {}",
            report.transactions + tally.transactions
        );
        println!(
            "   errors they saw                    {}",
            report.errors.len()
        );
        println!("   tried again, as any application    {:?}", tally.errors);
        println!(
            "   longest wait that a writer saw     {} ms before the switch, {} ms for a transaction after it",
            report.longest.as_millis(),
            tally.longest.as_millis()
        );
        println!("   rows compared                      {}", self.rows);
        println!("   differences                        {}", self.differences);
        for error in report.errors.iter().take(5) {
            println!("   writer error: {error}");
        }
        report.errors.is_empty() && tally.is_clean() && self.differences == 0
    }
}
