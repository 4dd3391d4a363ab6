//! What a second table costs whoever writes the first one: rows one by one, and many at once.

use crate::cluster::Cluster;
use crate::rounds::{Contender, Wanted, compare, figure, setting, timed};
use postgres::Client;
use std::cell::RefCell;
use std::time::Duration;

const DATABASE: &str = "bench_dual_write";
const PROJECT: &str = "'00000000-0000-0000-0000-000000000001'";
const COLUMNS: &str = "id, round_id, user_id, email, link, created_at";

/// What a careful team writes by hand.
const ROW_TRIGGER: &str = "CREATE FUNCTION way.mirror() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
    IF TG_OP = 'DELETE' THEN DELETE FROM way.twin t WHERE t.id = OLD.id; RETURN NULL; END IF; \
    INSERT INTO way.twin VALUES (PROJECT, NEW.id, NEW.round_id, NEW.user_id, NEW.email, NEW.link, NEW.created_at) \
      ON CONFLICT (id) DO UPDATE SET round_id = EXCLUDED.round_id, user_id = EXCLUDED.user_id, email = EXCLUDED.email, link = EXCLUDED.link, created_at = EXCLUDED.created_at; \
    RETURN NULL; END $$; \
    CREATE TRIGGER mirror AFTER INSERT OR UPDATE OR DELETE ON way.sign_ups FOR EACH ROW EXECUTE FUNCTION way.mirror()";

const STATEMENT_TRIGGER: &str = "CREATE FUNCTION way.mirror() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
    IF TG_OP = 'DELETE' THEN DELETE FROM way.twin t USING old_rows o WHERE t.id = o.id; RETURN NULL; END IF; \
    INSERT INTO way.twin SELECT PROJECT, id, round_id, user_id, email, link, created_at FROM new_rows \
      ON CONFLICT (id) DO UPDATE SET round_id = EXCLUDED.round_id, user_id = EXCLUDED.user_id, email = EXCLUDED.email, link = EXCLUDED.link, created_at = EXCLUDED.created_at; \
    RETURN NULL; END $$; \
    CREATE TRIGGER mirror_i AFTER INSERT ON way.sign_ups REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION way.mirror(); \
    CREATE TRIGGER mirror_u AFTER UPDATE ON way.sign_ups REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION way.mirror(); \
    CREATE TRIGGER mirror_d AFTER DELETE ON way.sign_ups REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION way.mirror()";

const OURS: &[&str] = &[
    "SELECT mig_define('bench', 'shared.projects', PROJECT)",
    "SELECT mig_add_table('bench', 'way.sign_ups', 'way.twin')",
    "SELECT mig_create()",
    "SELECT mig_dual_write()",
    "CALL mig_run()",
];

/// Schema of each way, how it tells itself, and what puts it in.
const WAYS: [(&str, &str, &[&str]); 5] = [
    ("none", "no second table", &[]),
    ("ours", "pg_mig", OURS),
    (
        "by_row",
        "a PL/pgSQL row trigger that upserts",
        &[ROW_TRIGGER],
    ),
    (
        "by_statement",
        "a PL/pgSQL statement trigger that upserts",
        &[STATEMENT_TRIGGER],
    ),
    ("app", "the application writes both tables", &[]),
];

fn ready(cluster: &Cluster, rows: usize) -> Client {
    let mut client = cluster.database(DATABASE);
    for (way, _, sql) in WAYS {
        let tables = include_str!("dual_write.sql").replace("way", way);
        client.batch_execute(&tables).expect("the tables are made");
        for statement in sql {
            let statement = statement
                .replace("way.", &format!("{way}."))
                .replace("PROJECT", PROJECT);
            client
                .batch_execute(&statement)
                .unwrap_or_else(|e| panic!("{statement}: {e:?}"));
        }
        insert_many(&mut client, way, rows);
    }
    client.batch_execute("VACUUM ANALYZE").expect("vacuums");
    client
}

fn insert_many(client: &mut Client, way: &str, rows: usize) {
    let mut sql = format!(
        "INSERT INTO {way}.sign_ups (round_id, user_id, email, link) SELECT 1 + g % 100, md5(g::text)::uuid, 'u' || g || '@example.org', 'https://youtu.be/' || g \
         FROM generate_series(1, {rows}) g"
    );
    if way == "app" {
        sql = format!(
            "WITH made AS ({sql} RETURNING {COLUMNS}) INSERT INTO app.twin SELECT {PROJECT}, {COLUMNS} FROM made"
        );
    }
    client
        .batch_execute(&sql)
        .unwrap_or_else(|e| panic!("{sql}: {e:?}"));
}

