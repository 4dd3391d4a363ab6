//! Names without a schema in functions of the application: they mean what they meant for the role that defined the migration, in everything
//! that runs inside statements of ours, whoever writes and with whatever search_path.

use crate::common::cluster::{Cluster, shell};
use crate::wait::{backfilled, refused, until_sql, yes};
use postgres::Client;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Functions that name a function of an extension, a table and a type without their schemas. `evil` has objects of the same names.
const SCHEMA: &str = "CREATE SCHEMA app; CREATE SCHEMA ext; CREATE SCHEMA evil; CREATE EXTENSION unaccent SCHEMA ext; CREATE EXTENSION pg_mig; \
    SET search_path = app, ext, public; \
    CREATE TABLE words(w text); INSERT INTO words VALUES ('the'), ('a'); \
    CREATE FUNCTION norm(v text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN lower(unaccent(v)); END $$; \
    CREATE FUNCTION is_word(v text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN NOT EXISTS (SELECT FROM words WHERE w = v); END $$; \
    CREATE FUNCTION sql_norm(v text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT norm(v)'; \
    CREATE DOMAIN good AS text CHECK (is_word(VALUE)); \
    CREATE TABLE evil.words(w text); INSERT INTO evil.words VALUES ('fine'); \
    CREATE FUNCTION evil.unaccent(v text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'evil ran as %', current_user; END $$; \
    CREATE FUNCTION evil.norm(v text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'evil ran as %', current_user; END $$;";

/// Paths of sessions that write.
const WRITERS: [&str; 4] = [
    "app, ext",
    "pg_catalog",
    "evil, pg_temp, pg_catalog",
    "pg_temp, evil, app",
];

fn start(name: &'static str) -> (Cluster, Client) {
    let cluster = Cluster::start(name, "");
    let mut client = cluster.connect("postgres");
    client.batch_execute(SCHEMA).unwrap();
    (cluster, client)
}

/// Writes with every path; no write may fail, and the target has each row.
fn write_with_all_paths(cluster: &Cluster, table: &str, other: &str) {
    for (n, path) in WRITERS.iter().enumerate() {
        let mut writer = cluster.connect("postgres");
        // The source's own functions run for its own statement, under the writer's path, as they did before us: names are given here.
        writer
            .batch_execute(&format!(
                "CREATE TEMP TABLE words(w text); INSERT INTO words VALUES ('fine'); SET search_path = {path}"
            ))
            .unwrap();
        let id = 100 + n * 10;
        for sql in [
            format!(
                "INSERT INTO {table}(id, name) VALUES ({id}, 'Fine'), ({id} + 1, '\u{e9}t\u{e9}')"
            ),
            format!("UPDATE {table} SET name = 'Better' WHERE id = {id}"),
            format!("UPDATE {table} SET id = {id} + 2 WHERE id = {id} + 1"),
        ] {
            writer
                .batch_execute(&sql)
                .unwrap_or_else(|e| panic!("{path}: {sql}: {e:?}"));
        }
        let same = format!(
            "SELECT count(*) = 2 FROM {table} a JOIN {other} b ON b.id = a.id AND b.name = a.name WHERE a.id BETWEEN {id} AND {id} + 2"
        );
        assert!(yes(&mut writer, &same), "{path}");
    }
}

fn run(client: &mut Client, call: &str) {
    client
        .batch_execute(&format!(
            "SET search_path = pg_catalog; SELECT public.{call}"
        ))
        .expect(call);
}

/// The source has none of the functions; the target, which is adopted, has all of them.
fn adopted(client: &mut Client, target: &str, columns: &str) {
    client
        .batch_execute(&format!(
            "SET search_path = app, ext, public; CREATE TABLE t(id int PRIMARY KEY, name text); CREATE TABLE t_new({target}); \
             SELECT mig_define('m'); SELECT mig_add_table('m', 'app.t', 'app.t_new', columns => '{columns}')"
        ))
        .unwrap();
}

const TARGETS: [(&str, &str, &str); 4] = [
    (
        "it_path_check",
        "id int PRIMARY KEY, name text CHECK (app.norm(name) <> 'bad' AND app.is_word(name))",
        "{}",
    ),
    (
        "it_path_generated",
        "id int PRIMARY KEY, name text, n text GENERATED ALWAYS AS (app.norm(name)) STORED",
        "{}",
    ),
    (
        "it_path_domain",
        "id int PRIMARY KEY, name app.good",
        "{\"name\": {\"up\": \"name::app.good\", \"down\": \"name::text\"}}",
    ),
    (
        "it_path_default",
        "id int PRIMARY KEY, name text, d text DEFAULT app.norm('D') CHECK (app.sql_norm(d) = 'd')",
        "{}",
    ),
];

