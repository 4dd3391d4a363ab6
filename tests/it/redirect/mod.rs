//! A table is written below SQL only if SQL would write it there.

use crate::common::cluster::{Cluster, shell};
use crate::wait::{refused, until_sql, yes};

fn library() -> String {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/redirect/redirect.c");
    shell(&format!(
        "gcc -fPIC -shared -I$($pg_bin/pg_config --includedir-server) {source} -o $work/redirect.$$.so && chmod 755 $work/redirect.$$.so && printf %s $work/redirect.$$.so"
    ))
}

/// What the mirror has written below SQL is not what SQL sees: found before it goes live, on an empty table too.
#[test]
fn what_sql_does_not_see_is_not_mirrored() {
    let settings = format!("shared_preload_libraries = '{}'", library());
    let cluster = Cluster::start("it_redirect_reads", &settings);
    let mut client = cluster.connect("postgres");
    client
        .batch_execute("SET redirect.what = nothing; CREATE EXTENSION pg_mig; CREATE TABLE elsewhere (id int PRIMARY KEY, v text)")
        .unwrap();
    for rows in [0, 3] {
        client
            .batch_execute(&format!(
                "CREATE TABLE src (id serial PRIMARY KEY, v varchar(3) NOT NULL); INSERT INTO src (v) SELECT 'old' FROM generate_series(1, {rows}); \
                 SELECT mig_define('m'); SELECT mig_add_table('m', 'src', 'dst'); SELECT mig_create('m')"
            ))
            .unwrap();
        client.batch_execute("SET redirect.what = reads").unwrap();
        let (code, detail, _) = refused(&mut client, "SELECT mig_dual_write('m')");
        assert_eq!(code, "55000");
        assert!(
            detail.contains("does not find what the mirror wrote"),
            "{detail}"
        );
        // The server as it comes sees what it wrote.
        client
            .batch_execute("SET redirect.what = nothing; SELECT mig_dual_write('m')")
            .unwrap();
        assert!(
            yes(&mut client, "SELECT last_value <= 3 FROM src_id_seq"),
            "no number is drawn"
        );
        client
            .batch_execute(
                "SELECT mig_rollback('m', 'defined'); SELECT mig_drop('m'); DROP TABLE src",
            )
            .unwrap();
    }
}

/// With no row to try, one is made up.
#[test]
fn an_empty_table_whose_writes_would_fail_is_found() {
    let cluster = Cluster::start("it_canary_empty", "");
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "CREATE EXTENSION pg_mig; CREATE FUNCTION broken(text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT AS 'BEGIN RETURN no_such($1); END'; \
             CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN short AS varchar(2) CHECK (VALUE <> ''); CREATE TABLE par (id uuid PRIMARY KEY, x int NOT NULL, UNIQUE (id, x)); \
             INSERT INTO par VALUES (gen_random_uuid(), 7); \
             CREATE TABLE src (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text, at timestamptz NOT NULL, day date, m mood NOT NULL, s short NOT NULL, b bytea, \
               j jsonb NOT NULL, a int[] NOT NULL, net inet NOT NULL, r tstzrange NOT NULL, p uuid NOT NULL, x int NOT NULL, made timestamptz NOT NULL DEFAULT now(), \
               t time NOT NULL, pt point, FOREIGN KEY (p, x) REFERENCES par (id, x)); \
             CREATE TABLE strict (id int PRIMARY KEY, v text); CREATE TABLE strict_new (id int PRIMARY KEY, v text CHECK (v = 'what the application writes')); \
             SELECT mig_define('bad'); SELECT mig_add_table('bad', 'src', 'bad', columns => '{\"w\": \"public.broken(v)\"}'); SELECT mig_create('bad'); \
             SELECT mig_define('good'); SELECT mig_add_table('good', 'strict', 'strict_new'); SELECT mig_create('good')",
        )
        .unwrap();
    let (code, detail, _) = refused(&mut client, "SELECT mig_dual_write('bad')");
    assert_eq!(code, "55000");
    assert!(detail.contains("42883"), "{detail}");
    assert!(yes(
        &mut client,
        "SELECT NOT EXISTS (SELECT FROM src) AND NOT EXISTS (SELECT FROM bad) AND NOT is_called FROM src_id_seq"
    ));
    // Values of ours prove nothing about those of the application.
    client
        .batch_execute("SELECT mig_dual_write('good')")
        .unwrap();
}

#[test]
fn a_planner_that_sends_statements_elsewhere_is_followed() {
    let settings = format!("shared_preload_libraries = '{}'", library());
    let cluster = Cluster::start("it_redirect", &settings);
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "CREATE EXTENSION pg_mig; CREATE TABLE src (id int PRIMARY KEY, v text); INSERT INTO src SELECT g, 'old' FROM generate_series(1, 500) g; \
             CREATE TABLE dst (id int PRIMARY KEY, v text); CREATE TABLE elsewhere (LIKE dst INCLUDING ALL); \
             SELECT mig_define('m'); SELECT mig_add_table('m', 'src', 'dst'); SELECT mig_create('m'); SELECT mig_dual_write('m')",
        )
        .unwrap();
    client.batch_execute("INSERT INTO src VALUES (1000, 'new'); UPDATE src SET v = 'changed' WHERE id = 3; DELETE FROM src WHERE id = 4").unwrap();
    assert!(yes(
        &mut client,
        "SELECT count(*) = 2 AND pg_relation_size('dst') = 0 FROM elsewhere"
    ));
    // A batch goes the same way. This planner does not know ON CONFLICT, so the rows are named as errors; none is lost in silence.
    client.batch_execute("SELECT mig_backfill('m')").unwrap();
    until_sql(
        &mut client,
        "SELECT NOT EXISTS (SELECT FROM mig.job WHERE state = 'running')",
    );
    assert!(yes(
        &mut client,
        "SELECT pg_relation_size('dst') = 0 AND (SELECT count(*) FROM mig.errors) + (SELECT count(*) FROM elsewhere) >= 500"
    ));
}
