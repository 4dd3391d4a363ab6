//! Several workers for one job: they copy beside each other, come and go, and nothing differs.

use crate::common::cluster::Cluster;
use crate::common::patience::PATIENCE_SQL;
use crate::common::writers::Writers;
use crate::main_job::mirrored;
use crate::wait::{
    all_differences, at_full_speed, backfilled, configure, refused, step, until_sql, yes,
};
use postgres::Client;

const HELPING: &str = "SELECT count(*) = 2 FROM mig.workers WHERE helps";
/// So that three workers are met in the middle of 30,000 rows, however slow the machine.
const SLOW: &str = r#"{"max_workers": 3, "batch_rows": 50, "batch_target_ms": 1, "delay_ms": 20, "throttle_query": "SELECT sum(rows_done) > 15000 FROM mig.mapping"}"#;
const NOBODY: &str = "SELECT NOT EXISTS (SELECT FROM mig.workers)";

/// Of those that help, or of the one that runs the job.
fn terminate(client: &mut Client, helper: bool) -> i32 {
    let gone = client
        .query_one(
            "SELECT w.pid, pg_terminate_backend(w.pid, 300000) FROM mig.workers w WHERE w.helps = $1 LIMIT 1",
            &[&helper],
        )
        .unwrap();
    assert!(gone.get::<_, bool>(1));
    gone.get(0)
}

