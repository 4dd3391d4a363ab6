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

/// Columns that the mapping leaves alone keep their values, on both sides, in a write of one row and of many.
#[test]
fn columns_outside_the_mapping_keep_their_values() {
    let cluster = Cluster::start("it_notice_columns", "");
    let mut client = cluster.database("columns");
    client
        .batch_execute(
            "CREATE TABLE src (id int PRIMARY KEY, v text, legacy text); CREATE TABLE dst (id int PRIMARY KEY, v text, note text); INSERT INTO src SELECT g, 'v', 'kept' FROM generate_series(1, 50) g; \
             SELECT mig_define('m'); SELECT mig_add_table('m', 'src', 'dst', columns => '{\"legacy\": null}'); SELECT mig_create(); SELECT mig_dual_write()",
        )
        .unwrap();
    client.batch_execute("CALL mig_run()").unwrap();
    client
        .batch_execute("UPDATE dst SET note = 'kept'")
        .unwrap();
    let kept = "SELECT (SELECT bool_and(legacy = 'kept') FROM src) AND (SELECT bool_and(note = 'kept') FROM dst) \
                AND NOT EXISTS (SELECT id, v FROM src EXCEPT SELECT id, v FROM dst)";
    for phase in ["backfilled", "switched"] {
        if phase == "switched" {
            client.batch_execute("SELECT mig_switch()").unwrap();
            client
                .batch_execute("UPDATE dst SET v = 'one' WHERE id = 1; UPDATE dst SET v = 'many'")
                .unwrap();
            assert!(yes(&mut client, kept), "new side");
        }
        client
            .batch_execute("UPDATE src SET v = 'one' WHERE id = 2; UPDATE src SET v = 'all'")
            .unwrap();
        assert!(yes(&mut client, kept), "{phase}, old side");
    }
}

/// An action of a foreign key on the other side is ours, one on the application's side is not: in the same transaction, with rows written together.
#[test]
fn triggers_fire_after_an_action_that_wrote_many_rows() {
    let cluster = Cluster::start("it_notice_actions", "");
    let mut client = cluster.database("actions");
    client
        .batch_execute(
            "CREATE TABLE t (id int PRIMARY KEY, p int REFERENCES t ON DELETE SET NULL); CREATE TABLE seen (side text, id int); \
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.seen VALUES (TG_TABLE_NAME, NEW.id); RETURN NULL; END $$; \
             CREATE TRIGGER audit AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION note(); \
             SELECT mig_define('m'); SELECT mig_add_table('m', 't', 't2'); SELECT mig_create(); SELECT mig_dual_write()",
        )
        .unwrap();
    client.batch_execute("CALL mig_run()").unwrap();
    client.batch_execute("SELECT mig_switch()").unwrap();
    for (side, children) in [
        ("t", 2),
        ("t", 3),
        ("t", 4),
        ("t2", 3),
        ("t2", 4),
        ("t2", 7),
    ] {
        client
            .batch_execute(&format!(
                "TRUNCATE seen; DELETE FROM {side}; INSERT INTO {side} VALUES (1, NULL), (10, NULL); \
                 INSERT INTO {side} SELECT 1 + g, 1 FROM generate_series(1, {children}) g; INSERT INTO {side} VALUES (11, 10), (12, 10); \
                 BEGIN; DELETE FROM {side} WHERE id = 1; DELETE FROM {side} WHERE id = 10; COMMIT"
            ))
            .unwrap();
        let seen = format!(
            "SELECT count(*) = {children} + 2 AND count(DISTINCT id) = {children} + 2 AND bool_and(side = '{side}') FROM seen"
        );
        assert!(yes(&mut client, &seen), "{children} children in {side}");
        let same = "SELECT NOT EXISTS (TABLE t EXCEPT TABLE t2) AND NOT EXISTS (TABLE t2 EXCEPT TABLE t) AND bool_and(p IS NULL) FROM t";
        assert!(yes(&mut client, same), "{children} children in {side}");
    }
}

/// A statement that writes rows of two scopes waits for no row that only the other scope has in the way.
#[test]
fn rows_of_other_scopes_wait_for_nothing_of_this_one() {
    let cluster = Cluster::start("it_notice_scopes", "");
    let mut client = cluster.database("scopes");
    client
        .batch_execute(
            "CREATE TABLE scope (id int PRIMARY KEY); INSERT INTO scope VALUES (1), (2); CREATE TABLE src (id int PRIMARY KEY, v text); \
             CREATE TABLE dst (project_id int REFERENCES scope, id int, v text, PRIMARY KEY (project_id, id)); \
             SELECT mig_define('m', 'scope', '1'); SELECT mig_add_table('m', 'src', 'dst'); SELECT mig_create(); SELECT mig_dual_write()",
        )
        .unwrap();
    client.batch_execute("CALL mig_run()").unwrap();
    client.batch_execute("SELECT mig_switch()").unwrap();
    client
        .batch_execute("INSERT INTO dst (project_id, id, v) VALUES (1, 3, 'v'), (1, 4, 'v'), (2, 5, 'v'), (1, 5, 'v')")
        .unwrap();
    let mut other = cluster.connect("scopes");
    other
        .batch_execute("BEGIN; UPDATE dst SET v = 'x' WHERE project_id = 1 AND id = 5")
        .unwrap();
    client
        .batch_execute("SET lock_timeout = '3s'; UPDATE dst SET v = 'y' WHERE (project_id, id) IN ((1, 3), (1, 4), (2, 5))")
        .unwrap();
    other.batch_execute("COMMIT").unwrap();
    assert!(yes(
        &mut client,
        "SELECT string_agg(id || v, ' ' ORDER BY id) = '3y 4y 5x' FROM src"
    ));
}

/// A table that stays refers to the old table. Of its rows there is one copy, so its triggers fire, whichever side is written.
#[test]
fn triggers_of_a_table_that_stays_see_what_a_key_does_to_it() {
    let cluster = Cluster::start("it_notice_stays", "");
    let mut client = switched(&cluster, "notice_stays", "");
    client
        .batch_execute(
            "CREATE TABLE stays (id int PRIMARY KEY, gone int REFERENCES src ON DELETE CASCADE, unset int REFERENCES src ON DELETE SET NULL); \
             INSERT INTO stays VALUES (1, 1, 9), (2, 2, 9), (3, 9, 1), (4, 9, 2); \
             CREATE TABLE note (op text, id int, who text, owner text); \
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN \
               INSERT INTO note VALUES (TG_OP, OLD.id, session_user, current_user); RETURN NULL; END$$; \
             CREATE TRIGGER note AFTER UPDATE OR DELETE ON stays FOR EACH ROW EXECUTE FUNCTION note(); \
             CREATE TRIGGER old AFTER DELETE ON src FOR EACH ROW EXECUTE FUNCTION note()",
        )
        .unwrap();
    let noted = "SELECT string_agg(op || ' ' || id, ', ' ORDER BY op, id) FROM note";
    for (table, id, expected) in [
        ("dst", 1, "DELETE 1, UPDATE 3"),
        ("src", 2, "DELETE 2, DELETE 2, UPDATE 4"),
    ] {
        client
            .batch_execute(&format!("DELETE FROM {table} WHERE id = {id}"))
            .unwrap();
        let found: String = client.query_one(noted, &[]).unwrap().get(0);
        assert_eq!(found, expected, "{table}");
        client.batch_execute("TRUNCATE note").unwrap();
    }
    assert!(yes(
        &mut client,
        "SELECT (SELECT count(*) FROM src) = 8 AND (SELECT count(*) FROM dst) = 8 AND (SELECT count(*) FROM stays) = 2"
    ));
}
