//! Rows written below SQL: many of one statement together, and none of them locks the scope's row.

use crate::common::cluster::Cluster;
use crate::wait::{backfilled, refused, until_sql, yes};
use postgres::Client;

/// Backfilled, with nothing in the tables.
fn ready(cluster: &Cluster, database: &str) -> Client {
    let mut client = cluster.database(database);
    client
        .batch_execute(
            "CREATE TABLE projects (id int PRIMARY KEY); INSERT INTO projects VALUES (1), (2); \
             CREATE TABLE src (id int PRIMARY KEY, v text); CREATE INDEX ON src (v); \
             SELECT mig_define('cover', 'projects', '1'); SELECT mig_add_table('cover', 'src', 'new_src'); \
             SELECT mig_create(); SELECT mig_dual_write()",
        )
        .unwrap();
    client.batch_execute("CALL mig_run()").unwrap();
    client
}

fn each(client: &mut Client, statements: &[&str]) {
    for sql in statements {
        client
            .batch_execute(sql)
            .unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }
}

fn number(client: &mut Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).unwrap().get(0)
}

/// Writes `table`, and counts the commands that wrote the rows of `copy`.
fn count_commands(client: &mut Client, (table, columns): (&str, &str), copy: &str) {
    client.batch_execute("BEGIN").unwrap();
    let commands = format!(
        "SELECT count(DISTINCT cmin::text) FROM {copy} WHERE xmin::text = (pg_current_xact_id()::text::bigint % (1::bigint << 32))::text"
    );
    for (sql, least) in [
        (
            format!(
                "INSERT INTO {table} SELECT {columns} FROM (SELECT g AS n, 'v' AS v FROM generate_series(1, 5000) g) q"
            ),
            1,
        ),
        (
            format!("UPDATE {table} SET v = 'w' || id WHERE id <= 4000"),
            2,
        ),
    ] {
        client.batch_execute(&sql).unwrap();
        let used = number(client, &commands);
        assert!((least..200).contains(&used), "{sql}: {used} commands");
    }
    // One row at a time is a command each, so that the figure means something.
    client
        .batch_execute(&format!(
            "DO $$ BEGIN FOR i IN 6001..6300 LOOP INSERT INTO {table} SELECT {columns} FROM (SELECT i AS n, 'x' AS v) q; END LOOP; END $$"
        ))
        .unwrap();
    assert!(number(client, &commands) >= 300);
    client
        .batch_execute(&format!("DELETE FROM {table} WHERE id > 100; COMMIT"))
        .unwrap();
    assert!(yes(
        client,
        "SELECT count(*) = 100 AND bool_and(n.project_id = 1 AND n.v = s.v) FROM src s FULL JOIN new_src n USING (id)"
    ));
    client
        .batch_execute(&format!("DELETE FROM {table}"))
        .unwrap();
}

#[test]
fn rows_of_one_statement_are_written_by_few_commands() {
    let cluster = Cluster::start("it_direct", "");
    let mut client = ready(&cluster, "together");
    count_commands(&mut client, ("src", "n, v"), "new_src");
    client.batch_execute("SELECT mig_switch()").unwrap();
    count_commands(&mut client, ("src", "n, v"), "new_src");
    count_commands(&mut client, ("new_src", "1, n, v"), "src");
    // Rows of other projects have no copy, though they are written by the same statements, and have the same keys.
    client
        .batch_execute("INSERT INTO new_src SELECT 1 + g % 2, g, 'v' FROM generate_series(1, 2000) g; DELETE FROM new_src WHERE id > 50")
        .unwrap();
    assert!(yes(
        &mut client,
        "SELECT count(*) = 25 AND bool_and(id % 2 = 0) FROM src"
    ));
}

/// Whether a transaction that writes one row keeps others from locking the project's row.
fn locks_the_project(cluster: &Cluster, client: &mut Client, id: i32) -> bool {
    let mut other = cluster.connect("anchored");
    client
        .batch_execute(&format!(
            "BEGIN; INSERT INTO src VALUES ({id}, 'x'); UPDATE src SET v = 'y' WHERE id = {id}"
        ))
        .unwrap();
    let free = other.batch_execute("SELECT FROM projects WHERE id = 1 FOR UPDATE NOWAIT");
    client.batch_execute("ROLLBACK").unwrap();
    match free {
        Ok(()) => false,
        Err(e) => {
            assert_eq!(e.code().map(|c| c.code()), Some("55P03"));
            true
        }
    }
}

