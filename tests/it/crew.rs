//! Instances of an application that are told which side to write, and go on through everything that a migration does.

use crate::common::both_sides::{LEVELS, some_statements};
use crate::common::cluster::Cluster;
use crate::common::writers::Random;
use postgres::Client;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What the instances know.
#[derive(Clone, Copy)]
pub enum Writes {
    Old = 0,
    Both = 1,
    New = 2,
}

/// One statement: on the new side or the old one, of which instance, the how manyth of its.
pub type Statement = fn(bool, u64, u64, &mut Random) -> String;

const INSTANCES: u64 = 5;

pub struct Crew {
    stop: Arc<AtomicBool>,
    side: Arc<AtomicU8>,
    done: Arc<AtomicU64>,
    threads: Vec<JoinHandle<BTreeMap<String, u64>>>,
}

impl Crew {
    /// They write the old side at first.
    pub fn start(cluster: &Cluster, database: &str, statement: Statement) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let side = Arc::new(AtomicU8::new(Writes::Old as u8));
        let done = Arc::new(AtomicU64::new(0));
        let instance = |me: u64| {
            let client = cluster.connect(database);
            let (stop, side, done) = (Arc::clone(&stop), Arc::clone(&side), Arc::clone(&done));
            std::thread::spawn(move || work(client, me, statement, &stop, &side, &done))
        };
        Self {
            threads: (0..INSTANCES).map(instance).collect(),
            stop,
            side,
            done,
        }
    }

    /// From now on they write this side; whoever began before has ended when it returns.
    pub fn write(&self, side: Writes) {
        self.side.store(side as u8, Ordering::SeqCst);
        self.some_more();
    }

    pub fn some_more(&self) {
        let now = self.done.load(Ordering::SeqCst);
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.done.load(Ordering::SeqCst) <= now + 100 {
            assert!(Instant::now() < deadline, "the crew does not get on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Their errors: by SQLSTATE what an application tries again, with their text all others.
    pub fn stop(self) -> BTreeMap<String, u64> {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = BTreeMap::new();
        for thread in self.threads {
            for (error, n) in thread.join().expect("an instance ends") {
                *all.entry(error).or_default() += n;
            }
        }
        all
    }
}

fn work(
    mut client: Client,
    me: u64,
    statement: Statement,
    stop: &AtomicBool,
    side: &AtomicU8,
    done: &AtomicU64,
) -> BTreeMap<String, u64> {
    let (mut errors, mut random) = (BTreeMap::new(), Random::new(me + 1));
    let mut n = 0;
    while !stop.load(Ordering::SeqCst) {
        let level = LEVELS[usize::try_from(random.below(3)).unwrap_or(0)];
        let side = side.load(Ordering::SeqCst);
        let worked = some_statements(&mut client, level, &mut random, |random| {
            n += 1;
            let both = side == Writes::Both as u8 && random.below(2) == 0;
            statement(side == Writes::New as u8 || both, me, n, random)
        });
        if let Err(e) = worked {
            let text = e.as_db_error().map_or_else(
                || e.to_string(),
                |d| match d.code().code() {
                    "40001" | "40P01" => d.code().code().to_owned(),
                    code => format!("{code} {} {}", d.message(), d.where_().unwrap_or("")),
                },
            );
            *errors.entry(text).or_default() += 1;
        }
        done.fetch_add(1, Ordering::SeqCst);
    }
    errors
}
