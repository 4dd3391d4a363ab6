//! What a proof must not say: equal, where a key is there twice; ready, where the target does not fit.

use crate::common::cluster::Cluster;
use crate::wait::{backfilled, refused, yes};

/// A key that is there twice is no difference by key: counts, and the drift, say it.
#[test]
fn a_key_that_is_there_twice_is_neither_proof_nor_mended() {
    let cluster = Cluster::start("it_twice", "");
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "CREATE EXTENSION pg_mig; CREATE TABLE a (id int PRIMARY KEY, v text); INSERT INTO a SELECT g, 'v' FROM generate_series(1, 200) g; \
             SELECT mig_define('m'); SELECT mig_add_table('m', 'a', 'b'); SELECT mig_create('m'); SELECT mig_dual_write('m'); SELECT mig_backfill('m')",
        )
        .unwrap();
    backfilled(&mut client);
    for (make, undo, drifts) in [
        (
            "CREATE TABLE kid () INHERITS (b); INSERT INTO kid SELECT * FROM b WHERE id = 7",
            "DROP TABLE kid",
            true,
        ),
        (
            // A unique index that has missed a row.
            "UPDATE pg_index SET indisready = false, indisvalid = false WHERE indexrelid = 'b_pkey'::regclass; INSERT INTO b VALUES (7, 'v'); \
             UPDATE pg_index SET indisready = true, indisvalid = true WHERE indexrelid = 'b_pkey'::regclass",
            "DELETE FROM b WHERE ctid = (SELECT max(ctid) FROM b WHERE id = 7)",
            false,
        ),
    ] {
        client.batch_execute(make).unwrap();
        let lines: Vec<(String, Option<bool>)> = client
            .query("SELECT check_name, ok FROM mig_check('m') WHERE check_name IN ('rows', 'keys repeated') ORDER BY 1 DESC", &[])
            .unwrap()
            .iter()
            .map(|r| (r.get(0), r.get(1)))
            .collect();
        assert_eq!(
            lines,
            [
                ("rows".to_owned(), Some(false)),
                ("keys repeated".to_owned(), Some(false))
            ]
        );
        assert_eq!(
            yes(
                &mut client,
                "SELECT (problem ~ 'child .*kid') IS TRUE FROM mig_status('m')"
            ),
            drifts
        );
        for (call, code) in [("mig_assert('m')", "22000"), ("mig_switch('m')", "55000")] {
            assert_eq!(
                refused(&mut client, &format!("SELECT {call}")).0,
                code,
                "{call}"
            );
        }
        let calls = ["mig_diff('m', 'a')", "mig_repair('m', dry_run => true)"];
        for call in calls {
            let (code, detail, hint) = refused(&mut client, &format!("SELECT {call}"));
            assert_eq!(code, "23505", "{call}");
            assert!(
                detail.contains("(7)") && hint.contains("REINDEX"),
                "{detail} {hint}"
            );
        }
        assert!(
            ["23505", "55000"].contains(
                &refused(&mut client, "SELECT mig_repair('m', dry_run => false)")
                    .0
                    .as_str()
            )
        );
        client.batch_execute(undo).unwrap();
        client.batch_execute("SELECT mig_assert('m')").unwrap();
    }
}

#[test]
fn preflight_names_a_target_that_does_not_fit() {
    let cluster = Cluster::start("it_unfit", "");
    let mut client = cluster.connect("postgres");
    client
        .batch_execute("CREATE EXTENSION pg_mig; CREATE EXTENSION postgres_fdw; CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw; CREATE TABLE a (id int PRIMARY KEY, v text)")
        .unwrap();
    for (n, (make, expected)) in [
        (
            "CREATE TABLE b0 (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)",
            "is a partitioned table, which is not supported as a target",
        ),
        (
            "CREATE FOREIGN TABLE b1 (id int, v text) SERVER s",
            "is a foreign table, which is not supported as a target",
        ),
        (
            "CREATE VIEW b2 AS SELECT 1 AS id",
            "is a view, which is not supported as a target",
        ),
        (
            "CREATE TABLE b3 (id bigint PRIMARY KEY, v text)",
            "Column \"id\" has type bigint, and integer is needed.",
        ),
        (
            "CREATE TABLE b4 (id int, v text)",
            "It has no unique key over the scope and the source's key.",
        ),
    ]
    .iter()
    .enumerate()
    {
        client.batch_execute(make).unwrap();
        client
            .batch_execute(&format!(
                "SELECT mig_define('m{n}'); SELECT mig_add_table('m{n}', 'a', 'b{n}')"
            ))
            .unwrap();
        let found: Vec<String> = client
            .query(
                "SELECT detail FROM mig_preflight($1) WHERE severity = 'error'",
                &[&format!("m{n}")],
            )
            .unwrap()
            .iter()
            .map(|r| r.get(0))
            .collect();
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "{make}: {found:?}"
        );
        assert_eq!(
            refused(&mut client, &format!("SELECT mig_create('m{n}')")).0,
            if n < 3 { "0A000" } else { "55000" }
        );
    }
}
