//! A cancel reaches our own workers only, and only from those who may signal them.

use crate::common::cluster::Cluster;
use crate::main_job::{mirrored, ready as mirror};
use crate::squatting::{NOT_NULL, POSTS, number};
use crate::wait::{backfilled, until_sql, yes};
use postgres::Client;
use std::thread::JoinHandle;

const INDEX: &str = "SELECT mig_create_index('CREATE INDEX posts_author ON posts (author)')";
/// A SIGINT would shut the server down.
const POSTMASTER: &str = "split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int";

fn is_in_state(client: &mut Client, job: i64, state: &str) {
    let sql = format!("SELECT state = '{state}' FROM mig.jobs WHERE id = {job}");
    until_sql(client, &sql);
}

/// A build that waits for `holder`'s transaction, for as long as the test wants.
fn stuck(client: &mut Client, holder: &mut Client) -> i64 {
    holder
        .batch_execute("BEGIN; UPDATE posts SET title = title WHERE id = 1")
        .unwrap();
    let job = number(client, INDEX);
    until_sql(client, &is_building(job));
    job
}

fn is_building(job: i64) -> String {
    format!(
        "SELECT at_work AND coalesce(waiting_for LIKE 'process %' AND step <> 'dropping what is not valid', false) \
           AND EXISTS (SELECT FROM pg_index WHERE NOT indisvalid) FROM mig.jobs WHERE id = {job}"
    )
}

/// True only after the build's statement was interrupted: its transaction still waits for the holder otherwise.
fn is_interrupted(job: i64) -> String {
    format!("SELECT step = 'dropping what is not valid' FROM mig.jobs WHERE id = {job}")
}

/// A session in the middle of a statement, which ends well if no signal comes.
struct Bystander {
    pid: i32,
    gate: Client,
    thread: JoinHandle<Result<(), postgres::Error>>,
}

impl Bystander {
    fn start(cluster: &Cluster, database: &str) -> Self {
        let mut gate = cluster.connect(database);
        gate.batch_execute("SELECT pg_advisory_lock(42)").unwrap();
        let mut session = cluster.connect(database);
        let pid = session.query_one("SELECT pg_backend_pid()", &[]);
        let pid = pid.unwrap().get(0);
        let thread =
            std::thread::spawn(move || session.batch_execute("SELECT pg_advisory_lock(42)"));
        until_sql(
            &mut gate,
            &format!("SELECT wait_event = 'advisory' FROM pg_stat_activity WHERE pid = {pid}"),
        );
        Self { pid, gate, thread }
    }

    fn was_left_alone(mut self) {
        self.gate
            .batch_execute("SELECT pg_advisory_unlock(42)")
            .unwrap();
        self.thread.join().unwrap().expect("nobody interrupted it");
    }
}

#[test]
fn a_forged_process_id_gets_no_signal() {
    let cluster = Cluster::start("it_forged", "");
    let mut client = cluster.database("forged");
    client.batch_execute(POSTS).unwrap();
    let mut holder = cluster.connect("forged");
    let bystander = Bystander::start(&cluster, "forged");
    for pid in [bystander.pid.to_string(), POSTMASTER.to_owned()] {
        let job = stuck(&mut client, &mut holder);
        client
            .batch_execute(&format!("UPDATE mig.change SET pid = {pid}"))
            .unwrap();
        assert!(yes(&mut client, &format!("SELECT mig_cancel({job})")));
        // The worker itself gets one all the same.
        until_sql(&mut client, &is_interrupted(job));
        holder.batch_execute("COMMIT").unwrap();
        is_in_state(&mut client, job, "cancelled");
    }
    // Without any worker: a job that its caller drives.
    crate::common::cover::fill(&mut client, 300);
    mirror(&mut client);
    for pid in [bystander.pid.to_string(), POSTMASTER.to_owned()] {
        client
            .simple_query("SELECT mig_backfill(driver => 'manual')")
            .unwrap();
        client
            .batch_execute(&format!(
                "UPDATE mig.job SET pid = {pid}, driver = 'worker' WHERE state = 'running'"
            ))
            .unwrap();
        assert!(yes(&mut client, "SELECT mig_cancel('cover')"));
    }
    bystander.was_left_alone();
    cluster
        .connect("forged")
        .batch_execute("SELECT 1")
        .expect("the server is up");
}

