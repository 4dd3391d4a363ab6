//! What holds a backfill back: each limit, by the figure that it bounds, and told where one looks.

use crate::common::cluster::Cluster;
use crate::common::load::{Load, Place};
use crate::wait::{backfilled, refused, until, until_sql};
use postgres::Client;
use std::time::Instant;

/// 20,000 wide rows: about 25 MB to be copied, in many batches.
const TABLE: &str = "CREATE TABLE src (id int PRIMARY KEY, v text); \
     INSERT INTO src SELECT g, repeat('v', 1000) FROM generate_series(1, 20000) g; \
     SELECT mig_define('t', options => '{\"batch_rows\": 200, \"batch_target_ms\": 20}'); SELECT mig_add_table('t', 'src', 'dst'); \
     SELECT mig_create(); SELECT mig_dual_write()";

fn configure(client: &mut Client, options: &str) {
    client
        .execute("SELECT mig_configure('t', $1::text::jsonb)", &[&options])
        .expect("the options are taken");
}

fn start(client: &mut Client, options: &str) {
    configure(client, options);
    client
        .batch_execute("SELECT mig_backfill()")
        .expect("starts");
}

/// Until the job says that it waits for something that begins like this; what it says.
fn waits_for(client: &mut Client, what: &str) -> String {
    let mut said = String::new();
    until(what, || {
        let row = client
            .query_one("SELECT max(waiting_for) FROM mig.progress", &[])
            .expect("reads");
        said = row.get::<_, Option<String>>(0).unwrap_or_default();
        said.starts_with(what)
    });
    said
}

fn rows(client: &mut Client) -> i64 {
    let row = client.query_one("SELECT count(*) FROM dst", &[]);
    row.expect("counts").get(0)
}

/// Nothing is copied while the job has looked at its limit several times.
fn stands_still(client: &mut Client) {
    let before = rows(client);
    let beats =
        "SELECT count(*) FROM mig.job WHERE heartbeat_at > $1::text::timestamptz + '600 ms'";
    let now: String = client
        .query_one("SELECT clock_timestamp()::text", &[])
        .expect("reads")
        .get(0);
    until("three more looks", || {
        let row = client.query_one(beats, &[&now]).expect("reads");
        row.get::<_, i64>(0) == 1
    });
    assert_eq!(rows(client), before);
}

fn equal(client: &mut Client) {
    let sql = "SELECT count(*) FROM (TABLE src EXCEPT TABLE dst) d";
    assert_eq!(
        client
            .query_one(sql, &[])
            .expect("compares")
            .get::<_, i64>(0),
        0
    );
    assert_eq!(rows(client), 20_000);
}

