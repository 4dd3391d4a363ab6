//! The worker's manners: it starts at commit or not at all, goes when told, and is not needed.

use crate::common::cluster::Cluster;
use crate::main_job::mirrored;
use crate::wait::{all_differences, backfilled, refused, until, until_sql, yes};

const BUSY: &str = "SELECT EXISTS (SELECT FROM mig.runners)";

#[test]
fn a_busy_worker_holds_up_neither_drop_database_nor_shutdown() {
    let cluster = Cluster::start("it_worker", "");
    let mut client = mirrored(&cluster, "busy", 4000);
    // One batch an hour: the worker is asleep in its pause when the database goes.
    client
        .simple_query(
            "SELECT mig_configure('cover', '{\"batch_rows\": 100, \"delay_ms\": 3600000}')",
        )
        .unwrap();
    client.simple_query("SELECT mig_backfill()").unwrap();
    until_sql(&mut client, BUSY);
    until_sql(&mut client, "SELECT sum(rows_done) > 0 FROM mig.mapping");
    drop(client);
    let mut admin = cluster.connect("postgres");
    // The server itself waits for five seconds at most, and would fail it then.
    admin
        .batch_execute("DROP DATABASE busy WITH (FORCE)")
        .unwrap();

    let mut client = mirrored(&cluster, "busy", 4000);
    // The worker is inside a statement: a lock on the source that it waits for, over and over.
    let mut holder = cluster.connect("busy");
    client
        .simple_query("SELECT mig_configure('cover', '{\"lock_timeout_ms\": 60000}')")
        .unwrap();
    holder
        .batch_execute("BEGIN; LOCK TABLE round_metadata IN ACCESS EXCLUSIVE MODE")
        .unwrap();
    client.simple_query("SELECT mig_backfill()").unwrap();
    until_sql(
        &mut client,
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'pg_mig worker' AND wait_event_type = 'Lock')",
    );
    until_sql(
        &mut client,
        "SELECT count(*) = 1 FROM mig.blockers WHERE direction = 'we wait for them'",
    );
    // pg_ctl fails where somebody stays.
    cluster.stop("fast");
}

#[test]
fn rollback_starts_nothing_and_commit_does() {
    let cluster = Cluster::start("it_start", "");
    let mut client = mirrored(&cluster, "starts", 1000);
    client
        .batch_execute("BEGIN; SELECT mig_backfill(); ROLLBACK")
        .unwrap();
    client
        .batch_execute("BEGIN; SAVEPOINT s; SELECT mig_backfill(); ROLLBACK TO s; COMMIT")
        .unwrap();
    let started: i64 = client
        .query_one("SELECT (SELECT count(*) FROM mig.job) + (SELECT count(*) FROM mig.mapping WHERE bound_blocks IS NOT NULL)", &[])
        .unwrap()
        .get(0);
    assert_eq!(started, 0);
    client
        .batch_execute("BEGIN; SELECT mig_backfill()")
        .unwrap();
    let mut other = cluster.connect("starts");
    let running: bool = other.query_one(BUSY, &[]).unwrap().get(0);
    assert!(!running || other.query_one("SELECT count(*) = 1 FROM mig.runners r JOIN pg_stat_activity a USING (pid) WHERE a.backend_type = 'client backend'", &[]).unwrap().get::<_, bool>(0));
    client.batch_execute("COMMIT").unwrap();
    backfilled(&mut client);
    assert_eq!(all_differences(&mut client).1, 0);
}

