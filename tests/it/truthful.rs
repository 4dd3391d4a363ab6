//! What status, checks and repairs say is so, and their next step works.

use crate::common::cluster::Cluster;
use crate::wait::{backfilled, refused, until_sql, yes};
use postgres::Client;

fn text(client: &mut Client, sql: &str) -> String {
    client.query_one(sql, &[]).expect(sql).get(0)
}

fn to_backfilled(client: &mut Client) {
    for call in ["mig_create()", "mig_dual_write()", "mig_backfill()"] {
        client.batch_execute(&format!("SELECT {call}")).expect(call);
    }
    backfilled(client);
}

#[test]
fn what_is_copied_counts_as_all_rows() {
    let cluster = Cluster::start("it_true_total", "");
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "CREATE EXTENSION pg_mig; CREATE TABLE t(id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'v' FROM generate_series(1, 9000) g; ANALYZE t; DELETE FROM t WHERE id > 100; \
             SELECT mig_define('t'); SELECT mig_add_table('t', 't', 't_new')",
        )
        .unwrap();
    to_backfilled(&mut client);
    assert!(yes(
        &mut client,
        "SELECT (rows_done, rows_total, pct) = (100, 100, 100) FROM mig_status()"
    ));
    assert!(yes(
        &mut client,
        "SELECT (tuples_done, tuples_total, pct) = (100, 100, 100) FROM mig.progress"
    ));
}

#[test]
fn checks_are_not_counted_as_scans_of_the_old_table() {
    let cluster = Cluster::start("it_true_scans", "");
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "CREATE EXTENSION pg_mig; CREATE TABLE par(id int PRIMARY KEY); INSERT INTO par VALUES (1); CREATE TABLE t(id int PRIMARY KEY, v text, p int REFERENCES par); \
             INSERT INTO t SELECT g, 'v', 1 FROM generate_series(1, 900) g; SELECT mig_define('t'); SELECT mig_add_table('t', 'par', 'par_new'); SELECT mig_add_table('t', 't', 't_new')",
        )
        .unwrap();
    to_backfilled(&mut client);
    client
        .batch_execute("SELECT mig_switch(); SELECT mig_stop()")
        .unwrap();
    // What the steps have read is flushed when their session has nothing to do.
    let counted = "SELECT sum(seq_scan + idx_scan)::text FROM pg_stat_user_tables WHERE relname IN ('t', 'par')";
    client
        .batch_execute("SELECT pg_stat_force_next_flush()")
        .unwrap();
    let before = text(&mut client, counted);
    for call in [
        "mig_check()",
        "mig_check(mode => 'sample')",
        "mig_check(mode => 'quick')",
        "mig_diff('t', 't')",
    ] {
        client
            .batch_execute(&format!(
                "SELECT count(*) FROM {call}; SELECT pg_stat_force_next_flush()"
            ))
            .expect(call);
    }
    assert_eq!(text(&mut client, counted), before);
    client
        .batch_execute("SELECT count(*) FROM t; SELECT pg_stat_force_next_flush()")
        .unwrap();
    assert_ne!(text(&mut client, counted), before, "others are counted");
}

#[test]
fn a_check_job_obeys_the_throttle_and_goes_on_after_its_process() {
    let cluster = Cluster::start("it_true_check", "");
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "CREATE EXTENSION pg_mig; CREATE TABLE t(id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'v' FROM generate_series(1, 900) g; CREATE TABLE brake(held boolean); \
             SELECT mig_define('t'); SELECT mig_add_table('t', 't', 't_new')",
        )
        .unwrap();
    to_backfilled(&mut client);
    client
        .batch_execute("INSERT INTO brake VALUES (true); SELECT mig_configure('t', '{\"throttle_query\": \"SELECT held FROM public.brake\"}'); SELECT mig_check_start('t')")
        .unwrap();
    until_sql(
        &mut client,
        "SELECT waiting_for ~ '^throttle_query' AND pid IS NOT NULL FROM mig.progress",
    );
    client
        .batch_execute("SELECT pg_terminate_backend(pid) FROM mig.progress")
        .unwrap();
    until_sql(&mut client, "SELECT problem ~ 'is gone' FROM mig_status()");
    let next = text(&mut client, "SELECT next_step FROM mig_status()");
    assert_eq!(next, "CALL mig_run('t');");
    client
        .batch_execute("UPDATE brake SET held = false")
        .unwrap();
    client.batch_execute(&next).unwrap();
    assert!(yes(
        &mut client,
        "SELECT count(*) = 1 AND bool_and(ok) FROM mig.checks WHERE mode = 'full' AND started_at > (SELECT max(started_at) FROM mig.job WHERE task = 'backfill')"
    ));
}