/// Says that the writer may end, also where the test fails.
#[derive(Default)]
struct Done(AtomicBool);
struct Ended<'a>(&'a Done);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// On an empty table nothing is tried before the application's first write.
#[test]
fn checks_generated_columns_domains_and_defaults_find_their_names_whoever_writes() {
    for (name, target, columns) in TARGETS {
        let (cluster, mut client) = start(name);
        adopted(&mut client, target, columns);
        run(&mut client, "mig_create('m')");
        run(&mut client, "mig_dual_write('m')");
        write_with_all_paths(&cluster, "app.t", "app.t_new");
        run(&mut client, "mig_backfill('m')");
        client.batch_execute("SET search_path = public").unwrap();
        backfilled(&mut client);
        run(&mut client, "mig_assert('m')");
        run(&mut client, "mig_switch('m')");
        client.batch_execute("DELETE FROM app.t").unwrap();
        write_with_all_paths(&cluster, "app.t", "app.t_new");
        run(&mut client, "mig_assert('m')");
    }
}

#[test]
fn an_index_over_a_function_is_built_and_kept_beside_writers() {
    let (cluster, mut client) = start("it_path_index");
    client
        .batch_execute(
            "CREATE TABLE t(id int PRIMARY KEY, name text); CREATE INDEX ON t(norm(name)); CREATE INDEX ON t(name) WHERE is_word(sql_norm(name)); \
             INSERT INTO t SELECT g, 'N' || g FROM generate_series(1, 5000) g; \
             CREATE TABLE late(id int PRIMARY KEY, name text); INSERT INTO late VALUES (1, 'x'); \
             SELECT mig_define('m'); SELECT mig_add_table('m', 'app.t', 'app.t_new')",
        )
        .unwrap();
    for call in ["mig_create('m')", "mig_dual_write('m')"] {
        run(&mut client, call);
    }
    let done = Done::default();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = cluster.connect("postgres");
            writer.batch_execute("SET search_path = app, ext").unwrap();
            for n in 0.. {
                writer.batch_execute(&format!("INSERT INTO t VALUES (10000 + {n}, 'W'); UPDATE t SET name = name || '!' WHERE id = 1 + {n} % 5000")).unwrap();
                if done.0.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let ended = Ended(&done);
        run(&mut client, "mig_backfill('m')");
        client.batch_execute("SET search_path = public").unwrap();
        backfilled(&mut client);
        drop(ended);
    });
    run(&mut client, "mig_assert('m')");
    assert!(yes(
        &mut client,
        "SELECT count(*) = 3 AND bool_and(indisvalid) FROM pg_index WHERE indrelid = 'app.t_new'::regclass"
    ));
    assert!(yes(&mut client, "SELECT count(*) > 0 FROM mig.step_log"));
    // An index job and a check of their own have the caller's path.
    client
        .batch_execute("SET search_path = app, ext, public")
        .unwrap();
    for call in [
        "mig_create_index('CREATE INDEX late_norm ON late (norm(name))')",
        "mig_add_check('late', 'late_word', 'is_word(norm(name))')",
    ] {
        let job: i64 = client
            .query_one(&format!("SELECT {call}"), &[])
            .unwrap()
            .get(0);
        assert!(
            yes(&mut client, &format!("SELECT mig_wait({job}::bigint)")),
            "{call}"
        );
    }
}

#[test]
fn columns_find_the_names_of_their_functions() {
    let (cluster, mut client) = start("it_path_columns");
    for (n, rows) in [(1, 0), (2, 50)] {
        client
            .batch_execute(&format!(
                "SET search_path = app, ext, public; CREATE TABLE c{n}(id int PRIMARY KEY, name text); \
                 INSERT INTO c{n} SELECT g, 'N' || g FROM generate_series(1, {rows}) g; \
                 SELECT mig_define('c{n}'); SELECT mig_add_column('c{n}', 'app.c{n}', 'plain', 'text', up => 'app.norm(name)')"
            ))
            .unwrap();
        assert!(yes(
            &mut client,
            &format!("SELECT count(*) = 0 FROM mig_preflight('c{n}') WHERE severity = 'error'")
        ));
        for call in ["mig_create", "mig_dual_write"] {
            run(&mut client, &format!("{call}('c{n}')"));
        }
        for path in WRITERS {
            let mut writer = cluster.connect("postgres");
            writer.batch_execute(&format!("SET search_path = {path}; INSERT INTO app.c{n} SELECT coalesce(max(id), 0) + 1, '\u{c9}' FROM app.c{n}")).unwrap();
        }
        run(&mut client, &format!("mig_backfill('c{n}')"));
        until_sql(
            &mut client,
            &format!("SELECT phase = 'backfilled' FROM public.mig_status('c{n}')"),
        );
        run(&mut client, &format!("mig_assert('c{n}')"));
        assert!(yes(
            &mut client,
            &format!(
                "SELECT count(*) = {rows} + 4 FROM app.c{n} WHERE plain IN ('e') OR plain = lower(name)"
            )
        ));
    }
}

