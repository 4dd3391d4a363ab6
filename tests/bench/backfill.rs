//! From the first row to the last index: how long the copy of a table takes, by ways that people use.

use crate::cluster::{Cluster, shell};
use crate::rounds::{Contender, Spread, Wanted, compare, figure, setting, timed};
use postgres::Client;
use std::cell::RefCell;

const PROJECT: &str = "'00000000-0000-0000-0000-000000000001'";

/// A table to copy.
struct Kind {
    name: &'static str,
    database: &'static str,
    columns: &'static str,
    key: &'static str,
    /// One row, made of `g`, without the project.
    row: &'static str,
    indexed: [&'static str; 3],
    /// Of the rows that are asked for, one in so many: wide rows fill the disk sooner.
    one_in: usize,
}

const KINDS: [Kind; 4] = [
    Kind {
        name: "narrow rows, bigint keys",
        database: "bench_narrow",
        columns: "id bigint NOT NULL, round_id int NOT NULL, user_id uuid NOT NULL, email text NOT NULL, link text, created_at timestamptz NOT NULL",
        key: "id",
        row: "g, 1 + g % 100, md5(g::text)::uuid, 'u' || g || '@example.org', 'https://youtu.be/' || g, now()",
        indexed: ["round_id", "user_id", "email"],
        one_in: 1,
    },
    Kind {
        name: "random uuid keys",
        database: "bench_uuid",
        columns: "id uuid NOT NULL, round_id int NOT NULL, user_id uuid NOT NULL, email text NOT NULL, created_at timestamptz NOT NULL",
        key: "id",
        row: "gen_random_uuid(), 1 + g % 100, md5(g::text)::uuid, 'u' || g || '@example.org', now()",
        indexed: ["round_id", "user_id", "email"],
        one_in: 1,
    },
    Kind {
        name: "composite keys, in no order",
        database: "bench_composite",
        columns: "round_id int NOT NULL, user_id uuid NOT NULL, vote int NOT NULL, email text NOT NULL, created_at timestamptz NOT NULL",
        key: "round_id, user_id",
        row: "1 + g % 100, md5(g::text)::uuid, g, 'u' || g || '@example.org', now()",
        indexed: ["vote", "user_id", "email"],
        one_in: 1,
    },
    Kind {
        name: "rows of a kilobyte",
        database: "bench_wide",
        columns: "id bigint NOT NULL, round_id int NOT NULL, user_id uuid NOT NULL, email text NOT NULL, story text NOT NULL, created_at timestamptz NOT NULL",
        key: "id",
        row: "g, 1 + g % 100, md5(g::text)::uuid, 'u' || g || '@example.org', \
              (SELECT string_agg(md5((g * 100 + n)::text), '') FROM generate_series(1, 30) n), now()",
        indexed: ["round_id", "user_id", "email"],
        one_in: 8,
    },
];

/// As teams write it: pages by key, rows that are there left alone, a commit each.
const LOOP: &str = "CREATE PROCEDURE by_loop() LANGUAGE plpgsql AS $$
DECLARE
  last bigint := 0;
  upto bigint;
BEGIN
  LOOP
    SELECT max(id) INTO upto FROM (SELECT id FROM source WHERE id > last ORDER BY id LIMIT 10000) page;
    EXIT WHEN upto IS NULL;
    INSERT INTO looped SELECT PROJECT::uuid, * FROM source WHERE id > last AND id <= upto ON CONFLICT (id) DO NOTHING;
    COMMIT;
    last := upto;
  END LOOP;
END $$";

impl Kind {
    /// What the target has, whoever fills it.
    fn indexes(&self, name: &str) -> String {
        // A natural key gets the scope in front.
        let scope = if self.key == "id" { "" } else { "project_id, " };
        let key = format!("ALTER TABLE {name} ADD PRIMARY KEY ({scope}{})", self.key);
        let others = self
            .indexed
            .map(|column| format!("CREATE INDEX ON {name} (project_id, {column})"));
        std::iter::once(key)
            .chain(others)
            .collect::<Vec<_>>()
            .join("; ")
    }