#[test]
fn names_that_are_taken_or_given_back_by_hand_have_a_way_out() {
    let cluster = Cluster::start("it_true_names", "");
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "CREATE EXTENSION pg_mig; CREATE TABLE q(id int PRIMARY KEY); CREATE INDEX q_more ON q(id); SELECT mig_define('q', options => '{\"archive_after_days\": 0}'); \
             SELECT mig_add_table('q', 'q', 'q2')",
        )
        .unwrap();
    to_backfilled(&mut client);
    client
        .batch_execute("SELECT mig_switch(); SELECT mig_stop(); CREATE TABLE q_archive(id int)")
        .unwrap();
    let (code, _, hint) = refused(&mut client, "SELECT mig_archive('q')");
    assert_eq!(code, "42P07");
    assert!(hint.contains("suffix"), "{hint}");
    client
        .batch_execute("SELECT mig_archive('q', suffix => '_old'); ALTER TABLE q2 RENAME TO q")
        .unwrap();
    let (code, _, hint) = refused(&mut client, "SELECT mig_rollback('q')");
    assert_eq!(code, "42P07");
    assert!(
        hint.starts_with("ALTER TABLE \"public\".\"q\" RENAME TO"),
        "{hint}"
    );
    client
        .batch_execute("ALTER TABLE q RENAME TO q2; ALTER TABLE q_old RENAME TO q; ALTER INDEX q_more_old RENAME TO q_more; SELECT mig_rollback('q')")
        .unwrap();
    assert!(yes(
        &mut client,
        "SELECT phase = 'stopped' AND to_regclass('q') = (SELECT source FROM mig.tables) AND to_regclass('q_pkey') IS NOT NULL FROM mig_status()"
    ));
}

#[test]
fn a_repair_says_what_it_left() {
    let cluster = Cluster::start("it_true_repair", "");
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "CREATE EXTENSION pg_mig; CREATE FUNCTION f(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2'; \
             CREATE TABLE g(id int PRIMARY KEY, a int, b int GENERATED ALWAYS AS (f(a)) STORED); INSERT INTO g SELECT x, x FROM generate_series(1, 50) x; \
             SELECT mig_define('g'); SELECT mig_add_table('g', 'g', 'g_new')",
        )
        .unwrap();
    client
        .batch_execute("CREATE OR REPLACE FUNCTION f(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 3'")
        .unwrap();
    let named = "SELECT count(*) = 1 FROM mig_preflight() WHERE severity = 'error' AND check_name = 'generated values out of date' AND detail ~ 'id = 7' AND hint ~ 'UPDATE \"public\".\"g\" SET \"a\" = \"a\"'";
    assert!(yes(&mut client, named));
    let hint = text(
        &mut client,
        "SELECT hint FROM mig_preflight() WHERE check_name = 'generated values out of date'",
    );
    client
        .batch_execute(hint.split_once(": ").unwrap().1)
        .unwrap();
    assert!(yes(
        &mut client,
        "SELECT count(*) = 0 FROM mig_preflight() WHERE severity = 'error'"
    ));
    to_backfilled(&mut client);
    client
        .batch_execute(
            "SELECT mig_assert(); CREATE OR REPLACE FUNCTION f(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 4'; UPDATE g_new SET a = a WHERE id <= 20; \
             SELECT mig_repair('g', dry_run => false)",
        )
        .unwrap();
    let (code, detail, _) = refused(&mut client, "SELECT mig_wait('g', timeout => '5 min')");
    assert_eq!(code, "55000");
    assert!(detail.starts_with("20 rows"), "{detail}");
    assert!(yes(
        &mut client,
        "SELECT count(*) = 20 AND bool_and(message ~ 'generated column') FROM mig.errors"
    ));
    client
        .batch_execute(
            "UPDATE g SET a = a; UPDATE g_new SET a = a; SELECT mig_repair('g', dry_run => false)",
        )
        .unwrap();
    client.batch_execute("SELECT mig_assert()").unwrap();
}

