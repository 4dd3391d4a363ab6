//! kill -9: of the whole server, and of the worker alone.

use crate::common::cluster::Cluster;
use crate::common::cover::fill;
use crate::common::writers::Writers;
use crate::main_job::{mirrored, ready};
use crate::wait::{all_differences, at_full_speed, backfilled, go_slowly, refused, until_sql, yes};

#[test]
fn a_killed_server_goes_on_at_the_checkpoint() {
    // Durable, because that is what is tested; `fsync` only matters for the machine, not for a killed process.
    let cluster = Cluster::start("it_crash", "synchronous_commit = on");
    let mut client = cluster.database("crash");
    fill(&mut client, 6000);
    let writers = Writers::start(&cluster, "crash", 3);
    ready(&mut client);
    go_slowly(&mut client, "cover", 3000);
    client.simple_query("SELECT mig_backfill()").unwrap();
    until_sql(
        &mut client,
        "SELECT next_block > 10 AND NOT copied FROM mig.mapping WHERE source = 'sign_ups'::regclass",
    );
    cluster.kill();
    let report = writers.stop();
    assert_eq!(report.errors, Vec::<String>::new());
    cluster.start_again();

    let mut client = cluster.connect("crash");
    let before: i64 = client
        .query_one(
            "SELECT next_block FROM mig.mapping WHERE source = 'sign_ups'::regclass",
            &[],
        )
        .unwrap()
        .get(0);
    assert!(before > 10, "the checkpoint is there: {before}");
    let (state, next): (String, String) = client
        .query_one("SELECT state, next_step FROM mig_status()", &[])
        .map(|r| (r.get(0), r.get(1)))
        .unwrap();
    assert_eq!(
        (state.as_str(), next.as_str()),
        ("failed", "SELECT mig_backfill('cover');")
    );
    let (code, detail, hint) = refused(&mut client, "SELECT mig_wait()");
    assert_eq!(code, "55000");
    assert!(
        detail.contains("is gone") && hint.contains("mig_backfill"),
        "{detail} {hint}"
    );

    let writers = Writers::start(&cluster, "crash", 3);
    at_full_speed(&mut client, "cover");
    client.simple_query("SELECT mig_backfill()").unwrap();
    backfilled(&mut client);
    let resumed: String = client
        .query_one(
            "SELECT what FROM mig.history WHERE what LIKE 'backfill job % resumed%'",
            &[],
        )
        .unwrap()
        .get(0);
    assert!(
        resumed.contains(&format!("public.sign_ups at block {before} of")),
        "{resumed}"
    );
    let again: i64 = client
        .query_one(
            "SELECT count(*) FROM mig.history WHERE what LIKE '%starts over%'",
            &[],
        )
        .unwrap()
        .get(0);
    assert_eq!(again, 0);
    assert_eq!(all_differences(&mut client).1, 0);
    let report = writers.stop();
    assert_eq!(report.errors, Vec::<String>::new());
    assert_eq!(all_differences(&mut client).1, 0);
    client.simple_query("SELECT mig_assert()").unwrap();
}

#[test]
fn a_terminated_worker_is_noticed_and_resumed() {
    let cluster = Cluster::start("it_term", "");
    let mut client = mirrored(&cluster, "term", 4000);
    go_slowly(&mut client, "cover", 5000);
    for round in 1..=5 {
        client.simple_query("SELECT mig_backfill()").unwrap();
        until_sql(
            &mut client,
            &format!("SELECT sum(rows_done) > {} FROM mig.mapping", round * 700),
        );
        client
            .simple_query("SELECT pg_terminate_backend(pid) FROM mig.runners")
            .unwrap();
        until_sql(&mut client, "SELECT NOT EXISTS (SELECT FROM mig.runners)");
        let problem: String = client
            .query_one("SELECT problem FROM mig_status()", &[])
            .unwrap()
            .get(0);
        assert!(problem.contains("is gone"), "{problem}");
    }
    // A dead worker's job can be driven by hand; then nothing is wrong any more.
    assert!(yes(&mut client, "SELECT mig_step(max_ms => 1) > 0"));
    assert!(yes(
        &mut client,
        "SELECT problem IS NULL AND next_step LIKE 'CALL mig_run%' FROM mig_status()"
    ));
    at_full_speed(&mut client, "cover");
    client.simple_query("SELECT mig_backfill()").unwrap();
    backfilled(&mut client);
    assert_eq!(all_differences(&mut client).1, 0);
}
