//! `up` and `down` need not undo each other: a row is judged by what was promised, one side follows the other.

use crate::common::cluster::Cluster;
use crate::wait::{backfilled, yes};
use postgres::Client;

fn all(client: &mut Client, calls: &[&str]) {
    for call in calls {
        client.batch_execute(call).expect(call);
    }
}

const TO_BACKFILLED: [&str; 3] = [
    "SELECT mig_create()",
    "SELECT mig_dual_write()",
    "SELECT mig_backfill()",
];

#[test]
fn a_column_whose_old_value_has_another_text_is_in_step_in_every_phase() {
    let cluster = Cluster::start("it_round_columns", "");
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "CREATE EXTENSION pg_mig; CREATE TABLE videos(id int PRIMARY KEY, metadata text); INSERT INTO videos VALUES (1, '{\"a\":1}'), (2, '{\"b\": 2}'); \
             SELECT mig_define('videos', options => '{\"take_names\": true, \"archive_after_days\": 0}'); \
             SELECT mig_add_column('videos', 'videos', 'metadata_new', 'jsonb', up => 'metadata::jsonb', down => 'metadata_new::text', not_null => true, replaces => 'metadata')",
        )
        .unwrap();
    all(&mut client, &TO_BACKFILLED);
    backfilled(&mut client);
    all(
        &mut client,
        &[
            "SELECT mig_assert()",
            "SELECT mig_switch()",
            "SELECT mig_assert()",
            "SELECT mig_stop()",
            "SELECT mig_assert()",
            "UPDATE videos SET metadata_new = '{\"c\": 3}' WHERE id = 2",
            "SELECT mig_assert()",
        ],
    );
    // A row that follows in neither direction is still found.
    all(
        &mut client,
        &[
            "ALTER TABLE videos DISABLE TRIGGER USER; UPDATE videos SET metadata = '{\"a\": 5}' WHERE id = 1; ALTER TABLE videos ENABLE ALWAYS TRIGGER \"~mig_1_columns\"",
        ],
    );
    let found = "SELECT count(*) = 1 FROM mig_check() WHERE check_name = 'rows out of step' AND NOT ok AND target_value = '1'";
    assert!(yes(&mut client, found));
    all(
        &mut client,
        &["UPDATE videos SET metadata_new = '{\"a\":9}' WHERE id = 1"],
    );
    let right = "SELECT ok FROM mig_check() WHERE check_name = 'rows out of step'";
    assert!(yes(&mut client, right));
}

#[test]
fn values_whose_way_back_does_not_convert_again_are_no_error_of_a_check() {
    let cluster = Cluster::start("it_round_one_way", "");
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "CREATE EXTENSION pg_mig; CREATE TABLE t(id int PRIMARY KEY, n text); INSERT INTO t VALUES (1, '5'); SELECT mig_define('t'); \
             SELECT mig_add_column('t', 't', 'm', 'int', up => 'n::int', down => 'coalesce(m::text, ''none'')', replaces => 'n')",
        )
        .unwrap();
    all(&mut client, &TO_BACKFILLED);
    backfilled(&mut client);
    all(
        &mut client,
        &[
            "SELECT mig_switch()",
            "SELECT mig_stop()",
            "UPDATE t SET m = NULL",
            "SELECT mig_assert()",
        ],
    );
}

#[test]
fn the_way_back_makes_the_new_row_what_the_mapping_says() {
    let cluster = Cluster::start("it_round_tables", "");
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "CREATE EXTENSION pg_mig; CREATE TABLE o(id int PRIMARY KEY, name text, n int); INSERT INTO o SELECT g, 'Name ' || g, g FROM generate_series(1, 500) g; \
             SELECT mig_define('o'); SELECT mig_add_table('o', 'o', 'o_new', columns => '{\"name\": {\"up\": \"lower(name)\", \"down\": \"name\"}, \"twice\": \"n * 2\"}')",
        )
        .unwrap();
    all(&mut client, &TO_BACKFILLED);
    backfilled(&mut client);
    all(
        &mut client,
        &[
            "SELECT mig_switch()",
            "UPDATE o_new SET name = 'LIVE' WHERE id = 1",
            "SELECT mig_assert()",
            "SELECT mig_stop()",
            "UPDATE o_new SET name = 'Other ' || id, n = n + 1 WHERE id % 2 = 0; UPDATE o_new SET twice = 7 WHERE id = 3; INSERT INTO o_new(id, name, n, twice) VALUES (1000, 'NEW', 5, 0)",
        ],
    );
    // One row is locked while its batch passes by, and comes alone.
    let mut other = cluster.connect("postgres");
    let mut holds = other.transaction().unwrap();
    holds
        .batch_execute("SELECT FROM o_new WHERE id = 4 FOR UPDATE")
        .unwrap();
    client.batch_execute("SELECT mig_rollback('o')").unwrap();
    let waits =
        "SELECT coalesce(waiting_for ~ 'row', false) FROM mig.progress WHERE migration = 'o'";
    crate::wait::until_sql(&mut client, waits);
    holds.commit().unwrap();
    backfilled(&mut client);
    client.batch_execute("SELECT mig_assert()").unwrap();
    let brought = "SELECT (SELECT (name, n) = ('Other 2', 3) FROM o WHERE id = 2) AND (SELECT (name, n) = ('NEW', 5) FROM o WHERE id = 1000) \
        AND (SELECT (name, n, twice) = ('other 4', 5, 10) FROM o_new WHERE id = 4) AND (SELECT (name, twice) = ('new', 10) FROM o_new WHERE id = 1000) \
        AND (SELECT name = 'Name 5' FROM o WHERE id = 5) AND (SELECT twice = 6 FROM o_new WHERE id = 3)";
    assert!(yes(&mut client, brought));
}
