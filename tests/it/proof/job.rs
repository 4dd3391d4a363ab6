//! The check as a job: progress, interruption, a killed worker; and parallel workers in a call.

use super::count;
use crate::common::cluster::Cluster;
use crate::main_job::mirrored;
use crate::wait::{backfilled, refused, until, until_sql, yes};
use postgres::Client;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A check as a job, to its end; whether somebody who looked saw it between two slices.
fn seen_in_the_middle(client: &mut Client) -> bool {
    let middle = "SELECT count(*) > 0 FROM mig.progress WHERE phase = 'checking' AND pct > 0 AND pct < 100 AND relation = 'submissions'::regclass";
    let before = count(client, "SELECT count(*) FROM mig.checks");
    client.simple_query("SELECT mig_check_start()").unwrap();
    let mut seen = false;
    until("the job's end", || {
        seen |= yes(client, middle);
        yes(
            client,
            "SELECT NOT EXISTS (SELECT FROM mig.job WHERE state = 'running')",
        )
    });
    assert!(yes(client, "SELECT mig_wait()"));
    let after = count(client, "SELECT count(*) FROM mig.checks");
    assert_eq!(after, before + 1);
    seen
}

#[test]
fn a_check_in_the_background_shows_how_far_it_is_and_can_be_ended() {
    let cluster = Cluster::start(
        "it_checkjob",
        "max_parallel_workers_per_gather = 2\nmin_parallel_table_scan_size = 0\nparallel_setup_cost = 0\nparallel_tuple_cost = 0",
    );
    let mut client = mirrored(&cluster, "checkjob", 1000);
    // A table of several slices (16 MB each).
    client.batch_execute("ALTER TABLE submissions ALTER extra SET STORAGE PLAIN; UPDATE submissions SET extra = jsonb_build_object('x', repeat('y', 7500)) ; \
        INSERT INTO submissions (round_id, user_id, soundcloud_url, extra) SELECT 1 + g % 10, gen_random_uuid(), 'u', jsonb_build_object('x', repeat('y', 7500)) FROM generate_series(1, 5000) g").unwrap();
    client.simple_query("SELECT mig_backfill()").unwrap();
    backfilled(&mut client);

    // A call: parallel workers of PostgreSQL's own.
    let stop = Arc::new(AtomicBool::new(false));
    let (mut caller, stopped) = (cluster.connect("checkjob"), Arc::clone(&stop));
    let caller_pid: i32 = caller
        .query_one("SELECT pg_backend_pid()", &[])
        .unwrap()
        .get(0);
    let checking = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            caller.simple_query("SELECT mig_assert()").unwrap();
        }
    });
    until_sql(
        &mut client,
        &format!(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'parallel worker' AND leader_pid = {caller_pid})"
        ),
    );
    stop.store(true, Ordering::Relaxed);
    checking.join().unwrap();

    // A job: slice by slice, at one moment, and somebody can see how far it is.
    until("a job that is seen in the middle", || {
        seen_in_the_middle(&mut client)
    });
    let before = count(&mut client, "SELECT count(*) FROM mig.checks");
    assert!(yes(
        &mut client,
        "SELECT ok AND compared > 6000 AND mode = 'full' FROM mig.checks ORDER BY id DESC LIMIT 1"
    ));
    assert!(yes(
        &mut client,
        "SELECT last_check ~ '^full clean' AND state = 'ok' FROM mig_status()"
    ));

    // Ended in the middle of a statement, and killed: nothing is kept, the migration is as it was.
    let mut holder = cluster.connect("checkjob");
    for end in [
        "SELECT mig_cancel()",
        "SELECT pg_terminate_backend(pid) FROM mig.runners",
    ] {
        // The job's last table cannot be read while this lock is held.
        holder
            .batch_execute("BEGIN; LOCK TABLE project_email_reminders IN ACCESS EXCLUSIVE MODE")
            .unwrap();
        client.simple_query("SELECT mig_check_start()").unwrap();
        until_sql(
            &mut client,
            "SELECT EXISTS (SELECT FROM mig.runners r WHERE cardinality(pg_blocking_pids(r.pid)) > 0) OR EXISTS (SELECT FROM mig.job WHERE state = 'running' AND waiting_for IS NOT NULL)",
        );
        let (code, _, _) = refused(&mut client, "SELECT mig_switch()");
        assert_eq!(code, "55006");
        assert!(yes(
            &mut client,
            "SELECT next_step = 'SELECT mig_wait(''cover'');' FROM mig_status()"
        ));
        client.simple_query(end).unwrap();
        until_sql(&mut client, "SELECT NOT EXISTS (SELECT FROM mig.runners)");
        holder.batch_execute("ROLLBACK").unwrap();
        if end.contains("terminate") {
            assert!(yes(
                &mut client,
                "SELECT state = 'failed' AND problem ~ 'is gone' AND next_step = 'CALL mig_run(''cover'');' FROM mig_status()"
            ));
            client.simple_query("SELECT mig_cancel()").unwrap();
        }
        assert!(yes(
            &mut client,
            "SELECT state = 'ok' AND phase = 'backfilled' AND problem IS NULL FROM mig_status()"
        ));
        assert_eq!(
            count(&mut client, "SELECT count(*) FROM mig.checks"),
            before
        );
    }
    // By hand, and by name of one table.
    client
        .simple_query("SELECT mig_check_start(relation => 'submissions', driver => 'manual')")
        .unwrap();
    until("the steps", || count(&mut client, "SELECT mig_step()") == 0);
    let last = client.query_one("SELECT format('%s %s %s', ok, compared, failed) FROM mig.checks ORDER BY id DESC LIMIT 1", &[]).unwrap();
    assert_eq!(last.get::<_, String>(0), "t 6000 []");
    // A table that is large beside work_mem is opened by buckets only where it differs.
    client
        .batch_execute("SET work_mem = '64kB'; UPDATE project_submissions SET soundcloud_url = 'broken' WHERE id = (SELECT min(id::text)::uuid FROM submissions)")
        .unwrap();
    assert_eq!(
        count(
            &mut client,
            "SELECT count(*) FROM mig_check() WHERE NOT ok AND check_name = 'rows different' AND target_value = '1'"
        ),
        1
    );
    assert_eq!(
        count(
            &mut client,
            "SELECT count(*) FROM mig_diff('cover', 'submissions') WHERE target_row->>'soundcloud_url' = 'broken'"
        ),
        1
    );
    assert_eq!(
        count(
            &mut client,
            "SELECT sum(rows)::bigint FROM mig_repair(dry_run => false)"
        ),
        1
    );
    client.simple_query("SELECT mig_assert()").unwrap();
    client.simple_query("SELECT mig_switch()").unwrap();
}
