//! One round: a schema, a crew of writers, a migration that is disturbed in every way, and the judgement.

use super::schema::Schema;
use super::writers::{Crew, Tally};
use crate::common::cluster::Cluster;
use crate::common::patience::until;
use crate::common::writers::Random;
use postgres::Client;
use std::fmt;
use std::time::Duration;

const DATABASE: &str = "soak";
const WRITERS: u64 = 4;

#[derive(Default)]
pub struct Figures {
    pub rounds: u64,
    pub writers: Tally,
    pub pauses: u64,
    pub cancels: u64,
    pub terminated: u64,
    pub killed_backends: u64,
    pub killed_servers: u64,
    pub rollbacks: u64,
    pub detached: u64,
    pub compared: i64,
    pub checks: u64,
    pub damages: u64,
}

impl Figures {
    pub fn add(&mut self, o: &Figures) {
        self.rounds += o.rounds;
        self.writers.add(&o.writers);
        self.pauses += o.pauses;
        self.cancels += o.cancels;
        self.terminated += o.terminated;
        self.killed_backends += o.killed_backends;
        self.killed_servers += o.killed_servers;
        self.rollbacks += o.rollbacks;
        self.detached += o.detached;
        self.compared += o.compared;
        self.checks += o.checks;
        self.damages += o.damages;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(
            f,
            "soak: {} rounds, {} statements, transactions {:?}, errors {:?}, reconnects {}; pauses {}, cancels {}, workers terminated {}, \
             backends killed {}, servers killed {}, rollbacks {}, detached {}; {} checks, {} rows compared, {} damages found, 0 differences",
            self.rounds,
            self.writers.statements,
            self.writers.transactions,
            self.writers.errors,
            self.writers.reconnects,
            self.pauses,
            self.cancels,
            self.terminated,
            self.killed_backends,
            self.killed_servers,
            self.rollbacks,
            self.detached,
            self.checks,
            self.compared,
            self.damages,
        )
    }
}

pub struct Conductor<'a> {
    cluster: &'a Cluster,
    random: Random,
    kills: u64,
    client: Client,
    pub figures: Figures,
}

impl<'a> Conductor<'a> {
    pub fn new(cluster: &'a Cluster, random: Random, kills: u64) -> Self {
        let client = cluster.database(DATABASE);
        Self {
            cluster,
            random,
            kills,
            client,
            figures: Figures::default(),
        }
    }

    pub fn round(&mut self, seed: u64) {
        let schema = Schema::random(&mut self.random);
        for sql in schema.create(&mut self.random) {
            self.client
                .batch_execute(&sql)
                .unwrap_or_else(|e| panic!("`{sql}`: {e:?}"));
        }
        for sql in schema.define() {
            self.client
                .batch_execute(&sql)
                .unwrap_or_else(|e| panic!("`{sql}`: {e:?}"));
        }
        self.call("SELECT mig_create()");
        let cluster = self.cluster;
        std::thread::scope(|scope| {
            let crew = Crew::start(scope, cluster, DATABASE, &schema, seed, WRITERS);
            self.call("SELECT mig_dual_write()");
            self.disturb(&crew);
            for _ in 0..3 {
                crew.wait_for(10);
                self.compare(&schema);
            }
            let tally = crew.stop();
            assert_eq!(tally.ours, Vec::<String>::new(), "errors that are ours");
            self.figures.writers.add(&tally);
        });
        self.compare(&schema);
        self.find_damage(&schema);
        self.call("SELECT mig_rollback('soak', 'defined')");
        self.call("SELECT mig_drop('soak')");
        self.figures.rounds += 1;
    }

    /// Until the backfill is done, whatever happens to it.
    fn disturb(&mut self, crew: &Crew) {
        let slow = "SELECT mig_configure('soak', '{\"batch_rows\": 10, \"batch_target_ms\": 1, \"delay_ms\": 20, \"lock_timeout_ms\": 400}')";
        self.call(slow);
        self.call("SELECT mig_backfill()");
        let mut disturbances = 6 + self.random.below(8);
        until("the end of the backfill", || {
            if self.yes("SELECT phase = 'backfilled' FROM mig_status()") {
                return true;
            }
            if disturbances > 0 {
                disturbances -= 1;
                self.disturb_once(crew);
                if disturbances == 0 {
                    self.call("SELECT mig_configure('soak', '{\"delay_ms\": 0, \"batch_rows\": 100, \"batch_target_ms\": 100}')");
                }
            }
            self.keep_going();
            std::thread::sleep(Duration::from_millis(self.random.below(60)));
            false
        });
    }

    /// A job that was stopped goes on: by a worker, or by hand.
    fn keep_going(&mut self) {
        if self.yes("SELECT phase = 'dual_write' AND NOT EXISTS (SELECT FROM mig.runners) FROM mig.migration") {
            match self.random.below(3) {
                0 => self.attempt("SELECT mig_step(max_ms => 20)"),
                1 => self.attempt("CALL mig_run(max_runtime => '50 ms')"),
                _ => self.attempt("SELECT mig_backfill()"),
            }
        }
    }

    fn disturb_once(&mut self, crew: &Crew) {
        if self.kills > 0 && self.random.below(3) == 0 {
            self.kills -= 1;
            return self.kill(crew);
        }
        match self.random.below(10) {
            0 | 1 => {
                self.attempt("SELECT mig_pause()");
                self.attempt("SELECT mig_resume()");
                self.figures.pauses += 1;
            }
            2 | 3 => {
                self.attempt("SELECT mig_cancel()");
                self.figures.cancels += 1;
            }
            4..=6 => {
                self.attempt("SELECT pg_terminate_backend(pid) FROM mig.runners");
                self.figures.terminated += 1;
            }
            7 => {
                self.back_and_forth("SELECT mig_rollback('soak', 'created')");
                self.figures.rollbacks += 1;
            }
            8 => {
                self.call("SELECT mig_detach()");
                self.back_and_forth("SELECT mig_rollback('soak')");
                self.figures.detached += 1;
            }
            _ => {}
        }
    }

