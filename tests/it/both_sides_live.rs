//! Both sides live, and the ways on and back from there, beside an application that never stops.

use crate::common::both_sides::{Crew, ROLLING, Side};
use crate::common::cluster::Cluster;
use crate::main_job::mirrored;
use crate::wait::{
    all_differences, at_full_speed, backfilled, go_slowly, is_long, refused, step, until_sql, yes,
};
use postgres::Client;
use std::time::Duration;

fn switched(cluster: &Cluster, database: &str, scale: u32) -> Client {
    let mut client = mirrored(cluster, database, scale);
    client.simple_query("SELECT mig_backfill()").unwrap();
    backfilled(&mut client);
    client.simple_query("SELECT mig_switch()").unwrap();
    client
}

#[test]
fn both_sides_are_written_on_the_same_rows_and_nothing_differs() {
    let cluster = Cluster::start("it_switched", "deadlock_timeout = 50ms");
    let mut client = switched(&cluster, "sides", 1000);
    let crew = Crew::start(&cluster, "sides", &ROLLING, Duration::ZERO);
    let looks = if is_long() { 1000 } else { 40 };
    for _ in 0..looks {
        crew.wait_for(10);
        assert_eq!(all_differences(&mut client).1, 0);
    }
    let tally = crew.stop();
    println!("{looks} looks, {tally:?}");
    assert!(tally.is_clean(), "{tally:?}");
    assert_eq!(all_differences(&mut client).1, 0);
    client.simple_query("SELECT mig_assert()").unwrap();
}

#[test]
fn to_and_fro_beside_an_application_that_never_rests() {
    let cluster = Cluster::start("it_fro", "deadlock_timeout = 200ms");
    let mut client = switched(&cluster, "fro", 1000);
    let old = Crew::start(&cluster, "fro", &[Side::Old; 3], Duration::from_millis(2));
    for _ in 0..3 {
        old.wait_for(15);
        step(&mut client, "SELECT mig_rollback('cover')");
        assert_eq!(all_differences(&mut client).1, 0);
        old.wait_for(15);
        step(&mut client, "SELECT mig_switch()");
        assert_eq!(all_differences(&mut client).1, 0);
    }
    let mut all = old.stop();
    let new = Crew::start(&cluster, "fro", &[Side::New; 3], Duration::from_millis(2));
    step(&mut client, "SELECT mig_stop()");
    new.wait_for(15);
    step(&mut client, "SELECT mig_rollback('cover')");
    backfilled(&mut client);
    new.wait_for(15);
    assert_eq!(all_differences(&mut client).1, 0);
    all.add(new.stop());
    assert!(all.is_clean(), "{all:?}");
    client.simple_query("SELECT mig_assert()").unwrap();
}

#[test]
fn stopped_and_back_beside_the_new_application_and_through_a_crash() {
    let cluster = Cluster::start("it_return", "synchronous_commit = on");
    let mut client = switched(&cluster, "return", 2000);
    client.simple_query("SELECT mig_stop()").unwrap();
    let crew = Crew::start(&cluster, "return", &[Side::New; 3], Duration::ZERO);
    crew.wait_for(300);
    let (code, _, hint) = refused(&mut client, "DELETE FROM sign_ups");
    assert_eq!(
        (code.as_str(), hint.as_str()),
        ("55000", "Write to public.project_sign_ups instead.")
    );
    go_slowly(&mut client, "cover", 2000);
    step(&mut client, "SELECT mig_rollback('cover')");
    until_sql(
        &mut client,
        "SELECT sum(rows_done) > 300 AND bool_or(pass = 'back') FROM mig.mapping",
    );
    cluster.kill();
    crew.stop();
    cluster.start_again();

    let mut client = cluster.connect("return");
    let (phase, next): (String, String) = client
        .query_one("SELECT phase, next_step FROM mig_status()", &[])
        .map(|r| (r.get(0), r.get(1)))
        .unwrap();
    assert_eq!(
        (phase.as_str(), next.as_str()),
        (
            "stopped",
            "SELECT * FROM mig_rollback('cover', 'switched');"
        )
    );
    assert!(
        yes(
            &mut client,
            "SELECT bool_or(pass = 'back') FROM mig.mapping"
        ),
        "the checkpoint is there"
    );
    refused(&mut client, "DELETE FROM sign_ups");
    let crew = Crew::start(&cluster, "return", &[Side::New; 3], Duration::ZERO);
    at_full_speed(&mut client, "cover");
    step(&mut client, &next);
    backfilled(&mut client);
    assert!(yes(
        &mut client,
        "SELECT phase = 'switched' FROM mig_status()"
    ));
    crew.wait_for(20);
    let alone = crew.stop();
    // Old instances may come back.
    let sides = [Side::New, Side::Old, Side::Both];
    let crew = Crew::start(&cluster, "return", &sides, Duration::ZERO);
    for _ in 0..20 {
        crew.wait_for(5);
        assert_eq!(all_differences(&mut client).1, 0);
    }
    for tally in [alone, crew.stop()] {
        assert!(tally.is_clean(), "{tally:?}");
    }
    client.simple_query("SELECT mig_assert()").unwrap();
}

