//! Every function with whatever arguments, by a superuser and by a role that may run migrations, while migrations stand in every phase.
//! Whatever is asked ends in an answer or in an ERROR that says something, and the database is whole afterwards.

use super::{now, setting};
use crate::common::cluster::Cluster;
use crate::common::writers::Random;
use postgres::Client;
use std::time::{Duration, Instant};

/// A database with one migration in each phase, of tables `f0` to `f7`, all of role `plain`.
const STANDING: &str = "CREATE SCHEMA f AUTHORIZATION plain; SELECT mig_allow('plain'); SET ROLE plain; \
    DO $$BEGIN FOR n IN 0..7 LOOP \
        EXECUTE format('CREATE TABLE f.f%s (id int PRIMARY KEY, v text, w int)', n); \
        EXECUTE format('INSERT INTO f.f%s SELECT g, g, NULL FROM generate_series(1, 30) g', n); \
      END LOOP; END$$";

const STEPS: [&str; 6] = [
    "mig_create",
    "mig_dual_write",
    "backfill",
    "mig_switch",
    "mig_stop",
    "mig_archive",
];

fn stand(client: &mut Client) {
    client.batch_execute(STANDING).expect("tables stand");
    for n in 0..=STEPS.len() {
        client
            .batch_execute(&format!(
                "SELECT mig_define('m{n}'); SELECT mig_add_table('m{n}', 'f.f{n}', 'f.g{n}')"
            ))
            .expect("defines");
        for step in &STEPS[..n] {
            let sql = match *step {
                "backfill" => {
                    format!("SELECT mig_backfill('m{n}', 'manual'); SELECT mig_step('m{n}', 60000)")
                }
                "mig_archive" => format!("SELECT mig_archive('m{n}', force => true)"),
                _ => format!("SELECT {step}('m{n}')"),
            };
            client
                .batch_execute(&sql)
                .unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        }
    }
    client
        .batch_execute("SELECT mig_define('m7'); SELECT mig_add_column('m7', 'f.f7', 'x', 'bigint', 'v::bigint', 'x::text', replaces => 'v'); \
                        SELECT mig_create('m7'); SELECT mig_dual_write('m7'); RESET ROLE")
        .expect("a column changes");
}

const TEXTS: [&str; 32] = [
    "NULL",
    "''",
    "'m0'",
    "'m1'",
    "'m2'",
    "'m3'",
    "'m4'",
    "'m5'",
    "'m6'",
    "'m7'",
    "'nobody'",
    "'full'",
    "'quick'",
    "'manual'",
    "'worker'",
    "'created'",
    "'defined'",
    "'v'",
    "'id + 1'",
    "'x::text'",
    "'f.new'",
    "'(SELECT 1)'",
    "'; DROP TABLE f.f1'",
    "'CREATE INDEX i ON f.f1 (v)'",
    "'CREATE INDEX j ON f.f2 (lower(v)) WHERE id > 3'",
    "repeat('x', 100000)",
    "repeat('(', 20000)",
    "E'\\\\\\'\"$$'",
    "U&'\\00FC\\D83D\\DE00'",
    "'{\"migration\": 1}'",
    "'SELECT 1; SELECT ü'",
    "'remap'",
];
const NUMBERS: [&str; 8] = [
    "NULL",
    "0",
    "1",
    "-1",
    "20",
    "2147483647",
    "-2147483648",
    "7",
];
const BIG: [&str; 6] = [
    "NULL",
    "0",
    "1",
    "2",
    "9223372036854775807",
    "-9223372036854775808",
];
const RELATIONS: [&str; 14] = [
    "NULL",
    "'f.f0'",
    "'f.f1'",
    "'f.f2'",
    "'f.f3'",
    "'f.f4'",
    "'f.f7'",
    "'f.g3'",
    "'pg_class'",
    "'mig.migration'",
    "'mig.status'",
    "'0'",
    "'4294967295'",
    "'f.f0_pkey'",
];
const DOCUMENTS: [&str; 14] = [
    "NULL",
    "'null'",
    "'{}'",
    "'[]'",
    "'1'",
    "'\"x\"'",
    "'{\"delay_ms\": -1}'",
    "'{\"throttle_query\": \"SELECT 1/0\"}'",
    "'{\"v\": \"v || 1\"}'",
    "'[[\"v\"]]'",
    "'{\"migration\": \"n\", \"tables\": [{\"source\": \"f.f0\", \"target\": \"t\"}]}'",
    "'{\"w\": \"f.f1\"}'",
    "(repeat('[', 300) || repeat(']', 300))",
    "(SELECT jsonb_object_agg(g, g) FROM generate_series(1, 5000) g)",
];
const NAMES: [&str; 6] = [
    "NULL",
    "''",
    "'v'",
    "'id'",
    "'project_id'",
    "repeat('n', 63)",
];

