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
