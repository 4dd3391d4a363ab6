//! The server dies in the middle, and the job goes on where it was.

use super::{WRONG, count, table};
use crate::common::cluster::Cluster;
use crate::wait::{backfilled, until_sql, yes};

/// Never to the end.
const SLOWLY: &str = "SELECT mig_configure('videos', '{\"delay_ms\": 30, \"throttle_query\": \"SELECT next_block > 20 FROM mig.new_column WHERE id = 1\"}'); \
    SELECT mig_create(); SELECT mig_dual_write(); SELECT mig_backfill()";

#[test]
fn after_a_crash_the_backfill_goes_on_at_its_checkpoint() {
    let cluster = Cluster::start("it_columns_crash", "fsync = on");
    let mut client = table(&cluster, "crash");
    client.batch_execute(SLOWLY).unwrap();
    until_sql(
        &mut client,
        "SELECT next_block > 5 AND NOT filled FROM mig.new_column WHERE id = 1",
    );
    cluster.kill();
    cluster.start_again();
    let mut client = cluster.connect_again("crash");
    let filled = count(
        &mut client,
        "SELECT count(*) FROM videos WHERE facts IS NOT NULL",
    );
    assert!((1..3000).contains(&filled), "{filled}");
    assert!(yes(
        &mut client,
        "SELECT next_block > 5 FROM mig.new_column WHERE id = 1"
    ));
    client
        .batch_execute("UPDATE videos SET metadata = '{\"after\": 1}' WHERE id IN (1, 3000); SELECT mig_configure('videos', '{\"delay_ms\": 0, \"throttle_query\": null}'); SELECT mig_backfill()")
        .unwrap();
    backfilled(&mut client);
    assert_eq!(count(&mut client, WRONG), 0);
    client
        .batch_execute("SELECT mig_switch(); SELECT mig_assert()")
        .unwrap();
}