#[test]
fn a_worker_waits_for_the_commit_that_makes_its_role() {
    let cluster = Cluster::start("it_commit", "");
    let mut client = mirrored(&cluster, "late", 500);
    // Nobody confirms this commit: it hangs when all is done but its end.
    for sql in [
        "SET synchronous_commit = local",
        "ALTER SYSTEM SET synchronous_standby_names = 'nobody'",
        "SELECT pg_reload_conf()",
    ] {
        client.batch_execute(sql).unwrap();
    }
    until_sql(
        &mut client,
        "SELECT current_setting('synchronous_standby_names') = 'nobody'",
    );
    let mut other = cluster.connect("late");
    let committing = std::thread::spawn(move || {
        other.batch_execute(
            "BEGIN; CREATE ROLE late LOGIN SUPERUSER; SET LOCAL ROLE late; SELECT mig_backfill(); COMMIT",
        )
    });
    until_sql(
        &mut client,
        "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
    );
    until("the worker", || cluster.processes("pg_mig backfill") == 1);
    for _ in 0..20 {
        assert_eq!(cluster.processes("pg_mig backfill"), 1, "it waits");
        assert!(yes(&mut client, "SELECT NOT EXISTS (SELECT FROM mig.job)"));
    }
    for sql in [
        "ALTER SYSTEM RESET synchronous_standby_names",
        "SELECT pg_reload_conf()",
    ] {
        client.batch_execute(sql).unwrap();
    }
    committing.join().unwrap().unwrap();
    backfilled(&mut client);
    assert!(yes(
        &mut client,
        "SELECT role = 'late'::regrole FROM mig.job"
    ));
    assert_eq!(all_differences(&mut client).1, 0);
}

#[test]
fn what_must_not_run_beside_a_job_is_refused() {
    let cluster = Cluster::start("it_beside", "");
    let mut client = mirrored(&cluster, "beside", 2000);
    client
        .simple_query(
            "SELECT mig_configure('cover', '{\"batch_rows\": 100, \"delay_ms\": 3600000}')",
        )
        .unwrap();
    client.simple_query("SELECT mig_backfill()").unwrap();
    until_sql(&mut client, BUSY);
    for call in [
        "SELECT mig_rollback('cover')",
        "SELECT mig_step()",
        "SELECT mig_drop('cover')",
        "SELECT mig_create()",
        "SELECT mig_dual_write()",
        "SELECT mig_add_table('cover', 'projects', 'x')",
    ] {
        let (code, detail, hint) = refused(&mut client, call);
        assert_eq!(code, "55006", "{call}");
        assert!(
            detail.contains("Process") && hint.contains("mig_cancel"),
            "{call}: {detail} {hint}"
        );
    }
    // What may run beside it does.
    client.simple_query("SELECT * FROM mig_check()").unwrap();
    client
        .simple_query("SELECT * FROM mig_preflight()")
        .unwrap();
    client.simple_query("SELECT * FROM mig_plan()").unwrap();
    client.simple_query("SELECT mig_cancel()").unwrap();
    // It leaves soon, although its pause between batches is an hour.
    until_sql(&mut client, "SELECT NOT EXISTS (SELECT FROM mig.runners)");
    client.simple_query("SELECT mig_rollback('cover')").unwrap();
}

#[test]
fn without_a_free_slot_the_user_drives() {
    let cluster = Cluster::start("it_slots", "max_worker_processes = 0");
    let mut client = mirrored(&cluster, "slots", 1000);
    let notices = std::sync::Arc::new(std::sync::Mutex::new(Vec::<String>::new()));
    let heard = std::sync::Arc::clone(&notices);
    let mut config = postgres::Config::new();
    config
        .host(&cluster.host())
        .user("postgres")
        .dbname("slots");
    config.notice_callback(move |n| heard.lock().unwrap().push(n.message().to_owned()));
    let mut listener = config.connect(postgres::NoTls).unwrap();
    listener.simple_query("SELECT mig_backfill()").unwrap();
    assert!(
        notices
            .lock()
            .unwrap()
            .iter()
            .any(|n| n.contains("no worker slot is free") && n.contains("\\watch")),
        "{notices:?}"
    );
    listener
        .simple_query("SELECT mig_add_check('sign_ups', 'mine', 'id > 0')")
        .unwrap();
    assert!(
        notices
            .lock()
            .unwrap()
            .iter()
            .any(|n| n.contains("VALIDATE CONSTRAINT \"mine\"")),
        "{notices:?}"
    );
    client.simple_query("CALL mig_run()").unwrap();
    let phase: String = client
        .query_one("SELECT phase FROM mig_status()", &[])
        .unwrap()
        .get(0);
    assert_eq!(phase, "backfilled");
    assert_eq!(all_differences(&mut client).1, 0);
}

