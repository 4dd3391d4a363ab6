//! Who runs a job: workers, the real pg_cron, psql's \\watch; one after the other, and again after a restart.

use crate::common::cluster::Cluster;
use crate::common::writers::Writers;
use crate::main_job::{mirrored, ready};
use crate::wait::{all_differences, backfilled, refused, until, until_sql, yes};
use postgres::Client;
use std::process::{Command, Stdio};

const SLOW: &str = "SELECT mig_configure('cover', '{\"batch_rows\": 10, \"batch_target_ms\": 1, \"delay_ms\": 100}')";
const FAST: &str = "SELECT mig_configure('cover', '{\"batch_rows\": 1000, \"batch_target_ms\": 100, \"delay_ms\": 0}')";

/// The five tables, mirrored, in a database that pg_cron works in; `conf` is its part of postgresql.conf.
fn with_cron(name: &'static str, conf: &str) -> (Cluster, Client) {
    let conf = format!("shared_preload_libraries = 'pg_cron'\ncron.database_name = 'cron'\n{conf}");
    let cluster = Cluster::start(name, &conf);
    drop(mirrored(&cluster, "cron", 20_000));
    // Its launcher needs the database at its start.
    cluster.stop("fast");
    cluster.start_again();
    let mut client = cluster.connect("cron");
    client.batch_execute("CREATE EXTENSION pg_cron").unwrap();
    (cluster, client)
}

fn text(client: &mut Client, sql: &str) -> String {
    let row = client.query_one(sql, &[]).expect("the query runs");
    row.get::<_, Option<String>>(0).unwrap_or_default()
}

/// Until a process drives the job as `driver` says, and has copied something.
fn until_copies(client: &mut Client, driver: &str) {
    let rows = |c: &mut Client| -> i64 {
        let sql = "SELECT sum(tuples_done)::bigint FROM mig.progress";
        c.query_one(sql, &[]).expect("progress reads").get(0)
    };
    let before = rows(client);
    let drives = format!(
        "SELECT bool_and(driver = '{driver}') AND ('{driver}' = 'manual' OR bool_or(pid IS NOT NULL)) FROM mig.progress"
    );
    until(driver, || yes(client, &drives) && rows(client) > before);
}

#[test]
fn drivers_take_over_from_each_other_and_nothing_differs() {
    let socket = "cron.use_background_workers = on";
    let (cluster, mut client) = with_cron("it_drivers", socket);
    client.batch_execute(SLOW).unwrap();
    let writers = Writers::start(&cluster, "cron", 3);
    let id = |c: &mut Client, driver: &str| -> i64 {
        let sql = format!("SELECT mig_backfill(driver => '{driver}')");
        c.query_one(&sql, &[]).expect("starts").get(0)
    };
    let job = id(&mut client, "pg_cron");
    assert_eq!(
        text(&mut client, "SELECT command FROM cron.job WHERE active"),
        format!("CALL mig.drive('cover', '59 s', {job})")
    );
    until_copies(&mut client, "pg_cron");
    // Asked for again, and left to choose: it is running.
    assert_eq!(id(&mut client, "pg_cron"), job);
    assert_eq!(id(&mut client, "auto"), job);
    assert_eq!(id(&mut client, "worker"), job);
    until_copies(&mut client, "worker");
    assert!(yes(&mut client, "SELECT count(*) = 0 FROM cron.job"));
    assert_eq!(id(&mut client, "manual"), job);
    until_sql(&mut client, "SELECT NOT EXISTS (SELECT FROM mig.runners)");
    client
        .batch_execute("SELECT mig_step(max_ms => 5)")
        .unwrap();
    until_copies_by_hand(&mut client);
    assert_eq!(id(&mut client, "pg_cron"), job);
    until_copies(&mut client, "pg_cron");
    // A step by hand in between changes nothing about who runs it.
    until("a step between two batches", || {
        client.batch_execute("SELECT mig_step(max_ms => 1)").is_ok()
    });
    assert!(yes(
        &mut client,
        "SELECT bool_and(driver = 'pg_cron') FROM mig.progress"
    ));
    assert_eq!(id(&mut client, "worker"), job);
    client.batch_execute(FAST).unwrap();
    backfilled(&mut client);
    let report = writers.stop();
    assert_eq!(report.errors, Vec::<String>::new());
    assert_eq!(all_differences(&mut client).1, 0);
    assert!(yes(&mut client, "SELECT count(*) = 0 FROM cron.job"));
    let told = text(
        &mut client,
        "SELECT string_agg(what, '; ' ORDER BY id) FROM mig.history WHERE what ~ 'taken over'",
    );
    assert_eq!(
        told,
        ["pg_cron", "worker", "manual", "pg_cron"]
            .map(|d| format!("job {job} taken over from {d}"))
            .join("; ")
    );
    // A run of pg_cron that comes too late for its job ends, and takes itself away.
    client
        .batch_execute(&format!(
            "SELECT cron.schedule('pg_mig {job}', '* * * * *', 'unused'); CALL mig.drive('cover', '59 s', {job})"
        ))
        .unwrap_or_else(|e| panic!("{e:?}"));
    assert!(yes(&mut client, "SELECT count(*) = 0 FROM cron.job"));
}

