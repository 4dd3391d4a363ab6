//! What would fail later, by the rows that are there, fails in preflight, with the keys of these rows.

use crate::common::cluster::Cluster;
use crate::wait::{refused, yes};
use postgres::Client;

fn findings(client: &mut Client, migration: &str) -> Vec<String> {
    let sql = "SELECT severity || ': ' || check_name || ': ' || detail FROM mig_preflight($1) \
        WHERE check_name IN ('rows that do not convert', 'rows that a check refuses', 'foreign key not valid') ORDER BY 1";
    let rows = client.query(sql, &[&migration]).unwrap();
    rows.iter().map(|r| r.get(0)).collect()
}

#[test]
fn rows_that_do_not_convert_are_named_before_a_mirror_meets_them() {
    let cluster = Cluster::start("it_unfit_convert", "");
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "CREATE EXTENSION pg_mig; CREATE TABLE o(id serial PRIMARY KEY, meta text, n int); INSERT INTO o(meta, n) SELECT '{}', g FROM generate_series(1, 3000) g; \
             UPDATE o SET meta = 'not json' WHERE id IN (17, 2900); UPDATE o SET n = -1 WHERE id = 2900; SELECT mig_define('o'); \
             SELECT mig_add_table('o', 'o', 'o_new', columns => '{\"meta\": {\"up\": \"meta::jsonb\", \"down\": \"meta::text\"}}'); \
             SELECT mig_define('p'); SELECT mig_add_table('p', 'o', 'o_few', columns => '{\"meta\": \"meta::jsonb\"}', filter => 'n > 0 AND id <> 17')",
        )
        .unwrap();
    let found = findings(&mut client, "o");
    assert_eq!(
        found,
        [
            "error: rows that do not convert: (id = 17): invalid input syntax for type json; (id = 2900): invalid input syntax for type json."
        ]
    );
    // What the filter leaves out need not convert.
    assert_eq!(findings(&mut client, "p"), Vec::<String>::new());
    assert_eq!(refused(&mut client, "SELECT mig_create('o')").0, "55000");
    client.batch_execute("UPDATE o SET meta = '[]' WHERE id IN (17, 2900); SELECT mig_create('o'); UPDATE o SET meta = 'again' WHERE id = 5").unwrap();
    assert_eq!(
        refused(&mut client, "SELECT mig_dual_write('o')").0,
        "55000"
    );
    client
        .batch_execute("UPDATE o SET n = 0 WHERE id = 5")
        .unwrap();
}

#[test]
fn checks_that_are_false_for_rows_that_are_there_are_named() {
    let cluster = Cluster::start("it_unfit_checks", "");
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "CREATE EXTENSION pg_mig; CREATE TABLE stays(id int PRIMARY KEY, ends date, n int CHECK (n > 0)); \
             INSERT INTO stays VALUES (1, current_date + 10, 1), (2, current_date - 10, 2), (3, NULL, 3); \
             ALTER TABLE stays ADD CONSTRAINT open CHECK (ends >= current_date) NOT VALID; \
             UPDATE pg_constraint SET convalidated = true WHERE conname = 'open'; \
             SELECT mig_define('a'); SELECT mig_add_table('a', 'stays', 'stays_new'); \
             CREATE TABLE adopted(id int PRIMARY KEY, until date, n int, CONSTRAINT small CHECK (n < 3), CONSTRAINT dated CHECK (until IS NOT NULL)); \
             SELECT mig_define('b'); SELECT mig_add_table('b', 'stays', 'adopted', columns => '{\"until\": \"ends\", \"ends\": null}')",
        )
        .unwrap();
    assert_eq!(
        findings(&mut client, "a"),
        ["error: rows that a check refuses: Check \"open\" is false for (2)."]
    );
    assert_eq!(
        findings(&mut client, "b"),
        [
            "error: rows that a check refuses: Check \"dated\" is false for (3).",
            "error: rows that a check refuses: Check \"small\" is false for (3)."
        ]
    );
}

