//! Instances of an application that are told which side to write, and go on through everything that a migration does.

use crate::common::both_sides::{LEVELS, some_statements};
use crate::common::cluster::Cluster;
use crate::common::load::{Load, Place};
use crate::common::writers::Random;
use postgres::Client;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

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
    side: Arc<AtomicU8>,
    load: Load<BTreeMap<String, u64>>,
}

impl Crew {
    /// They write the old side at first.
    pub fn start(cluster: &Cluster, database: &str, statement: Statement) -> Self {
        let side = Arc::new(AtomicU8::new(Writes::Old as u8));
        let instance = |me: u64| {
            let (client, side) = (cluster.connect(database), Arc::clone(&side));
            move |place: &Place| work(client, me, statement, place, &side)
        };
        Self {
            load: Load::start((0..INSTANCES).map(instance)),
            side,
        }
    }

    /// From now on they write this side; whoever began before has ended when it returns.
    pub fn write(&self, side: Writes) {
        self.side.store(side as u8, Ordering::SeqCst);
        self.load.wait_for_each();
        self.some_more();
    }

    pub fn some_more(&self) {
        self.load.wait_for(100);
    }

    /// Their errors: by SQLSTATE what an application tries again, with their text all others.
    pub fn stop(self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for errors in self.load.stop() {
            for (error, n) in errors {
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
    place: &Place,
    side: &AtomicU8,
) -> BTreeMap<String, u64> {
    let (mut errors, mut random) = (BTreeMap::new(), Random::new(me + 1));
    let mut n = 0;
    while !place.is_over() {
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
        place.count();
    }
    errors
}