    fn ready(&self, cluster: &Cluster, rows: usize) -> Client {
        let mut client = cluster.database(self.database);
        let Self {
            columns, key, row, ..
        } = self;
        let own = self
            .indexed
            .map(|column| format!("CREATE INDEX ON source ({column});"))
            .concat();
        client
            .batch_execute(&format!(
                "CREATE TABLE projects (id uuid PRIMARY KEY); INSERT INTO projects VALUES ({PROJECT}); \
                 CREATE TABLE source ({columns}, PRIMARY KEY ({key})); INSERT INTO source SELECT {row} FROM generate_series(1, {rows}) g; {own} \
                 SELECT mig_define('bench', 'projects', {PROJECT}); SELECT mig_add_table('bench', 'source', 'copied')"
            ))
            .expect("the table fills");
        client.batch_execute("VACUUM ANALYZE").expect("vacuums");
        client
    }

    fn floor(&self) -> String {
        format!(
            "DROP TABLE IF EXISTS floor; CREATE TABLE floor AS SELECT {PROJECT}::uuid AS project_id, * FROM source; {}",
            self.indexes("floor")
        )
    }

    fn floor_alone(&self) -> String {
        format!(
            "SET max_parallel_maintenance_workers = 0; {}; RESET max_parallel_maintenance_workers",
            self.floor()
        )
    }

