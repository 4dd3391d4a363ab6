//! Old and new versions side by side, through all phases and back from each.

use super::{TABLE, WRONG, count};
use crate::common::both_sides::{LEVELS, some_statements};
use crate::common::cluster::Cluster;
use crate::common::writers::Random;
use crate::wait::{backfilled, yes};
use postgres::Client;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::thread::JoinHandle;

/// Which columns the instances know.
const OLD: u8 = 0;
const BOTH: u8 = 1;
const NEW: u8 = 2;

struct Crew {
    stop: Arc<AtomicBool>,
    side: Arc<AtomicU8>,
    done: Arc<AtomicU64>,
    threads: Vec<JoinHandle<BTreeMap<String, u64>>>,
}

impl Crew {
    fn start(cluster: &Cluster, database: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let side = Arc::new(AtomicU8::new(OLD));
        let done = Arc::new(AtomicU64::new(0));
        let instance = |me: u64| {
            let client = cluster.connect(database);
            let (stop, side, done) = (Arc::clone(&stop), Arc::clone(&side), Arc::clone(&done));
            std::thread::spawn(move || work(client, me, &stop, &side, &done))
        };
        Self {
            threads: (0..5).map(instance).collect(),
            stop,
            side,
            done,
        }
    }

    /// From now on they write these columns; whoever began before has ended when it returns.
    fn write(&self, side: u8) {
        self.side.store(side, Ordering::SeqCst);
        self.some_more();
    }

    fn some_more(&self) {
        let now = self.done.load(Ordering::SeqCst);
        crate::wait::until("the crew", || self.done.load(Ordering::SeqCst) > now + 100);
    }

