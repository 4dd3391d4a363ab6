//! Repair beside writers: whatever was broken is right afterwards, and no row of theirs is lost or comes back.

use super::{behind_the_mirror, count, doubts};
use crate::common::both_sides::{Crew, ROLLING, Side, Tally};
use crate::common::cluster::Cluster;
use crate::main_job::mirrored;
use crate::wait::{all_differences, at_full_speed, backfilled, go_slowly, until, until_sql, yes};
use postgres::Client;
use std::time::Duration;

const P: &str = "'00000000-0000-0000-0000-000000000001'";
const ROUNDS: u32 = 6;

/// Rows of all kinds, without a lock that the application would have to wait for.
fn break_some(client: &mut Client, round: u32) {
    let sql = format!(
        "DELETE FROM project_email_reminders WHERE id % 17 = {r} AND ctid IN (SELECT ctid FROM project_email_reminders FOR UPDATE SKIP LOCKED); \
         UPDATE project_sign_ups SET email = 'broken' WHERE id % 19 = {r} AND ctid IN (SELECT ctid FROM project_sign_ups FOR UPDATE SKIP LOCKED); \
         INSERT INTO project_email_reminders (project_id, id, round_id, user_id) SELECT {P}, 1000000 + g, NULL, gen_random_uuid() FROM generate_series(1, 20) g \
         ON CONFLICT DO NOTHING",
        r = round % 7
    );
    client.batch_execute(&sql).unwrap();
}

/// Until nothing differs: rows that the application holds are left to a job.
fn repaired(client: &mut Client) {
    until("the repair", || {
        let done = client.simple_query("SELECT mig_repair(dry_run => false)");
        done.is_ok() && {
            until_sql(
                client,
                "SELECT NOT EXISTS (SELECT FROM mig.job WHERE state IN ('running', 'paused'))",
            );
            count(client, "SELECT count(*) FROM mig.leftover") == 0
        }
    });
}

/// More rows than one call takes; the crew writes neither these rounds nor the first sign-ups.
const MANY: &str = "UPDATE project_sign_ups SET email = 'broken' \
    WHERE id IN (SELECT id FROM project_sign_ups WHERE round_id > 18 AND id > 60 ORDER BY id LIMIT 1200)";

fn told(client: &mut Client, what: &str) -> bool {
    let sql = format!("SELECT count(*) > 0 FROM mig.history WHERE what ~ '^mig_repair: {what}'");
    yes(client, &sql)
}

#[test]
fn what_is_broken_is_repaired_beside_an_application_that_never_rests() {
    let cluster = Cluster::start("it_repair", "deadlock_timeout = 200ms");
    let mut client = mirrored(&cluster, "repair", 3500);
    client.simple_query("SELECT mig_backfill()").unwrap();
    backfilled(&mut client);
    let crew = Crew::start(&cluster, "repair", &[Side::Old; 5], Duration::ZERO);
    for round in 0..ROUNDS {
        crew.wait_for(100);
        break_some(&mut client, round);
        repaired(&mut client);
        assert_eq!(all_differences(&mut client).1, 0, "round {round}");
    }
    let tally = crew.stop();
    // 40P01 only where its own transactions wait for each other; here nobody but its own rows' owner deletes them.
    assert!(tally.is_clean(), "{tally:?}");
    assert!(!tally.errors.contains_key("40P01"), "{tally:?}");
    // With nobody in the way a call does all of it.
    break_some(&mut client, ROUNDS);
    repaired(&mut client);
    assert!(told(&mut client, "[0-9]+ rows repaired"));
    assert_eq!(doubts(&mut client), Vec::<String>::new());
    client.simple_query("SELECT mig_switch()").unwrap();
    client.simple_query("SELECT mig_assert()").unwrap();
    let tally = many_by_a_job(&cluster, &mut client);
    assert_eq!(all_differences(&mut client).1, 0);
    assert!(tally.is_clean(), "{tally:?}");
}

/// More rows than one call takes, and both sides at work: a job does it in batches.
fn many_by_a_job(cluster: &Cluster, client: &mut Client) -> Tally {
    let crew = Crew::start(cluster, "repair", &ROLLING, Duration::from_millis(1));
    crew.wait_for(50);
    behind_the_mirror(client, "project_sign_ups", MANY);
    repaired(client);
    crew.wait_for(50);
    assert!(yes(
        client,
        "SELECT count(*) > 0 FROM mig.job WHERE task = 'repair' AND state = 'done'"
    ));
    assert!(told(client, "1200 rows differed, .* left to job"));
    crew.stop()
}

