//! Leaves of partitioned tables, as sources and as targets: written through their parents, attached and detached in mid-run.

use super::start;
use crate::wait::{backfilled, refused, until, yes};
use postgres::Client;

fn same(client: &mut Client, old: &str, new: &str) {
    let sql = format!(
        "SELECT count(*) = 0 FROM (SELECT id, v FROM {old}) o FULL JOIN (SELECT id, v FROM {new}) n USING (id, v) WHERE o.id IS NULL OR n.id IS NULL"
    );
    assert!(yes(client, &sql), "{old} and {new}");
}

fn step(client: &mut Client, call: &str) {
    until(call, || client.batch_execute(call).is_ok());
}

#[test]
fn a_leaf_is_a_source() {
    let (_cluster, mut client) = start("it_leaf_source");
    client
        .batch_execute(
            "CREATE TABLE whole (id int, region text, v text, PRIMARY KEY (id, region)) PARTITION BY LIST (region); \
             CREATE TABLE us PARTITION OF whole FOR VALUES IN ('us'); CREATE TABLE eu PARTITION OF whole FOR VALUES IN ('eu'); \
             INSERT INTO whole SELECT g, CASE WHEN g % 2 = 0 THEN 'eu' ELSE 'us' END, 'v' FROM generate_series(1, 100) g; \
             SELECT mig_define('m', options => '{\"archive_after_days\": 0, \"drop_after_days\": 0}'); SELECT mig_add_table('m', 'eu', 'eu_new')",
        )
        .unwrap();
    let write = "UPDATE whole SET v = v || 'w' WHERE id < 10; INSERT INTO whole VALUES (1000, 'eu', 'new'), (1001, 'us', 'new'); \
                 UPDATE whole SET region = 'us' WHERE id = 4; UPDATE whole SET region = 'eu' WHERE id = 5; DELETE FROM whole WHERE id IN (1000, 1001, 8); \
                 UPDATE whole SET region = CASE WHEN id = 4 THEN 'eu' ELSE 'us' END WHERE id IN (4, 5); INSERT INTO whole VALUES (8, 'eu', 'again')";
    for call in ["SELECT mig_create('m')", "SELECT mig_dual_write('m')"] {
        client.batch_execute(call).unwrap();
    }
    client.batch_execute(write).unwrap();
    client
        .batch_execute("ALTER TABLE whole DETACH PARTITION eu; UPDATE eu SET v = 'alone' WHERE id = 2; ALTER TABLE whole ATTACH PARTITION eu FOR VALUES IN ('eu')")
        .unwrap();
    client.batch_execute(write).unwrap();
    while yes(&mut client, "SELECT mig_step('m', 10000) > 0") {}
    same(&mut client, "eu", "eu_new");
    client.batch_execute("SELECT mig_assert('m')").unwrap();
    step(&mut client, "SELECT mig_switch('m')");
    client
        .batch_execute("ALTER TABLE whole DETACH PARTITION eu; UPDATE eu_new SET v = 'side' WHERE id = 6; ALTER TABLE whole ATTACH PARTITION eu FOR VALUES IN ('eu')")
        .unwrap();
    client.batch_execute(write).unwrap();
    client
        .batch_execute("UPDATE eu_new SET v = 'n' WHERE id = 10; DELETE FROM eu_new WHERE id = 12; INSERT INTO eu_new VALUES (12, 'eu', 'back')")
        .unwrap();
    same(&mut client, "eu", "eu_new");
    // A row that belongs to no leaf here cannot come: the old side says so.
    assert_eq!(
        refused(&mut client, "INSERT INTO eu_new VALUES (5000, 'us', 'no')").0,
        "23514"
    );
    client.batch_execute("BEGIN; TRUNCATE whole").unwrap();
    assert!(yes(&mut client, "SELECT count(*) = 0 FROM eu_new"));
    client
        .batch_execute("ROLLBACK; SELECT mig_assert('m')")
        .unwrap();
    step(&mut client, "SELECT mig_stop('m')");
    for sql in [
        "UPDATE whole SET v = 'x' WHERE id = 2",
        "INSERT INTO whole VALUES (2000, 'eu', 'x')",
        "UPDATE whole SET region = 'eu' WHERE id = 5",
        "DELETE FROM whole WHERE id = 2",
        "TRUNCATE whole",
    ] {
        assert_eq!(refused(&mut client, sql).0, "55000", "{sql}");
    }
    client
        .batch_execute("UPDATE whole SET v = 'x' WHERE id = 1; UPDATE eu_new SET v = 'only here' WHERE id = 2; SELECT mig_rollback('m')")
        .unwrap();
    backfilled(&mut client);
    assert!(yes(
        &mut client,
        "SELECT phase = 'switched' FROM mig_status('m')"
    ));
    same(&mut client, "eu", "eu_new");
    client.batch_execute(write).unwrap();
    client.batch_execute("SELECT mig_assert('m')").unwrap();
    step(&mut client, "SELECT mig_stop('m')");
    client
        .batch_execute("ALTER TABLE whole DETACH PARTITION eu; SELECT mig_archive('m'); SELECT mig_drop('m', archives => true)")
        .unwrap();
    assert!(yes(
        &mut client,
        "SELECT to_regclass('eu') IS NULL AND to_regclass('eu_archive') IS NULL AND count(*) = 50 FROM eu_new"
    ));
}

