//! Rows of any size go the whole way: the canary, the mirrors, a batch, the check, the diff, the repair, and the way back.

use crate::common::cluster::Cluster;
use crate::wait::{backfilled, is_long, yes};
use postgres::Client;

fn equal(client: &mut Client) {
    let sql = "SELECT count(*) = 0 FROM (SELECT id, note, md5(b) AS b FROM src) s FULL JOIN (SELECT id, note, md5(b) AS b FROM dst) d USING (id, note, b) \
               WHERE s.id IS NULL OR d.id IS NULL";
    assert!(yes(client, sql));
}

#[test]
fn a_row_of_any_size_goes_the_whole_way() {
    let cluster = Cluster::start("it_large_rows", "max_wal_size = '512MB'");
    let mut client = cluster.connect("postgres");
    // As text it is too long for a string in a document of PostgreSQL, 256 MB.
    let words = if is_long() { 50_000_000 } else { 36_000_000 };
    client
        .batch_execute(&format!(
            "CREATE EXTENSION pg_mig; CREATE TABLE src (id int PRIMARY KEY, note text, b bytea); ALTER TABLE src ALTER b SET STORAGE EXTERNAL; \
             INSERT INTO src SELECT 1, 'large', decode(repeat('00ff10ab', {words}), 'hex'); \
             SELECT mig_define('m'); SELECT mig_add_table('m', 'src', 'dst'); SELECT mig_create('m'); SELECT mig_dual_write('m'); \
             SELECT mig_backfill('m')"
        ))
        .unwrap();
    backfilled(&mut client);
    client
        .batch_execute("UPDATE src SET note = 'mirrored'; SELECT mig_assert('m'); SELECT mig_switch('m'); UPDATE dst SET b = b || '\\x01'")
        .unwrap();
    equal(&mut client);
    client
        .batch_execute("ALTER TABLE src DISABLE TRIGGER USER; UPDATE src SET b = b || '\\x02'")
        .unwrap();
    assert!(yes(
        &mut client,
        "SELECT bool_and(source_row->>'b' ~ '^text of [0-9]+ bytes, md5' AND source_row->'b' <> target_row->'b' AND source_row->'note' = target_row->'note') \
         FROM mig_diff('m', 'src')"
    ));
    client
        .batch_execute("SELECT mig_repair('m', dry_run => false); SELECT mig_switch('m')")
        .unwrap();
    equal(&mut client);
    client
        .batch_execute(
            "SELECT mig_stop('m'); UPDATE dst SET b = b || '\\x03'; SELECT mig_rollback('m')",
        )
        .unwrap();
    backfilled(&mut client);
    equal(&mut client);
    assert!(yes(
        &mut client,
        "SELECT phase = 'switched' AND state = 'ok' FROM mig_status('m')"
    ));
}
