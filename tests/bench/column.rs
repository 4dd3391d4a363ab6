//! A column of another type beside the old one: filled, and kept in step.

use crate::cluster::Cluster;
use crate::rounds::{Contender, Wanted, compare, figure, setting, timed};
use postgres::Client;
use std::cell::RefCell;
use std::time::Duration;

/// The table as the application has it, with the new column still empty where a contender has no hand in making it.
fn fresh(client: &mut Client, with_column: bool) {
    let column = if with_column {
        "ALTER TABLE videos ADD COLUMN facts jsonb;"
    } else {
        ""
    };
    let gone = "SELECT mig_rollback('videos', 'defined') FROM mig.migration WHERE phase <> 'defined'; SELECT mig_drop('videos') FROM mig.migration";
    client.batch_execute(gone).expect("the last round goes");
    client
        .batch_execute(&format!(
            "DROP TABLE IF EXISTS videos; CREATE TABLE videos (LIKE template); INSERT INTO videos TABLE template; ALTER TABLE videos ADD PRIMARY KEY (id); {column}"
        ))
        .expect("the table stands");
    for sql in ["VACUUM ANALYZE videos", "CHECKPOINT"] {
        client.batch_execute(sql).expect(sql);
    }
}

fn mirrored(client: &mut Client) {
    fresh(client, false);
    client
        .batch_execute(
            "SELECT mig_define('videos'); SELECT mig_add_column('videos', 'videos', 'facts', 'jsonb', 'metadata::jsonb', 'facts::text', replaces => 'metadata'); \
             SELECT mig_create(); SELECT mig_dual_write()",
        )
        .expect("kept in step");
}

/// What everybody writes: the trigger that fills the new column.
const TRIGGER: &str = "CREATE OR REPLACE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
       IF TG_OP = 'INSERT' OR NEW.metadata IS DISTINCT FROM OLD.metadata THEN NEW.facts := NEW.metadata::jsonb; END IF; RETURN NEW; END $$; \
     CREATE TRIGGER keep BEFORE INSERT OR UPDATE ON videos FOR EACH ROW EXECUTE FUNCTION keep()";

pub fn run(cluster: &Cluster) {
    let rows = setting("PG_MIG_BENCH_COLUMN_ROWS", 500_000);
    let mut client = cluster.database("bench_column");
    client
        .batch_execute(&format!(
            "CREATE TABLE template AS SELECT g AS id, format('{{\"id\": %s, \"name\": \"video %s\", \"tags\": [\"a\", \"b\", \"c\"], \"size\": %s, \"more\": \"%s\"}}', \
               g, g, g * 7, md5(g::text)) AS metadata, md5(g::text) AS title, now() AS at FROM generate_series(1, {rows}) g; \
             CREATE PROCEDURE in_batches(size int) LANGUAGE plpgsql AS $$ DECLARE last int := 0; BEGIN \
               WHILE last < (SELECT max(id) FROM videos) LOOP \
                 UPDATE videos SET facts = metadata::jsonb WHERE id > last AND id <= last + size AND facts IS NULL; COMMIT; last := last + size; END LOOP; END $$"
        ))
        .expect("the template fills");
    let client = RefCell::new(client);
    fill(&client, rows);
    write(&client);
}

fn fill(client: &RefCell<Client>, rows: usize) {
    let (whole, ours) = ("one UPDATE of the whole table", "mig_backfill()");
    let timed_sql = |sql: &str| {
        let mut client = client.borrow_mut();
        timed(|| client.batch_execute(sql).expect("runs"))
    };
    let times = compare(
        &format!("A column text → jsonb filled, {rows} rows"),
        vec![
            Contender {
                name: whole,
                run: Box::new(|| {
                    fresh(&mut client.borrow_mut(), true);
                    timed_sql("UPDATE videos SET facts = metadata::jsonb")
                }),
            },
            Contender {
                name: ours,
                run: Box::new(|| {
                    mirrored(&mut client.borrow_mut());
                    let mut client = client.borrow_mut();
                    timed(|| {
                        client
                            .batch_execute("SELECT mig_backfill()")
                            .expect("starts");
                        let waited = client.query_one("SELECT mig_wait(timeout => '20 min')", &[]);
                        assert!(waited.expect("the backfill runs").get::<_, bool>(0));
                    })
                }),
            },
            Contender {
                name: "a trigger in PL/pgSQL, and 10,000 rows at a time by key",
                run: Box::new(|| {
                    fresh(&mut client.borrow_mut(), true);
                    client
                        .borrow_mut()
                        .batch_execute(TRIGGER)
                        .expect("the trigger stands");
                    timed_sql("CALL in_batches(10000)")
                }),
            },
        ],
    );
    figure(
        &format!("column text → jsonb, {rows} rows, × one UPDATE of the whole table"),
        times.ratio(ours, whole),
        Wanted::AtMost(1.5),
    );
}

/// How the column is kept, before the rows that are measured are written.
fn write(client: &RefCell<Client>) {
    type Prepare = fn(&mut Client);
    let ways: [(&'static str, Prepare); 3] = [
        ("no second column", |c| fresh(c, false)),
        ("mig_dual_write()", mirrored),
        ("a trigger in PL/pgSQL", |c| {
            fresh(c, true);
            c.batch_execute(TRIGGER).expect("the trigger stands");
        }),
    ];
    for (title, sql) in [
        (
            "INSERT of 100,000 rows",
            "INSERT INTO videos (id, metadata, title, at) SELECT id + 10000000, metadata, title, at FROM template LIMIT 100000",
        ),
        (
            "UPDATE of the old column in 50,000 rows",
            "UPDATE videos SET metadata = '{\"new\": ' || id || '}' WHERE id <= 50000",
        ),
        (
            "UPDATE of another column in 50,000 rows",
            "UPDATE videos SET title = 'new' WHERE id <= 50000",
        ),
    ] {
        let contender = |(name, prepare): &(&'static str, Prepare)| {
            let prepare = *prepare;
            Contender {
                name,
                run: Box::new(move || -> Duration {
                    let mut client = client.borrow_mut();
                    prepare(&mut client);
                    timed(|| client.batch_execute(sql).expect("runs"))
                }),
            }
        };
        compare(title, ways.iter().map(contender).collect());
    }
}
