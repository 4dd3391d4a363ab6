//! Random DDL on both sides, by their owner, beside writers, the backfill and every step. Whatever is done ends in an answer or in an
//! ERROR that says something; in the end the migration gives the tables back, and the database is whole.

use super::{now, setting};
use crate::common::cluster::Cluster;
use crate::common::load::{Load, Place};
use crate::common::writers::Random;
use postgres::Client;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const STEPS_A_ROUND: u64 = 60;
const DDL_PER_STEP: u64 = 2;
const WILD_ONE_IN: u64 = 20;

/// Everything belongs to a role that is nobody else's member: DDL on catalogs and on our schema is refused to it.
const STANDING: &str = "CREATE SCHEMA d; \
    CREATE TABLE d.a (id int PRIMARY KEY, v text DEFAULT 'x', n int); \
    CREATE TABLE d.b (id int PRIMARY KEY, a int REFERENCES d.a ON DELETE CASCADE, v text); \
    INSERT INTO d.a SELECT g, g, g FROM generate_series(1, 2000) g; \
    INSERT INTO d.b SELECT g, g, g FROM generate_series(1, 2000) g; \
    CREATE FUNCTION d.note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.v := NEW.v; RETURN NEW; END'; \
    SELECT mig_define('m'); SELECT mig_add_table('m', 'd.a', 'd.x'); SELECT mig_add_table('m', 'd.b', 'd.y')";

/// `T` is a table of either side, `U` another, `#` a small number.
const MILD: [&str; 25] = [
    "ALTER TABLE T ADD COLUMN c# int",
    "ALTER TABLE T ADD COLUMN e# text NOT NULL DEFAULT 'e'",
    "ALTER TABLE T DROP COLUMN IF EXISTS c# CASCADE",
    "ALTER TABLE T DROP COLUMN IF EXISTS e# CASCADE",
    "ALTER TABLE T ALTER COLUMN v TYPE varchar(#0)",
    "ALTER TABLE T ALTER COLUMN v SET DEFAULT 'd#'",
    "ALTER TABLE T ADD CONSTRAINT k# CHECK (id <> #000) NOT VALID",
    "ALTER TABLE T DROP CONSTRAINT IF EXISTS k#",
    "ALTER TABLE T ENABLE TRIGGER USER",
    "ALTER TABLE T SET (fillfactor = #0)",
    "ALTER TABLE T CLUSTER ON a_pkey",
    "ALTER TABLE T REPLICA IDENTITY FULL",
    "ALTER TABLE T ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE T DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE T SET LOGGED",
    "CREATE INDEX ON T (v)",
    "CREATE UNIQUE INDEX u# ON T (v, id)",
    "DROP INDEX IF EXISTS u#, d.u#",
    "CREATE TRIGGER t# BEFORE INSERT OR UPDATE ON T FOR EACH ROW EXECUTE FUNCTION d.note()",
    "DROP TRIGGER IF EXISTS t# ON T",
    "ANALYZE T",
    "VACUUM (FULL, ANALYZE) T",
    "CLUSTER T",
    "REINDEX TABLE T",
    "REINDEX TABLE CONCURRENTLY T",
];

/// After most of these a migration cannot go on.
const WILD: [&str; 17] = [
    "ALTER TABLE T DROP COLUMN IF EXISTS n CASCADE",
    "ALTER TABLE T RENAME COLUMN v TO w",
    "ALTER TABLE T ALTER COLUMN id TYPE bigint",
    "ALTER TABLE T ALTER COLUMN v SET NOT NULL",
    "ALTER TABLE T DROP CONSTRAINT IF EXISTS a_pkey CASCADE",
    "ALTER TABLE T DISABLE TRIGGER USER",
    "ALTER TABLE T ENABLE REPLICA TRIGGER USER",
    "ALTER TABLE T RENAME TO a",
    "ALTER TABLE T RENAME TO x",
    "ALTER TABLE T SET SCHEMA public",
    "ALTER TABLE T OWNER TO other",
    "ALTER TABLE T INHERIT U",
    "ALTER TABLE T SET UNLOGGED",
    "DO $$DECLARE n name; BEGIN SELECT tgname INTO n FROM pg_trigger WHERE tgrelid = 'T'::regclass AND NOT tgisinternal \
       ORDER BY random() LIMIT 1; EXECUTE format('DROP TRIGGER %I ON T', n); END$$",
    "TRUNCATE T CASCADE",
    "CREATE RULE r# AS ON UPDATE TO T WHERE NEW.id = -# DO INSTEAD NOTHING",
    "DROP TABLE T CASCADE",
];

/// Beside the one that comes next.
const STEPS: [&str; 15] = [
    "mig_backfill('m', 'worker')",
    "mig_step('m', 50)",
    "mig_cancel('m')",
    "mig_switch('m', force => true)",
    "mig_check('m')",
    "mig_check('m', 'sample')",
    "mig_diff('m', 'd.a')",
    "mig_repair('m', dry_run => false)",
    "mig_rollback('m')",
    "mig_rollback('m', 'created')",
    "mig_rollback('m', 'defined')",
    "mig_detach('m')",
    "mig_preflight('m')",
    "mig_plan('m')",
    "mig_checklist('m')",
];