#[test]
fn the_anchor_holds_the_project_and_mirrors_do_not_lock_it() {
    let cluster = Cluster::start("it_anchor", "");
    let mut client = ready(&cluster, "anchored");
    let held = "SELECT count(*) FROM mig.m1_anchor WHERE project_id = 1";
    assert_eq!(number(&mut client, held), 1);
    assert!(!locks_the_project(&cluster, &mut client, 1));
    // No row of the new table names the project, and still nobody takes it away; it may be replaced.
    let (state, detail, _) = refused(&mut client, "DELETE FROM projects WHERE id = 1");
    assert_eq!(state, "23503");
    assert!(detail.contains("m1_anchor"), "{detail}");
    client
        .batch_execute("BEGIN; DELETE FROM projects WHERE id = 1; INSERT INTO projects VALUES (1); COMMIT; DELETE FROM projects WHERE id = 2; INSERT INTO projects VALUES (2)")
        .unwrap();
    // At the end of dual writing it lets go; on the way back it holds again.
    let to_stopped = ["SELECT mig_switch()", "SELECT mig_stop()"];
    each(&mut client, &["INSERT INTO src VALUES (7, 'kept')"]);
    each(&mut client, &to_stopped);
    assert_eq!(number(&mut client, held), 0);
    each(
        &mut client,
        &["SELECT mig_rollback('cover')", "SELECT mig_wait()"],
    );
    assert_eq!(number(&mut client, held), 1);
    each(&mut client, &["SELECT mig_rollback('cover')"]);
    assert!(yes(
        &mut client,
        "SELECT phase = 'backfilled' FROM mig_status()"
    ));
    assert!(!locks_the_project(&cluster, &mut client, 8));
    // Gone with the mirrors, and made again with the next backfill.
    each(&mut client, &["SELECT mig_rollback('cover', 'created')"]);
    assert!(yes(
        &mut client,
        "SELECT to_regclass('mig.m1_anchor') IS NULL"
    ));
    each(&mut client, &["SELECT mig_dual_write()", "CALL mig_run()"]);
    assert_eq!(number(&mut client, held), 1);
    each(&mut client, &to_stopped);
    each(
        &mut client,
        &[
            "SELECT mig_archive('cover', force => true)",
            "SELECT mig_drop('cover', force => true)",
        ],
    );
    assert!(yes(
        &mut client,
        "SELECT to_regclass('mig.m1_anchor') IS NULL"
    ));
}

#[test]
fn without_an_anchor_the_foreign_key_is_checked_as_ever() {
    let cluster = Cluster::start("it_unanchored", "");
    let mut client = ready(&cluster, "anchored");
    client.batch_execute("DROP TABLE mig.m1_anchor").unwrap();
    let mut client = cluster.connect("anchored");
    assert!(locks_the_project(&cluster, &mut client, 1));
    client
        .batch_execute("DELETE FROM projects WHERE id = 1")
        .unwrap();
    // Put in while the project is missing, and changed by the same transaction.
    let orphan =
        "INSERT INTO src SELECT g, 'x' FROM generate_series(1, 5) g; UPDATE src SET v = 'y'";
    let (state, ..) = refused(&mut client, &format!("BEGIN; {orphan}; COMMIT"));
    assert_eq!(state, "23503");
    client.batch_execute("ROLLBACK").unwrap();
    client
        .batch_execute(&format!(
            "BEGIN; {orphan}; INSERT INTO projects VALUES (1); COMMIT"
        ))
        .unwrap();
    assert!(yes(
        &mut client,
        "SELECT count(*) = 5 FROM new_src WHERE v = 'y'"
    ));
}

