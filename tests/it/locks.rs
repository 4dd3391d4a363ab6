//! Locks on the application's tables: short, given back between tries, and the blocker is named.

use crate::common::cluster::Cluster;
use crate::common::cover::{DEFINE, fill};
use crate::faults::{back_and_forth, beside};
use crate::main_job::mirrored;
use crate::wait::{all_differences, backfilled, refused, until_sql, yes};
use postgres::Client;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[test]
fn dual_write_names_who_holds_it_up_and_changes_nothing() {
    let cluster = Cluster::start("it_locks", "");
    let mut client = cluster.database("locks");
    fill(&mut client, 1000);
    for sql in DEFINE {
        client.simple_query(sql).unwrap();
    }
    client.simple_query("SELECT mig_create()").unwrap();
    client
        .simple_query("SELECT mig_configure('cover', '{\"lock_timeout_ms\": 5}')")
        .unwrap();
    let mut app = cluster.connect("locks");
    app.batch_execute("BEGIN; UPDATE sign_ups SET email = 'x' WHERE id = 1")
        .unwrap();
    let pid: i32 = app
        .query_one("SELECT pg_backend_pid()", &[])
        .unwrap()
        .get(0);
    let (code, detail, _) = refused(&mut client, "SELECT mig_dual_write()");
    assert_eq!(code, "55P03");
    assert!(
        detail.contains(&format!("process {pid}")) && detail.contains("sign_ups"),
        "{detail}"
    );
    let triggers: i64 = client
        .query_one(
            "SELECT count(*) FROM pg_trigger WHERE tgname LIKE '!mig%'",
            &[],
        )
        .unwrap()
        .get(0);
    assert_eq!(triggers, 0);
    // A prepared transaction has no process: its name is told.
    app.batch_execute("PREPARE TRANSACTION 'held'").unwrap();
    let (code, detail, _) = refused(&mut client, "SELECT mig_dual_write()");
    assert_eq!(code, "55P03");
    assert!(detail.contains("prepared transaction held"), "{detail}");
    app.batch_execute("COMMIT PREPARED 'held'").unwrap();
    client.simple_query("SELECT mig_dual_write()").unwrap();
}

#[test]
fn a_long_transaction_is_worked_around_and_copied_last() {
    let cluster = Cluster::start("it_long", "");
    let mut client = mirrored(&cluster, "long", 3000);
    let mut app = cluster.connect("long");
    app.batch_execute("BEGIN; UPDATE sign_ups SET email = 'held' WHERE id % 100 = 0")
        .unwrap();
    client.simple_query("SELECT mig_backfill()").unwrap();
    // All else is copied; the held rows are listed, and status says what is waited for.
    until_sql(&mut client, "SELECT bool_and(copied) FROM mig.mapping");
    until_sql(
        &mut client,
        "SELECT problem LIKE 'waiting for lock on row %sign_ups%' FROM mig.status",
    );
    let left: i64 = client
        .query_one("SELECT count(*) FROM mig.leftover", &[])
        .unwrap()
        .get(0);
    assert_eq!(left, 30);
    app.batch_execute("ROLLBACK").unwrap();
    backfilled(&mut client);
    assert_eq!(all_differences(&mut client).1, 0);
    let left: i64 = client
        .query_one("SELECT count(*) FROM mig.leftover", &[])
        .unwrap()
        .get(0);
    assert_eq!(left, 0);
}

/// Sessions that hold a strong lock on a table and stand in the queue for another.
const HOLDS_AND_WAITS: &str = "SELECT count(*) FROM pg_locks h JOIN pg_locks w USING (pid)
    WHERE h.granted AND NOT w.granted AND h.locktype = 'relation' AND w.locktype = 'relation'
      AND h.mode IN ('AccessExclusiveLock', 'ShareRowExclusiveLock')";