fn argument(kind: &str, random: &mut Random) -> String {
    let pool: &[&str] = match kind {
        "text" => &TEXTS,
        "integer" => &NUMBERS,
        "bigint" => &BIG,
        "regclass" => &RELATIONS,
        "jsonb" => &DOCUMENTS,
        "name" => &NAMES,
        "boolean" => &["NULL", "true", "false"],
        "interval" => &[
            "NULL",
            "'0'",
            "'-1 s'",
            "'1 ms'",
            "'178000000 years'",
            "'-178000000 years'",
        ],
        "oid" => &["NULL", "0", "1259", "4294967295"],
        "regrole" => &["NULL", "'plain'", "'0'", "'4294967295'"],
        "name[]" => &[
            "NULL",
            "'{}'",
            "'{v}'",
            "'{id,id}'",
            "'{{a},{b}}'",
            "'[5:5]={id}'",
            "'{NULL}'",
        ],
        other => panic!("no values of type {other}"),
    };
    let n = random.below(pool.len() as u64);
    format!("{}::{kind}", pool[usize::try_from(n).expect("small")])
}

/// Of the kind that says nothing: an ERROR of ours without a code, or no server.
fn says_nothing(error: &postgres::Error) -> bool {
    error.code().is_none_or(|c| c.code().starts_with("XX"))
}

#[test]
fn no_arguments_break_anything() {
    let seconds = setting("PG_MIG_SOAK_SECONDS").unwrap_or(0);
    let seed = setting("PG_MIG_SOAK_SEED").unwrap_or_else(now);
    println!("fuzz: PG_MIG_SOAK_SEED={seed}");
    let cluster = Cluster::start("it_fuzz", "");
    let mut admin = cluster.connect("postgres");
    admin.batch_execute("CREATE ROLE plain LOGIN").unwrap();
    let (mut random, end) = (
        Random::new(seed),
        Instant::now() + Duration::from_secs(seconds),
    );
    let (mut calls, mut answered) = (0, 0);
    while Instant::now() < end || answered == 0 {
        let mut client = cluster.database("fuzz");
        stand(&mut client);
        let functions = client
            .query(
                "SELECT CASE p.prokind WHEN 'p' THEN 'CALL ' ELSE 'SELECT ' END || p.oid::regproc, \
                   ARRAY(SELECT t::regtype::text FROM unnest(p.proargtypes) WITH ORDINALITY u(t, n) ORDER BY n) \
                 FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' \
                 JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_mig' WHERE p.prorettype <> 'trigger'::regtype ORDER BY p.oid::regprocedure::text",
                &[],
            )
            .unwrap();
        assert!(functions.len() > 40);
        let mut plain = cluster.connect_as("fuzz", "plain");
        for one in [&mut client, &mut plain] {
            one.batch_execute("SET statement_timeout = '300ms'; SET client_min_messages = error")
                .unwrap();
        }
        for _ in 0..400 {
            let f = &functions[usize::try_from(random.below(functions.len() as u64)).unwrap()];
            let kinds: Vec<String> = f.get(1);
            let values: Vec<String> = kinds.iter().map(|k| argument(k, &mut random)).collect();
            let sql = format!("{}({})", f.get::<_, String>(0), values.join(", "));
            let one = if random.below(2) == 0 {
                &mut client
            } else {
                &mut plain
            };
            calls += 1;
            match one.batch_execute(&sql) {
                Ok(()) => answered += 1,
                Err(e) => assert!(!says_nothing(&e), "{sql}: {e:?}"),
            }
            // Somebody writes meanwhile; a table whose time is over may refuse it.
            let n = random.below(8);
            if let Err(e) = client.batch_execute(&format!(
                "UPDATE f.f{n} SET v = v WHERE id = {}",
                random.below(30)
            )) {
                assert!(!says_nothing(&e), "a write to f{n} after {sql}: {e:?}");
            }
        }
        client
            .batch_execute("RESET statement_timeout; CREATE EXTENSION IF NOT EXISTS amcheck; SELECT bt_index_check(c.oid, true) FROM pg_class c \
                JOIN pg_am a ON a.oid = c.relam AND a.amname = 'btree' JOIN pg_index i ON i.indexrelid = c.oid AND i.indisvalid WHERE c.relpersistence = 'p'")
            .unwrap();
        let torn: i64 = client
            .query_one("SELECT count(*) FROM pg_class c, verify_heapam(c.oid) WHERE c.relkind = 'r' AND c.relpersistence = 'p'", &[])
            .unwrap()
            .get(0);
        assert_eq!(torn, 0);
    }
    // It has seen no crash: that would have ended it.
    admin.batch_execute("SELECT 1").unwrap();
    println!("fuzz: {calls} calls, {answered} answered");
    assert!(
        answered * 20 > calls,
        "{answered} of {calls} calls came to anything"
    );
}
