//! New ids: the whole life of a migration whose tables draw keys of their own.

mod merge;
mod references;

use crate::common::both_sides::{Crew, ROLLING, Side, Tally};
use crate::common::cluster::Cluster;
use crate::common::cover::{Ids, define_with_new, fill};
use crate::common::writers::Writers;
use crate::wait::{all_differences, backfilled, is_long, step, until, yes};
use postgres::Client;
use std::time::Duration;

const SCALE: u32 = 1000;

fn equal(client: &mut Client, when: &str) {
    assert_eq!(all_differences(client).1, 0, "{when}");
    let wrong = "SELECT array_agg(c::text) FROM mig_check() c WHERE ok IS NOT TRUE";
    let wrong: Option<Vec<String>> = client.query_one(wrong, &[]).unwrap().get(0);
    assert_eq!(wrong, None, "{when}");
}

/// Again and again, with more written each time.
fn stays_equal(client: &mut Client, wait_for: impl Fn(u64), when: &str) {
    for _ in 0..if is_long() { 100 } else { 10 } {
        wait_for(10);
        equal(client, when);
    }
}

#[test]
fn a_whole_life_with_new_ids_beside_an_application_that_never_rests() {
    let cluster = Cluster::start("it_ids", "deadlock_timeout = 200ms");
    whole_life(&cluster, "rounds", Ids::Rounds);
}

#[test]
fn a_whole_life_with_ids_new_and_kept() {
    let cluster = Cluster::start("it_ids_mixed", "deadlock_timeout = 200ms");
    whole_life(&cluster, "mixed", Ids::Mixed);
}

fn whole_life(cluster: &Cluster, database: &str, ids: Ids) {
    let mut client = cluster.database(database);
    fill(&mut client, SCALE);
    for sql in define_with_new(ids) {
        client.simple_query(&sql).unwrap();
    }
    client.simple_query("SELECT mig_create()").unwrap();
    // Rows of another scope have ids, too: the new ones have to keep clear of them. No writer takes them for its own.
    client
        .batch_execute(
            "INSERT INTO projects (id, slug, name) VALUES ('00000000-0000-0000-0000-000000000002', 'other', 'Other'); \
             INSERT INTO project_rounds (project_id, slug) SELECT '00000000-0000-0000-0000-000000000002', 'round-' || g FROM unnest(ARRAY[-1, -5, -7, -11, -13, -17, -19]) g",
        )
        .unwrap();
    let mut tally = there(cluster, &mut client, database);
    tally.add(back_and_on(cluster, &mut client, database));
    assert!(tally.is_clean(), "{tally:?}");
    assert!(yes(
        &mut client,
        "SELECT count(*) = 7 FROM project_rounds WHERE project_id = '00000000-0000-0000-0000-000000000002'"
    ));
    the_end(&mut client);
}

/// Up to `switched`, once back to the start.
fn there(cluster: &Cluster, client: &mut Client, database: &str) -> Tally {
    let writers = Writers::start(cluster, database, 4);
    step(client, "SELECT mig_dual_write()");
    step(client, "SELECT mig_rollback('cover', 'created')");
    assert!(yes(client, "SELECT count(*) = 0 FROM mig.m1_map"));
    step(client, "SELECT mig_dual_write()");
    client
        .simple_query(
            "SELECT mig_configure('cover', '{\"batch_rows\": 100, \"batch_target_ms\": 5}')",
        )
        .unwrap();
    client.simple_query("SELECT mig_backfill()").unwrap();
    backfilled(client);
    stays_equal(client, |n| writers.wait_for(n), "backfilled");
    let report = writers.stop();
    assert_eq!(report.errors, Vec::<String>::new());
    let old = Crew::start(cluster, database, &[Side::Old; 3], Duration::from_millis(2));
    old.wait_for(10);
    step(client, "SELECT mig_switch()");
    old.wait_for(10);
    old.stop()
}

/// From `switched` to the archive, with every way back.
fn back_and_on(cluster: &Cluster, client: &mut Client, database: &str) -> Tally {
    let rolling = Crew::start(cluster, database, &ROLLING, Duration::ZERO);
    stays_equal(client, |n| rolling.wait_for(n), "switched");
    let mut tally = rolling.stop();
    let old = Crew::start(cluster, database, &[Side::Old; 3], Duration::from_millis(2));
    step(client, "SELECT mig_rollback('cover')");
    old.wait_for(10);
    equal(client, "after the rollback");
    step(client, "SELECT mig_switch()");
    old.wait_for(10);
    equal(client, "after the second switch");
    tally.add(old.stop());
    let new = Crew::start(cluster, database, &[Side::New; 3], Duration::from_millis(2));
    step(client, "SELECT mig_stop()");
    let stopped = "SELECT clock_timestamp()::text";
    let stopped: String = client.query_one(stopped, &[]).unwrap().get(0);
    let before = "SELECT max(id) FROM project_rounds";
    let last: i32 = client.query_one(before, &[]).unwrap().get(0);
    client
        .execute("INSERT INTO project_rounds (project_id, slug) VALUES ('00000000-0000-0000-0000-000000000001', 'round-1000')", &[])
        .unwrap();
    until("sign-ups of the new side alone", || {
        yes(
            client,
            &format!("SELECT count(*) > 10 FROM project_sign_ups WHERE created_at > '{stopped}'"),
        )
    });
    step(client, "SELECT mig_rollback('cover')");
    backfilled(client);
    equal(client, "after the way back");
    let born = "SELECT count(*) = 1 FROM round_metadata WHERE slug = 'round-1000'";
    assert!(last > 0 && yes(client, born));
    step(client, "SELECT mig_stop()");
    step(
        client,
        "SELECT mig_archive(compat_views => true, force => true)",
    );
    tally.add(new.stop());
    assert_eq!(all_differences(client).1, 0, "archived, by the views");
    tally
}

/// The map outlives the migration where it is wanted.
fn the_end(client: &mut Client) {
    let known = "SELECT min(old_id)::text, min(mig_map('cover', 'round_metadata_archive', old_id::text)) FROM mig.m1_map WHERE old_id = 1";
    let row = client.query_one(known, &[]).unwrap();
    let (old, new): (String, String) = (row.get(0), row.get(1));
    client.simple_query("SELECT mig_drop('cover')").unwrap();
    let kept = "SELECT new_id::text FROM project_rounds_id_map WHERE old_id::text = $1";
    assert_eq!(
        client.query_one(kept, &[&old]).unwrap().get::<_, String>(0),
        new
    );
    assert!(yes(
        client,
        "SELECT count(*) = (SELECT count(*) FROM project_rounds WHERE project_id = '00000000-0000-0000-0000-000000000001') FROM round_metadata"
    ));
}
