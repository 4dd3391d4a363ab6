//! Sessions of an application that knows nothing of us: random transactions at all isolation levels, through
//! restarts of the server. Every error is counted by its SQLSTATE, and judged: is it ours?

use super::schema::Schema;
use crate::common::cluster::Cluster;
use crate::common::load::Shift;
use crate::common::writers::Random;
use postgres::Client;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

pub const LEVELS: [&str; 3] = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"];

#[derive(Default, Debug, Clone)]
pub struct Tally {
    pub statements: u64,
    pub transactions: BTreeMap<&'static str, u64>,
    pub errors: BTreeMap<String, u64>,
    pub reconnects: u64,
    /// Errors that the application would not have had without us.
    pub ours: Vec<String>,
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        self.statements += other.statements;
        self.reconnects += other.reconnects;
        for (k, n) in &other.transactions {
            *self.transactions.entry(k).or_default() += n;
        }
        for (k, n) in &other.errors {
            *self.errors.entry(k.clone()).or_default() += n;
        }
        self.ours.extend(other.ours.iter().cloned());
    }
}

/// Process numbers of all writers' backends that ever were: a deadlock among them is theirs.
pub type Pids = Arc<Mutex<BTreeSet<i32>>>;

pub struct Crew<'a> {
    shift: Arc<Shift>,
    threads: Vec<ScopedJoinHandle<'a, Tally>>,
    pub pids: Pids,
}

impl<'a> Crew<'a> {
    pub fn start(
        scope: &'a Scope<'a, '_>,
        cluster: &'a Cluster,
        database: &str,
        schema: &Schema,
        seed: u64,
        size: u64,
    ) -> Self {
        let (shift, pids) = (Arc::new(Shift::of(size as usize)), Pids::default());
        let threads = (0..size)
            .map(|n| {
                let writer = Writer {
                    cluster,
                    database: database.to_owned(),
                    schema: schema.clone(),
                    random: Random::new(seed * 100 + n),
                    shift: Arc::clone(&shift),
                    me: n as usize,
                    pids: Arc::clone(&pids),
                    tally: Tally::default(),
                };
                scope.spawn(move || writer.work())
            })
            .collect();
        Self {
            shift,
            threads,
            pids,
        }
    }

    /// Until `more` transactions are done than now, whether they come to a good end or not.
    pub fn wait_for(&self, more: u64) {
        self.shift.wait_for(more);
    }

    pub fn stop(mut self) -> Tally {
        self.shift.end();
        let mut all = Tally::default();
        for t in std::mem::take(&mut self.threads) {
            all.add(&t.join().expect("a writer ends"));
        }
        all
    }
}

/// A round that fails ends its writers too.
impl Drop for Crew<'_> {
    fn drop(&mut self) {
        self.shift.end();
    }
}

struct Writer<'a> {
    cluster: &'a Cluster,
    database: String,
    schema: Schema,
    random: Random,
    shift: Arc<Shift>,
    me: usize,
    pids: Pids,
    tally: Tally,
}

impl Writer<'_> {
    fn work(mut self) -> Tally {
        let mut client = None;
        while !self.shift.is_over() {
            let Some(mut connected) = client.take().or_else(|| self.connect()) else {
                // The server restarts.
                std::thread::sleep(Duration::from_millis(20));
                continue;
            };
            if let Err(e) = self.transaction(&mut connected) {
                self.judge(&e);
                let _ = connected.batch_execute("ROLLBACK");
            }
            self.shift.count(self.me);
            if connected.is_closed() {
                self.tally.reconnects += 1;
            } else {
                client = Some(connected);
            }
        }
        self.tally
    }

    fn connect(&self) -> Option<Client> {
        let mut client = self.cluster.try_connect(&self.database, "postgres").ok()?;
        let pid = client
            .query_one("SELECT pg_backend_pid()", &[])
            .ok()?
            .get(0);
        self.pids.lock().expect("no writer panics").insert(pid);
        Some(client)
    }

    /// One to five statements; some hold their locks for a while, and one in seven rolls back.
    fn transaction(&mut self, client: &mut Client) -> Result<(), postgres::Error> {
        let level = LEVELS[self.random.below(3) as usize];
        client.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}"))?;
        for _ in 0..=self.random.below(5) {
            client.batch_execute(&self.schema.statement(&mut self.random))?;
            self.tally.statements += 1;
            if self.random.below(4) == 0 {
                std::thread::sleep(Duration::from_millis(self.random.below(30)));
            }
        }
        match self.random.below(50) {
            0..=6 => client.batch_execute("ROLLBACK")?,
            7 => {
                let gid = format!("soak {}", self.random.below(1_000_000_000));
                client.batch_execute(&format!("PREPARE TRANSACTION '{gid}'"))?;
                client.batch_execute(&format!("COMMIT PREPARED '{gid}'"))?;
            }
            _ => client.batch_execute("COMMIT")?,
        }
        *self.tally.transactions.entry(level).or_default() += 1;
        Ok(())
    }

    fn judge(&mut self, e: &postgres::Error) {
        let Some(d) = e.as_db_error() else {
            return;
        };
        *self
            .tally
            .errors
            .entry(d.code().code().to_owned())
            .or_default() += 1;
        let text = format!(
            "{} {} {}",
            d.code().code(),
            d.message(),
            d.detail().unwrap_or_default()
        );
        let about_target = [d.table(), d.constraint()]
            .into_iter()
            .flatten()
            .any(|n| n.starts_with("new_") || n.contains("_map"));
        let known = match d.code().code() {
            "23505" | "23503" | "40001" => !about_target,
            // TRUNCATE while the table's own deferred foreign key has checks to do.
            "55006" => !text.contains("new_"),
            "40P01" => self.all_writers(d.detail().unwrap_or_default()),
            // The server goes down or comes up, or a backend was killed beside this one.
            "57P01" | "57P02" | "57P03" => true,
            _ => false,
        };
        if !known {
            self.tally.ours.push(text);
        }
    }

    /// Whether a deadlock's report names writers only.
    fn all_writers(&self, detail: &str) -> bool {
        let pids = self.pids.lock().expect("no writer panics");
        detail.split("Process ").skip(1).all(|part| {
            part.split_whitespace()
                .next()
                .and_then(|p| p.parse().ok())
                .is_some_and(|p: i32| pids.contains(&p))
        })
    }
}
