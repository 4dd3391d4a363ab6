//! Faults that are caused, not imagined: a standby that takes over, a full disk, a backend killed inside the
//! mirror, locks that are never free for long, rows locked in the opposite order.

use crate::common::cluster::{Cluster, SmallDisk};
use crate::common::cover::fill;
use crate::common::load::Shift;
use crate::common::writers::Writers;
use crate::main_job::{mirrored, ready};
use crate::wait::{
    all_differences, at_full_speed, backfilled, go_slowly, is_long, refused, step, until,
    until_sql, yes,
};
use postgres::Client;
use std::time::Duration;

#[test]
fn a_promoted_standby_goes_on_where_the_primary_was() {
    let primary = Cluster::start("it_primary", "");
    let mut client = mirrored(&primary, "moved", 4000);
    let standby = primary.standby("it_standby");
    let writers = Writers::start(&primary, "moved", 3);
    go_slowly(&mut client, "cover", 5000);
    client.simple_query("SELECT mig_backfill()").unwrap();
    until_sql(&mut client, "SELECT sum(rows_done) > 2000 FROM mig.mapping");
    writers.wait_for(20);
    // On a standby nothing can be changed, and looking works.
    let mut there = standby.connect("moved");
    until_sql(&mut there, "SELECT sum(rows_done) > 0 FROM mig.mapping");
    for call in [
        "SELECT mig_backfill()",
        "SELECT mig_step()",
        "SELECT mig_rollback('cover')",
        "SELECT mig_pause()",
    ] {
        let (code, ..) = refused(&mut there, call);
        assert_eq!(code, "25006", "{call}");
    }
    assert!(yes(
        &mut there,
        "SELECT phase = 'dual_write' FROM mig_status()"
    ));
    drop(client);
    primary.kill();
    writers.stop();
    there.batch_execute("SELECT pg_promote()").unwrap();
    let mut client = standby.connect("moved");
    assert!(yes(
        &mut client,
        "SELECT state = 'failed' AND problem LIKE '%is gone%' FROM mig_status()"
    ));
    let before: i64 = client
        .query_one("SELECT sum(rows_done)::bigint FROM mig.mapping", &[])
        .unwrap()
        .get(0);
    let writers = Writers::start(&standby, "moved", 3);
    at_full_speed(&mut client, "cover");
    client.simple_query("SELECT mig_backfill()").unwrap();
    backfilled(&mut client);
    assert!(
        before > 0
            && yes(
                &mut client,
                "SELECT NOT EXISTS (SELECT FROM mig.history WHERE what LIKE '%starts over%')"
            )
    );
    assert_eq!(all_differences(&mut client).1, 0);
    assert_eq!(writers.stop().errors, Vec::<String>::new());
    client.simple_query("SELECT mig_assert()").unwrap();
}