#[test]
fn a_key_that_is_not_valid_stays_so_and_its_orphans_are_named() {
    let cluster = Cluster::start("it_unfit_orphans", "");
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "CREATE EXTENSION pg_mig; CREATE TABLE par(id int PRIMARY KEY); CREATE TABLE chi(id int PRIMARY KEY, p int, v text); INSERT INTO par VALUES (1); \
             INSERT INTO chi VALUES (1, 1), (2, 99); ALTER TABLE chi ADD CONSTRAINT chi_p FOREIGN KEY (p) REFERENCES par NOT VALID",
        )
        .unwrap();
    for (migration, tables) in [("one", &["chi"][..]), ("both", &["par", "chi"][..])] {
        client
            .batch_execute(&format!("SELECT mig_define('{migration}')"))
            .unwrap();
        for table in tables {
            client
                .batch_execute(&format!(
                    "SELECT mig_add_table('{migration}', '{table}', '{table}_{migration}')"
                ))
                .unwrap();
        }
        assert_eq!(
            findings(&mut client, migration),
            [
                "warning: foreign key not valid: Foreign key \"chi_p\" is NOT VALID, and so will the target's be; rows refer to nothing: (2): 99."
            ]
        );
        for call in ["mig_create", "mig_dual_write", "mig_backfill"] {
            client
                .batch_execute(&format!(
                    "UPDATE chi SET v = '{call}' WHERE id = 2; SELECT {call}('{migration}')"
                ))
                .unwrap();
        }
        assert!(yes(&mut client, &format!("SELECT mig_wait('{migration}')")));
        let kept = format!(
            "SELECT count(*) = 1 FROM pg_constraint WHERE conrelid = 'chi_{migration}'::regclass AND contype = 'f' AND NOT convalidated"
        );
        assert!(yes(&mut client, &kept));
        // Each in a transaction of its own: PostgreSQL checks the second version that one transaction makes of a row.
        for sql in [
            "SELECT mig_assert('M')",
            "UPDATE chi SET v = 'mirrored' WHERE id = 2",
            "SELECT mig_switch('M')",
            "UPDATE chi SET v = 'both' WHERE id = 2",
            "UPDATE chi_M SET v = 'both ways' WHERE id = 2",
            "SELECT mig_assert('M')",
        ] {
            client
                .batch_execute(&sql.replace('M', migration))
                .expect(sql);
        }
        // As in the old table, a new orphan is refused.
        assert_eq!(
            refused(
                &mut client,
                &format!("INSERT INTO chi_{migration} VALUES (5, 98)")
            )
            .0,
            "23503"
        );
        for sql in [
            "SELECT mig_stop('M')",
            "UPDATE chi_M SET v = 'back' WHERE id = 2",
            "SELECT mig_rollback('M')",
        ] {
            client
                .batch_execute(&sql.replace('M', migration))
                .expect(sql);
        }
        assert!(yes(&mut client, &format!("SELECT mig_wait('{migration}')")));
        client.batch_execute(&format!("SELECT mig_assert('{migration}'); SELECT mig_rollback('{migration}', 'defined'); SELECT mig_drop('{migration}')")).unwrap();
    }
}

#[test]
fn an_index_that_is_not_valid_is_named() {
    let cluster = Cluster::start("it_unfit_index", "");
    let mut client = cluster.connect("postgres");
    client
        .batch_execute("CREATE EXTENSION pg_mig; CREATE TABLE d (id int PRIMARY KEY, v int); INSERT INTO d VALUES (1, 1), (2, 1)")
        .unwrap();
    assert_eq!(
        refused(
            &mut client,
            "CREATE UNIQUE INDEX CONCURRENTLY broken ON d (v)"
        )
        .0,
        "23505"
    );
    client
        .batch_execute("SELECT mig_define('d'); SELECT mig_add_table('d', 'd', 'd_new')")
        .unwrap();
    let named = "SELECT count(*) = 1 FROM mig_preflight('d') WHERE check_name = 'invalid index' AND detail ~ 'broken' AND hint ~ 'REINDEX INDEX CONCURRENTLY public.broken'";
    assert!(yes(&mut client, named));
}

#[test]
fn a_key_that_is_not_valid_may_refer_to_a_table_of_another_role() {
    let cluster = Cluster::start("it_unfit_hidden", "");
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "CREATE EXTENSION pg_mig; CREATE ROLE owns; GRANT ALL ON SCHEMA public TO owns; CREATE TABLE par(id int PRIMARY KEY, v text); \
             ALTER TABLE par ENABLE ROW LEVEL SECURITY; GRANT SELECT, REFERENCES ON par TO owns; CREATE TABLE chi(id int PRIMARY KEY, p int); INSERT INTO chi VALUES (2, 99); \
             ALTER TABLE chi OWNER TO owns; ALTER TABLE chi ADD CONSTRAINT chi_p FOREIGN KEY (p) REFERENCES par NOT VALID; \
             SELECT mig_define('m'); SELECT mig_add_table('m', 'chi', 'chi_new')",
        )
        .unwrap();
    assert_eq!(
        findings(&mut client, "m"),
        [
            "warning: foreign key not valid: Foreign key \"chi_p\" is NOT VALID, and so will the target's be; public.par may not be read, so no row was looked at."
        ]
    );
}