#[test]
fn hostile_role_settings_do_not_reach_the_worker() {
    let cluster = Cluster::start("it_role", "");
    let mut client = cluster.database("hostile");
    client
        .batch_execute(
            "CREATE ROLE keeper LOGIN; CREATE SCHEMA keeper AUTHORIZATION keeper; SELECT mig_allow('keeper'); \
             GRANT CREATE ON DATABASE hostile TO keeper; \
             ALTER ROLE keeper SET default_transaction_isolation = 'repeatable read'; \
             ALTER ROLE keeper SET default_transaction_read_only = on; \
             ALTER ROLE keeper SET search_path = evil, public; \
             ALTER ROLE keeper SET lock_timeout = '1ms'; \
             ALTER ROLE keeper SET row_security = on; \
             CREATE SCHEMA evil AUTHORIZATION keeper; \
             CREATE FUNCTION evil.count(text) RETURNS int LANGUAGE sql AS 'SELECT 1/0'",
        )
        .unwrap();
    let mut keeper = cluster.connect_as("hostile", "keeper");
    // In this session only: the worker gets the role's settings.
    keeper
        .batch_execute(
            "SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off; \
             SET lock_timeout = 0; SET search_path = keeper, public",
        )
        .unwrap();
    keeper
        .batch_execute(
            "CREATE TABLE a (id int PRIMARY KEY, v text); INSERT INTO a SELECT g, g::text FROM generate_series(1, 5000) g; CREATE INDEX ON a (v); \
             SELECT mig_define('k'); SELECT mig_add_table('k', 'a', 'b'); SELECT mig_create(); SELECT mig_dual_write()",
        )
        .unwrap();
    // A row that is updated and held: an old snapshot would copy its old value.
    let mut app = cluster.connect("hostile");
    app.batch_execute("BEGIN; UPDATE keeper.a SET v = 'new' WHERE id = 7")
        .unwrap();
    keeper.simple_query("SELECT mig_backfill()").unwrap();
    until_sql(&mut client, "SELECT bool_and(copied) FROM mig.mapping");
    app.batch_execute("COMMIT").unwrap();
    backfilled(&mut keeper);
    keeper.simple_query("SELECT mig_assert()").unwrap();
    let differ: i64 = keeper
        .query_one("SELECT count(*) FROM (TABLE a EXCEPT ALL TABLE b) d", &[])
        .unwrap()
        .get(0);
    assert_eq!(differ, 0);
}

#[test]
fn cancel_interrupts_an_index_build_that_waits() {
    let cluster = Cluster::start("it_cancel", "");
    // More than what is indexed under a lock.
    let mut client = mirrored(&cluster, "cancels", 10_000);
    let mut app = cluster.connect("cancels");
    app.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM sign_ups")
        .unwrap();
    client.simple_query("SELECT mig_backfill()").unwrap();
    until_sql(
        &mut client,
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'pg_mig worker' AND wait_event = 'virtualxid')",
    );
    assert!(yes(&mut client, "SELECT mig_cancel()"));
    until_sql(&mut client, "SELECT NOT EXISTS (SELECT FROM mig.runners)");
    let (state, job): (String, String) = client
        .query_one("SELECT s.state, j.state FROM mig.status s, mig.job j", &[])
        .map(|r| (r.get(0), r.get(1)))
        .unwrap();
    assert_eq!((state.as_str(), job.as_str()), ("ok", "cancelled"));
    app.batch_execute("COMMIT").unwrap();
    // The invalid index that the build left is dropped and built again.
    client.simple_query("SELECT mig_backfill()").unwrap();
    backfilled(&mut client);
    client.simple_query("SELECT mig_assert()").unwrap();
    assert_eq!(all_differences(&mut client).1, 0);
}