#[test]
fn the_new_application_writes_what_the_old_tables_cannot_take_yet() {
    let cluster = Cluster::start("it_catch", "");
    let mut client = switched(&cluster, "catch", 500);
    client
        .batch_execute("ALTER TABLE email_reminders_sent ALTER CONSTRAINT email_reminders_sent_round_id_fkey DEFERRABLE INITIALLY DEFERRED")
        .unwrap();
    client.simple_query("SELECT mig_stop()").unwrap();
    let project = "'00000000-0000-0000-0000-000000000001'";
    client
        .batch_execute(&format!(
            "INSERT INTO project_rounds (project_id, slug) VALUES ({project}, 'born in stopped'); \
             UPDATE project_rounds SET slug = 'kept' WHERE id = 1; UPDATE project_rounds SET slug = 'round-1' WHERE id = 2"
        ))
        .unwrap();
    // The mirrors of the new tables are in, and hardly anything has been brought back.
    client
        .simple_query("SELECT mig_configure('cover', '{\"delay_ms\": 3600000}')")
        .unwrap();
    client.simple_query("SELECT mig_rollback('cover')").unwrap();
    until_sql(&mut client, "SELECT bool_or(copied) FROM mig.mapping");
    assert!(yes(
        &mut client,
        "SELECT NOT EXISTS (SELECT FROM round_metadata WHERE slug = 'born in stopped')"
    ));
    let round = "(SELECT id FROM project_rounds WHERE slug = 'born in stopped')";
    client
        .batch_execute(&format!(
            "INSERT INTO project_sign_ups (project_id, round_id, user_id, email) VALUES ({project}, {round}, gen_random_uuid(), 'x'); \
             INSERT INTO project_email_reminders (project_id, round_id, user_id) VALUES ({project}, {round}, gen_random_uuid()); \
             UPDATE project_rounds SET title = 'its slug is taken in the old table' WHERE id = 2"
        ))
        .unwrap();
    let noted: i64 = client
        .query_one("SELECT count(*) FROM mig.leftover", &[])
        .unwrap()
        .get(0);
    assert_eq!(noted, 3);
    client.simple_query("SELECT mig_cancel()").unwrap();
    until_sql(&mut client, "SELECT NOT EXISTS (SELECT FROM mig.runners)");
    client
        .simple_query("SELECT mig_configure('cover', '{\"delay_ms\": 0}')")
        .unwrap();
    client.simple_query("SELECT mig_rollback('cover')").unwrap();
    backfilled(&mut client);
    assert_eq!(all_differences(&mut client).1, 0);
    assert!(yes(
        &mut client,
        "SELECT count(*) = 1 FROM sign_ups JOIN round_metadata r ON r.id = round_id WHERE r.slug = 'born in stopped'"
    ));
    client.simple_query("SELECT mig_assert()").unwrap();
}

fn names_the_holder(cluster: &Cluster, client: &mut Client) {
    let mut holder = cluster.connect("step");
    holder
        .batch_execute("BEGIN; LOCK TABLE project_votes IN SHARE MODE")
        .unwrap();
    let (code, detail, _) = refused(client, "SELECT mig_switch()");
    assert_eq!(code, "55P03");
    assert!(
        detail.contains("project_votes is held by process"),
        "{detail}"
    );
}

#[test]
fn the_switch_names_who_holds_it_up_and_a_killed_step_did_not_happen() {
    let cluster = Cluster::start("it_step", "synchronous_commit = on");
    let mut client = switched(&cluster, "step", 500);
    client
        .simple_query(
            "SELECT mig_configure('cover', '{\"lock_timeout_ms\": 5, \"archive_after_days\": 0}')",
        )
        .unwrap();
    // Each step is one transaction: killed before its commit it has not happened, and is simply done again.
    for (step, before, after) in [
        ("mig_rollback('cover')", "switched", "backfilled"),
        ("mig_switch('cover')", "backfilled", "switched"),
        ("mig_stop('cover')", "switched", "stopped"),
        ("mig_archive('cover')", "stopped", "archived"),
    ] {
        if after == "switched" {
            names_the_holder(&cluster, &mut client);
        }
        let mut killed = cluster.connect("step");
        killed
            .batch_execute(&format!("BEGIN; SELECT {step}"))
            .unwrap();
        cluster.kill();
        cluster.start_again();
        client = cluster.connect("step");
        assert!(
            yes(
                &mut client,
                &format!(
                    "SELECT phase = '{before}' AND state = 'ok' AND problem IS NULL FROM mig_status()"
                )
            ),
            "{step}"
        );
        client.simple_query(&format!("SELECT {step}")).unwrap();
        assert!(
            yes(
                &mut client,
                &format!("SELECT phase = '{after}' FROM mig_status()")
            ),
            "{step}"
        );
        if after != "archived" {
            assert_eq!(all_differences(&mut client).1, 0);
        }
    }
    // All the way back, and nothing of ours is left.
    client
        .simple_query("SELECT mig_rollback('cover', 'defined')")
        .unwrap();
    backfilled(&mut client);
    client.simple_query("SELECT mig_drop('cover')").unwrap();
    let left: i64 = client
        .query_one(
            "SELECT (SELECT count(*) FROM pg_trigger WHERE tgname LIKE '!mig%') + (SELECT count(*) FROM pg_class WHERE relname LIKE 'project\\_%' OR relname LIKE '%archive') \
             + (SELECT count(*) FROM pg_class WHERE relnamespace = 'mig'::regnamespace AND relname ~ '^m[0-9]') \
             + (SELECT count(*) FROM mig.mapping) + (SELECT count(*) FROM mig.leftover) + (SELECT count(*) FROM mig.job) \
             + (SELECT count(*) FROM pg_locks WHERE locktype = 'object' AND classid = 'mig.migration'::regclass)",
            &[],
        )
        .unwrap()
        .get(0);
    assert_eq!(left, 0);
    client.simple_query("INSERT INTO sign_ups (round_id, user_id, email) VALUES (1, gen_random_uuid(), 'as before')").unwrap();
}
