//! Constraints and indexes as jobs, with the application at work, and with what may happen to a worker.

use crate::common::cluster::Cluster;
use crate::common::load::{Load, Place};
use crate::common::patience::PATIENCE_SQL;
use crate::wait::{refused, until, until_sql, yes};
use postgres::Client;

const TABLES: &str = "CREATE TABLE users (id int PRIMARY KEY, name text); \
    CREATE TABLE posts (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id int, title text, votes int NOT NULL DEFAULT 1); \
    INSERT INTO users SELECT g, 'u' || g FROM generate_series(1, 1000) g; \
    INSERT INTO posts (user_id, title) SELECT 1 + g % 1000, 't' || g FROM generate_series(1, 20000) g";

/// What is typed, and what says that it has become true.
const ALL: [(&str, &str); 4] = [
    (
        "SELECT mig_set_not_null('posts', 'title')",
        "SELECT attnotnull FROM pg_attribute WHERE attrelid = 'posts'::regclass AND attname = 'title'",
    ),
    (
        "SELECT mig_add_check('posts', 'positive', 'votes > 0')",
        "SELECT convalidated FROM pg_constraint WHERE conname = 'positive'",
    ),
    (
        "SELECT mig_add_foreign_key('posts', 'posts_user', '{user_id}', 'users', '{id}')",
        "SELECT convalidated FROM pg_constraint WHERE conname = 'posts_user'",
    ),
    (
        "SELECT mig_create_index('CREATE INDEX posts_user_id ON posts (user_id)')",
        "SELECT indisvalid FROM pg_index WHERE indexrelid = 'posts_user_id'::regclass",
    ),
];

/// Nothing that a job has put there while it was at work.
const NOTHING_LEFT: &str = "SELECT NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = 'posts'::regclass AND (NOT convalidated OR conname LIKE '!mig%')) \
    AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = 'posts'::regclass AND NOT indisvalid)";

fn ready(cluster: &Cluster, name: &str) -> Client {
    let mut client = cluster.database(name);
    client.batch_execute(TABLES).unwrap();
    client
}

fn begin(client: &mut Client, call: &str) -> i64 {
    client.query_one(call, &[]).unwrap().get(0)
}

fn done(client: &mut Client, job: i64) {
    let call = format!("SELECT mig_wait({job}, '{PATIENCE_SQL}')");
    if !yes(client, &call) {
        let now = format!(
            "SELECT to_jsonb(j)::text || coalesce((SELECT to_jsonb(a)::text FROM pg_stat_activity a WHERE a.pid = j.pid), '') FROM mig.jobs j WHERE id = {job}"
        );
        let now: String = client.query_one(&now, &[]).unwrap().get(0);
        panic!("not done: {now}");
    }
}

/// Writes and reads until it is told to stop; all that went wrong. Nobody who waits for the application's own transactions may make
/// others wait: ten seconds are twenty times what a job's lock may take.
struct Application(Load<Vec<String>>);

impl Application {
    fn start(cluster: &Cluster, database: &str) -> Self {
        let mut client = cluster.connect(database);
        let works = move |place: &Place| {
            let mut wrong = Vec::new();
            client.batch_execute("SET lock_timeout = '10 s'").unwrap();
            for n in 1.. {
                if place.is_over() {
                    break;
                }
                let sql = format!(
                    "BEGIN; INSERT INTO posts (user_id, title) VALUES (1 + {n} % 1000, 'n'); UPDATE posts SET title = 'x' WHERE id = 1 + {n} % 20000; COMMIT; \
                     SELECT count(*) FROM posts WHERE id < 100"
                );
                if let Err(e) = client.batch_execute(&sql) {
                    wrong.push(e.to_string());
                }
                place.count();
            }
            wrong
        };
        Self(Load::start([works]))
    }

    fn wait_for(&self, more: u64) {
        self.0.wait_for(more);
    }

    fn stop(self) -> Vec<String> {
        self.0.stop().concat()
    }
}

