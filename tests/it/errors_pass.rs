//! Our hooks see every statement of a session that has the library. An ERROR of the application passes them as it was raised.

use crate::common::cluster::Cluster;

const SCHEMA: &str = "CREATE TABLE p(id int PRIMARY KEY, v text CONSTRAINT small CHECK (length(v) < 5), n int CONSTRAINT once UNIQUE DEFERRABLE INITIALLY DEFERRED); \
    CREATE TABLE c(id int PRIMARY KEY, p_id int NOT NULL CONSTRAINT parent REFERENCES p); INSERT INTO p VALUES (1, 'a', 1), (2, 'b', 2); INSERT INTO c VALUES (1, 1); \
    CREATE DOMAIN even AS int CONSTRAINT by_two CHECK (VALUE % 2 = 0); \
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION USING ERRCODE = '23514', MESSAGE = 'no', DETAIL = 'd', HINT = 'h', CONSTRAINT = 'mine', COLUMN = 'v'; END $$; \
    CREATE TRIGGER refuse AFTER UPDATE OF id ON p FOR EACH ROW EXECUTE FUNCTION refuse(); \
    CREATE FUNCTION fail(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN 1 / ($1 - $1); END $$; \
    CREATE FUNCTION outer_fail() RETURNS int LANGUAGE sql AS 'SELECT fail(1)'; \
    CREATE ROLE reader; GRANT SELECT (id) ON p TO reader;";

/// Planning, starting, running and ending of statements.
const FAILING: [&str; 16] = [
    "INSERT INTO p VALUES (3, 'too long', 3)",
    "INSERT INTO p VALUES (1, 'x', 3)",
    "INSERT INTO p VALUES (3, 'x', 1)",
    "INSERT INTO c VALUES (2, 9)",
    "INSERT INTO c VALUES (2, NULL)",
    "DELETE FROM p",
    "UPDATE p SET id = 5 WHERE id = 2",
    "SELECT fail(1)",
    "SELECT fail(id) FROM p",
    "SELECT outer_fail()",
    "SELECT 3::even",
    "SELECT id / 0 FROM p",
    "SELECT 'x'::int",
    "SELECT v FROM p, nothing",
    "DO $$ BEGIN INSERT INTO p VALUES (3, 'too long', 3); END $$",
    "SET ROLE reader; SELECT v FROM p",
];

#[test]
fn an_error_of_the_application_passes_as_it_was_raised() {
    let cluster = Cluster::start("it_errors_pass", "");
    let mut admin = cluster.connect("postgres");
    admin.batch_execute("CREATE EXTENSION pg_mig").unwrap();
    admin.batch_execute(SCHEMA).unwrap();
    let mut plain = cluster.connect("postgres");
    let mut hooked = cluster.connect("postgres");
    hooked.batch_execute("LOAD 'pg_mig'").unwrap();
    for sql in FAILING {
        let [without, with] = [&mut plain, &mut hooked].map(|client| {
            let error = client.batch_execute(sql).expect_err(sql);
            client.batch_execute("RESET ROLE").unwrap();
            format!("{:?}", error.as_db_error().expect(sql))
        });
        assert_eq!(without, with, "{sql}");
    }
}

/// A function of the application may raise a code of its own. pgrx knows only those that PostgreSQL defines.
#[test]
fn a_code_that_the_application_made_up_comes_through_a_mirror() {
    let cluster = Cluster::start("it_own_codes", "");
    let mut client = cluster.database("own_codes");
    client
        .batch_execute(
            "CREATE FUNCTION own(text) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN IF $1 = 'bad' THEN RAISE SQLSTATE 'AP077' USING MESSAGE = 'not this', HINT = 'h'; END IF; RETURN true; END $$; \
             CREATE TABLE src (id int PRIMARY KEY, v text); CREATE TABLE dst (id int PRIMARY KEY, v text CHECK (own(v))); INSERT INTO src VALUES (1, 'bad'), (2, 'good'); \
             SELECT mig_define('m'); SELECT mig_add_table('m', 'src', 'dst')",
        )
        .unwrap();
    // Rows that are there are found before.
    let sql = "SELECT detail FROM mig_preflight('m') WHERE severity = 'error' AND detail LIKE '%not this%'";
    let found = client.query(sql, &[]).unwrap();
    assert_eq!(found.len(), 1);
    client
        .batch_execute("UPDATE src SET v = 'mended' WHERE id = 1; SELECT mig_create('m'); SELECT mig_dual_write('m')")
        .unwrap();
    for sql in [
        "INSERT INTO src VALUES (3, 'bad')",
        "UPDATE src SET v = 'bad' WHERE id = 2",
        "UPDATE src SET id = 4, v = 'bad' WHERE id = 2",
    ] {
        let error = client.batch_execute(sql).expect_err(sql);
        let error = error.as_db_error().expect(sql);
        assert_eq!(
            (error.code().code(), error.message(), error.hint()),
            ("AP077", "not this", Some("h")),
            "{sql}"
        );
        assert!(
            error.where_().unwrap_or("").contains("mirror of"),
            "{error:?}"
        );
    }
}
