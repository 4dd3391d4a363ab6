//! The main job beside a live application, with workers and real sessions.

use crate::common::cluster::Cluster;
use crate::common::cover::{DEFINE, fill};
use crate::common::writers::Writers;
use crate::wait::{all_differences, at_full_speed, backfilled, go_slowly, step, until_sql, yes};
use postgres::Client;

pub fn ready(client: &mut Client) {
    for sql in DEFINE {
        client.simple_query(sql).unwrap();
    }
    client.simple_query("SELECT mig_create()").unwrap();
    step(client, "SELECT mig_dual_write()");
}

/// A database with the five tables, mirrored, and nothing copied yet.
pub fn mirrored(cluster: &Cluster, database: &str, scale: u32) -> Client {
    let mut client = cluster.database(database);
    fill(&mut client, scale);
    ready(&mut client);
    client
}

#[test]
fn five_tables_move_under_live_writers_and_nothing_differs() {
    let cluster = Cluster::start("it_live", "");
    let mut client = cluster.database("live");
    fill(&mut client, 6000);
    let writers = Writers::start(&cluster, "live", 4);
    ready(&mut client);
    go_slowly(&mut client, "cover", 6000);
    client.simple_query("SELECT mig_backfill()").unwrap();
    // Stopping and starting in the middle must not matter.
    until_sql(&mut client, "SELECT sum(rows_done) > 1000 FROM mig.mapping");
    assert!(yes(&mut client, "SELECT mig_pause()"));
    until_sql(&mut client, "SELECT NOT EXISTS (SELECT FROM mig.runners)");
    assert!(yes(&mut client, "SELECT mig_resume()"));
    until_sql(&mut client, "SELECT sum(rows_done) > 5000 FROM mig.mapping");
    assert!(yes(&mut client, "SELECT mig_cancel()"));
    until_sql(&mut client, "SELECT NOT EXISTS (SELECT FROM mig.runners)");
    at_full_speed(&mut client, "cover");
    client.simple_query("SELECT mig_backfill()").unwrap();
    backfilled(&mut client);
    // While the writers go on: every full check says that nothing differs, and so does the hand-written one.
    for _ in 0..10 {
        writers.wait_for(20);
        let wrong = client
            .query_one("SELECT count(*) FROM mig_check() WHERE ok IS NOT TRUE", &[])
            .unwrap();
        assert_eq!(wrong.get::<_, i64>(0), 0);
        assert_eq!(all_differences(&mut client).1, 0);
    }
    let report = writers.stop();
    assert_eq!(report.errors, Vec::<String>::new());
    assert_eq!(all_differences(&mut client).1, 0);

    // Back to the start, again under writers, and nothing is left behind.
    let writers = Writers::start(&cluster, "live", 4);
    writers.wait_for(20);
    step(&mut client, "SELECT mig_rollback('cover', 'defined')");
    client.simple_query("SELECT mig_drop('cover')").unwrap();
    writers.wait_for(20);
    let report = writers.stop();
    assert_eq!(report.errors, Vec::<String>::new());
    let left = client
        .query_one(
            "SELECT (SELECT count(*) FROM pg_trigger WHERE tgname LIKE '!mig%') + (SELECT count(*) FROM pg_class WHERE relname LIKE 'project\\_%') \
             + (SELECT count(*) FROM pg_class WHERE relnamespace = 'mig'::regnamespace AND relname LIKE 'm%\\_forward') \
             + (SELECT count(*) FROM mig.mapping) + (SELECT count(*) FROM mig.leftover) + (SELECT count(*) FROM mig.job) \
             + (SELECT count(*) FROM pg_locks WHERE locktype = 'object' AND classid = 'mig.migration'::regclass)",
            &[],
        )
        .unwrap();
    assert_eq!(left.get::<_, i64>(0), 0, "nothing of ours is left");
}

#[test]
fn a_transaction_older_than_the_migration_is_mirrored_too() {
    let cluster = Cluster::start("it_old", "");
    let mut client = cluster.database("old");
    fill(&mut client, 1000);
    let mut app = cluster.connect("old");
    app.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM sign_ups")
        .unwrap();
    ready(&mut client);
    client.simple_query("SELECT mig_backfill()").unwrap();
    // Index builds and foreign keys wait for this very snapshot; status and blockers say whose it is.
    let pid: i32 = app
        .query_one("SELECT pg_backend_pid()", &[])
        .unwrap()
        .get(0);
    until_sql(
        &mut client,
        &format!("SELECT EXISTS (SELECT FROM mig.blockers WHERE their_pid = {pid})"),
    );
    until_sql(
        &mut client,
        &format!("SELECT problem LIKE 'waiting for %process {pid}%' FROM mig.status"),
    );
    app.batch_execute("DELETE FROM sign_ups WHERE id % 7 = 0; UPDATE submissions SET extra = '{\"old\": true}'; COMMIT").unwrap();
    backfilled(&mut client);
    assert_eq!(all_differences(&mut client).1, 0);
    client.simple_query("SELECT mig_assert()").unwrap();
}

#[test]
fn mig_wait_does_not_hold_up_the_index_build_it_waits_for() {
    let cluster = Cluster::start("it_wait", "");
    let mut client = mirrored(&cluster, "waits", 1000);
    // Called at once: its snapshot is older than every index build of the job.
    client.simple_query("SELECT mig_backfill()").unwrap();
    backfilled(&mut client);
    let (valid, built): (bool, i64) = client
        .query_one("SELECT bool_and(indisvalid), count(*) FROM pg_index WHERE indrelid::regclass::text LIKE 'project_%'", &[])
        .map(|r| (r.get(0), r.get(1)))
        .unwrap();
    assert!(valid && built >= 12, "{built} indexes");
}