/// `client` waits in a lock.
fn waits(observer: &mut Client, pid: i32) {
    until_sql(
        observer,
        &format!("SELECT cardinality(pg_blocking_pids({pid})) > 0"),
    );
}

fn pid(client: &mut Client) -> i32 {
    client
        .query_one("SELECT pg_backend_pid()", &[])
        .unwrap()
        .get(0)
}

#[test]
fn a_row_that_comes_while_its_place_is_cleared_is_kept() {
    let cluster = Cluster::start("it_cleared", "");
    let mut client = mirrored(&cluster, "cleared", 200);
    client.simple_query("SELECT mig_backfill()").unwrap();
    backfilled(&mut client);
    let stale = |client: &mut Client| {
        client.batch_execute(&format!("DELETE FROM round_metadata WHERE id = 900; INSERT INTO project_rounds (project_id, id, slug) VALUES ({P}, 900, 'stale')")).unwrap();
    };
    let ours = "SELECT slug = 'real' FROM project_rounds WHERE id = 900";
    // The application was first: its row is not committed yet, and the stale one is locked by its mirror.
    stale(&mut client);
    let mut app = cluster.connect("cleared");
    app.batch_execute("BEGIN; INSERT INTO round_metadata (id, slug) VALUES (900, 'real')")
        .unwrap();
    client
        .simple_query("SELECT mig_repair(dry_run => false)")
        .unwrap();
    assert_eq!(
        count(&mut client, "SELECT count(*) FROM mig.leftover"),
        1,
        "it is left to the job"
    );
    let waits_for = "SELECT waiting_for ~ 'row .900. of public.round_metadata' FROM mig.job ORDER BY id DESC LIMIT 1";
    until_sql(&mut client, waits_for);
    app.batch_execute("COMMIT").unwrap();
    assert!(yes(&mut client, "SELECT mig_wait()"));
    assert!(yes(&mut client, ours));
    assert_eq!(all_differences(&mut client).1, 0);

    // The repair was first: the application waits for it, and its row is there.
    stale(&mut client);
    let (mut app, app_pid) = {
        let mut a = cluster.connect("cleared");
        let p = pid(&mut a);
        (a, p)
    };
    client
        .batch_execute("BEGIN; SELECT mig_repair(dry_run => false)")
        .unwrap();
    let writer = std::thread::spawn(move || {
        app.batch_execute("INSERT INTO round_metadata (id, slug) VALUES (900, 'real')")
    });
    let mut observer = cluster.connect("cleared");
    waits(&mut observer, app_pid);
    client.batch_execute("COMMIT").unwrap();
    writer.join().unwrap().unwrap();
    assert!(yes(&mut client, ours));
    assert_eq!(all_differences(&mut client).1, 0);

    // A row that is deleted while it is brought is not there in the end, and one that is changed is as it was changed.
    client
        .batch_execute("DELETE FROM project_email_reminders WHERE id IN (1, 2)")
        .unwrap();
    let mut app = cluster.connect("cleared");
    app.batch_execute("BEGIN; DELETE FROM email_reminders_sent WHERE id = 1; UPDATE email_reminders_sent SET kind = 'new' WHERE id = 2").unwrap();
    client
        .simple_query("SELECT mig_repair(dry_run => false)")
        .unwrap();
    app.batch_execute("COMMIT").unwrap();
    until_sql(
        &mut client,
        "SELECT NOT EXISTS (SELECT FROM mig.job WHERE state = 'running')",
    );
    assert_eq!(all_differences(&mut client).1, 0);
    assert_eq!(doubts(&mut client), Vec::<String>::new());
}

#[test]
fn a_wrong_row_that_somebody_holds_and_does_not_write_is_put_right_after_him() {
    let cluster = Cluster::start("it_held_row", "");
    let mut client = mirrored(&cluster, "held", 200);
    client.simple_query("SELECT mig_backfill()").unwrap();
    backfilled(&mut client);
    client.simple_query("SELECT mig_switch()").unwrap();
    behind_the_mirror(
        &mut client,
        "project_sign_ups",
        "UPDATE project_sign_ups SET email = 'broken' WHERE id = 5",
    );
    let mut app = cluster.connect("held");
    app.batch_execute("BEGIN; SELECT FROM project_sign_ups WHERE id = 5 FOR UPDATE")
        .unwrap();
    client
        .simple_query("SELECT mig_repair(dry_run => false)")
        .unwrap();
    until_sql(
        &mut client,
        "SELECT waiting_for ~ 'row .5. of public.sign_ups' OR state = 'done' FROM mig.job ORDER BY id DESC LIMIT 1",
    );
    app.batch_execute("ROLLBACK").unwrap();
    assert!(yes(&mut client, "SELECT mig_wait()"));
    assert_eq!(all_differences(&mut client).1, 0);
}