/// The holder of the lock may be a session that calls mig_step: it is no worker of ours.
#[test]
fn a_session_that_drives_a_job_gets_no_signal() {
    let cluster = Cluster::start("it_driving", "");
    let mut client = mirrored(&cluster, "driving", 300);
    client
        .simple_query("SELECT mig_backfill(driver => 'manual')")
        .unwrap();
    let mut driver = cluster.connect("driving");
    let pid: i32 = driver
        .query_one("SELECT pg_backend_pid()", &[])
        .unwrap()
        .get(0);
    client.batch_execute("SELECT pg_advisory_lock(42)").unwrap();
    let drives = std::thread::spawn(move || {
        driver.batch_execute(
            "BEGIN; SELECT mig_step(max_ms => 1); SELECT pg_advisory_xact_lock(42); ROLLBACK",
        )
    });
    let waits = format!("SELECT wait_event = 'advisory' FROM pg_stat_activity WHERE pid = {pid}");
    until_sql(&mut client, &waits);
    assert!(yes(
        &mut client,
        &format!("SELECT count(*) = 1 AND bool_and(pid = {pid}) FROM mig.runners")
    ));
    // The step has written the job's row; a cancel waits for that, so it is called beside.
    let mut other = cluster.connect("driving");
    let cancels = std::thread::spawn(move || yes(&mut other, "SELECT mig_cancel('cover')"));
    until_sql(
        &mut client,
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE '%mig_cancel%' AND wait_event = 'transactionid')",
    );
    client
        .batch_execute("SELECT pg_advisory_unlock(42)")
        .unwrap();
    drives.join().unwrap().expect("nobody interrupted it");
    assert!(cancels.join().unwrap());
}

#[test]
fn a_cancel_interrupts_its_worker_only_at_the_commit_and_at_once() {
    let cluster = Cluster::start("it_interrupted", "");
    let mut client = cluster.database("interrupted");
    client.batch_execute(POSTS).unwrap();
    let mut holder = cluster.connect("interrupted");
    let job = stuck(&mut client, &mut holder);
    // What a savepoint takes back has cancelled nothing.
    let kept = format!("BEGIN; SAVEPOINT s; SELECT mig_cancel({job}); ROLLBACK TO s; COMMIT");
    client.batch_execute(&kept).unwrap();
    let taken_back = format!("BEGIN; SELECT mig_cancel({job}); ROLLBACK");
    client.batch_execute(&taken_back).unwrap();
    for _ in 0..50 {
        assert!(yes(&mut client, &is_building(job)), "it goes on");
    }
    client
        .batch_execute(&format!("BEGIN; SELECT mig_cancel({job})"))
        .unwrap();
    let mut observer = cluster.connect("interrupted");
    assert!(yes(&mut observer, &is_building(job)), "not yet");
    client.batch_execute("COMMIT").unwrap();
    until_sql(&mut client, &is_interrupted(job));
    holder.batch_execute("COMMIT").unwrap();
    is_in_state(&mut client, job, "cancelled");
    assert!(yes(
        &mut client,
        "SELECT to_regclass('posts_author') IS NULL"
    ));
}

#[test]
fn a_caller_without_the_right_to_signal_cancels_without_a_signal() {
    let cluster = Cluster::start("it_signalled", "");
    let mut client = cluster.database("signalled");
    client
        .batch_execute(&format!(
            "CREATE ROLE keepers; CREATE ROLE alice LOGIN IN ROLE keepers; CREATE ROLE bob LOGIN IN ROLE keepers; \
             SELECT mig_allow('alice'); SELECT mig_allow('bob'); {POSTS}; ALTER TABLE posts OWNER TO keepers; \
             GRANT CREATE ON SCHEMA public TO keepers"
        ))
        .unwrap();
    let mut alice = cluster.connect_as("signalled", "alice");
    let mut bob = cluster.connect_as("signalled", "bob");
    let mut holder = cluster.connect("signalled");
    let job = stuck(&mut alice, &mut holder);
    assert!(yes(&mut bob, &format!("SELECT mig_cancel({job})")));
    for _ in 0..50 {
        assert!(yes(&mut client, &is_building(job)), "it goes on");
    }
    holder.batch_execute("COMMIT").unwrap();
    is_in_state(&mut client, job, "cancelled");

    // With the right to it.
    client
        .batch_execute("DROP INDEX posts_author; GRANT pg_signal_backend TO bob")
        .unwrap();
    let job = stuck(&mut alice, &mut holder);
    assert!(yes(&mut bob, &format!("SELECT mig_cancel({job})")));
    until_sql(&mut client, &is_interrupted(job));
    holder.batch_execute("COMMIT").unwrap();
    is_in_state(&mut client, job, "cancelled");
}

#[test]
fn ids_of_jobs_may_be_large() {
    let cluster = Cluster::start("it_large_ids", "");
    let mut client = mirrored(&cluster, "large", 300);
    client
        .batch_execute(&format!(
            "{POSTS}; SELECT setval('mig.job_id_seq', 4294967296 * 3)"
        ))
        .unwrap();
    let job = number(&mut client, NOT_NULL);
    assert!(job > 1 << 32, "{job}");
    assert!(yes(&mut client, &format!("SELECT mig_wait({job}, '60 s')")));
    let mut holder = cluster.connect("large");
    let job = stuck(&mut client, &mut holder);
    assert!(yes(&mut client, &format!("SELECT mig_cancel({job})")));
    until_sql(&mut client, &is_interrupted(job));
    holder.batch_execute("COMMIT").unwrap();
    is_in_state(&mut client, job, "cancelled");

    client
        .simple_query("SELECT mig_backfill(driver => 'worker')")
        .unwrap();
    backfilled(&mut client);
    assert!(yes(
        &mut client,
        "SELECT max(id) > 4294967296 AND bool_and(state = 'done') FROM mig.job"
    ));
}