#[test]
fn constraints_and_indexes_come_beside_an_application() {
    let cluster = Cluster::start("it_changes", "");
    let mut client = ready(&cluster, "changes");
    let application = Application::start(&cluster, "changes");
    for (call, truth) in ALL {
        application.wait_for(10);
        let job = begin(&mut client, call);
        done(&mut client, job);
        assert!(yes(&mut client, truth), "{truth}");
    }
    application.wait_for(10);
    assert_eq!(application.stop(), Vec::<String>::new());
    assert!(yes(&mut client, NOTHING_LEFT));
}

/// A transaction that is open and has written the table: a job waits for it, and nobody else waits for the job.
#[test]
fn a_job_that_waits_makes_nobody_wait() {
    let cluster = Cluster::start("it_changes_wait", "");
    let mut client = ready(&cluster, "changes");
    let mut holder = cluster.connect("changes");
    for (call, truth) in &ALL[..3] {
        holder
            .batch_execute("BEGIN; UPDATE posts SET votes = votes WHERE id = 1")
            .unwrap();
        let application = Application::start(&cluster, "changes");
        let job = begin(&mut client, call);
        let waits = format!("SELECT waiting_for IS NOT NULL FROM mig.jobs WHERE id = {job}");
        until_sql(&mut client, &waits);
        // While it waits, and the holder stays.
        application.wait_for(20);
        until_sql(&mut client, &waits);
        assert_eq!(application.stop(), Vec::<String>::new(), "{call}");
        holder.batch_execute("COMMIT").unwrap();
        done(&mut client, job);
        assert!(yes(&mut client, truth), "{truth}");
    }
    assert!(yes(&mut client, NOTHING_LEFT));
}

/// An index build waits for transactions that are older: there it stands still for as long as a test wants.
fn stuck(client: &mut Client, holder: &mut Client) -> i64 {
    holder
        .batch_execute("BEGIN; UPDATE posts SET votes = votes WHERE id = 1")
        .unwrap();
    let job = begin(client, ALL[3].0);
    until_sql(
        client,
        &format!(
            "SELECT at_work AND waiting_for LIKE 'process %' AND EXISTS (SELECT FROM pg_index WHERE NOT indisvalid) FROM mig.jobs WHERE id = {job}"
        ),
    );
    job
}

#[test]
fn a_job_is_cancelled_in_the_middle_of_a_build() {
    let cluster = Cluster::start("it_changes_cancel", "");
    let mut client = ready(&cluster, "changes");
    let mut holder = cluster.connect("changes");
    let job = stuck(&mut client, &mut holder);
    assert!(yes(&mut client, &format!("SELECT mig_cancel({job})")));
    // To drop an index beside writers waits for them, too.
    holder.batch_execute("COMMIT").unwrap();
    until_sql(
        &mut client,
        &format!("SELECT state = 'cancelled' FROM mig.jobs WHERE id = {job}"),
    );
    assert!(yes(&mut client, NOTHING_LEFT));
    assert!(!yes(&mut client, &format!("SELECT mig_cancel({job})")));
    assert!(yes(
        &mut client,
        "SELECT to_regclass('posts_user_id') IS NULL"
    ));
}