#[test]
fn an_index_made_anew_otherwise_is_seen_and_a_full_one_is_made_without_the_scope() {
    let cluster = Cluster::start("it_true_index", "");
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "CREATE EXTENSION pg_mig; CREATE EXTENSION pg_trgm; CREATE TABLE p(id int PRIMARY KEY); INSERT INTO p VALUES (1); \
             DO $$ BEGIN EXECUTE 'CREATE TABLE d(id int PRIMARY KEY, s text, v tsvector, ts timestamptz, ' || (SELECT string_agg('c' || g || ' int', ', ') FROM generate_series(1, 32) g) || ')'; \
               EXECUTE 'CREATE INDEX wide ON d(' || (SELECT string_agg('c' || g, ', ') FROM generate_series(1, 32) g) || ')'; \
               EXECUTE 'CREATE UNIQUE INDEX wide_too ON d(' || (SELECT string_agg('c' || g, ', ' ORDER BY g DESC) FROM generate_series(1, 32) g) || ')'; END $$; \
             CREATE INDEX ON d USING gist (s gist_trgm_ops(siglen = 64)); CREATE INDEX ON d USING gist (v tsvector_ops(siglen = 32)); \
             CREATE INDEX ON d USING brin (c1 int4_minmax_multi_ops(values_per_range = 16), ts timestamptz_bloom_ops(n_distinct_per_range = 100)) WITH (pages_per_range = 4); \
             SELECT mig_define('d', 'p', '1', 'pid'); SELECT mig_add_table('d', 'd', 'd_new')",
        )
        .unwrap();
    assert!(yes(
        &mut client,
        "SELECT count(*) = 2 AND bool_and(severity = 'warning') FROM mig_preflight() WHERE check_name = 'too many columns'"
    ));
    to_backfilled(&mut client);
    client.batch_execute("SELECT mig_assert()").unwrap();
    assert!(yes(
        &mut client,
        "SELECT count(*) = 1 FROM pg_indexes WHERE tablename = 'd_new' AND indexdef ~ 'UNIQUE .*c32.*WHERE .pid = 1'"
    ));
    let options = |table| {
        format!(
            "SELECT string_agg(substring(indexdef FROM 'USING.*'), '; ' ORDER BY substring(indexdef FROM 'USING.*')) FROM pg_indexes WHERE tablename = '{table}' AND indexdef ~ 'gist|brin'"
        )
    };
    let both = [options("d"), options("d_new")].map(|sql| text(&mut client, &sql));
    assert_eq!(both[0], both[1]);
    client
        .batch_execute("DROP INDEX d_new_s_idx; CREATE INDEX d_new_s_idx ON d_new USING gist (s gist_trgm_ops(siglen = 12))")
        .unwrap();
    assert_eq!(
        text(
            &mut client,
            "SELECT target_value FROM mig_check() WHERE check_name = 'indexes' AND NOT ok"
        ),
        "d_new_s_idx is not as it was made"
    );
}

#[test]
fn the_same_numbers_of_a_sequence_are_judged_alike_in_every_phase() {
    let cluster = Cluster::start("it_true_sequences", "");
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "CREATE EXTENSION pg_mig; CREATE TABLE q(id serial PRIMARY KEY, n int GENERATED BY DEFAULT AS IDENTITY); INSERT INTO q SELECT FROM generate_series(1, 10); INSERT INTO q VALUES (100); \
             SELECT mig_define('q'); SELECT mig_add_table('q', 'q', 'q2')",
        )
        .unwrap();
    assert!(yes(
        &mut client,
        "SELECT count(*) = 0 FROM mig_preflight() WHERE check_name = 'no way back'"
    ));
    to_backfilled(&mut client);
    for call in ["mig_switch()", "mig_stop()"] {
        client.batch_execute(&format!("SELECT {call}")).unwrap();
        assert!(
            yes(
                &mut client,
                "SELECT ok AND source_value ~ 'id is at 100' FROM mig_check() WHERE check_name = 'sequences'"
            ),
            "{call}"
        );
    }
}

#[test]
fn an_identity_column_outside_the_key_goes_back_unless_it_is_always_generated() {
    let cluster = Cluster::start("it_true_identity", "");
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "CREATE EXTENSION pg_mig; CREATE TABLE q(id int PRIMARY KEY, n int GENERATED BY DEFAULT AS IDENTITY); INSERT INTO q SELECT g FROM generate_series(1, 5) g; \
             CREATE TABLE a(id int PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY); SELECT mig_define('q'); SELECT mig_add_table('q', 'q', 'q2'); SELECT mig_add_table('q', 'a', 'a2')",
        )
        .unwrap();
    let stuck = "SELECT hint FROM mig_preflight() WHERE check_name = 'no way back'";
    let hint = text(&mut client, stuck);
    client.batch_execute(&hint).unwrap();
    to_backfilled(&mut client);
    client
        .batch_execute("SELECT mig_switch(); INSERT INTO q2(id) VALUES (9); UPDATE q2 SET n = 77 WHERE id = 1; INSERT INTO a2(id) VALUES (1); UPDATE a2 SET n = 3")
        .unwrap();
    assert!(yes(
        &mut client,
        "SELECT (SELECT n = 77 FROM q WHERE id = 1) AND (SELECT n = 6 FROM q WHERE id = 9) AND (SELECT n = 3 FROM a)"
    ));
    assert!(yes(
        &mut client,
        "SELECT bool_and(ok) FROM mig_check() WHERE check_name <> 'sequences'"
    ));
}

