//! Exclusion constraints move with their table, within the scope, and hold there from the start.

use crate::common::cluster::Cluster;
use crate::wait::{backfilled, refused, yes};
use postgres::Client;

const MINE: &str = "00000000-0000-0000-0000-000000000001";

fn start(name: &'static str, before: &str) -> (Cluster, Client) {
    let cluster = Cluster::start(name, "");
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(&format!(
            "CREATE EXTENSION pg_mig; {before}; CREATE TABLE projects(id uuid PRIMARY KEY); INSERT INTO projects VALUES ('{MINE}'), (gen_random_uuid()); \
             CREATE TABLE b(id int PRIMARY KEY, room int, during int4range, off boolean NOT NULL DEFAULT false, a int, z int, \
               CONSTRAINT whole EXCLUDE USING gist (during WITH &&) WHERE (NOT off), \
               CONSTRAINT made EXCLUDE USING gist (int4range(a, z) WITH &&) DEFERRABLE); \
             COMMENT ON CONSTRAINT whole ON b IS 'one at a time'; \
             INSERT INTO b SELECT g, g % 3, int4range(g * 10, g * 10 + 5), false, g * 10, g * 10 + 5 FROM generate_series(1, 300) g"
        ))
        .unwrap();
    (cluster, client)
}

fn definitions(client: &mut Client) -> Vec<String> {
    let sql = "SELECT pg_get_constraintdef(oid) || coalesce(' -- ' || obj_description(oid, 'pg_constraint'), '') FROM pg_constraint \
        WHERE conrelid = 'b_new'::regclass AND contype = 'x' ORDER BY 1";
    let rows = client.query(sql, &[]).unwrap();
    rows.iter().map(|r| r.get(0)).collect()
}

fn findings(client: &mut Client) -> Vec<String> {
    let sql = "SELECT detail || coalesce(' ' || hint, '') FROM mig_preflight() WHERE check_name = 'exclusion constraint' ORDER BY 1";
    let rows = client.query(sql, &[]).unwrap();
    rows.iter().map(|r| r.get(0)).collect()
}

/// What the old table takes, the new one takes too, in its order.
const WRITES: [&str; 5] = [
    "BEGIN; UPDATE b SET during = 'empty', a = z WHERE id = 2; UPDATE b SET during = int4range(20, 25) WHERE id = 3; COMMIT",
    "UPDATE b SET during = int4range(lower(during) + 5000, upper(during) + 5000) WHERE NOT isempty(during)",
    "UPDATE b SET a = a + 3, z = z + 3 WHERE a < z",
    "UPDATE b SET off = true WHERE id = 9; INSERT INTO b SELECT 1000, 1, during, false, 0, 0 FROM b WHERE id = 9",
    "DELETE FROM b WHERE id = 10; INSERT INTO b VALUES (10, 1, int4range(5100, 5105), false, 0, 0)",
];

fn live(client: &mut Client) {
    let at_once = |client: &mut Client| {
        for sql in WRITES {
            client.batch_execute(sql).expect(sql);
        }
        client
            .batch_execute("DELETE FROM b; INSERT INTO b SELECT g, g % 3, int4range(g * 10, g * 10 + 5), false, g * 10, g * 10 + 5 FROM generate_series(1, 300) g")
            .unwrap();
    };
    client.batch_execute("SELECT mig_dual_write()").unwrap();
    at_once(client);
    client.batch_execute("SELECT mig_backfill()").unwrap();
    backfilled(client);
    client.batch_execute("SELECT mig_assert()").unwrap();
    at_once(client);
    client
        .batch_execute("SELECT mig_assert(); SELECT mig_switch()")
        .unwrap();
    at_once(client);
    client.batch_execute("SELECT mig_assert()").unwrap();
}

#[test]
fn they_hold_within_each_scope() {
    let (_cluster, mut client) = start("it_excl_scope", "CREATE EXTENSION btree_gist");
    client
        .batch_execute(&format!(
            "SELECT mig_define('b', 'projects', '{MINE}'); SELECT mig_add_table('b', 'b', 'b_new')"
        ))
        .unwrap();
    assert_eq!(findings(&mut client), Vec::<String>::new());
    client.batch_execute("SELECT mig_create()").unwrap();
    assert_eq!(
        definitions(&mut client),
        [
            "EXCLUDE USING gist (project_id WITH =, during WITH &&) WHERE ((NOT off)) -- one at a time",
            "EXCLUDE USING gist (project_id WITH =, int4range(a, z) WITH &&) DEFERRABLE INITIALLY DEFERRED",
        ]
    );
    live(&mut client);
    client
        .batch_execute("INSERT INTO b_new SELECT (SELECT id FROM projects WHERE id <> project_id), id + 5000, room, during, off, a, z FROM b_new")
        .unwrap();
    let again = format!(
        "INSERT INTO b_new SELECT '{MINE}', 9999, room, during, off, 0, 0 FROM b WHERE id = 1"
    );
    assert_eq!(refused(&mut client, &again).0, "23P01");
    client
        .batch_execute("SELECT mig_assert(); ALTER TABLE b_new DROP CONSTRAINT b_new_during_excl")
        .unwrap();
    let gone = "SELECT target_value LIKE 'lacks b_new_during_excl exclude using gist (project_id with %' FROM mig_check() WHERE check_name = 'exclusion constraints' AND NOT ok";
    assert!(yes(&mut client, gone));
}