/// An index is not valid while somebody builds it by hand, either: a job waits for him, and finds it made.
#[test]
fn an_index_that_somebody_else_builds_is_left_to_him() {
    let cluster = Cluster::start("it_changes_other", "");
    let mut client = ready(&cluster, "changes");
    let mut holder = cluster.connect("changes");
    holder
        .batch_execute("BEGIN; UPDATE posts SET votes = votes WHERE id = 1")
        .unwrap();
    let mut builder = cluster.connect("changes");
    let builds = std::thread::spawn(move || {
        builder
            .batch_execute("CREATE INDEX CONCURRENTLY posts_user_id ON posts (user_id)")
            .unwrap();
    });
    until_sql(
        &mut client,
        "SELECT EXISTS (SELECT FROM pg_index WHERE NOT indisvalid)",
    );
    let oid = "SELECT 'posts_user_id'::regclass::oid";
    let before: u32 = client.query_one(oid, &[]).unwrap().get(0);
    let job = begin(&mut client, ALL[3].0);
    let waits = format!("SELECT waiting_for IS NOT NULL FROM mig.jobs WHERE id = {job}");
    until_sql(&mut client, &waits);
    // Another index of this name is another matter.
    let other = "SELECT mig_create_index('CREATE INDEX posts_user_id ON posts (votes)')";
    assert_eq!(refused(&mut client, other).0, "42710");
    holder.batch_execute("COMMIT").unwrap();
    builds.join().unwrap();
    done(&mut client, job);
    let after: u32 = client.query_one(oid, &[]).unwrap().get(0);
    assert_eq!(before, after);
}

#[test]
fn a_killed_build_is_begun_anew_or_taken_back() {
    let cluster = Cluster::start("it_changes_crash", "");
    for goes_on in [true, false] {
        let name = if goes_on { "again" } else { "back" };
        let mut client = ready(&cluster, name);
        let mut holder = cluster.connect(name);
        let job = stuck(&mut client, &mut holder);
        let pid: i32 = client
            .query_one("SELECT pid FROM mig.jobs WHERE at_work", &[])
            .unwrap()
            .get(0);
        cluster.kill_process(pid);
        let mut client = cluster.connect_again(name);
        let state = format!("SELECT state = 'interrupted' FROM mig.jobs WHERE id = {job}");
        until_sql(&mut client, &state);
        assert!(!yes(&mut client, NOTHING_LEFT), "it was killed half-way");
        if goes_on {
            assert_eq!(begin(&mut client, ALL[3].0), job);
            done(&mut client, job);
            assert!(yes(&mut client, ALL[3].1));
        } else {
            assert!(yes(&mut client, &format!("SELECT mig_cancel({job})")));
            let ended = format!("SELECT state = 'cancelled' FROM mig.jobs WHERE id = {job}");
            until_sql(&mut client, &ended);
        }
        assert!(yes(&mut client, NOTHING_LEFT));
    }
}

/// Half-way through a constraint: whoever goes on begins with what is there.
#[test]
fn a_constraint_that_was_left_half_made_is_made_or_taken_back() {
    let cluster = Cluster::start("it_changes_half", "");
    let mut client = ready(&cluster, "changes");
    let mut holder = cluster.connect("changes");
    for (goes_on, column) in [(false, "user_id"), (true, "title")] {
        let call = format!("SELECT mig_set_not_null('posts', '{column}')");
        // SHARE ROW EXCLUSIVE lets the CHECK wait in vain; the job is ended there, then its CHECK comes by hand.
        holder
            .batch_execute("BEGIN; LOCK TABLE posts IN ROW EXCLUSIVE MODE")
            .unwrap();
        let job = begin(&mut client, &call);
        let waits =
            format!("SELECT at_work AND waiting_for IS NOT NULL FROM mig.jobs WHERE id = {job}");
        until_sql(&mut client, &waits);
        client
            .simple_query("SELECT pg_terminate_backend(pid) FROM mig.jobs WHERE at_work")
            .unwrap();
        let state = format!("SELECT state = 'interrupted' FROM mig.jobs WHERE id = {job}");
        until_sql(&mut client, &state);
        holder.batch_execute("COMMIT").unwrap();
        client
            .batch_execute(&format!(
                "ALTER TABLE posts ADD CONSTRAINT \"!mig_job_{job}_not_null\" CHECK ({column} IS NOT NULL) NOT VALID"
            ))
            .unwrap();
        if goes_on {
            assert_eq!(begin(&mut client, &call), job);
            done(&mut client, job);
        } else {
            assert!(yes(&mut client, &format!("SELECT mig_cancel({job})")));
            let ended = format!("SELECT state = 'cancelled' FROM mig.jobs WHERE id = {job}");
            until_sql(&mut client, &ended);
        }
        assert!(yes(&mut client, NOTHING_LEFT));
        let truth = format!(
            "SELECT attnotnull FROM pg_attribute WHERE attrelid = 'posts'::regclass AND attname = '{column}'"
        );
        assert_eq!(yes(&mut client, &truth), goes_on);
    }
}

