//! What follows the old table into the archive, because it knows the table by its oid: named before anything is done, and refused.

use crate::common::cluster::Cluster;
use crate::wait::{backfilled, refused};

const OTHERS: [(&str, &str, &str); 9] = [
    (
        "CREATE VIEW v AS SELECT n FROM f",
        "DROP VIEW v",
        "view v reads f",
    ),
    (
        "CREATE MATERIALIZED VIEW mv AS SELECT n FROM f",
        "DROP MATERIALIZED VIEW mv",
        "materialized view mv reads f",
    ),
    (
        "CREATE FUNCTION f_count() RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT string_agg(n, ',') FROM f; END",
        "DROP FUNCTION f_count()",
        "function f_count() uses f",
    ),
    (
        "CREATE FUNCTION show(f) RETURNS text LANGUAGE sql AS 'SELECT $1.n'",
        "DROP FUNCTION show(f)",
        "function show(f) uses f",
    ),
    (
        "CREATE FUNCTION all_of() RETURNS SETOF f LANGUAGE sql AS 'SELECT * FROM f'",
        "DROP FUNCTION all_of()",
        "function all_of() uses f",
    ),
    (
        "CREATE TABLE keeps (id int, one f, many f[])",
        "DROP TABLE keeps",
        "column one of table keeps uses f",
    ),
    (
        "CREATE TABLE refers (id int REFERENCES f)",
        "DROP TABLE refers",
        "foreign key refers_id_fkey of refers refers to f",
    ),
    (
        "CREATE TABLE guarded (id int); CREATE POLICY p ON guarded USING (EXISTS (SELECT FROM f))",
        "DROP TABLE guarded",
        "policy p of guarded reads f",
    ),
    (
        "CREATE TABLE logs (id int); CREATE RULE r AS ON INSERT TO logs DO ALSO INSERT INTO f (n) VALUES ('r')",
        "DROP TABLE logs",
        "a rule of logs reads f",
    ),
];

#[test]
fn whatever_follows_the_oid_is_named_and_keeps_the_archive_back() {
    let cluster = Cluster::start("it_dependents", "");
    let mut client = cluster.connect("postgres");
    // What is the table's own is no dependent.
    client
        .batch_execute(
            "CREATE EXTENSION pg_mig; CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
             CREATE TABLE f (id serial PRIMARY KEY, n text, up text GENERATED ALWAYS AS (upper(n)) STORED, twin int REFERENCES f, CHECK (n <> '')); \
             INSERT INTO f (n) VALUES ('a'); CREATE INDEX ON f (lower(n)); CREATE STATISTICS st ON id, n FROM f; CREATE PUBLICATION p FOR TABLE f; \
             CREATE POLICY own ON f USING (n <> 'hidden'); \
             CREATE TRIGGER keep BEFORE UPDATE ON f FOR EACH ROW WHEN (OLD.n <> NEW.n) EXECUTE FUNCTION keep(); \
             SELECT mig_define('f', options => '{\"archive_after_days\": 0}'); SELECT mig_add_table('f', 'f', 'f_new')",
        )
        .unwrap();
    let named = |client: &mut postgres::Client| -> Vec<String> {
        let sql = "SELECT detail FROM mig_preflight('f') WHERE check_name IN ('dependent object', 'dependent view', 'inbound foreign key') ORDER BY 1";
        let rows = client.query(sql, &[]).unwrap();
        rows.iter().map(|r| r.get(0)).collect()
    };
    assert_eq!(named(&mut client), Vec::<String>::new());
    for (make, ..) in OTHERS {
        client.batch_execute(make).expect(make);
    }
    let found = named(&mut client).join("\n").replace("public.", "");
    for words in [
        "f_count()",
        "show(f)",
        "all_of()",
        "column one of table keeps",
        "column many of table keeps",
        "View mv",
        "refers_id_fkey",
    ] {
        assert!(found.contains(words), "{words}: {found}");
    }
    for call in ["mig_create", "mig_dual_write", "mig_backfill"] {
        client
            .batch_execute(&format!("SELECT {call}('f')"))
            .unwrap();
    }
    backfilled(&mut client);
    client
        .batch_execute("SELECT mig_switch('f'); SELECT mig_stop('f')")
        .unwrap();
    for n in 0..OTHERS.len() {
        let (code, detail, _) = refused(&mut client, "SELECT mig_archive('f')");
        let detail = detail.replace("public.", "");
        assert_eq!(code, "2BP01");
        for (_, _, what) in &OTHERS[n..] {
            assert!(detail.contains(what), "{what}: {detail}");
        }
        client.batch_execute(OTHERS[n].1).expect(OTHERS[n].1);
    }
    client.batch_execute("SELECT mig_archive('f')").unwrap();
}
