//! What the application must not notice of the mirrors while both sides are written: see also the isolation specs, and `make conformance`.

use crate::common::cluster::Cluster;
use crate::wait::yes;
use postgres::Client;

/// Two tables after the switch, the first with `extra` among its columns.
fn switched(cluster: &Cluster, database: &str, extra: &str) -> Client {
    let mut client = cluster.database(database);
    client
        .batch_execute(&format!(
            "CREATE TABLE src (id int PRIMARY KEY, v text{extra}); CREATE TABLE child (id int PRIMARY KEY, src_id int REFERENCES src ON DELETE CASCADE); \
             INSERT INTO src (id, v) SELECT g, 'v' FROM generate_series(1, 10) g; \
             SELECT mig_define('m'); SELECT mig_add_table('m', 'src', 'dst'); SELECT mig_add_table('m', 'child', 'new_child'); \
             SELECT mig_create(); SELECT mig_dual_write()"
        ))
        .unwrap();
    client.batch_execute("CALL mig_run()").unwrap();
    client.batch_execute("SELECT mig_switch()").unwrap();
    client
}

/// The predicate locks that the session's transaction holds on the tables and their indexes.
fn predicate_locks(client: &mut Client, tables: &[&str]) -> Vec<String> {
    let rows = client
        .query(
            "SELECT l.relation::regclass::text || ' ' || l.locktype FROM pg_locks l WHERE mode = 'SIReadLock' AND pid = pg_backend_pid() \
             AND (l.relation = ANY ($1::text[]::regclass[]::oid[]) OR l.relation IN (SELECT indexrelid FROM pg_index WHERE indrelid = ANY ($1::text[]::regclass[]::oid[]))) ORDER BY 1",
            &[&tables],
        )
        .unwrap();
    rows.iter().map(|r| r.get(0)).collect()
}

/// Statements with the tables that they write as `{t}` and `{c}`; the first of each pair is run on both sides.
const WRITES: [&str; 4] = [
    "INSERT INTO {t} (id, v) VALUES (100, 'x')",
    "UPDATE {t} SET v = 'y' WHERE id = 3",
    "DELETE FROM {t} WHERE id = 4",
    "INSERT INTO {t} (id, v) SELECT g, 'z' FROM generate_series(200, 300) g",
];

#[test]
fn a_serializable_transaction_holds_no_predicate_lock_of_ours() {
    let cluster = Cluster::start("it_notice_ssi", "");
    let mut client = switched(&cluster, "notice", "");
    for (written, other) in [("dst", "src"), ("src", "dst")] {
        for sql in WRITES {
            client
                .batch_execute(&format!(
                    "BEGIN ISOLATION LEVEL SERIALIZABLE; {}",
                    sql.replace("{t}", written)
                ))
                .unwrap();
            assert_eq!(
                predicate_locks(&mut client, &[other]),
                Vec::<String>::new(),
                "{sql} on {written}"
            );
            client.batch_execute("ROLLBACK").unwrap();
        }
    }
    // The figure means something: a transaction that reads the other side does leave one.
    client
        .batch_execute("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT FROM src WHERE id = 1")
        .unwrap();
    assert!(!predicate_locks(&mut client, &["src"]).is_empty());
}

/// Rows that sequential scans of the table have read, and rows inserted.
fn counted(client: &mut Client, table: &str) -> (i64, i64) {
    let sql = format!(
        "SELECT seq_tup_read, n_tup_ins FROM pg_stat_xact_user_tables WHERE relname = '{table}'"
    );
    let row = client.query_one(&sql, &[]).unwrap();
    (row.get(0), row.get(1))
}

#[test]
fn statements_of_ours_find_rows_by_their_keys_however_small_the_table_was() {
    let cluster = Cluster::start("it_notice_scans", "");
    // A generated column: such a table is written by statements.
    let mut client = switched(
        &cluster,
        "notice",
        ", n int GENERATED ALWAYS AS (length(v)) STORED",
    );
    for (table, other) in [("dst", "src"), ("src", "dst")] {
        // What the session has counted and not yet reported, of earlier transactions too.
        client.batch_execute("BEGIN").unwrap();
        let before = counted(&mut client, other);
        client
            .batch_execute(&format!(
                "DO $$ BEGIN FOR i IN 1..300 LOOP INSERT INTO {table} (id, v) VALUES (1000 + i, 'x'); UPDATE {table} SET v = 'y' WHERE id = 1000 + i; END LOOP; END $$"
            ))
            .unwrap();
        let after = counted(&mut client, other);
        assert!(after.0 - before.0 < 300, "written: {table}");
        assert!(after.1 - before.1 >= 300, "written: {table}");
        client.batch_execute("ROLLBACK").unwrap();
    }
}

#[test]
fn a_row_that_is_right_already_is_not_written_again() {
    let cluster = Cluster::start("it_notice_right", "");
    let mut client = switched(&cluster, "notice", "");
    for (written, other) in [("dst", "src"), ("src", "dst")] {
        client
            .batch_execute(&format!("BEGIN; UPDATE {written} SET v = v WHERE id = 5"))
            .unwrap();
        let sql = format!(
            "SELECT xmin::text <> pg_current_xact_id()::xid::text FROM {other} WHERE id = 5"
        );
        assert!(yes(&mut client, &sql), "{other}");
        // The statement after it is mirrored like any other.
        client
            .batch_execute(&format!("UPDATE {written} SET v = 'after' WHERE id = 6"))
            .unwrap();
        let sql = format!("SELECT v = 'after' FROM {other} WHERE id = 6");
        assert!(yes(&mut client, &sql), "{other}");
        client.batch_execute("ROLLBACK").unwrap();
    }
}