fn until_copies_by_hand(client: &mut Client) {
    assert!(yes(
        client,
        "SELECT bool_and(driver = 'manual' AND driver_reason IS NULL) FROM mig.progress"
    ));
}

#[test]
fn without_a_free_slot_pg_cron_takes_the_job() {
    // Its own launcher has the only slot; it opens connections.
    let conf =
        "max_worker_processes = 1\nmax_logical_replication_workers = 0\ncron.host = '/var/tmp'";
    let (cluster, mut client) = with_cron("it_cron", conf);
    let host = format!("ALTER SYSTEM SET cron.host = '{}'", cluster.host());
    client.batch_execute(&host).unwrap();
    cluster.stop("fast");
    cluster.start_again();
    let mut client = cluster.connect("cron");
    // The tables' owner, who is nobody special, and may not use pg_cron at first.
    client
        .batch_execute(
            "CREATE ROLE app LOGIN; GRANT CREATE ON DATABASE cron TO app; SELECT mig_allow('app')",
        )
        .unwrap();
    let mut app = cluster.connect_as("cron", "app");
    app.batch_execute(
        "CREATE SCHEMA app; CREATE TABLE app.a (id int PRIMARY KEY, v text); INSERT INTO app.a SELECT g, g::text FROM generate_series(1, 3000) g; \
         SELECT mig_define('mine'); SELECT mig_add_table('mine', 'app.a', 'app.b'); SELECT mig_create('mine'); SELECT mig_dual_write('mine')",
    )
    .unwrap();
    let shown = "SELECT concat_ws(', ', p.driver, p.driver_reason, s.state, s.problem, s.next_step) FROM mig.progress p JOIN mig.status s USING (migration) WHERE migration = 'mine'";
    app.batch_execute("SELECT mig_backfill('mine')").unwrap();
    let none = "no worker slot is free, and role app has no USAGE on schema cron";
    assert_eq!(
        text(&mut app, shown),
        format!("manual, {none}, running, driver manual: {none}, CALL mig_run('mine');")
    );
    let (code, detail, hint) =
        refused(&mut app, "SELECT mig_backfill('mine', driver => 'pg_cron')");
    assert_eq!(
        (code.as_str(), detail.as_str(), hint.as_str()),
        (
            "0A000",
            "Role app has no USAGE on schema cron.",
            "Take another: SELECT mig_backfill('mine', driver => 'auto');"
        )
    );
    client
        .batch_execute("GRANT USAGE ON SCHEMA cron TO app")
        .unwrap();
    app.batch_execute("SELECT mig_backfill('mine')").unwrap();
    let why = "no worker slot is free";
    assert_eq!(
        text(&mut app, shown),
        format!("pg_cron, {why}, running, driver pg_cron: {why}, SELECT mig_wait('mine');")
    );
    assert!(yes(&mut client, "SELECT username = 'app' FROM cron.job"));
    // Somebody else ends it: what is scheduled goes with it.
    client.batch_execute("SELECT mig_cancel('mine')").unwrap();
    assert!(yes(&mut client, "SELECT count(*) = 0 FROM cron.job"));
    app.batch_execute(
        "SELECT mig_backfill('mine'); SELECT mig_pause('mine'); SELECT mig_resume('mine')",
    )
    .unwrap();
    until("pg_cron", || {
        yes(
            &mut app,
            "SELECT phase = 'backfilled' FROM mig.status WHERE migration = 'mine'",
        )
    });
    assert!(yes(&mut client, "SELECT count(*) = 0 FROM cron.job"));
    assert!(yes(
        &mut app,
        "SELECT (SELECT count(*) FROM app.b) = 3000 AND bool_and(ok) FROM mig_check('mine')"
    ));
    // Where nothing was asked of it, nothing is said about drivers.
    assert_eq!(text(&mut app, "SELECT problem FROM mig_status('mine')"), "");
}

