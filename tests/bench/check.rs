//! How long it takes to know that both sides are equal.

use crate::cluster::Cluster;
use crate::rounds::{Contender, Wanted, compare, figure, setting, timed};
use postgres::Client;
use std::cell::RefCell;

const COLUMNS: &str = "id, round_id, user_id, email, link, created_at";

fn ready(cluster: &Cluster, rows: usize) -> Client {
    let mut client = cluster.database("bench_check");
    client
        .batch_execute(&format!(
            "CREATE TABLE projects (id uuid PRIMARY KEY); INSERT INTO projects VALUES ('00000000-0000-0000-0000-000000000001'); \
             CREATE TABLE sign_ups (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, round_id int NOT NULL, user_id uuid NOT NULL, \
               email text NOT NULL, link text, created_at timestamptz NOT NULL DEFAULT now()); \
             INSERT INTO sign_ups (round_id, user_id, email, link) \
               SELECT 1 + g % 100, md5(g::text)::uuid, 'u' || g || '@example.org', 'https://youtu.be/' || g FROM generate_series(1, {rows}) g; \
             SELECT mig_define('bench', 'projects', '00000000-0000-0000-0000-000000000001'); \
             SELECT mig_add_table('bench', 'sign_ups', 'project_sign_ups'); SELECT mig_create(); SELECT mig_dual_write(); SELECT mig_backfill()"
        ))
        .expect("the tables fill");
    let waited = client.query_one("SELECT mig_wait(timeout => '20 min')", &[]);
    assert!(waited.expect("the backfill runs").get::<_, bool>(0));
    client.batch_execute("VACUUM ANALYZE").expect("vacuums");
    client
}

pub fn run(cluster: &Cluster) {
    let rows = setting("PG_MIG_BENCH_ROWS", 1_000_000);
    let client = RefCell::new(ready(cluster, rows));
    for workers in [0, 2] {
        client
            .borrow_mut()
            .batch_execute(&format!("SET max_parallel_workers_per_gather = {workers}"))
            .expect("sets");
        let sql = |name: &'static str, sql: String| {
            let client = &client;
            Contender {
                name,
                run: Box::new(move || {
                    timed(|| {
                        client.borrow_mut().simple_query(&sql).expect(name);
                    })
                }),
            }
        };
        let both = |a: &str, b: &str| {
            format!("SELECT {COLUMNS} FROM {a} EXCEPT SELECT {COLUMNS} FROM {b}")
        };
        let times = compare(
            &format!("Full check, {rows} rows, {workers} parallel workers"),
            vec![
                sql(
                    "both tables read and hashed once, in plain SQL",
                    "SELECT sum(hash_record_extended(ROW(t.id, t.round_id, t.user_id, t.email, t.link, t.created_at), 0)) FROM sign_ups t; \
                     SELECT sum(hash_record_extended(ROW(t.project_id, t.id, t.round_id, t.user_id, t.email, t.link, t.created_at), 0)) FROM project_sign_ups t"
                        .into(),
                ),
                sql("mig_check()", "SELECT count(*) FROM mig_check() WHERE ok".into()),
                sql(
                    "full outer join on the key, rows compared",
                    "SELECT count(*) FROM sign_ups s FULL JOIN project_sign_ups t ON t.id = s.id WHERE \
                     (s.id, s.round_id, s.user_id, s.email, s.link, s.created_at) IS DISTINCT FROM (t.id, t.round_id, t.user_id, t.email, t.link, t.created_at)"
                        .into(),
                ),
                sql(
                    "EXCEPT both ways",
                    format!(
                        "SELECT count(*) FROM (({}) UNION ALL ({})) d",
                        both("sign_ups", "project_sign_ups"),
                        both("project_sign_ups", "sign_ups")
                    ),
                ),
            ],
        );
        let ours = "mig_check()";
        figure(
            &format!(
                "full check with {workers} parallel workers, × reading and hashing both tables"
            ),
            times.ratio(ours, "both tables read and hashed once, in plain SQL"),
            Wanted::AtMost(1.3),
        );
        figure(
            &format!("EXCEPT both ways with {workers} parallel workers, × full check"),
            times.ratio("EXCEPT both ways", ours),
            Wanted::AtLeast(3.0),
        );
    }
}