#[test]
fn a_full_disk_is_escaped_by_detaching_and_mended_by_starting_over() {
    let cluster = Cluster::start("it_disk", "");
    let mut client = cluster.database("disk");
    fill(&mut client, 8000);
    let mut disk = SmallDisk::mount(&cluster, "it_disk_small", 2);
    let space = format!("CREATE TABLESPACE small LOCATION '{}'", disk.path());
    client.batch_execute(&space).unwrap();
    client
        .batch_execute("SET default_tablespace = small")
        .unwrap();
    ready(&mut client);
    client.batch_execute("RESET default_tablespace").unwrap();
    client.simple_query("SELECT mig_backfill()").unwrap();
    let write = "INSERT INTO sign_ups (round_id, user_id, email) SELECT 1, gen_random_uuid(), repeat('x', 1000) FROM generate_series(1, 5000)";
    // The backfill stops with the reason; a large write of the application is refused, for no write is swallowed.
    until_sql(
        &mut client,
        "SELECT problem LIKE '%No space left%' FROM mig_status()",
    );
    assert!(yes(
        &mut client,
        "SELECT state = 'failed' FROM mig_status()"
    ));
    assert_eq!(refused(&mut client, write).0, "53100");
    // The emergency stop gives the application its writes back, and the migration says what that means.
    client.simple_query("SELECT mig_detach()").unwrap();
    client.simple_query(write).unwrap();
    assert!(yes(
        &mut client,
        "SELECT state = 'failed' AND problem LIKE 'detached by mig_detach%' AND next_step LIKE '%mig_rollback%' FROM mig_status()"
    ));
    let (code, detail, _) = refused(&mut client, "SELECT mig_backfill()");
    assert!(
        code == "55000" && detail.contains("is disabled"),
        "{code} {detail}"
    );
    // Somebody puts the mirrors back by hand: the gap is still known.
    client
        .batch_execute("DO $$ DECLARE t record; BEGIN FOR t IN SELECT tgrelid::regclass AS r, tgname FROM pg_trigger WHERE tgname LIKE '!mig%' \
                        LOOP EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', t.r, t.tgname); END LOOP; END $$")
        .unwrap();
    assert_eq!(refused(&mut client, "SELECT mig_backfill()").0, "55000");
    // To empty the targets needs a little room, to drop them none.
    assert_eq!(
        refused(&mut client, "SELECT mig_rollback('cover')").0,
        "53100"
    );
    client
        .simple_query("SELECT mig_rollback('cover', 'defined')")
        .unwrap();
    disk.grow(400);
    client.simple_query("SELECT mig_create()").unwrap();
    client.simple_query("SELECT mig_dual_write()").unwrap();
    client.simple_query("SELECT mig_backfill()").unwrap();
    backfilled(&mut client);
    assert_eq!(all_differences(&mut client).1, 0);
    client.simple_query("SELECT mig_assert()").unwrap();
    // Before its disk goes.
    cluster.stop("fast");
}

#[test]
fn a_backend_killed_inside_the_mirror_leaves_both_sides_as_they_were() {
    let cluster = Cluster::start("it_inside", "");
    let mut client = mirrored(&cluster, "inside", 1000);
    client.simple_query("SELECT mig_backfill()").unwrap();
    backfilled(&mut client);
    // The mirror waits for the target's lock: the source's row is written, the target's is not.
    let mut holder = cluster.connect("inside");
    holder
        .batch_execute("BEGIN; LOCK TABLE project_sign_ups IN SHARE MODE")
        .unwrap();
    let mut app = cluster.connect("inside");
    let pid: i32 = app
        .query_one("SELECT pg_backend_pid()", &[])
        .unwrap()
        .get(0);
    let write = std::thread::spawn(move || {
        app.batch_execute("DELETE FROM sign_ups WHERE id = 1")
            .is_err()
    });
    until_sql(
        &mut client,
        &format!("SELECT cardinality(pg_blocking_pids({pid})) > 0"),
    );
    cluster.kill_process(pid);
    assert!(write.join().unwrap(), "the write did not succeed");
    let mut client = cluster.connect_again("inside");
    assert!(yes(
        &mut client,
        "SELECT EXISTS (SELECT FROM sign_ups WHERE id = 1)"
    ));
    assert_eq!(all_differences(&mut client).1, 0);
    client
        .simple_query("DELETE FROM sign_ups WHERE id = 1")
        .unwrap();
    assert_eq!(all_differences(&mut client).1, 0);
}