#[test]
fn ddl_never_waits_while_it_holds_a_lock_and_gets_there_all_the_same() {
    let cluster = Cluster::start("it_ddl", "deadlock_timeout = 200ms");
    let mut client = mirrored(&cluster, "ddl", 500);
    // Reads two tables and then writes both, each session in its own order: whatever the DDL has locked first,
    // somebody holds the next and wants that one.
    let upgrade = |app: &mut Client, n: usize| {
        let mut tables = ["email_reminders_sent SET kind", "sign_ups SET email"];
        tables.rotate_left(n % 2);
        let [first, second] = tables;
        let read = |t: &str| format!("SELECT 1 FROM {} LIMIT 1", t.split(' ').next().unwrap());
        app.batch_execute(&format!("BEGIN; {}; {}", read(first), read(second)))?;
        std::thread::sleep(Duration::from_millis(3));
        let id = n + 1;
        app.batch_execute(&format!(
            "UPDATE {first} = 'x' WHERE id = {id}; UPDATE {second} = 'x' WHERE id = {id}; COMMIT"
        ))
    };
    let mut observer = cluster.connect("ddl");
    let over = AtomicBool::new(false);
    let mut at_risk = 0;
    let errors = beside(&cluster, "ddl", 3, upgrade, |shift| {
        std::thread::scope(|scope| {
            let watch = scope.spawn(|| {
                let mut seen = 0;
                while !over.load(Ordering::Relaxed) {
                    let found: i64 = observer.query_one(HOLDS_AND_WAITS, &[]).unwrap().get(0);
                    seen += found;
                }
                seen
            });
            for _ in 0..8 {
                shift.wait_for(8);
                back_and_forth(&mut client);
            }
            over.store(true, Ordering::Relaxed);
            at_risk = watch.join().unwrap();
        });
    });
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(at_risk, 0);
    client.simple_query("SELECT mig_backfill()").unwrap();
    backfilled(&mut client);
    assert_eq!(all_differences(&mut client).1, 0);
}

#[test]
fn autovacuum_gives_way_as_it_does_to_everybody() {
    // It would be at its work for minutes.
    let cluster = Cluster::start(
        "it_vacuum",
        "autovacuum_naptime = 1s\nautovacuum_vacuum_cost_delay = 100ms\nautovacuum_vacuum_cost_limit = 1",
    );
    let mut client = cluster.database("vacuum");
    client
        .batch_execute(
            "CREATE TABLE src (id int PRIMARY KEY, v text); INSERT INTO src SELECT g, repeat('v', 500) FROM generate_series(1, 20000) g; \
             SELECT mig_define('t'); SELECT mig_add_table('t', 'src', 'dst'); SELECT mig_create()",
        )
        .unwrap();
    client.batch_execute("UPDATE src SET v = v || 'x'").unwrap();
    let holds = "SELECT count(*) > 0 FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
                 WHERE l.relation = 'src'::regclass AND a.backend_type = 'autovacuum worker' AND l.granted";
    until_sql(&mut client, holds);
    // Whoever waited for the whole of the work, or of a call's tries, would wait longer.
    let mut app = cluster.connect("vacuum");
    app.batch_execute("SET lock_timeout = '10 s'").unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|s| {
        let writer = s.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                app.batch_execute("UPDATE src SET v = 'y' WHERE id = 1")?;
            }
            Ok::<_, postgres::Error>(())
        });
        let called = client.batch_execute("SELECT mig_dual_write()");
        over.store(true, Ordering::SeqCst);
        called.unwrap();
        writer.join().unwrap().unwrap();
    });
}

#[test]
fn what_a_transaction_has_locked_it_need_not_wait_for_again() {
    let cluster = Cluster::start("it_locked", "");
    let mut client = mirrored(&cluster, "held", 300);
    client.batch_execute("SELECT mig_backfill()").unwrap();
    backfilled(&mut client);
    client
        .batch_execute(
            "SELECT mig_switch(); SELECT mig_stop(); SELECT mig_archive('cover', force => true)",
        )
        .unwrap();
    // The way back renames and goes on in the same transaction: writers of all new tables have queued up meanwhile.
    client
        .batch_execute(
            "BEGIN; LOCK TABLE project_rounds, project_sign_ups, project_submissions, project_votes IN ACCESS EXCLUSIVE MODE",
        )
        .unwrap();
    std::thread::scope(|scope| {
        for table in [
            "project_rounds",
            "project_sign_ups",
            "project_submissions",
            "project_votes",
        ] {
            let mut app = cluster.connect("held");
            scope.spawn(move || {
                app.batch_execute(&format!(
                    "UPDATE {table} SET project_id = project_id WHERE false"
                ))
                .unwrap();
            });
        }
        let waiting =
            "SELECT count(*) = 4 FROM pg_locks WHERE NOT granted AND locktype = 'relation'";
        until_sql(&mut client, waiting);
        let back = client.batch_execute("SELECT mig_rollback('cover', 'switched')");
        client.batch_execute("COMMIT").unwrap();
        back.unwrap();
    });
    assert!(yes(&mut client, "SELECT mig_wait()"));
    assert_eq!(all_differences(&mut client).1, 0);
}