/// One transaction of pgbench for each way.
fn one_by_one(way: &str, what: &str, rows: usize) -> String {
    let insert = "(round_id, user_id, email, link) VALUES (:r, md5(:n::text)::uuid, 'u' || :n || '@example.org', 'https://youtu.be/' || :n)";
    // What was put in before is there to be deleted.
    let upto = if what == "delete" { 3 * rows } else { rows };
    let draw = format!("\\set n random(1, {upto})\n\\set r random(1, 100)\n");
    let statements = match (what, way) {
        ("insert", "app") => format!(
            "BEGIN;\nINSERT INTO app.sign_ups {insert} RETURNING id \\gset\nINSERT INTO app.twin (project_id, id, created_at, round_id, user_id, email, link) \
             VALUES ({PROJECT}, :id, now(), :r, md5(:n::text)::uuid, 'u' || :n || '@example.org', 'https://youtu.be/' || :n);\nCOMMIT;"
        ),
        ("insert", _) => format!("INSERT INTO {way}.sign_ups {insert};"),
        ("update", "app") => "BEGIN;\nUPDATE app.sign_ups SET link = 'https://youtu.be/' || :r WHERE id = :n;\nUPDATE app.twin SET link = 'https://youtu.be/' || :r WHERE id = :n;\nCOMMIT;".into(),
        ("update", _) => format!("UPDATE {way}.sign_ups SET link = 'https://youtu.be/' || :r WHERE id = :n;"),
        ("delete", "app") => "BEGIN;\nDELETE FROM app.sign_ups WHERE id = :n;\nDELETE FROM app.twin WHERE id = :n;\nCOMMIT;".into(),
        _ => format!("DELETE FROM {way}.sign_ups WHERE id = :n;"),
    };
    draw + &statements + "\n"
}

fn many(way: &str, what: &str, rows: usize) -> String {
    let range = format!("id > 0 AND id <= {rows}");
    match (what, way) {
        ("update", "app") => format!(
            "BEGIN; UPDATE app.sign_ups SET link = link || '!' WHERE {range}; UPDATE app.twin SET link = link || '!' WHERE {range}; COMMIT"
        ),
        _ => format!("UPDATE {way}.sign_ups SET link = link || '!' WHERE {range}"),
    }
}

/// A file of rows as COPY takes them, for the table of each way.
fn copied(client: &mut Client, way: &str, file: &str) {
    let columns = "round_id, user_id, email, link";
    let into = format!("COPY {way}.sign_ups ({columns}) FROM '{file}'");
    let sql = match way {
        "app" => format!(
            "BEGIN; CREATE TEMP TABLE taken ON COMMIT DROP AS SELECT max(id) AS id FROM app.sign_ups; {into}; \
             INSERT INTO app.twin SELECT {PROJECT}, {COLUMNS} FROM app.sign_ups WHERE id > (TABLE taken); COMMIT"
        ),
        _ => into,
    };
    client
        .batch_execute(&sql)
        .unwrap_or_else(|e| panic!("{sql}: {e:?}"));
}

/// One row a transaction: puts in first, so that there is enough to change and to delete.
pub fn single_rows(cluster: &Cluster) {
    let rows = rows();
    drop(ready(cluster, rows));
    for what in ["insert", "update", "delete"] {
        singles(cluster, what, rows);
    }
}

fn rows() -> usize {
    setting("PG_MIG_BENCH_ROWS", 1_000_000) / 5
}

/// Many rows in one statement.
pub fn many_rows(cluster: &Cluster) {
    let rows = rows();
    let client = RefCell::new(ready(cluster, rows));
    let file = format!("{}/rows.copy", cluster.host());
    let out = format!(
        "COPY (SELECT 1 + g % 100, md5(g::text)::uuid, 'u' || g || '@example.org', 'https://youtu.be/' || g FROM generate_series(1, {rows}) g) TO '{file}'"
    );
    client.borrow_mut().batch_execute(&out).expect("writes");
    bulk(
        &client,
        &format!("INSERT ... SELECT of {rows} rows"),
        |client, way| {
            insert_many(client, way, rows);
        },
    );
    bulk(&client, &format!("COPY of {rows} rows"), |client, way| {
        copied(client, way, &file);
    });
    bulk(
        &client,
        &format!("UPDATE of {} rows", rows / 4),
        |client, way| {
            let sql = many(way, "update", rows / 4);
            client.batch_execute(&sql).expect("updates");
        },
    );
}

/// One row a transaction.
fn singles(cluster: &Cluster, what: &str, rows: usize) {
    let each = rows / 10;
    let contender = |(way, name, _): (&'static str, &'static str, &[&str])| Contender {
        name,
        run: Box::new(move || {
            let script = one_by_one(way, what, rows);
            Duration::from_secs_f64(cluster.pgbench(DATABASE, &script, each))
        }),
    };
    let times = compare(
        &format!(
            "{what}, one row a transaction, pgbench with 4 clients, {} transactions",
            4 * each
        ),
        WAYS.into_iter().map(contender).collect(),
    );
    let [none, ours, by_row, _, app] = WAYS.map(|w| w.1);
    for (other, least, text) in [
        (none, 0.75, "no second table"),
        (by_row, 1.15, "a PL/pgSQL row trigger"),
        (app, 1.75, "the application writing both"),
    ] {
        figure(
            &format!("throughput of single-row {what}s, × {text}"),
            times.ratio(other, ours),
            Wanted::AtLeast(least),
        );
    }
}

fn bulk(client: &RefCell<Client>, title: &str, work: impl Fn(&mut Client, &str)) {
    let work = &work;
    let contender = |(way, name, _): (&'static str, &'static str, &[&str])| Contender {
        name,
        run: Box::new(move || timed(|| work(&mut client.borrow_mut(), way))),
    };
    let times = compare(title, WAYS.into_iter().map(contender).collect());
    figure(
        &format!("time of {title}, × no second table"),
        times.ratio(WAYS[1].1, WAYS[0].1),
        Wanted::AtMost(1.9),
    );
}