#[test]
fn what_logical_replication_applies_to_the_source_is_mirrored() {
    let cluster = Cluster::start("it_apply", "wal_level = logical");
    let table = "CREATE TABLE src (id int PRIMARY KEY, v text); INSERT INTO src SELECT g, 'v' FROM generate_series(1, 500) g";
    let mut publisher = cluster.database("publisher");
    publisher.batch_execute(table).unwrap();
    publisher
        .batch_execute("CREATE PUBLICATION p FOR TABLE src")
        .unwrap();
    publisher
        .batch_execute("SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
        .unwrap();
    let mut client = cluster.database("subscriber");
    client.batch_execute(table).unwrap();
    client
        .batch_execute("SELECT mig_define('apply'); SELECT mig_add_table('apply', 'src', 'dst'); SELECT mig_create(); SELECT mig_dual_write()")
        .unwrap();
    let subscription = format!(
        "CREATE SUBSCRIPTION s CONNECTION 'host={} dbname=publisher user=postgres' PUBLICATION p \
         WITH (create_slot = false, slot_name = 's', copy_data = false)",
        cluster.host()
    );
    client.simple_query(&subscription).unwrap();
    let same = "SELECT NOT EXISTS ((TABLE src EXCEPT ALL TABLE dst) UNION ALL (TABLE dst EXCEPT ALL TABLE src))";
    let write = "UPDATE src SET v = v || '!' WHERE id % 3 = 0; DELETE FROM src WHERE id % 7 = 0; UPDATE src SET id = id + 1000 WHERE id % 11 = 0; INSERT INTO src VALUES (0, 'last')";
    publisher.simple_query(write).unwrap();
    until_sql(&mut client, "SELECT EXISTS (SELECT FROM src WHERE id = 0)");
    client.simple_query("SELECT mig_backfill()").unwrap();
    backfilled(&mut client);
    assert!(yes(&mut client, same));
    publisher
        .simple_query("TRUNCATE src; INSERT INTO src VALUES (5, 'after')")
        .unwrap();
    until_sql(
        &mut client,
        "SELECT v = 'after' FROM src WHERE id = 5 UNION ALL SELECT NULL LIMIT 1",
    );
    assert!(yes(&mut client, same));
    client.simple_query("SELECT mig_assert()").unwrap();
    client.simple_query("DROP SUBSCRIPTION s").unwrap();
}

#[test]
fn an_index_build_that_was_interrupted_is_made_again() {
    let cluster = Cluster::start("it_invalid", "");
    // More than what is indexed under a lock.
    let mut client = mirrored(&cluster, "invalid", 10_000);
    // CREATE INDEX CONCURRENTLY waits for this snapshot, and leaves an invalid index when it is terminated.
    let mut old = cluster.connect("invalid");
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM sign_ups")
        .unwrap();
    client.simple_query("SELECT mig_backfill()").unwrap();
    let invalid = "EXISTS (SELECT FROM pg_index WHERE NOT indisvalid)";
    until_sql(
        &mut client,
        &format!(
            "SELECT {invalid} AND cardinality(pg_blocking_pids(pid)) > 0 FROM mig.runners UNION ALL SELECT NULL LIMIT 1"
        ),
    );
    client
        .simple_query("SELECT pg_terminate_backend(pid) FROM mig.runners")
        .unwrap();
    until_sql(&mut client, "SELECT NOT EXISTS (SELECT FROM mig.runners)");
    assert!(yes(&mut client, &format!("SELECT {invalid}")));
    client.simple_query("SELECT mig_backfill()").unwrap();
    old.batch_execute("COMMIT").unwrap();
    backfilled(&mut client);
    assert!(yes(&mut client, &format!("SELECT NOT {invalid}")));
    assert_eq!(all_differences(&mut client).1, 0);
    client.simple_query("SELECT mig_assert()").unwrap();
}

#[test]
fn a_mirrored_row_costs_no_transaction_id() {
    let cluster = Cluster::start("it_xids", "autovacuum = off");
    let mut client = mirrored(&cluster, "xids", 1000);
    let xid = |client: &mut Client| -> i64 {
        let sql = "SELECT pg_current_xact_id()::text::bigint";
        client.query_one(sql, &[]).unwrap().get(0)
    };
    let before = xid(&mut client);
    client
        .simple_query("UPDATE sign_ups SET email = 'all of them'")
        .unwrap();
    // The statement's own, and the one that asks.
    assert_eq!(xid(&mut client) - before, 2);
}

/// Mirrors out and in again, as often as it takes to have the locks.
pub fn back_and_forth(client: &mut Client) {
    step(client, "SELECT mig_rollback('cover', 'created')");
    step(client, "SELECT mig_dual_write()");
}

/// Ends its sessions also where the test fails.
struct Ends<'a>(&'a Shift);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Runs `each` over and over in `count` sessions while `f` works, which sees how far they are; the errors of all of them.
pub fn beside(
    cluster: &Cluster,
    database: &str,
    count: usize,
    each: impl Fn(&mut Client, usize) -> Result<(), postgres::Error> + Sync,
    f: impl FnOnce(&Shift),
) -> Vec<String> {
    let shift = Shift::of(count);
    std::thread::scope(|scope| {
        let session = |n: usize| {
            let (mut client, shift, each) = (cluster.connect(database), &shift, &each);
            scope.spawn(move || {
                let mut errors = Vec::new();
                while !shift.is_over() {
                    match each(&mut client, n) {
                        Ok(()) => shift.count(n),
                        Err(e) => {
                            errors.push(format!("{e:?}"));
                            let _ = client.batch_execute("ROLLBACK");
                        }
                    }
                }
                errors
            })
        };
        let threads: Vec<_> = (0..count).map(session).collect();
        let ends = Ends(&shift);
        f(&shift);
        drop(ends);
        let all = threads.into_iter().map(|t| t.join().unwrap());
        all.flatten().collect()
    })
}

