//! No input is fatal: ten megabytes of anything end in an answer or an ERROR, and a cancel is heard meanwhile.

mod calls;
mod documents;
mod fuzz;

use crate::common::cluster::Cluster;
use postgres::Client;

/// Also the guard against a hang: nothing here takes a tenth of it.
const PATIENCE: &str = "SET statement_timeout = '300s'; SET client_min_messages = error";

fn installed(name: &'static str) -> (Cluster, Client) {
    let cluster = Cluster::start(name, "max_stack_depth = '2MB'");
    let mut client = cluster.connect("postgres");
    client.batch_execute("CREATE EXTENSION pg_mig").unwrap();
    client.batch_execute(PATIENCE).unwrap();
    (cluster, client)
}

/// `00000`, or the SQLSTATE that the server refuses with. A lost connection fails the test.
fn code(client: &mut Client, sql: &str) -> String {
    match client.simple_query(sql) {
        Ok(_) => "00000".into(),
        Err(e) => {
            let db = e.as_db_error().unwrap_or_else(|| panic!("{sql}: {e}"));
            db.code().code().to_owned()
        }
    }
}

/// Rules of the findings, each with how often it is said.
fn rules(client: &mut Client, text: &str) -> String {
    let sql = format!(
        "SELECT coalesce(string_agg(rule || ' ' || n, ', ' ORDER BY rule), '') FROM (SELECT rule, count(*) n FROM mig_lint({text}) GROUP BY 1) q"
    );
    client
        .query_one(&sql, &[])
        .unwrap_or_else(|e| panic!("{text}: {e:?}"))
        .get(0)
}

/// What was fatal, slow or deaf once, or may be, and what is said of it.
const TEXTS: [(&str, &str); 21] = [
    (
        "'SELECT 1; SELECT ' || repeat('1+', 60000) || '1; SELECT 2'",
        "lock 3",
    ),
    (
        "repeat('SELECT 1 UNION ', 60000) || 'SELECT 1; SELECT 2'",
        "lock 2",
    ),
    ("repeat('(', 60000) || '; SELECT 2'", "lock 1, syntax 1"),
    ("repeat('x;', 100000)", "syntax 100000"),
    ("repeat(E'\\\\x\\n', 100000)", "psql-command 100000"),
    ("'SELECT 1; ü; SELECT 2'", "lock 2, syntax 1"),
    (
        "'SELECT ''ü'';' || E'\\nü \\\\x ü\\n; SELECT 漢'",
        "lock 2, syntax 1",
    ),
    ("repeat('x;', 5000000)", "more-findings 1, syntax 100000"),
    ("repeat('/*;', 3000000)", "syntax 21"),
    (
        "'SELECT ' || repeat('+', 600000) || '1; SELECT 2'",
        "lock 1, not-read 1",
    ),
    (
        "'SELECT ' || repeat('+/**/', 2000000) || '1; SELECT 2'",
        "lock 1, not-read 1",
    ),
    ("repeat('/*', 5000000)", "not-read 1"),
    (
        "'SELECT ' || repeat('1,', 5000000) || '1; SELECT 2'",
        "lock 1, not-read 1",
    ),
    (
        "'SELECT ''' || repeat('x', 10000000) || '''; SELECT 2'",
        "lock 2",
    ),
    (
        "'SELECT ' || repeat('x', 10000000) || '; SELECT 2'",
        "lock 2",
    ),
    (
        "'DO $$ DECLARE ' || repeat('a int;', 1500000) || 'BEGIN END $$; SELECT 2'",
        "lock 1, not-read 1",
    ),
    (
        "repeat('CREATE FUNCTION f() RETURNS int BEGIN ATOMIC;', 50000)",
        "syntax 50000",
    ),
    (
        "(SELECT string_agg('CREATE TABLE a' || i || '()', ';') FROM generate_series(1, 90000) i)",
        "lock 90000",
    ),
    (
        "(SELECT 'CREATE TABLE t (' || string_agg('a' || i || ' json', ',') || ')' FROM generate_series(1, 150000) i)",
        "more-findings 1, prefer-jsonb 100",
    ),
    ("'VACUUM (FULL banana) t; SELECT 2'", "lock 1, syntax 1"),
    (
        "'CREATE /* İİİ */ INDEX x ON ü (a)'",
        "create-index 1, no-lock-timeout 1",
    ),
];