#[test]
fn nothing_that_has_an_old_row_goes_with_one_that_has_none() {
    let cluster = Cluster::start("it_cascade", "");
    let mut client = mirrored(&cluster, "cascade", 200);
    client.simple_query("SELECT mig_backfill()").unwrap();
    backfilled(&mut client);
    client.simple_query("SELECT mig_switch()").unwrap();
    // A parent that should not be there, and a child of another that points to it: ON DELETE CASCADE would take the child,
    // and the reverse mirror its old row. The child is locked, so it cannot be put right first.
    let sql = format!(
        "INSERT INTO project_rounds (project_id, id, slug) VALUES ({P}, 900, 'stale'); UPDATE project_sign_ups SET round_id = 900 WHERE id = 3"
    );
    behind_the_mirror(&mut client, "project_rounds, project_sign_ups", &sql);
    let mut holder = cluster.connect("cascade");
    holder
        .batch_execute("BEGIN; SELECT FROM sign_ups WHERE id = 3 FOR UPDATE")
        .unwrap();
    client
        .simple_query("SELECT mig_repair(dry_run => false)")
        .unwrap();
    assert_eq!(
        count(&mut client, "SELECT count(*) FROM sign_ups WHERE id = 3"),
        1
    );
    assert_eq!(
        count(
            &mut client,
            "SELECT count(*) FROM project_sign_ups WHERE id = 3"
        ),
        1
    );
    holder.batch_execute("COMMIT").unwrap();
    repaired(&mut client);
    assert_eq!(all_differences(&mut client).1, 0);
    assert_eq!(
        count(&mut client, "SELECT count(*) FROM sign_ups WHERE id = 3"),
        1
    );
}

#[test]
fn in_mid_copy_what_is_to_come_is_pending_and_what_was_lost_is_missing() {
    let cluster = Cluster::start("it_midcopy", "");
    let mut client = mirrored(&cluster, "midcopy", 2000);
    // The rounds are 20 rows, the sign-ups come next.
    go_slowly(&mut client, "cover", 500);
    client.simple_query("SELECT mig_backfill()").unwrap();
    until_sql(
        &mut client,
        "SELECT rows_done > 100 AND NOT copied FROM mig.mapping WHERE id = 2",
    );
    client.simple_query("SELECT mig_pause()").unwrap();
    until_sql(&mut client, "SELECT NOT EXISTS (SELECT FROM mig.runners)");
    let of = |client: &mut Client, name: &str| -> (String, Option<bool>) {
        let sql = format!(
            "SELECT target_value, ok FROM mig_check(relation => 'sign_ups') WHERE check_name = '{name}'"
        );
        let row = client.query_one(&sql, &[]).unwrap();
        (row.get(0), row.get(1))
    };
    let pending = count(&mut client, "SELECT 2000 - count(*) FROM project_sign_ups");
    assert!(pending > 0 && pending < 2000);
    assert_eq!(of(&mut client, "rows pending"), (pending.to_string(), None));
    assert_eq!(of(&mut client, "rows missing"), ("0".into(), Some(true)));
    // Copied and lost; written since, and lost; never copied, and there in another form.
    client
        .batch_execute(&format!(
            "DELETE FROM project_sign_ups WHERE id = 7; \
             INSERT INTO sign_ups (round_id, user_id, email) SELECT 1, gen_random_uuid(), 'fills the last block' FROM generate_series(1, 300); \
             INSERT INTO sign_ups (round_id, user_id, email) VALUES (1, gen_random_uuid(), 'late'); DELETE FROM project_sign_ups WHERE email = 'late'; \
             INSERT INTO project_sign_ups (project_id, id, round_id, user_id, email) VALUES ({P}, 1990, 1, gen_random_uuid(), 'odd')"
        ))
        .unwrap();
    assert_eq!(
        of(&mut client, "rows pending"),
        ((pending - 1).to_string(), None)
    );
    assert_eq!(of(&mut client, "rows missing"), ("2".into(), Some(false)));
    assert_eq!(of(&mut client, "rows different"), ("1".into(), Some(false)));
    assert_eq!(
        count(
            &mut client,
            "SELECT count(*) FROM mig_diff('cover', 'sign_ups')"
        ),
        3
    );
    assert_eq!(
        count(
            &mut client,
            "SELECT sum(rows)::bigint FROM mig_repair(relation => 'sign_ups', dry_run => false)"
        ),
        3
    );
    assert_eq!(
        of(&mut client, "rows pending"),
        ((pending - 1).to_string(), None)
    );
    assert_eq!(
        count(&mut client, "SELECT count(*) FROM mig_check() WHERE NOT ok"),
        0
    );
    at_full_speed(&mut client, "cover");
    client.simple_query("SELECT mig_resume()").unwrap();
    backfilled(&mut client);
    assert_eq!(all_differences(&mut client).1, 0);
    assert_eq!(doubts(&mut client), Vec::<String>::new());
}