#[test]
fn the_path_is_an_option_and_only_trusted_for_owners_that_the_definer_may_be() {
    let (cluster, mut client) = start("it_path_option");
    client
        .batch_execute("SET search_path = public; SELECT mig_define('m')")
        .unwrap();
    assert_eq!(
        refused(
            &mut client,
            "SELECT mig_configure('m', '{\"search_path\": \"nowhere\"}')"
        )
        .0,
        "3F000"
    );
    assert_eq!(
        refused(
            &mut client,
            "SELECT mig_configure('m', '{\"search_path\": \"a,,b\"}')"
        )
        .0,
        "22023"
    );
    client
        .batch_execute(
            "SELECT mig_configure('m', '{\"search_path\": \"$user, app, pg_catalog, ext, app\"}')",
        )
        .unwrap();
    assert!(yes(
        &mut client,
        "SELECT mig_config('m') #>> '{options,search_path}' = '\"app\", \"ext\", pg_temp'"
    ));
    client
        .batch_execute(
            "CREATE TABLE app.t(id int PRIMARY KEY, name text); CREATE INDEX ON app.t(app.norm(name)) WHERE false; \
             CREATE TABLE app.t_new(id int PRIMARY KEY, name text CHECK (app.norm(name) <> 'bad')); \
             SELECT mig_add_table('m', 'app.t', 'app.t_new'); SELECT mig_create('m'); SELECT mig_dual_write('m'); INSERT INTO app.t VALUES (1, 'x')",
        )
        .unwrap();
    // The definer loses the rights of the owner: its path finds nothing for that owner any more.
    client
        .batch_execute(
            "CREATE ROLE definer; CREATE ROLE owns; GRANT ALL ON SCHEMA app, ext TO owns; ALTER TABLE app.t OWNER TO owns; ALTER TABLE app.t_new OWNER TO owns; \
             ALTER VIEW mig.m1_forward OWNER TO owns; ALTER VIEW mig.m1_reverse OWNER TO owns; UPDATE mig.migration SET owner = 'definer'",
        )
        .unwrap();
    let mut writer = cluster.connect("postgres");
    assert_eq!(
        refused(&mut writer, "INSERT INTO app.t VALUES (2, 'y')").0,
        "42883"
    );
    client.batch_execute("GRANT owns TO definer").unwrap();
    let mut writer = cluster.connect("postgres");
    writer
        .batch_execute("INSERT INTO app.t VALUES (2, 'y')")
        .unwrap();
}

#[test]
fn a_restored_copy_finds_the_names() {
    let (cluster, mut client) = start("it_path_dump");
    adopted(&mut client, TARGETS[0].1, TARGETS[0].2);
    run(&mut client, "mig_create('m')");
    run(&mut client, "mig_dual_write('m')");
    shell(
        "cd $work; as_postgres $pg_bin/pg_dump -h $work/it_path_dump -U postgres -Fc postgres >it_path.dump; \
           as_postgres $pg_bin/createdb -h $work/it_path_dump -U postgres copy; \
           as_postgres $pg_bin/pg_restore -h $work/it_path_dump -U postgres -d copy --exit-on-error <it_path.dump",
    );
    let mut copy = cluster.connect("copy");
    copy.batch_execute("SET search_path = evil; INSERT INTO app.t VALUES (1, 'x')")
        .unwrap();
    assert!(yes(&mut copy, "SELECT count(*) = 1 FROM app.t_new"));
}

#[test]
fn preflight_says_what_the_path_lacks_and_who_may_create_in_it() {
    let (_cluster, mut client) = start("it_path_preflight");
    client
        .batch_execute(
            "CREATE ROLE stranger; CREATE SCHEMA gone; GRANT CREATE ON SCHEMA ext TO stranger; CREATE TABLE t(id int PRIMARY KEY); \
             SET search_path = app, gone, ext, public; SELECT mig_define('m'); SELECT mig_add_table('m', 'app.t', 'app.t_new'); DROP SCHEMA gone; \
             SELECT mig_define('c'); SELECT mig_add_column('c', 'app.words', 'long', 'int', 'length(w)')",
        )
        .unwrap();
    let mut found = |migration: &str| -> Vec<String> {
        let sql = "SELECT severity || ': ' || detail || ' ' || hint FROM mig_preflight($1) WHERE check_name = 'search_path' ORDER BY 1";
        let rows = client.query(sql, &[&migration]).unwrap();
        rows.iter().map(|r| r.get(0)).collect()
    };
    let warning = "warning: Role stranger may create objects in schema ext of the migration's search_path: where a function of the application names something without a schema, it may find them, and runs them as postgres. \
         REVOKE CREATE ON SCHEMA ext FROM stranger; or set the option search_path.";
    assert_eq!(
        found("m"),
        [
            "error: Schema \"gone\" of the migration's search_path does not exist. SELECT mig_configure('m', '{\"search_path\": \"app, ext, public\"}');",
            warning
        ]
    );
    assert_eq!(found("c"), [warning]);
}