    fn stop(self) -> BTreeMap<String, u64> {
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
    stop: &AtomicBool,
    side: &AtomicU8,
    done: &AtomicU64,
) -> BTreeMap<String, u64> {
    let (mut errors, mut random) = (BTreeMap::new(), Random::new(me + 1));
    while !stop.load(Ordering::SeqCst) {
        let level = LEVELS[usize::try_from(random.below(3)).unwrap_or(0)];
        let side = side.load(Ordering::SeqCst);
        let worked = some_statements(&mut client, level, &mut random, |random| {
            let new = side == NEW || side == BOTH && random.below(2) == 0;
            statement(new, random)
        });
        if let Err(e) = worked {
            let text = e.as_db_error().map_or_else(
                || e.to_string(),
                |d| match d.code().code() {
                    // What an application in these levels tries again.
                    "40001" | "40P01" => d.code().code().to_owned(),
                    code => format!("{code} {}", d.message()),
                },
            );
            *errors.entry(text).or_default() += 1;
        }
        done.fetch_add(1, Ordering::SeqCst);
    }
    errors
}

fn statement(new: bool, random: &mut Random) -> String {
    let (id, n) = (1 + random.below(3000), random.below(1_000_000));
    let flag = ["NULL", "true", "false"][usize::try_from(random.below(3)).unwrap_or(0)];
    match (random.below(7), new) {
        (0, false) => {
            format!("INSERT INTO videos (metadata, urgent) VALUES ('{{\"n\": {n}}}', {flag})")
        }
        (0, true) => format!(
            "INSERT INTO videos (facts, priority) VALUES ('{{\"n\": {n}}}', {})",
            random.below(3)
        ),
        (1, _) => "INSERT INTO videos (title) VALUES ('of no interest')".into(),
        (2, false) => format!("UPDATE videos SET metadata = '{{\"n\": {n}}}' WHERE id = {id}"),
        (2, true) => format!("UPDATE videos SET facts = '{{\"n\": {n}}}' WHERE id = {id}"),
        (3, false) => format!("UPDATE videos SET urgent = {flag} WHERE id = {id}"),
        (3, true) => format!(
            "UPDATE videos SET priority = {} WHERE id = {id}",
            random.below(3)
        ),
        (4, false) => format!(
            "INSERT INTO videos (id, metadata) VALUES ({id}, '{{\"m\": {n}}}') ON CONFLICT (id) DO UPDATE SET metadata = EXCLUDED.metadata, urgent = EXCLUDED.urgent"
        ),
        (4, true) => format!(
            "INSERT INTO videos (id, facts) VALUES ({id}, '{{\"m\": {n}}}') ON CONFLICT (id) DO UPDATE SET facts = EXCLUDED.facts, priority = EXCLUDED.priority"
        ),
        (5, _) => format!("UPDATE videos SET title = 'title {n}' WHERE id = {id}"),
        _ => format!("DELETE FROM videos WHERE id = {id} AND id % 7 = 0"),
    }
}

/// Every row that is filled is right, whoever writes; after the backfill, every row.
fn right(client: &mut Client, all: bool) {
    let sql = if all {
        WRONG.to_owned()
    } else {
        format!("{WRONG} AND facts IS NOT NULL AND priority IS NOT NULL")
            .replace("WHERE ", "WHERE (")
            .replace(" AND facts IS NOT NULL", ") AND facts IS NOT NULL")
    };
    assert_eq!(count(client, &sql), 0, "{sql}");
}

fn forth(client: &mut Client) {
    client
        .batch_execute("SELECT mig_create(); SELECT mig_dual_write()")
        .unwrap();
    right(client, false);
    client.batch_execute("SELECT mig_backfill()").unwrap();
    right(client, false);
    backfilled(client);
    right(client, true);
    client.batch_execute("SELECT mig_assert()").unwrap();
}

#[test]
fn no_value_is_lost_while_versions_take_turns_and_there_is_a_way_back_from_everywhere() {
    let cluster = Cluster::start("it_columns_live", 54443, "deadlock_timeout = 200ms");
    let mut client = cluster.database("live");
    client.batch_execute(TABLE).unwrap();
    let crew = Crew::start(&cluster, "live");
    forth(&mut client);
    crew.write(BOTH);
    right(&mut client, true);
    client.batch_execute("SELECT mig_switch()").unwrap();
    crew.some_more();
    right(&mut client, true);
    // Back, and forth again.
    client
        .batch_execute("SELECT mig_rollback('videos')")
        .unwrap();
    crew.some_more();
    right(&mut client, true);
    client.batch_execute("SELECT mig_switch()").unwrap();
    crew.write(NEW);
    client.batch_execute("SELECT mig_stop()").unwrap();
    crew.some_more();
    right(&mut client, true);
    client
        .batch_execute("SELECT mig_rollback('videos')")
        .unwrap();
    crew.write(BOTH);
    right(&mut client, true);
    client.batch_execute("SELECT mig_assert()").unwrap();
    crew.write(NEW);
    client
        .batch_execute("SELECT mig_stop(); SELECT mig_archive('videos', force => true)")
        .unwrap();
    crew.some_more();
    assert!(yes(
        &mut client,
        "SELECT string_agg(attname, ' ' ORDER BY attnum) = 'id metadata_archive urgent_archive title touched facts priority' \
         FROM pg_attribute WHERE attrelid = 'videos'::regclass AND attnum > 0 AND NOT attisdropped"
    ));
    client
        .batch_execute("SELECT mig_rollback('videos', 'switched')")
        .unwrap();
    crew.write(BOTH);
    right(&mut client, true);
    crew.write(OLD);
    client
        .batch_execute("SELECT mig_rollback('videos', 'created')")
        .unwrap();
    crew.some_more();
    client
        .batch_execute("SELECT mig_rollback('videos')")
        .unwrap();
    crew.some_more();
    // All the way to the end.
    forth(&mut client);
    client.batch_execute("SELECT mig_switch()").unwrap();
    crew.write(NEW);
    client
        .batch_execute("SELECT mig_stop(); SELECT mig_archive('videos', force => true); SELECT mig_drop('videos', archives => true, force => true)")
        .unwrap();
    crew.some_more();
    let errors = crew.stop();
    println!("{errors:?}");
    assert!(
        errors.keys().all(|k| k == "40001" || k == "40P01"),
        "{errors:?}"
    );
    assert!(yes(
        &mut client,
        "SELECT string_agg(attname || CASE WHEN attnotnull THEN '!' ELSE '' END, ' ' ORDER BY attnum) = 'id! title touched! facts! priority' \
         FROM pg_attribute WHERE attrelid = 'videos'::regclass AND attnum > 0 AND NOT attisdropped"
    ));
    assert_eq!(
        count(
            &mut client,
            "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'videos'::regclass AND NOT tgisinternal"
        ),
        1
    );
}