#[test]
fn a_row_waits_for_what_it_refers_to_and_is_named_where_that_never_comes() {
    let cluster = Cluster::start("it_parents", "");
    let mut client = mirrored(&cluster, "parents", 200);
    client.simple_query("SELECT mig_backfill()").unwrap();
    backfilled(&mut client);
    client
        .batch_execute("DELETE FROM project_sign_ups WHERE id = 3")
        .unwrap();
    let round: i32 = client
        .query_one("SELECT round_id FROM sign_ups WHERE id = 3", &[])
        .unwrap()
        .get(0);
    // Held as a DELETE would hold it: the check of the foreign key would wait.
    let mut holder = cluster.connect("parents");
    holder
        .batch_execute(&format!(
            "BEGIN; SELECT FROM project_rounds WHERE id = {round} FOR UPDATE"
        ))
        .unwrap();
    client
        .simple_query("SELECT mig_repair(dry_run => false)")
        .unwrap();
    until_sql(
        &mut client,
        "SELECT waiting_for ~ 'row .3. of public.sign_ups' FROM mig.job ORDER BY id DESC LIMIT 1",
    );
    let ever =
        "SELECT EXISTS (SELECT FROM pg_locks l JOIN mig.runners r USING (pid) WHERE NOT l.granted)";
    for _ in 0..50 {
        assert!(!yes(&mut client, ever), "it waits for nobody's lock");
    }
    holder.batch_execute("COMMIT").unwrap();
    assert!(yes(&mut client, "SELECT mig_wait()"));
    assert_eq!(all_differences(&mut client).1, 0);
    // The other project holds the parent's key, so neither it nor its children can come.
    client
        .batch_execute(&format!(
            "INSERT INTO projects (id, slug, name) VALUES ('00000000-0000-0000-0000-000000000002', 'o', 'o'); \
             ALTER TABLE project_rounds DISABLE TRIGGER ALL; DELETE FROM project_rounds WHERE id = {round}; \
             INSERT INTO project_rounds (project_id, id, slug) VALUES ('00000000-0000-0000-0000-000000000002', {round}, 'theirs'); \
             ALTER TABLE project_rounds ENABLE TRIGGER ALL; DELETE FROM project_sign_ups WHERE id = 3"
        ))
        .unwrap();
    client
        .simple_query("SELECT mig_repair(dry_run => false)")
        .unwrap();
    let failed = client.query_one("SELECT mig_wait()", &[]).unwrap_err();
    assert_eq!(failed.code().unwrap().code(), "55000");
    let named = "SELECT string_agg(source || ' ' || key::text || ' ' || sqlstate, '; ' ORDER BY source::text) FROM mig.errors";
    let named: String = client.query_one(named, &[]).unwrap().get(0);
    assert_eq!(
        named,
        format!("round_metadata {{{round}}} 23505; sign_ups {{3}} 23503")
    );
    client
        .batch_execute(&format!(
            "DELETE FROM project_rounds WHERE id = {round} AND slug = 'theirs'"
        ))
        .unwrap();
    client
        .simple_query("SELECT mig_repair(dry_run => false)")
        .unwrap();
    assert_eq!(all_differences(&mut client).1, 0);
    client.simple_query("SELECT mig_assert()").unwrap();
}