#[test]
fn rows_locked_in_the_opposite_order_never_make_the_application_a_victim() {
    let cluster = Cluster::start("it_victim", "deadlock_timeout = 100ms");
    let mut client = mirrored(&cluster, "victim", 2000);
    // Two rows, the later one first; the batches go up through the table. All sessions go down, so that no two of
    // them can deadlock. The server looks for deadlocks as soon as anybody waits 100 ms.
    let downward = |app: &mut Client, n: usize| {
        let low = 100 * (n + 1) + 7;
        app.batch_execute(&format!(
            "BEGIN; UPDATE sign_ups SET email = 'high' WHERE id = {}",
            low + 50
        ))?;
        std::thread::sleep(Duration::from_millis(15));
        app.batch_execute(&format!(
            "UPDATE sign_ups SET email = 'low' WHERE id = {low}; COMMIT"
        ))
    };
    let round = |client: &mut Client| {
        let mut leftovers = 0;
        client
            .simple_query(
                "SELECT mig_configure('cover', '{\"batch_rows\": 100, \"batch_target_ms\": 1}')",
            )
            .unwrap();
        client.simple_query("SELECT mig_backfill()").unwrap();
        until("the rows are copied", || {
            let row = client.query_one("SELECT (SELECT count(*) FROM mig.leftover), (SELECT bool_and(copied) FROM mig.mapping)", &[]).unwrap();
            leftovers += row.get::<_, i64>(0);
            row.get(1)
        });
        backfilled(client);
        assert_eq!(all_differences(client).1, 0);
        back_and_forth(client);
        leftovers
    };
    let errors = beside(&cluster, "victim", 4, downward, |shift| {
        let mut met: i64 = (0..if is_long() { 12 } else { 4 })
            .map(|_| round(&mut client))
            .sum();
        until("a row that is held when its turn comes", || {
            met += round(&mut client);
            met > 0 && shift.done() > 100
        });
    });
    assert_eq!(errors, Vec::<String>::new());
}

#[test]
fn a_storm_of_table_locks_delays_the_job_and_fails_nobody() {
    let cluster = Cluster::start("it_storm", "");
    let mut client = mirrored(&cluster, "storm", 1500);
    client
        .simple_query("SELECT mig_configure('cover', '{\"batch_rows\": 100, \"batch_target_ms\": 1, \"lock_timeout_ms\": 5}')")
        .unwrap();
    let storm = |app: &mut Client, n: usize| {
        let table = ["sign_ups", "submissions", "project_votes"][n];
        app.batch_execute(&format!(
            "BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"
        ))?;
        std::thread::sleep(Duration::from_millis(12));
        app.batch_execute("COMMIT")?;
        std::thread::sleep(Duration::from_millis(3));
        Ok(())
    };
    let errors = beside(&cluster, "storm", 3, storm, |shift| {
        shift.wait_for(20);
        client.simple_query("SELECT mig_backfill()").unwrap();
        backfilled(&mut client);
    });
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(all_differences(&mut client).1, 0);
}