/// What comes next in a phase.
fn next_step(phase: &str) -> &'static str {
    match phase {
        "defined" => "mig_create('m')",
        "created" => "mig_dual_write('m')",
        "dual_write" => "mig_backfill('m', 'manual'), mig_step('m', 500)",
        "backfilled" => "mig_switch('m')",
        "switched" => "mig_stop('m')",
        _ => "mig_archive('m', force => true)",
    }
}

const WRITES: [&str; 8] = [
    "INSERT INTO T (id, v) VALUES (#000 + floor(random() * 1000), 'i') ON CONFLICT DO NOTHING",
    "UPDATE T SET v = 'u#' WHERE id = #00 + floor(random() * 100)",
    "UPDATE T SET v = v WHERE id BETWEEN #00 AND #01",
    "UPDATE T SET id = -id WHERE id = #00 + floor(random() * 100)",
    "DELETE FROM T WHERE id = #0 + floor(random() * 100)",
    "INSERT INTO T (id) SELECT g FROM generate_series(3#00, 3#40) g ON CONFLICT (id) DO UPDATE SET v = 'c'",
    "BEGIN; SAVEPOINT s; UPDATE T SET v = 's' WHERE id = #7; ROLLBACK TO s; UPDATE T SET v = 't' WHERE id = #8; COMMIT",
    "SELECT * FROM T ORDER BY id FOR UPDATE LIMIT #",
];

fn filled(template: &str, random: &mut Random) -> String {
    let tables = ["d.a", "d.b", "d.x", "d.y"];
    let mut table = || tables[usize::try_from(random.below(4)).unwrap()];
    let (one, other) = (table(), table());
    let digit = random.below(9) + 1;
    let template = template.replace("TRUNCATE T", &format!("TRUNCATE {one}"));
    let words = template.split(' ').map(|w| match w {
        "T" => one.to_owned(),
        "T;" => format!("{one};"),
        "U" => other.to_owned(),
        _ => w
            .replace("'T'", &format!("'{one}'"))
            .replace('#', &digit.to_string()),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// What PostgreSQL itself may say where DDL meets DDL, or a statement that was planned before it. No call of ours does.
const OF_THE_SERVER: [&str; 4] = [
    "tuple concurrently updated",
    "tuple concurrently deleted",
    "could not open relation with OID",
    "cache lookup failed for",
];

/// Runs a statement; whether it did anything. An ERROR that says nothing, or a lost connection, fails the test.
fn ran(client: &mut Client, sql: &str) -> bool {
    let Err(e) = client.batch_execute(sql) else {
        return true;
    };
    let db = e.as_db_error().unwrap_or_else(|| panic!("{sql}: {e}"));
    let message = db.message();
    let known =
        OF_THE_SERVER.iter().any(|m| message.starts_with(m)) && !sql.starts_with("SELECT mig");
    assert!(known || !db.code().code().starts_with("XX"), "{sql}: {e:?}");
    if sql.starts_with("BEGIN") {
        client.batch_execute("ROLLBACK").expect("the server lives");
    }
    false
}

fn session(cluster: &Cluster, database: &str) -> Client {
    let mut client = cluster.connect_as(database, "plain");
    client
        .batch_execute("SET statement_timeout = '2s'; SET lock_timeout = '200ms'; SET client_min_messages = error")
        .expect("sets");
    client
}

fn one_of<'a>(templates: &[&'a str], random: &mut Random) -> &'a str {
    templates[usize::try_from(random.below(templates.len() as u64)).unwrap()]
}

/// Writes at random until it is over; how many did anything.
fn write(mut client: Client, mut random: Random, place: &Place) -> u64 {
    let mut did = 0;
    while !place.is_over() {
        let template = one_of(&WRITES, &mut random);
        did += u64::from(ran(&mut client, &filled(template, &mut random)));
        place.count();
    }
    did
}

/// DDL at random, so many statements for each step that is tried.
fn change(mut client: Client, mut random: Random, steps: &AtomicU64, place: &Place) -> u64 {
    let (mut did, mut tried) = (0, 0);
    while !place.is_over() {
        if tried >= steps.load(Ordering::SeqCst) * DDL_PER_STEP {
            std::thread::yield_now();
            continue;
        }
        let pool: &[&str] = if random.below(WILD_ONE_IN) == 0 {
            &WILD
        } else {
            &MILD
        };
        let template = one_of(pool, &mut random);
        did += u64::from(ran(&mut client, &filled(template, &mut random)));
        tried += 1;
        place.count();
    }
    did
}