#[test]
fn psql_watches_steps_to_the_end() {
    let cluster = Cluster::start("it_watch", "");
    let mut client = mirrored(&cluster, "watch", 2000);
    client
        .batch_execute("SELECT mig_backfill(driver => 'manual')")
        .unwrap();
    let psql = format!(
        ". {}/tests/bin/env.sh; exec $pg_bin/psql -X -h {} -U postgres watch",
        env!("CARGO_MANIFEST_DIR"),
        cluster.host()
    );
    let mut child = Command::new("bash")
        .args(["-c", &psql])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("psql starts");
    let mut stdin = child.stdin.take().expect("psql listens");
    std::io::Write::write_all(&mut stdin, b"SELECT mig_step('cover') \\watch 0.1\n").unwrap();
    until_sql(&mut client, "SELECT phase = 'backfilled' FROM mig_status()");
    child.kill().expect("psql ends");
    child.wait().expect("psql ends");
    assert_eq!(all_differences(&mut client).1, 0);
}

#[test]
fn a_preloaded_library_goes_on_after_a_restart() {
    let cluster = Cluster::start("it_preload", "shared_preload_libraries = 'pg_mig'");
    let mut client = cluster.database("preload");
    crate::common::cover::fill(&mut client, 10_000);
    ready(&mut client);
    client.batch_execute(SLOW).unwrap();
    client.batch_execute("SELECT mig_backfill()").unwrap();
    until_copies(&mut client, "worker");
    // Nobody is connected to a database for long: it can be copied and dropped.
    client
        .batch_execute("CREATE DATABASE other TEMPLATE template1")
        .unwrap();
    client.batch_execute("DROP DATABASE other").unwrap();
    // A shutdown, a crash of everything, a crash of one process: each time the job goes on by itself.
    for how in 0..3 {
        match how {
            0 => cluster.stop("fast"),
            1 => cluster.kill(),
            _ => cluster.kill_process(
                client
                    .query_one("SELECT pg_backend_pid()", &[])
                    .unwrap()
                    .get(0),
            ),
        }
        if how < 2 {
            cluster.start_again();
        }
        client = cluster.connect_again("preload");
        until_copies(&mut client, "worker");
    }
    // What somebody ended himself does not begin again.
    client.batch_execute("SELECT mig_pause()").unwrap();
    cluster.stop("fast");
    cluster.start_again();
    client = cluster.connect_again("preload");
    until_sql(
        &mut client,
        "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'pg_mig launcher'",
    );
    assert!(yes(
        &mut client,
        "SELECT NOT EXISTS (SELECT FROM mig.runners) AND (SELECT state FROM mig_status()) = 'paused'"
    ));
    client.batch_execute(FAST).unwrap();
    client.batch_execute("SELECT mig_resume()").unwrap();
    backfilled(&mut client);
    assert_eq!(all_differences(&mut client).1, 0);
    nobody_is_lent(&mut client, &cluster);
}

/// A role that may write our tables cannot have a job run as another role after a restart.
fn nobody_is_lent(client: &mut Client, cluster: &Cluster) {
    client
        .batch_execute("CREATE ROLE guest LOGIN; SELECT mig_allow('guest')")
        .unwrap();
    let mut guest = cluster.connect_as("preload", "guest");
    for sql in [
        "UPDATE mig.job SET role = 'postgres', state = 'running'",
        "INSERT INTO mig.job (migration, driver, role) SELECT id, 'worker', 'postgres' FROM mig.migration",
    ] {
        assert_eq!(refused(&mut guest, sql).0, "42501");
    }
    assert_eq!(
        refused(&mut guest, "ALTER TABLE mig.job OWNER TO guest").0,
        "42501"
    );
}
