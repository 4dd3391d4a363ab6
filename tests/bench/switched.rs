//! What mirrors cost after the switch, when both sides are written: single rows, many rows, transactions that are SERIALIZABLE, and many single
//! rows in one transaction.

use crate::cluster::Cluster;
use crate::rounds::{Contender, Spread, Wanted, compare, count, figure, setting, timed};
use postgres::Client;
use std::cell::RefCell;
use std::time::Duration;

const DATABASE: &str = "bench_switched";
const PROJECT: &str = "'00000000-0000-0000-0000-000000000001'";

/// A table that is written: its name here and in the database, and the columns and values of a new row that it has besides the others.
#[derive(Clone, Copy)]
struct Side {
    name: &'static str,
    table: &'static str,
    columns: &'static str,
    values: &'static str,
}

const SIDES: [Side; 4] = [
    Side {
        name: "no second table",
        table: "none.sign_ups",
        columns: "",
        values: "",
    },
    Side {
        name: "dual_write",
        table: "dual.sign_ups",
        columns: "",
        values: "",
    },
    Side {
        name: "switched, old side",
        table: "live.sign_ups",
        columns: "",
        values: "",
    },
    Side {
        name: "switched, new side",
        table: "live.twin",
        columns: "project_id, id, created_at, ",
        values: "'00000000-0000-0000-0000-000000000001', nextval('live.sign_ups_id_seq'), now(), ",
    },
];

impl Side {
    fn insert(self, rows: &str) -> String {
        let Self {
            table,
            columns,
            values,
            ..
        } = self;
        format!(
            "INSERT INTO {table} ({columns}round_id, user_id, email, link) SELECT {values}1 + g % 100, md5(g::text)::uuid, 'u' || g, 'https://youtu.be/' || g FROM {rows} g"
        )
    }
}

fn ready(cluster: &Cluster, rows: usize) -> Client {
    let mut client = cluster.database(DATABASE);
    for schema in ["none", "dual", "live"] {
        let tables = include_str!("dual_write.sql").replace("way", schema);
        client.batch_execute(&tables).expect("the tables are made");
    }
    for side in &SIDES[..3] {
        let sql = side.insert(&format!("generate_series(1, {rows})"));
        client.batch_execute(&sql).expect("inserts");
    }
    for (schema, switches) in [("dual", false), ("live", true)] {
        let mut steps = vec![
            format!("SELECT mig_define('{schema}', 'shared.projects', {PROJECT})"),
            format!("SELECT mig_add_table('{schema}', '{schema}.sign_ups', '{schema}.twin')"),
            format!("SELECT mig_create('{schema}')"),
            format!("SELECT mig_dual_write('{schema}')"),
            format!("CALL mig_run('{schema}')"),
        ];
        if switches {
            steps.push(format!("SELECT mig_switch('{schema}')"));
        }
        for sql in steps {
            client
                .batch_execute(&sql)
                .unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        }
    }
    client.batch_execute("VACUUM ANALYZE").expect("vacuums");
    client
}

pub fn run(cluster: &Cluster) {
    let rows = setting("PG_MIG_BENCH_ROWS", 1_000_000) / 5;
    let client = RefCell::new(ready(cluster, rows));
    for (what, sql) in [
        ("insert", "INSERT"),
        (
            "update",
            "UPDATE TABLE SET link = 'https://youtu.be/' || :r WHERE id = :n;",
        ),
        ("delete", "DELETE FROM TABLE WHERE id = :n;"),
    ] {
        single_rows(cluster, what, sql, rows);
    }
    many_rows(&client, rows / 4);
    one_transaction(&client);
    serializable(cluster);
}

fn single_rows(cluster: &Cluster, what: &str, sql: &str, rows: usize) {
    let each = rows / 10;
    let contender = |side: Side| Contender {
        name: side.name,
        run: Box::new(move || {
            let statement = match sql {
                "INSERT" => side.insert("(VALUES (:n::int))") + "(g);",
                _ => sql.replace("TABLE", side.table),
            };
            let script =
                format!("\\set n random(1, {rows})\n\\set r random(1, 100)\n{statement}\n");
            Duration::from_secs_f64(cluster.pgbench(DATABASE, &script, each))
        }),
    };
    let title = format!(
        "after the switch: {what}, one row a transaction, 4 clients, {} transactions",
        4 * each
    );
    let times = compare(&title, SIDES.into_iter().map(contender).collect());
    for side in &SIDES[1..] {
        figure(
            &format!(
                "throughput of single-row {what}s, {}, × no second table",
                side.name
            ),
            times.ratio(SIDES[0].name, side.name),
            Wanted::AtLeast(0.7),
        );
    }
}