    /// kill -9: of the whole server, of the worker, or of a writer's backend; for those the server restarts itself.
    fn kill(&mut self, crew: &Crew) {
        if self.random.below(2) == 0 {
            self.cluster.kill();
            self.cluster.start_again();
            self.figures.killed_servers += 1;
            return self.reconnect();
        }
        let workers: Vec<i32> = self
            .client
            .query("SELECT pid FROM mig.runners", &[])
            .map(|rows| rows.iter().map(|r| r.get(0)).collect())
            .unwrap_or_default();
        let writers: Vec<i32> = crew
            .pids
            .lock()
            .expect("no writer panics")
            .iter()
            .copied()
            .collect();
        let victims: Vec<i32> = if self.random.below(2) == 0 && !workers.is_empty() {
            workers
        } else {
            writers.into_iter().rev().take(WRITERS as usize).collect()
        };
        if let Some(pid) = victims.get(self.random.below(victims.len().max(1) as u64) as usize) {
            self.cluster.kill_process(*pid);
            self.figures.killed_backends += 1;
        }
        self.reconnect();
    }

    fn back_and_forth(&mut self, rollback: &str) {
        self.attempt("SELECT mig_cancel()");
        self.call(rollback);
        self.call("SELECT mig_dual_write()");
    }

    /// A call that must come to an end: locks that were not had, and jobs that have not stopped yet, are tried again.
    fn call(&mut self, sql: &str) {
        until(sql, || {
            let Err(e) = self.client.batch_execute(sql) else {
                return true;
            };
            let code = e.as_db_error().map_or("closed", |d| d.code().code());
            let again = [
                "55P03", "55006", "40001", "40P01", "closed", "57P01", "57P02", "57P03",
            ]
            .contains(&code);
            assert!(again, "`{sql}`: {e:?}");
            if self.client.is_closed() {
                self.reconnect();
            }
            false
        });
    }

    /// A call that may come too late.
    fn attempt(&mut self, sql: &str) {
        if let Err(e) = self.client.batch_execute(sql) {
            let code = e.as_db_error().map_or("closed", |d| d.code().code());
            let late = [
                "55P03", "55006", "55000", "40001", "closed", "57P01", "57P02",
            ]
            .contains(&code);
            assert!(late, "`{sql}`: {e:?}");
            if self.client.is_closed() {
                self.reconnect();
            }
        }
    }

    fn reconnect(&mut self) {
        self.client = self.cluster.connect_again(DATABASE);
    }

    /// Asks again when the connection goes: a killed backend takes all others with it, a moment later.
    fn yes(&mut self, sql: &str) -> bool {
        loop {
            match self.client.query_one(sql, &[]) {
                Ok(row) => return row.get(0),
                Err(e) => {
                    let shutdown = e
                        .as_db_error()
                        .is_none_or(|d| d.code().code().starts_with("57P"));
                    assert!(shutdown, "`{sql}`: {e:?}");
                    self.reconnect();
                }
            }
        }
    }

    /// The oracle, and our own check, both with the writers running: neither may find a difference.
    fn compare(&mut self, schema: &Schema) {
        for t in &schema.tables {
            let row = self
                .client
                .query_one(&schema.oracle(t), &[])
                .expect("compares");
            let (rows, differences): (i64, i64) = (row.get(0), row.get(1));
            assert_eq!(differences, 0, "{} differs", t.name);
            self.figures.compared += rows;
        }
        assert_eq!(
            self.differences_of_our_own(),
            (0, Vec::new()),
            "mig_check disagrees with the oracle"
        );
        self.figures.checks += 1;
    }

    /// How many rows differ, and every check that is not passed.
    fn differences_of_our_own(&mut self) -> (i64, Vec<String>) {
        let query = "SELECT coalesce(sum(target_value::bigint) FILTER (WHERE check_name IN ('rows missing', 'rows extra', 'rows different')), 0)::bigint, \
                     coalesce(array_agg(c::text) FILTER (WHERE NOT ok), '{}') FROM mig_check() c";
        let row = self.client.query_one(query, &[]).expect("checks");
        (row.get(0), row.get(1))
    }

    /// What was damaged behind the mirror's back is found, no more and no less.
    fn find_damage(&mut self, schema: &Schema) {
        for t in &schema.tables {
            let damage = t.damage(&mut self.random);
            let mut transaction = self.client.transaction().expect("begins");
            let done = transaction.execute(&damage, &[]);
            transaction.rollback().expect("ends");
            // A row that others refer to stays.
            let Ok(1) = done else { continue };
            self.client.batch_execute("BEGIN").expect("begins");
            self.client.execute(&damage, &[]).expect("damages");
            let (found, failed) = self.differences_of_our_own();
            let sides: i64 = self
                .client
                .query_one(&schema.oracle(t), &[])
                .expect("compares")
                .get(1);
            self.client.batch_execute("ROLLBACK").expect("ends");
            assert!(
                sides > 0 && found > 0 && !failed.is_empty(),
                "{damage}: the oracle sees {sides}, mig_check {found}"
            );
            self.figures.damages += 1;
        }
    }
}