#[test]
fn a_view_that_went_with_a_column_is_named() {
    let cluster = Cluster::start("it_true_gone", "");
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "CREATE EXTENSION pg_mig; CREATE TABLE c(id int PRIMARY KEY, a text, z text); INSERT INTO c VALUES (1, 'x'); CREATE TABLE t(id int PRIMARY KEY, a text, z text); INSERT INTO t VALUES (1, 'x'); \
             SELECT mig_define('c'); SELECT mig_add_column('c', 'c', 'b', 'text', up => 'a', down => 'b', replaces => 'a'); SELECT mig_define('t'); SELECT mig_add_table('t', 't', 't2')",
        )
        .unwrap();
    for m in ["c", "t"] {
        client
            .batch_execute(&format!(
                "SELECT mig_create('{m}'); SELECT mig_dual_write('{m}')"
            ))
            .unwrap();
        client
            .batch_execute(&format!("SELECT mig_backfill('{m}')"))
            .unwrap();
        assert!(yes(
            &mut client,
            &format!("SELECT mig_wait('{m}', timeout => '5 min')")
        ));
        client
            .batch_execute(&format!("ALTER TABLE {m} DROP COLUMN a CASCADE"))
            .unwrap();
        let named = format!(
            "SELECT count(*) = 1 FROM mig_check('{m}') WHERE check_name = 'rows' AND NOT ok AND target_value ~ '^not compared: .*is gone'"
        );
        assert!(yes(&mut client, &named));
        for call in [
            format!("mig_diff('{m}', '{m}')"),
            format!("mig_repair('{m}')"),
            format!("mig_assert('{m}')"),
            format!("mig_switch('{m}')"),
        ] {
            let (code, detail, _) = refused(&mut client, &format!("SELECT {call}"));
            assert!(
                code == "55000" || code == "22000",
                "{call}: {code} {detail}"
            );
            assert!(detail.contains("is gone"), "{call}: {detail}");
        }
        client
            .batch_execute(&format!("SELECT count(*) FROM mig_checklist('{m}')"))
            .unwrap();
        let next = text(
            &mut client,
            &format!("SELECT next_step FROM mig_status('{m}')"),
        );
        client.batch_execute(&next).unwrap();
        client
            .batch_execute(&format!("INSERT INTO {m} VALUES (2, 'z')"))
            .unwrap();
    }
}

#[test]
fn a_trigger_that_fires_after_the_one_of_a_column_is_named() {
    let cluster = Cluster::start("it_true_last", "");
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "CREATE EXTENSION pg_mig; CREATE TABLE v(id int PRIMARY KEY, a text); INSERT INTO v VALUES (1, 'x'); \
             CREATE FUNCTION up() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.a := pg_catalog.upper(NEW.a); RETURN NEW; END'; \
             CREATE TRIGGER \"ändern\" BEFORE INSERT OR UPDATE ON v FOR EACH ROW EXECUTE FUNCTION up(); \
             SELECT mig_define('v'); SELECT mig_add_column('v', 'v', 'b', 'text', up => 'a', down => 'b', replaces => 'a')",
        )
        .unwrap();
    let named = "SELECT count(*) = 1 FROM mig_preflight() WHERE severity = 'error' AND check_name = 'trigger fires last' AND detail ~ 'ändern'";
    assert!(yes(&mut client, named));
    assert_eq!(refused(&mut client, "SELECT mig_create()").0, "55000");
    client
        .batch_execute("ALTER TRIGGER \"ändern\" ON v RENAME TO change")
        .unwrap();
    to_backfilled(&mut client);
    client
        .batch_execute(
            "INSERT INTO v VALUES (2, 'y'); UPDATE v SET a = 'z' WHERE id = 1; SELECT mig_assert()",
        )
        .unwrap();
    // One that comes in mid-run is drift until it has another name.
    client
        .batch_execute("ALTER TRIGGER change ON v RENAME TO \"ändern\"")
        .unwrap();
    assert!(yes(
        &mut client,
        "SELECT problem ~ 'ändern.* fires after .*RENAME' FROM mig_status()"
    ));
    assert_eq!(refused(&mut client, "SELECT mig_switch()").0, "55000");
    client
        .batch_execute("ALTER TRIGGER \"ändern\" ON v RENAME TO change; SELECT mig_assert(); SELECT mig_switch()")
        .unwrap();
}