fn many_rows(client: &RefCell<Client>, rows: usize) {
    for what in ["INSERT", "UPDATE"] {
        let contender = |side: Side| Contender {
            name: side.name,
            run: Box::new(move || {
                let sql = match what {
                    "INSERT" => side.insert(&format!("generate_series(1, {rows})")),
                    _ => format!(
                        "UPDATE {} SET link = link || '!' WHERE id <= {rows}",
                        side.table
                    ),
                };
                timed(|| client.borrow_mut().batch_execute(&sql).expect("writes"))
            }),
        };
        let title = format!("after the switch: {what} of {rows} rows");
        let times = compare(&title, SIDES.into_iter().map(contender).collect());
        for side in &SIDES[1..] {
            figure(
                &format!(
                    "time of {what} of {rows} rows, {}, × no second table",
                    side.name
                ),
                times.ratio(side.name, SIDES[0].name),
                Wanted::AtMost(1.9),
            );
        }
    }
}

/// The time of each further part must not grow.
fn one_transaction(client: &RefCell<Client>) {
    const PART: usize = 5000;
    let mut client = client.borrow_mut();
    for side in SIDES {
        let growth: Vec<f64> = (0..count())
            .map(|_| {
                client.batch_execute("BEGIN").expect("begins");
                let sql = format!(
                    "DO $$ BEGIN FOR i IN 1..{PART} LOOP {}; END LOOP; END $$",
                    side.insert("(VALUES (i))") + "(g)"
                );
                let parts: Vec<f64> = (0..4)
                    .map(|_| timed(|| client.batch_execute(&sql).expect("inserts")).as_secs_f64())
                    .collect();
                client.batch_execute("ROLLBACK").expect("ends");
                parts[3] / parts[0]
            })
            .collect();
        figure(
            &format!(
                "the last 5,000 of 20,000 single inserts in one transaction, {}, × the first 5,000",
                side.name
            ),
            Spread::of(&growth),
            Wanted::AtMost(1.5),
        );
    }
}

/// SERIALIZABLE transactions, each an insert and an update, of four clients: how many of a hundred end in 40001.
fn serializable(cluster: &Cluster) {
    const EACH: usize = 1000;
    for (rows, updates) in [(100, false), (20_000, true)] {
        let mut plain = Vec::new();
        for side in SIDES {
            let rates: Vec<f64> = (0..count())
                .map(|round| {
                    let failed: usize = std::thread::scope(|scope| {
                        let clients: Vec<_> = (0..4)
                            .map(|me| {
                                scope.spawn(move || {
                                    fail(cluster, side, (rows, updates), round * 4 + me, EACH)
                                })
                            })
                            .collect();
                        clients.into_iter().map(|c| c.join().expect("ends")).sum()
                    });
                    100.0 * failed as f64 / (4 * EACH) as f64
                })
                .collect();
            if plain.is_empty() {
                plain.clone_from(&rates);
            }
            let beyond: Vec<f64> = rates.iter().zip(&plain).map(|(r, p)| r - p).collect();
            let work = if updates {
                "INSERT and UPDATE"
            } else {
                "INSERT"
            };
            figure(
                &format!(
                    "40001 in a hundred SERIALIZABLE transactions ({work}), {}, beyond no second table",
                    side.name
                ),
                Spread::of(&beyond),
                Wanted::AtMost(1.0),
            );
        }
    }
}

fn fail(
    cluster: &Cluster,
    side: Side,
    (rows, updates): (usize, bool),
    seed: usize,
    each: usize,
) -> usize {
    let mut client = cluster.connect(DATABASE);
    let insert = side.insert("(VALUES (1))") + "(g)";
    let one = |n: usize| {
        let id = 1 + (n * 7919 + seed * 104_729) % rows;
        let update = if updates {
            format!("; UPDATE {} SET link = '{n}' WHERE id = {id}", side.table)
        } else {
            String::new()
        };
        let sql = format!("BEGIN ISOLATION LEVEL SERIALIZABLE; {insert}{update}; COMMIT");
        match client.batch_execute(&sql) {
            Ok(()) => 0,
            Err(e) => {
                assert_eq!(e.code().map(|c| c.code()), Some("40001"), "{e:?}");
                client.batch_execute("ROLLBACK").expect("ends");
                1
            }
        }
    };
    (0..each).map(one).sum()
}
