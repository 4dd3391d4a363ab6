//! Locks on the application's tables: short, given back between tries, and the blocker is named.

use crate::common::cluster::Cluster;
use crate::common::cover::{DEFINE, all_differences, fill};
use crate::live::mirrored;
use crate::wait::{backfilled, refused, until_sql};

#[test]
fn dual_write_names_who_holds_it_up_and_changes_nothing() {
    let cluster = Cluster::start("it_locks", 54350, "");
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
    let cluster = Cluster::start("it_long", 54351, "");
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
