//! Locks that somebody else would like to have: no login can hold up a job.

use crate::common::cluster::Cluster;
use crate::main_job::ready as mirror;
use crate::wait::{backfilled, until_sql, yes};
use postgres::Client;

pub const NOT_NULL: &str = "SELECT mig_set_not_null('posts', 'title')";
pub const POSTS: &str = "CREATE TABLE posts (id int PRIMARY KEY, author int, title text); \
    INSERT INTO posts SELECT g, g % 10, 't' || g FROM generate_series(1, 1000) g";
/// The advisory locks that versions before this one took, for every id that a test comes to.
const SQUAT: &str = "SELECT pg_advisory_lock(class, id) FROM generate_series(7170407, 7170409) class, generate_series(1, 30) id";

pub fn number(client: &mut Client, call: &str) -> i64 {
    client.query_one(call, &[]).unwrap().get(0)
}

#[test]
fn no_login_holds_a_job_up() {
    let cluster = Cluster::start("it_squatting", "");
    let mut client = cluster.database("squatting");
    client
        .batch_execute(&format!("CREATE ROLE squatter LOGIN; {POSTS}"))
        .unwrap();
    let mut squatter = cluster.connect_as("squatting", "squatter");
    squatter.batch_execute(SQUAT).unwrap();
    assert!(yes(
        &mut client,
        "SELECT count(*) = 90 FROM pg_locks WHERE locktype = 'advisory' AND granted"
    ));
    let job = number(&mut client, NOT_NULL);
    assert!(yes(&mut client, &format!("SELECT mig_wait({job}, '60 s')")));

    crate::common::cover::fill(&mut client, 300);
    mirror(&mut client);
    client.simple_query("SELECT mig_backfill()").unwrap();
    backfilled(&mut client);
    client
        .simple_query("SELECT mig_rollback('cover', 'created')")
        .unwrap();
    client.simple_query("SELECT mig_dual_write()").unwrap();
    client
        .simple_query("SELECT mig_backfill(driver => 'manual')")
        .unwrap();
    crate::wait::until("the steps come to an end", || {
        client.batch_execute("SELECT mig_step()").unwrap();
        yes(
            &mut client,
            "SELECT phase = 'backfilled' FROM mig_status('cover')",
        )
    });
    client
        .simple_query("SELECT mig_rollback('cover', 'defined')")
        .unwrap();
    assert!(yes(
        &mut client,
        "SELECT phase = 'defined' FROM mig_status('cover')"
    ));
}

/// A user's function that runs in the worker, in each batch, and releases what a session can release.
#[test]
fn a_function_in_the_worker_does_not_release_its_lock() {
    let cluster = Cluster::start("it_released", "");
    let mut client = cluster.database("released");
    client
        .batch_execute(
            "CREATE TABLE src (id int PRIMARY KEY, v text); INSERT INTO src SELECT g, g FROM generate_series(1, 2000) g; ANALYZE src; \
             CREATE FUNCTION public.lets_go(v text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS \
               $$BEGIN PERFORM pg_advisory_unlock_all(); RETURN v; END$$; \
             SELECT mig_define('released'); \
             SELECT mig_add_table('released', 'src', 'new_src', columns => '{\"v\": \"public.lets_go(v)\"}'); \
             SELECT mig_create(); SELECT mig_dual_write(); \
             SELECT mig_configure('released', '{\"batch_rows\": 50, \"delay_ms\": 100}')",
        )
        .unwrap();
    client.simple_query("SELECT mig_backfill()").unwrap();
    until_sql(&mut client, "SELECT sum(rows_done) > 100 FROM mig.mapping");
    // Another one starts, and finds it taken in most moments; the two never work beside each other.
    client.simple_query("SELECT mig_backfill()").unwrap();
    client
        .simple_query("SELECT mig_configure('released', '{\"delay_ms\": 0}')")
        .unwrap();
    backfilled(&mut client);
    assert!(yes(&mut client, "SELECT count(*) = 2000 FROM new_src"));
}
