//! Many small tables: what each of them takes is small, too.

use crate::common::cluster::Cluster;
use crate::wait::{backfilled, until_sql, yes};

/// An index of twelve rows waits for nobody's snapshot.
#[test]
fn indexes_of_tiny_tables_wait_for_no_snapshot() {
    let cluster = Cluster::start("it_many", "");
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "CREATE EXTENSION pg_mig; SELECT mig_define('m'); \
             DO $$ BEGIN FOR n IN 1..40 LOOP \
               EXECUTE format('CREATE TABLE t%1$s (id int PRIMARY KEY, a int, b text UNIQUE); CREATE INDEX ON t%1$s (a); CREATE INDEX ON t%1$s (lower(b)); \
                 INSERT INTO t%1$s SELECT g, g, g FROM generate_series(1, 12) g', n); \
               PERFORM mig_add_table('m', 't' || n, 'u' || n); END LOOP; END $$; \
             SELECT mig_create('m'); SELECT mig_dual_write('m')",
        )
        .unwrap();
    let mut old = cluster.connect("postgres");
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t1")
        .unwrap();
    client.batch_execute("SELECT mig_backfill('m')").unwrap();
    until_sql(
        &mut client,
        "SELECT count(*) = 160 AND bool_and(indisvalid) FROM pg_index WHERE indrelid::regclass::text ~ '^u[0-9]+$'",
    );
    old.batch_execute("COMMIT").unwrap();
    backfilled(&mut client);
    client.batch_execute("SELECT mig_assert('m')").unwrap();
}

/// What comes after the copy is done piece by piece, but not slice by slice: a slice looks at all tables before it begins.
#[test]
fn a_slice_makes_many_small_indexes_and_keys() {
    let cluster = Cluster::start("it_many_pieces", "");
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "CREATE EXTENSION pg_mig; SELECT mig_define('m', options => '{\"batch_target_ms\": 10000}'); \
             DO $$ BEGIN FOR n IN 1..30 LOOP \
               EXECUTE format('CREATE TABLE t%1$s (id int PRIMARY KEY, a int REFERENCES t1, b int REFERENCES t1, c int UNIQUE); \
                 CREATE INDEX ON t%1$s (a); CREATE INDEX ON t%1$s (b); INSERT INTO t%1$s SELECT g, g, g, g FROM generate_series(1, 12) g', n); \
               PERFORM mig_add_table('m', 't' || n, 'u' || n); END LOOP; END $$; \
             SELECT mig_create('m'); SELECT mig_dual_write('m'); SELECT mig_backfill('m', driver => 'manual')",
        )
        .unwrap();
    let mut slices = 0;
    while yes(
        &mut client,
        "SELECT phase <> 'backfilled' FROM mig_status('m')",
    ) {
        client
            .batch_execute("SELECT mig_step('m', max_ms => 1)")
            .unwrap();
        slices += 1;
    }
    // For each table its indexes and its rows; 60 keys are added, then validated.
    assert!(slices < 80, "{slices} slices");
    client.batch_execute("SELECT mig_assert('m')").unwrap();
}