#[test]
fn several_workers_copy_beside_writers_and_come_and_go() {
    let cluster = Cluster::start("it_workers", "max_worker_processes = 16");
    let mut client = mirrored(&cluster, "several", 30_000);
    let writers = Writers::start(&cluster, "several", 4);
    configure(&mut client, "cover", SLOW);
    client.simple_query("SELECT mig_backfill()").unwrap();
    until_sql(&mut client, HELPING);
    until_sql(
        &mut client,
        "SELECT max(workers) = 3 AND sum(tuples_done) > 0 FROM mig.progress",
    );
    // More than one share is begun: they do not stand in a queue.
    until_sql(
        &mut client,
        "SELECT count(*) >= 2 FROM mig.share WHERE next_block BETWEEN start_block + 1 AND end_block - 1",
    );
    let gone = terminate(&mut client, true);
    until_sql(
        &mut client,
        &format!("SELECT count(*) = 2 AND bool_and(pid <> {gone}) FROM mig.workers WHERE helps"),
    );
    assert!(yes(&mut client, "SELECT mig_pause()"));
    until_sql(&mut client, NOBODY);
    assert!(yes(&mut client, "SELECT mig_resume()"));
    until_sql(&mut client, HELPING);
    // The one that runs the job goes; whoever starts it again finds the shares as they are.
    terminate(&mut client, false);
    until_sql(&mut client, "SELECT problem ~ 'is gone' FROM mig_status()");
    client.simple_query("SELECT mig_backfill()").unwrap();
    until_sql(&mut client, HELPING);
    // Fewer are wanted: the others leave, one alone goes on.
    configure(&mut client, "cover", r#"{"max_workers": 1}"#);
    until_sql(
        &mut client,
        "SELECT count(*) = 1 AND NOT bool_or(helps) FROM mig.workers",
    );
    configure(&mut client, "cover", r#"{"max_workers": 3}"#);
    until_sql(&mut client, HELPING);
    // What is proven in the middle holds in the middle.
    writers.wait_for(100);
    assert!(yes(
        &mut client,
        "SELECT bool_and(ok IS NOT FALSE) FROM mig_check()"
    ));
    at_full_speed(&mut client, "cover");
    backfilled(&mut client);
    // Nobody stands in the way of the next step.
    step(&mut client, "SELECT mig_switch()");
    let report = writers.stop();
    assert_eq!(report.errors, Vec::<String>::new());
    assert_eq!(all_differences(&mut client).1, 0);
    assert!(yes(
        &mut client,
        "SELECT bool_and(ok) AND NOT EXISTS (SELECT FROM mig.share) FROM mig_check()"
    ));
    // Each row was counted once, by whoever copied it; rows that writers took away before are in no count.
    assert!(yes(
        &mut client,
        "SELECT bool_and(p.rows_done BETWEEN p.rows_total / 2 AND p.rows_total * 2) FROM mig.mapping p WHERE p.rows_total > 1000"
    ));
}

#[test]
fn without_a_slot_for_another_worker_one_does_it_and_says_so() {
    // One slot is the logical replication launcher's.
    let cluster = Cluster::start("it_workers_few", "max_worker_processes = 2");
    let mut client = mirrored(&cluster, "few", 20_000);
    configure(&mut client, "cover", r#"{"max_workers": 8}"#);
    client.simple_query("SELECT mig_backfill()").unwrap();
    backfilled(&mut client);
    assert_eq!(all_differences(&mut client).1, 0);
    let told: i64 = client
        .query_one(
            "SELECT count(*) FROM mig.history WHERE what ~ 'no worker slot is free to help'",
            &[],
        )
        .unwrap()
        .get(0);
    assert_eq!(told, 1);
}

#[test]
fn a_rewrite_and_a_row_that_fails_are_everybodys_business() {
    let cluster = Cluster::start("it_workers_rows", "max_worker_processes = 16");
    let mut client = cluster.database("rows");
    client
        .batch_execute(
            "CREATE TABLE src (id int PRIMARY KEY, v text); \
             INSERT INTO src SELECT g, CASE WHEN g % 10000 = 77 THEN '-1' ELSE g::text END FROM generate_series(1, 60000) g; ANALYZE src; \
             SELECT mig_define('cover'); \
             SELECT mig_add_table('cover', 'src', 'new_src', columns => '{\"v\": \"v::int\"}'); \
             SELECT mig_create(); SELECT mig_dual_write(); ALTER TABLE new_src ADD CHECK (v >= 0) NOT VALID",
        )
        .unwrap();
    configure(&mut client, "cover", SLOW);
    client.simple_query("SELECT mig_backfill()").unwrap();
    until_sql(&mut client, HELPING);
    until_sql(
        &mut client,
        "SELECT count(*) >= 2 FROM mig.share WHERE next_block > start_block",
    );
    client.batch_execute("VACUUM FULL src").unwrap();
    until_sql(
        &mut client,
        "SELECT EXISTS (SELECT FROM mig.history WHERE what ~ 'starts over')",
    );
    at_full_speed(&mut client, "cover");
    let failed = client
        .query_one(
            &format!("SELECT mig_wait(timeout => '{PATIENCE_SQL}')"),
            &[],
        )
        .unwrap_err();
    assert_eq!(
        failed.as_db_error().map(|e| e.message()),
        Some("the job of migration \"cover\" failed")
    );
    assert!(yes(
        &mut client,
        "SELECT array_agg(key[1]::int ORDER BY key[1]::int) = '{77,10077,20077,30077,40077,50077}' AND bool_and(sqlstate = '23514') FROM mig.errors"
    ));
    client
        .batch_execute("UPDATE src SET v = '0' WHERE v = '-1'; SELECT mig_backfill()")
        .unwrap();
    backfilled(&mut client);
    assert!(yes(
        &mut client,
        "SELECT count(*) = 60000 AND (SELECT count(*) FROM src JOIN new_src n USING (id) WHERE src.v::int = n.v) = 60000 FROM new_src"
    ));
}

/// Nobody else would say so: the process ends before it has read anything.
#[test]
fn whoever_waits_hears_that_no_worker_could_connect() {
    let cluster = Cluster::start("it_workers_refused", "");
    let mut client = cluster.database("refused");
    client
        .batch_execute("CREATE ROLE plain LOGIN; CREATE SCHEMA p AUTHORIZATION plain; SELECT mig_allow('plain')")
        .unwrap();
    let mut plain = cluster.connect_as("refused", "plain");
    plain
        .batch_execute(
            "CREATE TABLE p.t (id int PRIMARY KEY, v text); INSERT INTO p.t VALUES (1, 'v'); \
             SELECT mig_define('m'); SELECT mig_add_table('m', 'p.t', 'p.n'); SELECT mig_create(); SELECT mig_dual_write()",
        )
        .unwrap();
    let mut admin = cluster.connect("postgres");
    admin
        .batch_execute("ALTER DATABASE refused ALLOW_CONNECTIONS false")
        .unwrap();
    plain.batch_execute("SELECT mig_backfill()").unwrap();
    let job: i64 = plain
        .query_one("SELECT mig_set_not_null('p.t', 'v')", &[])
        .unwrap()
        .get(0);
    for call in [
        format!("SELECT mig_wait('m', '{PATIENCE_SQL}')"),
        format!("SELECT mig_wait({job}, '{PATIENCE_SQL}')"),
    ] {
        let (_, detail, _) = refused(&mut plain, &call);
        assert!(detail.contains("No worker has come"), "{call}: {detail}");
    }
    plain
        .batch_execute(
            "SELECT mig_backfill('m', 'manual'); SELECT mig_step('m', 60000); SELECT mig_assert()",
        )
        .unwrap();
}