#[test]
fn without_an_operator_class_for_the_scope_they_hold_for_its_rows() {
    let (_cluster, mut client) = start("it_excl_limited", "");
    client
        .batch_execute(&format!(
            "SELECT mig_define('b', 'projects', '{MINE}'); SELECT mig_add_table('b', 'b', 'b_new')"
        ))
        .unwrap();
    let found = findings(&mut client);
    assert!(
        found.len() == 2
            && found
                .iter()
                .all(|f| f.contains("CREATE EXTENSION btree_gist;")),
        "{found:?}"
    );
    client.batch_execute("SELECT mig_create()").unwrap();
    let made = definitions(&mut client);
    assert!(
        made[0].starts_with(&format!("EXCLUDE USING gist (during WITH &&) WHERE (((project_id = '{MINE}'::uuid) AND (NOT off)))")),
        "{made:?}"
    );
    live(&mut client);
    client
        .batch_execute("INSERT INTO b_new SELECT (SELECT id FROM projects WHERE id <> project_id), id + 5000, room, during, off, a, z FROM b_new; SELECT mig_assert()")
        .unwrap();
}

#[test]
fn a_copy_has_them_as_they_are_and_one_that_cannot_be_carried_is_named() {
    let (_cluster, mut client) = start("it_excl_plain", "");
    client
        .batch_execute("SELECT mig_define('b'); SELECT mig_add_table('b', 'b', 'b_new', columns => '{\"span\": \"during\", \"during\": null}')")
        .unwrap();
    let found = findings(&mut client);
    assert!(
        found.len() == 2 && found.iter().all(|f| f.contains("is not carried over")),
        "{found:?}"
    );
    client
        .batch_execute(
            "SELECT mig_drop('b'); SELECT mig_define('b'); SELECT mig_add_table('b', 'b', 'b_new')",
        )
        .unwrap();
    client.batch_execute("SELECT mig_create()").unwrap();
    assert_eq!(
        definitions(&mut client),
        [
            "EXCLUDE USING gist (during WITH &&) WHERE ((NOT off)) -- one at a time",
            "EXCLUDE USING gist (int4range(a, z) WITH &&) DEFERRABLE INITIALLY DEFERRED",
        ]
    );
    live(&mut client);
}

#[test]
fn a_row_that_one_refuses_is_listed_and_comes_once_it_is_mended() {
    let (_cluster, mut client) = start("it_excl_pending", "CREATE EXTENSION btree_gist");
    client
        .batch_execute(&format!(
            "CREATE TABLE b_new(project_id uuid NOT NULL, id int PRIMARY KEY, room int, during int4range, off boolean NOT NULL, a int, z int); \
             SELECT mig_define('b', 'projects', '{MINE}'); SELECT mig_add_table('b', 'b', 'b_new'); SELECT mig_create(); \
             ALTER TABLE b_new ADD EXCLUDE USING gist (room WITH =, during WITH &&); UPDATE b SET off = true, during = int4range(30, 35), room = 1 WHERE id IN (7, 8); \
             ALTER TABLE b_new DROP CONSTRAINT b_new_room_during_excl; SELECT mig_dual_write(); \
             ALTER TABLE b_new ADD EXCLUDE USING gist (room WITH =, during WITH &&); SELECT mig_backfill()"
        ))
        .unwrap();
    let failed = refused(&mut client, "SELECT mig_wait(timeout => '5 min')");
    assert_eq!(failed.0, "55000", "{failed:?}");
    assert!(yes(
        &mut client,
        "SELECT count(*) = 1 AND bool_and(sqlstate = '23P01') FROM mig.errors"
    ));
    client
        .batch_execute("UPDATE b SET during = NULL WHERE id IN (7, 8); SELECT mig_backfill()")
        .unwrap();
    backfilled(&mut client);
    // The constraint itself came by hand, which the check tells.
    let rows = "SELECT bool_and(ok) FROM mig_check() WHERE check_name <> 'exclusion constraints'";
    assert!(yes(&mut client, rows));
}