#[test]
fn any_text_is_linted_to_its_end() {
    let (_cluster, mut client) = installed("it_input");
    for (text, expected) in TEXTS {
        assert_eq!(rules(&mut client, text), expected, "{text}");
    }
}

#[test]
fn a_cancel_is_heard_while_a_text_is_read() {
    let (_cluster, mut client) = installed("it_input_cancel");
    client
        .batch_execute("SET statement_timeout = '500ms'")
        .unwrap();
    let block = "'DO $$ BEGIN ' || repeat('PERFORM 1 + 1; ', 400) || 'END $$;'";
    let sql = format!("SELECT count(*) FROM mig_lint(repeat({block}, 100000))");
    assert_eq!(code(&mut client, &sql), "57014");
    // The session is as it was.
    assert_eq!(rules(&mut client, "'SELECT 1'"), "lock 1");
}

#[test]
fn a_wait_without_end_hears_a_cancel() {
    let (_cluster, mut client) = installed("it_input_wait");
    client
        .batch_execute(
            "CREATE TABLE big (id int PRIMARY KEY); INSERT INTO big SELECT generate_series(1, 1000); SELECT mig_define('m'); \
             SELECT mig_add_table('m', 'big', 'large'); SELECT mig_create('m'); SELECT mig_dual_write('m')",
        )
        .unwrap();
    client
        .batch_execute("SELECT mig_backfill('m', 'manual')")
        .unwrap();
    client
        .batch_execute("SET statement_timeout = '500ms'")
        .unwrap();
    let wait = "SELECT mig_wait('m', '178000000 years')";
    assert_eq!(code(&mut client, wait), "57014");
    assert_eq!(
        code(&mut client, "SELECT mig_wait('m', '-178000000 years')"),
        "00000"
    );
}

#[test]
fn a_standby_lints_too() {
    let (cluster, mut client) = installed("it_input_primary");
    client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY)")
        .unwrap();
    let standby = cluster.standby("it_input_standby");
    let mut client = standby.connect("postgres");
    let text = "'SELECT 1; x; DO $$ BEGIN PERFORM 1; END $$; DO $$ x $$; CREATE INDEX i ON t (id)'";
    assert_eq!(
        rules(&mut client, text),
        "create-index 1, lock 2, no-lock-timeout 1, syntax 2"
    );
}

#[test]
fn a_database_of_another_encoding_says_so() {
    let (cluster, mut client) = installed("it_input_latin");
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let create = format!(
            "CREATE DATABASE {encoding} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"
        );
        client.batch_execute(&create).unwrap();
        let mut other = cluster.connect(&encoding.to_lowercase());
        other.batch_execute("CREATE EXTENSION pg_mig").unwrap();
        assert_eq!(
            rules(&mut other, "'SELECT 1; x; SELECT 2'"),
            "lock 2, syntax 1"
        );
        // A byte that is no character of UTF8.
        let sql = format!("SELECT * FROM mig_lint(convert_from('\\xe9', '{encoding}'))");
        assert_eq!(code(&mut other, &sql), "0A000", "{encoding}");
    }
}

/// Documents that only PostgreSQL reads: deeper than a parser's own limit, numbers beyond any of the machine's.
#[test]
fn rows_with_any_value_are_mirrored() {
    let (_cluster, mut client) = installed("it_input_rows");
    client
        .batch_execute(
            "CREATE TABLE deep (id int PRIMARY KEY, j jsonb, n numeric, t text); \
             INSERT INTO deep SELECT g, (repeat('[', 500) || repeat(']', 500))::jsonb, '1e400', '' FROM generate_series(1, 20) g; \
             SELECT mig_define('m'); SELECT mig_add_table('m', 'deep', 'deeper')",
        )
        .unwrap();
    for sql in [
        "SELECT mig_create()",
        "SELECT mig_dual_write()",
        "UPDATE deep SET t = 'x' WHERE id = 1",
        "SELECT mig_backfill()",
        "SELECT mig_wait()",
        "SELECT mig_assert()",
    ] {
        assert_eq!(code(&mut client, sql), "00000", "{sql}");
    }
}