/// A worker that looks for its job before the job is there would go away for good. Five sessions stand in their commit, because each has
/// another place in the server's array of processes.
#[test]
fn a_worker_waits_for_whoever_launched_it() {
    let conf = "synchronous_standby_names = 'nobody'\nsynchronous_commit = local";
    let cluster = Cluster::start("it_changes_launch", conf);
    let mut first = cluster.database("launch");
    first
        .batch_execute("CREATE TABLE wide (c1 int, c2 int, c3 int, c4 int, c5 int)")
        .unwrap();
    // Whoever comes last has the first place.
    let mut client = cluster.connect("launch");
    let mut sessions = vec![first];
    sessions.extend((2..=5).map(|_| cluster.connect("launch")));
    let launchers: Vec<_> = (1..=5)
        .zip(sessions)
        .map(|(n, mut session)| {
            std::thread::spawn(move || {
                session
                    .batch_execute("SET synchronous_commit = on")
                    .unwrap();
                begin(
                    &mut session,
                    &format!("SELECT mig_set_not_null('wide', 'c{n}')"),
                )
            })
        })
        .collect();
    until("five workers that wait", || {
        cluster.processes("pg_mig not_null") == 5
    });
    until_sql(
        &mut client,
        "SELECT count(*) = 5 FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
    );
    // Before a younger transaction has ended the server need not even look.
    client.batch_execute("CREATE TABLE younger ()").unwrap();
    for _ in 0..20 {
        assert_eq!(cluster.processes("pg_mig not_null"), 5, "they wait");
    }
    client
        .batch_execute("ALTER SYSTEM SET synchronous_standby_names = ''")
        .unwrap();
    client.batch_execute("SELECT pg_reload_conf()").unwrap();
    for launcher in launchers {
        let job = launcher.join().unwrap();
        done(&mut client, job);
    }
    assert!(yes(
        &mut client,
        "SELECT bool_and(attnotnull) FROM pg_attribute WHERE attrelid = 'wide'::regclass AND attnum > 0"
    ));
}

/// Who waits for whom, of others as of us.
#[test]
fn blockers_are_those_who_really_wait() {
    let cluster = Cluster::start("it_blockers", "");
    let mut client = ready(&cluster, "blockers");
    let mut reader = cluster.connect("blockers");
    reader.batch_execute("BEGIN; SELECT FROM posts").unwrap();
    let mut holder = cluster.connect("blockers");
    holder
        .batch_execute("BEGIN; UPDATE posts SET votes = 2 WHERE id = 1")
        .unwrap();
    let mut waiter = cluster.connect("blockers");
    let thread = std::thread::spawn(move || {
        waiter
            .batch_execute("UPDATE posts SET votes = 3 WHERE id = 1")
            .unwrap();
    });
    until_sql(
        &mut client,
        "SELECT count(*) = 1 AND bool_and(direction = 'others' AND waiting_query LIKE '%votes = 3%' AND blocking_query LIKE '%votes = 2%' \
           AND waiting_since IS NOT NULL AND blocking_state = 'idle in transaction') FROM mig.blockers",
    );
    // All of the three have a lock of the table: that alone makes nobody wait for another.
    assert!(yes(
        &mut client,
        "SELECT count(*) >= 3 FROM mig.activity WHERE what = 'session'"
    ));
    holder.batch_execute("COMMIT").unwrap();
    thread.join().unwrap();
    reader.batch_execute("COMMIT").unwrap();
    assert!(yes(&mut client, "SELECT count(*) = 0 FROM mig.blockers"));
}
