//! Keys of a column that is replaced: the new column's say the same.

use crate::common::cluster::Cluster;
use crate::wait::backfilled;

const TABLES: &str = "CREATE TABLE p (x int, y int, PRIMARY KEY (x, y)); CREATE TABLE q (x int PRIMARY KEY); INSERT INTO p VALUES (1, 1); \
    CREATE TABLE t (id int PRIMARY KEY, a int, b int, c int CONSTRAINT once_c UNIQUE DEFERRABLE INITIALLY DEFERRED, \
      d int CONSTRAINT late_d UNIQUE DEFERRABLE, \
      CONSTRAINT full_a FOREIGN KEY (a, b) REFERENCES p MATCH FULL, \
      CONSTRAINT set_a FOREIGN KEY (b, a) REFERENCES p (y, x) ON DELETE SET NULL (a) ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED, \
      CONSTRAINT late_a FOREIGN KEY (a, b) REFERENCES p DEFERRABLE); \
    INSERT INTO t VALUES (1, 1, 1, 77, 1), (2, NULL, NULL, 78, 2)";

#[test]
fn the_new_column_s_keys_say_what_the_old_one_s_say() {
    let cluster = Cluster::start("it_columns_keys", "");
    let mut client = cluster.database("columns_keys");
    client.batch_execute(TABLES).unwrap();
    client
        .batch_execute("ALTER TABLE t ADD CONSTRAINT open_c FOREIGN KEY (c) REFERENCES q NOT VALID")
        .unwrap();
    client
        .batch_execute(
            "SELECT mig_define('m'); SELECT mig_add_column('m', 't', 'big_a', 'bigint', 'a', 'big_a::int', replaces => 'a'); \
             SELECT mig_add_column('m', 't', 'big_c', 'bigint', 'c', 'big_c::int', replaces => 'c'); \
             SELECT mig_add_column('m', 't', 'big_d', 'bigint', 'd', 'big_d::int', replaces => 'd'); \
             SELECT mig_create(); SELECT mig_dual_write(); SELECT mig_backfill()",
        )
        .unwrap();
    backfilled(&mut client);
    client.batch_execute("SELECT mig_switch()").unwrap();
    let defined = "SELECT array_agg(contype::text || ' ' || convalidated || ' ' || replace(pg_get_constraintdef(oid), 'big_', '') \
         ORDER BY contype, pg_get_constraintdef(oid) COLLATE \"C\") FROM pg_constraint WHERE conrelid = 't'::regclass AND contype <> 'p' \
         AND (pg_get_constraintdef(oid) ~ 'big_') = $1";
    let [old, new] = [false, true].map(|is_new| {
        let row = client.query_one(defined, &[&is_new]).unwrap();
        row.get::<_, Vec<String>>(0)
    });
    assert_eq!(old.len(), 6, "{old:?}");
    let sorted = |mut all: Vec<String>| {
        all.sort();
        all
    };
    assert_eq!(sorted(new), sorted(old));
}
