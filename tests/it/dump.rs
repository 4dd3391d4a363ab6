//! A dump in mid-migration, by the owner who is no superuser and by a superuser; and an extension that goes.

use crate::common::cluster::Cluster;
use crate::main_job::ready;
use crate::wait::{all_differences, at_full_speed, backfilled, go_slowly, refused, until_sql, yes};
use postgres::Client;

/// A database of a role that is no superuser, with the five tables half copied and a worker at work.
fn halfway(cluster: &Cluster) -> Client {
    let mut admin = cluster.connect("postgres");
    for sql in [
        "CREATE ROLE team LOGIN",
        "CREATE DATABASE app OWNER team",
        "CREATE DATABASE by_team OWNER team",
        "CREATE DATABASE by_postgres",
        "CREATE DATABASE later OWNER team",
    ] {
        admin.batch_execute(sql).unwrap();
    }
    let mut client = cluster.connect_as("app", "team");
    client
        .batch_execute(include_str!("../common/schema.sql"))
        .unwrap();
    client
        .batch_execute("SELECT pg_temp.fill(2000); CREATE EXTENSION pg_mig")
        .unwrap();
    ready(&mut client);
    go_slowly(&mut client, "cover", 1000);
    client.simple_query("SELECT mig_backfill()").unwrap();
    until_sql(
        &mut client,
        "SELECT bool_or(copied) AND sum(rows_done) > 500 FROM mig.tables",
    );
    client
}

/// The copy says what runs in it and what does not, its mirrors work, and its backfill goes to the end.
fn goes_on(client: &mut Client) {
    assert!(yes(
        client,
        "SELECT phase = 'dual_write' AND state = 'failed' AND problem ~ 'no job runs here' AND next_step = 'SELECT mig_backfill(''cover'');' FROM mig_status()"
    ));
    assert!(yes(client, "SELECT count(job) = 0 FROM mig.progress"));
    assert!(yes(
        client,
        "SELECT count(*) = 0 FROM mig_check() WHERE NOT ok"
    ));
    client
        .batch_execute("INSERT INTO sign_ups (round_id, user_id, email) VALUES (1, gen_random_uuid(), 'in the copy')")
        .unwrap();
    assert!(yes(
        client,
        "SELECT count(*) = 1 FROM project_sign_ups WHERE email = 'in the copy'"
    ));
    at_full_speed(client, "cover");
    client.simple_query("SELECT mig_backfill()").unwrap();
    backfilled(client);
    assert_eq!(all_differences(client).1, 0);
    client.simple_query("SELECT mig_assert()").unwrap();
}

#[test]
fn a_dump_in_mid_migration_restores_and_goes_on() {
    let cluster = Cluster::start("it_dump", "");
    let mut client = halfway(&cluster);
    cluster.copy_by_dump("app", "by_team", "team");
    cluster.copy_by_dump("app", "by_postgres", "postgres");
    goes_on(&mut cluster.connect_as("by_team", "team"));
    goes_on(&mut cluster.connect("by_postgres"));
    at_full_speed(&mut client, "cover");
    backfilled(&mut client);
    client
        .batch_execute("SELECT mig_switch(); SELECT mig_stop()")
        .unwrap();
    // Later on: guards come along, and the way back works in the copy.
    cluster.copy_by_dump("app", "later", "team");
    let mut copy = cluster.connect_as("later", "team");
    assert!(yes(
        &mut copy,
        "SELECT phase = 'stopped' AND state = 'ok' AND problem IS NULL FROM mig_status()"
    ));
    assert_eq!(refused(&mut copy, "DELETE FROM sign_ups").0, "55000");
    copy.batch_execute("UPDATE project_sign_ups SET email = 'new' WHERE id = 1")
        .unwrap();
    copy.simple_query("SELECT mig_rollback('cover')").unwrap();
    backfilled(&mut copy);
    assert_eq!(all_differences(&mut copy).1, 0);
}

#[test]
fn the_extension_stays_while_it_is_needed_and_goes_without_harm() {
    let cluster = Cluster::start("it_goes", "");
    let mut client = halfway(&cluster);
    client.simple_query("SELECT mig_cancel()").unwrap();
    let (code, detail, hint) = refused(&mut client, "DROP EXTENSION pg_mig");
    assert!(
        code == "2BP01"
            && detail.contains("!mig_1_forward_row on table round_metadata")
            && hint.contains("CASCADE"),
        "{code} {detail}"
    );
    let before: i64 = client
        .query_one("SELECT count(*) FROM project_sign_ups", &[])
        .unwrap()
        .get(0);
    client
        .batch_execute("SET client_min_messages = error; DROP EXTENSION pg_mig CASCADE")
        .unwrap();
    for sql in [
        "INSERT INTO sign_ups (round_id, user_id, email) VALUES (1, gen_random_uuid(), 'alone')",
        "UPDATE round_metadata SET title = 'alone' WHERE id = 1",
        "DELETE FROM submissions WHERE id = (SELECT min(id::text)::uuid FROM submissions)",
        "TRUNCATE email_reminders_sent",
    ] {
        client
            .batch_execute(sql)
            .unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }
    // What was copied stays, nothing follows, and a fresh start is possible.
    assert!(yes(
        &mut client,
        &format!("SELECT count(*) = {before} FROM project_sign_ups")
    ));
    assert!(yes(
        &mut client,
        "SELECT count(*) = 0 FROM pg_trigger WHERE tgname ~ '^!mig'"
    ));
    assert!(yes(
        &mut client,
        "SELECT count(*) = 0 FROM pg_namespace WHERE nspname = 'mig'"
    ));
    client
        .batch_execute("DROP TABLE project_rounds, project_sign_ups, project_submissions, project_votes, project_email_reminders CASCADE; CREATE EXTENSION pg_mig")
        .unwrap();
    ready(&mut client);
    client.simple_query("SELECT mig_backfill()").unwrap();
    backfilled(&mut client);
    assert_eq!(all_differences(&mut client).1, 0);
}