#[test]
fn a_standby_that_lags_is_waited_for() {
    let primary = Cluster::start("it_lag", "wal_level = replica\nmax_wal_senders = 4");
    let mut client = primary.database("lag");
    client.batch_execute(TABLE).expect("the table stands");
    // Blind: nobody tells how far he is.
    start(&mut client, r#"{"max_replication_lag": "1 s"}"#);
    let said = waits_for(&mut client, "max_replication_lag");
    assert_eq!(said, "max_replication_lag: no standby is connected");
    stands_still(&mut client);

    // Slow enough to be at work when the limit is reached, however long that takes.
    configure(&mut client, r#"{"delay_ms": 1000}"#);
    let standby = primary.standby("it_lag_standby");
    until("the first batch", || rows(&mut client) > 0);
    let mut there = standby.connect("lag");
    there
        .batch_execute("SELECT pg_wal_replay_pause()")
        .expect("pauses");
    until("the standby stands still", || {
        let state = there.query_one("SELECT pg_get_wal_replay_pause_state()", &[]);
        state.expect("reads").get::<_, String>(0) == "paused"
    });
    until("the lag is told", || {
        waits_for(&mut client, "max_replication_lag").contains("behind, the limit is 1.0 s")
    });
    assert!(rows(&mut client) < 20_000);
    stands_still(&mut client);
    there
        .batch_execute("SELECT pg_wal_replay_resume()")
        .expect("resumes");
    configure(&mut client, r#"{"delay_ms": 0}"#);
    backfilled(&mut client);
    equal(&mut client);
}

#[test]
fn who_may_not_see_the_lag_waits_and_is_told_why() {
    let primary = Cluster::start("it_blind", "wal_level = replica\nmax_wal_senders = 4");
    let mut admin = primary.database("blind");
    admin
        .batch_execute("CREATE ROLE owner LOGIN; SELECT mig_allow('owner'); GRANT CREATE ON SCHEMA public TO owner")
        .expect("the role stands");
    let _standby = primary.standby("it_blind_standby");
    let mut client = primary.connect_as("blind", "owner");
    client.batch_execute(TABLE).expect("the table stands");
    start(&mut client, r#"{"max_replication_lag": "10 s"}"#);
    let said = waits_for(&mut client, "max_replication_lag");
    assert!(said.ends_with("GRANT pg_monitor TO \"owner\""), "{said}");
    stands_still(&mut admin);
    admin
        .batch_execute("GRANT pg_monitor TO \"owner\"")
        .expect("is granted");
    backfilled(&mut client);
    equal(&mut client);
}

/// Somebody else writes more than the rate: the job stands still, and says why.
fn noise_is_waited_for(cluster: &Cluster, client: &mut Client) {
    let mut other = cluster.connect("rate");
    let noise = Load::start([move |place: &Place| {
        while !place.is_over() {
            let write = "SELECT pg_logical_emit_message(false, 'noise', repeat('x', 1000000))";
            other.batch_execute(write).expect("writes");
            place.count();
        }
    }]);
    start(client, r#"{"max_wal_rate": "1 MB"}"#);
    let said = waits_for(client, "max_wal_rate");
    noise.stop();
    assert!(said.ends_with("of WAL more than 1.0 MB a second"), "{said}");
    assert!(rows(client) < 20_000);
}

#[test]
fn wal_and_pauses_are_kept_to_their_rate() {
    let cluster = Cluster::start("it_rate", "");
    let mut client = cluster.database("rate");
    client.batch_execute(TABLE).expect("the table stands");
    let place = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint";
    let before: i64 = client.query_one(place, &[]).expect("reads").get(0);
    let began = Instant::now();
    start(&mut client, r#"{"max_wal_rate": "8 MB"}"#);
    backfilled(&mut client);
    let seconds = began.elapsed().as_secs_f64();
    let written: i64 = client.query_one(place, &[]).expect("reads").get(0);
    // However fast the machine. One slice may go beyond; so may what comes after the last look.
    let rate = (written - before) as f64 / seconds / f64::from(1 << 20);
    assert!(rate < 8.0 * 1.25, "{rate:.1} MB a second");
    equal(&mut client);

    client
        .batch_execute("SELECT mig_rollback('t', 'created'); SELECT mig_dual_write()")
        .expect("begins again");
    noise_is_waited_for(&cluster, &mut client);
    // An hour: too long to wait for, unless it is changed while it lasts.
    configure(
        &mut client,
        r#"{"max_wal_rate": null, "delay_ms": 3600000}"#,
    );
    assert_eq!(
        waits_for(&mut client, "delay_ms"),
        "delay_ms: 3600000 ms after each batch"
    );
    assert!(rows(&mut client) < 20_000);
    configure(&mut client, r#"{"delay_ms": 0}"#);
    backfilled(&mut client);
    equal(&mut client);
}

#[test]
fn a_query_that_says_true_is_waited_for() {
    let cluster = Cluster::start("it_query", "");
    let mut client = cluster.database("query");
    client.batch_execute(TABLE).expect("the table stands");
    client
        .batch_execute("CREATE TABLE busy (so boolean); INSERT INTO busy VALUES (true); CREATE TABLE trap (n int)")
        .expect("the table stands");
    start(
        &mut client,
        r#"{"throttle_query": "SELECT so FROM public.busy"}"#,
    );
    assert_eq!(
        waits_for(&mut client, "throttle_query"),
        "throttle_query: it returned true"
    );
    stands_still(&mut client);
    for (query, said) in [
        (
            "SELECT null::boolean",
            "throttle_query: it returned no row, or null",
        ),
        ("SELECT 1", "throttle_query: It does not return one boolean"),
        ("SELECT no such thing", "throttle_query: syntax error"),
        (
            "INSERT INTO public.trap VALUES (1)",
            "throttle_query: INSERT is not allowed",
        ),
        (
            "SELECT so FROM busy",
            "throttle_query: relation \"busy\" does not exist",
        ),
    ] {
        configure(&mut client, &format!(r#"{{"throttle_query": "{query}"}}"#));
        waits_for(&mut client, said);
    }
    assert_eq!(rows(&mut client), 0);
    configure(
        &mut client,
        r#"{"throttle_query": "SELECT so FROM public.busy"}"#,
    );
    client
        .batch_execute("UPDATE busy SET so = false")
        .expect("quiet");
    backfilled(&mut client);
    equal(&mut client);
    until_sql(&mut client, "SELECT count(*) = 0 FROM trap");
}

#[test]
fn bad_limits_are_refused() {
    let cluster = Cluster::start("it_limits", "");
    let mut client = cluster.database("limits");
    client.batch_execute(TABLE).expect("the table stands");
    for (options, detail) in [
        (r#"{"max_replication_lag": "soon"}"#, "no duration"),
        (r#"{"max_wal_rate": 5}"#, "no size"),
        (r#"{"throttle_query": ""}"#, "no text"),
    ] {
        let sql = format!("SELECT mig_configure('t', '{options}')");
        let (code, said, _) = refused(&mut client, &sql);
        assert_eq!(code, "22023");
        assert!(said.contains(detail), "{said}");
    }
    // A default of the server that is no amount is seen where it holds somebody up.
    client
        .batch_execute("ALTER DATABASE limits SET mig.max_wal_rate = 'fast'; SELECT mig_backfill()")
        .expect("starts");
    assert_eq!(
        waits_for(&mut client, "max_wal_rate"),
        "max_wal_rate: \"fast\" cannot be read"
    );
    configure(&mut client, r#"{"max_wal_rate": "1 GB"}"#);
    backfilled(&mut client);
    equal(&mut client);
}