/// Whoever changes a row that a batch has just copied waits for its copy, and not for the rest of the batch.
#[test]
fn a_batch_that_somebody_waits_for_ends_early() {
    let cluster = Cluster::start("it_direct_early", "");
    let mut client = cluster.database("early");
    // A batch of all rows stands at one in the middle for as long as somebody holds its gate, and the next batch at a later one.
    client
        .batch_execute(
            "CREATE FUNCTION public.pass(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS \
               $$ BEGIN IF $1 ~ '^gate' THEN PERFORM pg_advisory_xact_lock_shared(substr($1, 5)::int); END IF; RETURN $1; END $$; \
             CREATE TABLE src (id int PRIMARY KEY, v text); \
             INSERT INTO src SELECT g, CASE g WHEN 1500 THEN 'gate42' WHEN 3500 THEN 'gate43' ELSE 'v' END FROM generate_series(1, 4000) g; \
             SELECT mig_define('cover', options => '{\"batch_rows\": 1000000, \"batch_target_ms\": 60000}'); \
             SELECT mig_add_table('cover', 'src', 'new_src', columns => '{\"v\": {\"up\": \"public.pass(v)\", \"down\": \"v\"}}'); \
             SELECT mig_create(); SELECT mig_dual_write()",
        )
        .unwrap();
    let mut writer = cluster.connect("early");
    client
        .batch_execute("SELECT pg_advisory_lock(42), pg_advisory_lock(43); SELECT mig_backfill()")
        .unwrap();
    let waits = "SELECT count(*) = 1 FROM pg_locks WHERE NOT granted AND locktype";
    until_sql(&mut client, &format!("{waits} = 'advisory'"));
    let writes =
        std::thread::spawn(move || writer.batch_execute("UPDATE src SET v = 'w' WHERE id = 1"));
    until_sql(&mut client, &format!("{waits} = 'transactionid'"));
    client
        .batch_execute("SELECT pg_advisory_unlock(42)")
        .unwrap();
    writes.join().unwrap().unwrap();
    let rows = number(&mut client, "SELECT rows_done FROM mig.mapping");
    assert!((1..3500).contains(&rows), "{rows} rows of 4000");
    client
        .batch_execute("SELECT pg_advisory_unlock(43)")
        .unwrap();
    backfilled(&mut client);
    client.batch_execute("SELECT mig_assert()").unwrap();
}

/// An index that is being built concurrently takes no rows at first: it has not even a page.
#[test]
fn rows_of_one_statement_pass_an_index_that_has_just_been_begun() {
    let cluster = Cluster::start("it_direct_begun", "");
    let mut client = ready(&cluster, "begun");
    client.batch_execute("CREATE EXTENSION amcheck").unwrap();
    // The build waits for whoever has written the table before.
    let mut holder = cluster.connect("begun");
    holder
        .batch_execute("BEGIN; INSERT INTO src VALUES (0, 'x')")
        .unwrap();
    let mut builder = cluster.connect("begun");
    let builds = std::thread::spawn(move || {
        builder
            .batch_execute("CREATE INDEX CONCURRENTLY begun ON new_src (id, v)")
            .unwrap();
    });
    until_sql(
        &mut client,
        "SELECT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('begun') AND NOT indisready)",
    );
    for sql in [
        "INSERT INTO src SELECT g, 'v' FROM generate_series(1, 3000) g",
        "UPDATE src SET v = 'w' WHERE id BETWEEN 1 AND 2000",
        "DELETE FROM src WHERE id BETWEEN 1 AND 100",
    ] {
        client
            .batch_execute(sql)
            .unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }
    holder.batch_execute("COMMIT").unwrap();
    builds.join().unwrap();
    client
        .batch_execute("INSERT INTO src SELECT g, 'late' FROM generate_series(4000, 5000) g")
        .unwrap();
    client
        .batch_execute("SELECT bt_index_check('begun', true); SELECT mig_assert()")
        .unwrap();
}

/// Rows of one statement are put in together only where an index tells at once what is in its way: a constraint that is checked at
/// the end has to be asked at the end.
#[test]
fn a_late_constraint_of_an_adopted_table_is_asked() {
    let cluster = Cluster::start("it_direct_late", "");
    let mut client = cluster.database("late");
    client
        .batch_execute(
            "CREATE TABLE projects (id int PRIMARY KEY); INSERT INTO projects VALUES (1); \
             CREATE TABLE src (id int PRIMARY KEY, v int); \
             CREATE TABLE new_src (project_id int NOT NULL REFERENCES projects, id int PRIMARY KEY, v int, \
               EXCLUDE USING btree (v WITH =) DEFERRABLE INITIALLY DEFERRED); \
             SELECT mig_define('cover', 'projects', '1'); SELECT mig_add_table('cover', 'src', 'new_src'); \
             SELECT mig_create(); SELECT mig_dual_write()",
        )
        .unwrap();
    client.batch_execute("CALL mig_run()").unwrap();
    let twice = "INSERT INTO src SELECT g, 7 FROM generate_series(1, 50) g";
    let refused = client
        .batch_execute(twice)
        .expect_err("the new table refuses");
    assert_eq!(refused.code().map(|c| c.code()), Some("23P01"));
    // For as long as the transaction lasts they may.
    each(
        &mut client,
        &[
            "BEGIN",
            twice,
            "UPDATE src SET v = id",
            "COMMIT",
            "SELECT mig_assert()",
        ],
    );
    assert!(yes(&mut client, "SELECT count(*) = 50 FROM new_src"));
}