#[test]
fn a_leaf_is_a_target() {
    let (_cluster, mut client) = start("it_leaf_target");
    client
        .batch_execute(
            "CREATE TABLE projects (id int PRIMARY KEY); INSERT INTO projects VALUES (1), (2); \
             CREATE TABLE items (id int PRIMARY KEY, v text); INSERT INTO items SELECT g, 'v' FROM generate_series(1, 100) g; \
             CREATE TABLE all_items (project_id int, id int, v text, PRIMARY KEY (project_id, id)) PARTITION BY LIST (project_id); \
             CREATE TABLE items_1 PARTITION OF all_items FOR VALUES IN (1); CREATE TABLE items_2 PARTITION OF all_items FOR VALUES IN (2); \
             INSERT INTO all_items VALUES (2, 1, 'other'); \
             SELECT mig_define('m', 'projects', '1'); SELECT mig_add_table('m', 'items', 'items_1', target_key => '[\"project_id\", \"id\"]')",
        )
        .unwrap();
    let write = "UPDATE items SET v = v || 'w' WHERE id < 10; INSERT INTO items VALUES (1000, 'new'); UPDATE items SET id = 1001 WHERE id = 1000; DELETE FROM items WHERE id = 1001";
    for call in [
        "SELECT mig_create('m')",
        "SELECT mig_dual_write('m')",
        write,
    ] {
        client.batch_execute(call).unwrap();
    }
    client
        .batch_execute("ALTER TABLE all_items DETACH PARTITION items_1; UPDATE items SET v = 'apart' WHERE id = 2; ALTER TABLE all_items ATTACH PARTITION items_1 FOR VALUES IN (1)")
        .unwrap();
    while yes(&mut client, "SELECT mig_step('m', 10000) > 0") {}
    client.batch_execute(write).unwrap();
    same(&mut client, "items", "items_1");
    client.batch_execute("SELECT mig_assert('m')").unwrap();
    step(&mut client, "SELECT mig_switch('m')");
    client.batch_execute(write).unwrap();
    client
        .batch_execute(
            "UPDATE all_items SET v = 'through the parent' WHERE id < 5; INSERT INTO all_items VALUES (1, 2000, 'n'); DELETE FROM all_items WHERE project_id = 1 AND id = 7; \
             UPDATE all_items SET project_id = 2 WHERE id = 9; UPDATE all_items SET project_id = 1 WHERE id = 9; UPDATE all_items SET project_id = 2 WHERE id = 11",
        )
        .unwrap();
    same(&mut client, "items", "items_1");
    assert!(yes(
        &mut client,
        "SELECT count(*) = 0 FROM items WHERE id IN (7, 11)"
    ));
    client.batch_execute("SELECT mig_assert('m')").unwrap();
    step(&mut client, "SELECT mig_stop('m')");
    client
        .batch_execute(
            "UPDATE all_items SET v = 'only here' WHERE id = 20; SELECT mig_rollback('m')",
        )
        .unwrap();
    backfilled(&mut client);
    same(&mut client, "items", "items_1");
    assert!(yes(
        &mut client,
        "SELECT phase = 'switched' FROM mig_status('m')"
    ));
    client
        .batch_execute("SELECT mig_rollback('m', 'defined'); SELECT mig_drop('m')")
        .unwrap();
    assert!(yes(
        &mut client,
        "SELECT count(*) = 2 AND bool_and(project_id = 2) FROM all_items"
    ));
}
