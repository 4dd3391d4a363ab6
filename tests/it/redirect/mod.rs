//! A table is written below SQL only if SQL would write it there.

use crate::common::cluster::{Cluster, shell};
use crate::wait::{until_sql, yes};

#[test]
fn a_planner_that_sends_statements_elsewhere_is_followed() {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/redirect/redirect.c");
    let library = shell(&format!(
        "gcc -fPIC -shared -I$($pg_bin/pg_config --includedir-server) {source} -o $work/redirect.so && chmod 755 $work/redirect.so && printf %s $work/redirect.so"
    ));
    let cluster = Cluster::start(
        "it_redirect",
        &format!("shared_preload_libraries = '{library}'"),
    );
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "CREATE EXTENSION pg_mig; CREATE TABLE src (id int PRIMARY KEY, v text); INSERT INTO src SELECT g, 'old' FROM generate_series(1, 500) g; \
             CREATE TABLE dst (id int PRIMARY KEY, v text); CREATE TABLE elsewhere (LIKE dst INCLUDING ALL); \
             SELECT mig_define('m'); SELECT mig_add_table('m', 'src', 'dst'); SELECT mig_create('m'); SELECT mig_dual_write('m')",
        )
        .unwrap();
    client.batch_execute("INSERT INTO src VALUES (1000, 'new'); UPDATE src SET v = 'changed' WHERE id = 3; DELETE FROM src WHERE id = 4").unwrap();
    assert!(yes(
        &mut client,
        "SELECT count(*) = 2 AND pg_relation_size('dst') = 0 FROM elsewhere"
    ));
    // A batch goes the same way. This planner does not know ON CONFLICT, so the rows are named as errors; none is lost in silence.
    client.batch_execute("SELECT mig_backfill('m')").unwrap();
    until_sql(
        &mut client,
        "SELECT NOT EXISTS (SELECT FROM mig.job WHERE state = 'running')",
    );
    assert!(yes(
        &mut client,
        "SELECT pg_relation_size('dst') = 0 AND (SELECT count(*) FROM mig.errors) + (SELECT count(*) FROM elsewhere) >= 500"
    ));
}