fn require_whole(admin: &mut Client) {
    admin
        .batch_execute(
            "CREATE EXTENSION IF NOT EXISTS amcheck; SELECT bt_index_check(c.oid, true) FROM pg_class c \
             JOIN pg_am a ON a.oid = c.relam AND a.amname = 'btree' JOIN pg_index i ON i.indexrelid = c.oid AND i.indisvalid AND i.indisready \
             WHERE c.relpersistence <> 't'",
        )
        .expect("indexes are whole");
    let torn: i64 = admin
        .query_one(
            "SELECT count(*) FROM pg_class c, verify_heapam(c.oid) WHERE c.relkind IN ('r', 't') AND c.relpersistence <> 't'",
            &[],
        )
        .expect("tables are looked at")
        .get(0);
    assert_eq!(torn, 0);
}

/// The migration lets go: no statement on any table fails because of us, and nothing of it stays when the tables go.
fn require_released(cluster: &Cluster, database: &str) {
    let mut owner = session(cluster, database);
    owner
        .batch_execute("RESET statement_timeout; RESET lock_timeout")
        .unwrap();
    ran(&mut owner, "SELECT mig_cancel('m')");
    ran(&mut owner, "SELECT mig_detach('m')");
    for table in ["d.a", "d.b", "d.x", "d.y", "public.a", "public.x"] {
        let written = owner.batch_execute(&format!("UPDATE {table} SET id = id WHERE id = 1"));
        if let Err(e) = written {
            let db = e.as_db_error().expect("the server lives");
            let of_us = format!("{} {:?} {:?}", db.message(), db.detail(), db.hint());
            // From `stopped` on that is the way it has to be.
            let stopped = db.message().contains("has moved");
            assert!(stopped || !of_us.contains("mig"), "{table}: {of_us}");
        }
    }
    let mut admin = cluster.connect(database);
    admin
        .batch_execute("DROP SCHEMA d CASCADE; DROP TABLE IF EXISTS public.a, public.b, public.x, public.y CASCADE")
        .expect("the tables go");
    for call in [
        "mig_rollback('m', 'defined')",
        "mig_drop('m', force => true)",
    ] {
        ran(&mut owner, &format!("SELECT {call}"));
    }
    let left: i64 = admin
        .query_one("SELECT count(*) FROM mig.migration", &[])
        .unwrap()
        .get(0);
    assert_eq!(left, 0, "a migration without tables is forgotten");
}

#[derive(Default)]
struct Did {
    writes: u64,
    changes: u64,
    steps: u64,
}

fn round(cluster: &Cluster, seed: u64) -> Did {
    let mut admin = cluster.database("ddl");
    admin
        .batch_execute("GRANT CREATE ON DATABASE ddl TO plain; GRANT CREATE ON SCHEMA public TO plain; SELECT mig_allow('plain')")
        .unwrap();
    session(cluster, "ddl").batch_execute(STANDING).unwrap();
    let random = |n: u64| Random::new(seed * 100 + n);
    let writers = Load::start([1, 2].map(|n| {
        let (client, random) = (session(cluster, "ddl"), random(n));
        move |place: &Place| write(client, random, place)
    }));
    let tried = Arc::new(AtomicU64::new(0));
    let changer = Load::start([{
        let (client, random, tried) = (session(cluster, "ddl"), random(3), Arc::clone(&tried));
        move |place: &Place| change(client, random, &tried, place)
    }]);
    let (mut owner, mut random, mut steps) = (session(cluster, "ddl"), random(4), 0);
    while tried.fetch_add(1, Ordering::SeqCst) < STEPS_A_ROUND {
        let phase = owner.query_opt("SELECT phase FROM mig.status WHERE migration = 'm'", &[]);
        let phase = phase
            .expect("the state is read")
            .map(|r| r.get::<_, String>(0));
        let step = match phase {
            Some(phase) if random.below(2) == 0 => next_step(&phase),
            _ => one_of(&STEPS, &mut random),
        };
        steps += u64::from(ran(&mut owner, &format!("SELECT {step}")));
    }
    let did = Did {
        writes: writers.stop().iter().sum(),
        changes: changer.stop().iter().sum(),
        steps,
    };
    require_whole(&mut admin);
    require_released(cluster, "ddl");
    did
}

#[test]
fn no_ddl_breaks_anything() {
    let seconds = setting("PG_MIG_SOAK_SECONDS").unwrap_or(0);
    let mut seed = setting("PG_MIG_SOAK_SEED").unwrap_or_else(now);
    let cluster = Cluster::start("it_soak_ddl", "");
    let mut admin = cluster.connect("postgres");
    admin
        .batch_execute("CREATE ROLE plain LOGIN; CREATE ROLE other; GRANT other TO plain")
        .unwrap();
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut rounds = 0;
    while rounds == 0 || Instant::now() < end {
        println!("ddl: PG_MIG_SOAK_SEED={seed}");
        let did = round(&cluster, seed);
        println!(
            "ddl: {} writes, {} changes of tables, {} steps",
            did.writes, did.changes, did.steps
        );
        assert!(did.writes > 0 && did.changes > 0 && did.steps > 0);
        seed += 1;
        rounds += 1;
    }
}