    /// An empty target with its indexes.
    fn empty(&self, name: &str) -> String {
        format!(
            "DROP TABLE IF EXISTS {name}; CREATE TABLE {name} AS SELECT {PROJECT}::uuid AS project_id, * FROM source LIMIT 0; {}",
            self.indexes(name)
        )
    }
}

/// What `SELECT mig_backfill()` does, up to the last index.
fn ours(client: &mut Client, workers: u32) -> std::time::Duration {
    client
        .batch_execute(&format!(
            "SELECT mig_configure('bench', '{{\"max_workers\": {workers}}}'); SELECT mig_create(); SELECT mig_dual_write()"
        ))
        .expect("gets ready");
    let took = timed(|| {
        client
            .batch_execute("SELECT mig_backfill()")
            .expect("starts");
        let done = client.query_one("SELECT mig_wait(timeout => '60 min')", &[]);
        assert!(done.expect("the backfill runs").get::<_, bool>(0));
    });
    client
        .batch_execute("SELECT mig_rollback('bench', 'defined')")
        .expect("goes back");
    took
}

const FLOOR: &str = "CREATE TABLE AS, then the indexes";
/// As one worker is one process, also while it builds an index.
const ALONE: &str = "CREATE TABLE AS, then the indexes, without parallel helpers";
const ONE: &str = "pg_mig, one worker";
const TWO: &str = "pg_mig, two workers";
const REPACK: &str = "pg_repack of a table with these indexes";

/// Bytes of WAL that each way wrote, run by run.
type Wal = RefCell<Vec<(&'static str, f64)>>;

pub fn run(cluster: &Cluster) {
    let rows = setting("PG_MIG_BENCH_ROWS", 1_000_000);
    against_others(cluster, rows);
    for kind in &KINDS[1..] {
        against_the_floor(cluster, kind, rows / kind.one_in, kind.name);
    }
    // Once, and only when asked for: it takes a quarter of an hour.
    let large = setting("PG_MIG_BENCH_LARGE", 0);
    if large > 0 {
        against_the_floor(cluster, &KINDS[0], large, &format!("{large} rows"));
    }
}

fn against_others(cluster: &Cluster, rows: usize) {
    let kind = &KINDS[0];
    let mut client = kind.ready(cluster, rows);
    client
        .batch_execute(&format!(
            "CREATE EXTENSION IF NOT EXISTS pg_repack; CREATE TABLE packed AS SELECT {PROJECT}::uuid AS project_id, * FROM source; {}; {}",
            kind.indexes("packed"),
            LOOP.replace("PROJECT", PROJECT),
        ))
        .expect("the contenders are there");
    client.batch_execute("VACUUM ANALYZE").expect("vacuums");
    let (client, wal) = (RefCell::new(client), Wal::default());
    let (dir, database) = (cluster.host(), kind.database);
    let repack = Contender {
        name: REPACK,
        run: Box::new(|| {
            timed(|| {
                shell(&format!(
                    "$pg_bin/pg_repack -h {dir} -U postgres -t packed {database} >/dev/null 2>&1"
                ));
            })
        }),
    };
    let times = compare(
        &format!("Backfill of {rows} rows, with four indexes"),
        vec![
            by_sql(&client, &wal, FLOOR, String::new(), kind.floor()),
            by_sql(&client, &wal, ALONE, String::new(), kind.floor_alone()),
            by_us(&client, &wal, ONE, 1),
            by_us(&client, &wal, TWO, 2),
            repack,
            by_sql(
                &client,
                &wal,
                "one INSERT ... SELECT into the indexed table",
                kind.empty("at_once"),
                format!("INSERT INTO at_once SELECT {PROJECT}::uuid, * FROM source"),
            ),
            by_sql(
                &client,
                &wal,
                "a PL/pgSQL loop in batches of 10,000",
                kind.empty("looped"),
                "CALL by_loop()".into(),
            ),
        ],
    );
    for (what, one, other, limit) in [
        ("one worker, × the floor", ONE, FLOOR, 1.5),
        ("one worker, × the floor in one process", ONE, ALONE, 1.5),
        ("two workers, × the floor", TWO, FLOOR, 1.1),
        ("two workers, × pg_repack", TWO, REPACK, 1.3),
    ] {
        let what = format!("time of a backfill of {rows} rows with {what}");
        figure(&what, times.ratio(one, other), Wanted::AtMost(limit));
    }
    let of = |name| {
        let all = wal.borrow();
        let mine = all.iter().filter(|w| w.0 == name).map(|w| w.1);
        mine.skip(1).collect::<Vec<_>>()
    };
    let (mine, floor) = (of(ONE), Spread::of(&of(FLOOR)).median);
    figure(
        "WAL of a backfill, × the floor",
        Spread::of(&mine.iter().map(|w| w / floor).collect::<Vec<_>>()),
        Wanted::AtMost(1.6),
    );
}

fn against_the_floor(cluster: &Cluster, kind: &Kind, rows: usize, name: &str) {
    let (client, wal) = (RefCell::new(kind.ready(cluster, rows)), Wal::default());
    let times = compare(
        &format!("Backfill of {rows} rows: {}", kind.name),
        vec![
            by_sql(&client, &wal, FLOOR, String::new(), kind.floor()),
            by_sql(&client, &wal, ALONE, String::new(), kind.floor_alone()),
            by_us(&client, &wal, ONE, 1),
            by_us(&client, &wal, TWO, 2),
        ],
    );
    for (what, one, other, wanted) in [
        ("one worker", ONE, FLOOR, Wanted::AtMost(1.5)),
        (
            "one worker, in one process both",
            ONE,
            ALONE,
            Wanted::AtMost(1.5),
        ),
        ("two workers", TWO, FLOOR, Wanted::Told),
    ] {
        figure(
            &format!("time of a backfill, {name}, {what}, × the floor"),
            times.ratio(one, other),
            wanted,
        );
    }
    figure(
        &format!("thousand rows a second, {name}"),
        times.per_second(ONE, rows).scaled(0.001),
        Wanted::Told,
    );
}

fn by_sql<'a>(
    client: &'a RefCell<Client>,
    wal: &'a Wal,
    name: &'static str,
    before: String,
    sql: String,
) -> Contender<'a> {
    let run = move |client: &mut Client| {
        client.batch_execute(&before).expect(name);
        timed(|| client.batch_execute(&sql).expect(name))
    };
    by(client, wal, name, run)
}

fn by_us<'a>(
    client: &'a RefCell<Client>,
    wal: &'a Wal,
    name: &'static str,
    workers: u32,
) -> Contender<'a> {
    by(client, wal, name, move |client| ours(client, workers))
}

fn by<'a>(
    client: &'a RefCell<Client>,
    wal: &'a Wal,
    name: &'static str,
    run: impl Fn(&mut Client) -> std::time::Duration + 'a,
) -> Contender<'a> {
    Contender {
        name,
        run: Box::new(move || {
            let client = &mut client.borrow_mut();
            // No checkpoint in the middle for the one and not for the other: each writes whole pages after one.
            client.batch_execute("CHECKPOINT").expect("checkpoints");
            let place = |client: &mut Client| -> f64 {
                let sql = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8";
                client.query_one(sql, &[]).expect("the place").get(0)
            };
            let from = place(client);
            let took = run(client);
            wal.borrow_mut().push((name, place(client) - from));
            took
        }),
    }
}
