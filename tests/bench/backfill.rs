//! From the first row to the last index: how long the copy of a table takes, by ways that people use.

use crate::cluster::{Cluster, shell};
use crate::rounds::{Contender, Wanted, compare, figure, setting, timed};
use postgres::Client;
use std::cell::RefCell;

const DATABASE: &str = "bench_backfill";
const PROJECT: &str = "'00000000-0000-0000-0000-000000000001'";
const COLUMNS: &str = "id, round_id, user_id, email, link, created_at";

/// What the target has, whoever fills it.
const INDEXES: [&str; 4] = [
    "ALTER TABLE NAME ADD PRIMARY KEY (id)",
    "CREATE INDEX ON NAME (project_id, round_id)",
    "CREATE INDEX ON NAME (project_id, user_id)",
    "CREATE INDEX ON NAME (project_id, email)",
];

fn indexes(name: &str) -> String {
    INDEXES.join("; ").replace("NAME", name)
}

/// As teams write it: pages by key, rows that are there left alone, a commit each.
const LOOP: &str = "CREATE PROCEDURE by_loop() LANGUAGE plpgsql AS $$
DECLARE
  last bigint := 0;
  upto bigint;
BEGIN
  LOOP
    SELECT max(id) INTO upto FROM (SELECT id FROM sign_ups WHERE id > last ORDER BY id LIMIT 10000) page;
    EXIT WHEN upto IS NULL;
    INSERT INTO looped SELECT PROJECT, COLUMNS FROM sign_ups WHERE id > last AND id <= upto ON CONFLICT (id) DO NOTHING;
    COMMIT;
    last := upto;
  END LOOP;
END $$";

fn ready(cluster: &Cluster, rows: usize) -> Client {
    let mut client = cluster.database(DATABASE);
    client
        .batch_execute(&format!(
            "CREATE TABLE projects (id uuid PRIMARY KEY); INSERT INTO projects VALUES ({PROJECT}); \
             CREATE TABLE sign_ups (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, round_id int NOT NULL, user_id uuid NOT NULL, \
               email text NOT NULL, link text, created_at timestamptz NOT NULL DEFAULT now()); \
             INSERT INTO sign_ups (round_id, user_id, email, link) \
               SELECT 1 + g % 100, md5(g::text)::uuid, 'u' || g || '@example.org', 'https://youtu.be/' || g FROM generate_series(1, {rows}) g; \
             CREATE INDEX ON sign_ups (round_id); CREATE INDEX ON sign_ups (user_id); CREATE INDEX ON sign_ups (email); \
             {}; CREATE EXTENSION IF NOT EXISTS pg_repack; CREATE TABLE packed AS SELECT {PROJECT}::uuid AS project_id, * FROM sign_ups; {}; \
             SELECT mig_define('bench', 'projects', {PROJECT}); SELECT mig_add_table('bench', 'sign_ups', 'project_sign_ups')",
            LOOP.replace("PROJECT", PROJECT).replace("COLUMNS", COLUMNS),
            indexes("packed"),
        ))
        .expect("the tables fill");
    client.batch_execute("VACUUM ANALYZE").expect("vacuums");
    client
}

/// An empty target with its indexes.
fn empty(client: &mut Client, name: &str) {
    let sql = format!(
        "DROP TABLE IF EXISTS {name}; CREATE TABLE {name} AS SELECT {PROJECT}::uuid AS project_id, * FROM sign_ups LIMIT 0; {}",
        indexes(name)
    );
    client.batch_execute(&sql).expect("the target is made");
}

/// What `SELECT mig_backfill()` does, up to the last index.
fn ours(client: &mut Client) -> std::time::Duration {
    client
        .batch_execute("SELECT mig_create(); SELECT mig_dual_write()")
        .expect("gets ready");
    let took = timed(|| {
        client
            .batch_execute("SELECT mig_backfill()")
            .expect("starts");
        let done = client.query_one("SELECT mig_wait(timeout => '30 min')", &[]);
        assert!(done.expect("the backfill runs").get::<_, bool>(0));
    });
    client
        .batch_execute("SELECT mig_rollback('bench', 'defined')")
        .expect("goes back");
    took
}

const FLOOR: &str = "CREATE TABLE AS, then the indexes";
const OURS: &str = "pg_mig";
const REPACK: &str = "pg_repack of a table with these indexes";

pub fn run(cluster: &Cluster) {
    let rows = setting("PG_MIG_BENCH_ROWS", 1_000_000);
    let client = RefCell::new(ready(cluster, rows));
    let sql = |name: &'static str, before: &'static str, sql: String| {
        let client = &client;
        Contender {
            name,
            run: Box::new(move || {
                let mut client = client.borrow_mut();
                if !before.is_empty() {
                    empty(&mut client, before);
                }
                timed(|| client.batch_execute(&sql).expect(name))
            }),
        }
    };
    let worker = {
        let client = &client;
        Contender {
            name: OURS,
            run: Box::new(move || ours(&mut client.borrow_mut())),
        }
    };
    let repack = Contender {
        name: REPACK,
        run: Box::new(|| {
            let (dir, port) = (cluster.host(), cluster.port());
            timed(|| {
                shell(&format!(
                    "$pg_bin/pg_repack -h {dir} -p {port} -U postgres -t packed {DATABASE} >/dev/null 2>&1"
                ));
            })
        }),
    };
    let times = compare(
        &format!("Backfill of {rows} rows, with four indexes"),
        vec![
            sql(
                FLOOR,
                "",
                format!(
                    "DROP TABLE IF EXISTS floor; CREATE TABLE floor AS SELECT {PROJECT}::uuid AS project_id, {COLUMNS} FROM sign_ups; {}",
                    indexes("floor")
                ),
            ),
            worker,
            repack,
            sql(
                "one INSERT ... SELECT into the indexed table",
                "at_once",
                format!("INSERT INTO at_once SELECT {PROJECT}::uuid, {COLUMNS} FROM sign_ups"),
            ),
            sql(
                "a PL/pgSQL loop in batches of 10,000",
                "looped",
                "CALL by_loop()".into(),
            ),
        ],
    );
    figure(
        "backfill with one worker, × the floor",
        times.ratio(OURS, FLOOR),
        Wanted::AtMost(1.5),
    );
    figure(
        "backfill with one worker, × pg_repack",
        times.ratio(OURS, REPACK),
        Wanted::AtMost(1.3),
    );
}
