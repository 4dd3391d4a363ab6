//! Old and new versions side by side, through all phases and back from each.

use super::{TABLE, WRONG, count};
use crate::app_instances::{Crew, Writes};
use crate::common::cluster::Cluster;
use crate::common::writers::Random;
use crate::wait::{backfilled, step, yes};
use postgres::Client;

fn statement(new: bool, _me: u64, _n: u64, random: &mut Random) -> String {
    let (id, n) = (1 + random.below(3000), random.below(1_000_000));
    let flag = ["NULL", "true", "false"][usize::try_from(random.below(3)).unwrap_or(0)];
    match (random.below(7), new) {
        (0, false) => {
            format!("INSERT INTO videos (metadata, urgent) VALUES ('{{\"n\": {n}}}', {flag})")
        }
        (0, true) => format!(
            "INSERT INTO videos (facts, priority) VALUES ('{{\"n\": {n}}}', {})",
            random.below(3)
        ),
        (1, _) => "INSERT INTO videos (title) VALUES ('of no interest')".into(),
        (2, false) => format!("UPDATE videos SET metadata = '{{\"n\": {n}}}' WHERE id = {id}"),
        (2, true) => format!("UPDATE videos SET facts = '{{\"n\": {n}}}' WHERE id = {id}"),
        (3, false) => format!("UPDATE videos SET urgent = {flag} WHERE id = {id}"),
        (3, true) => format!(
            "UPDATE videos SET priority = {} WHERE id = {id}",
            random.below(3)
        ),
        (4, false) => format!(
            "INSERT INTO videos (id, metadata) VALUES ({id}, '{{\"m\": {n}}}') ON CONFLICT (id) DO UPDATE SET metadata = EXCLUDED.metadata, urgent = EXCLUDED.urgent"
        ),
        (4, true) => format!(
            "INSERT INTO videos (id, facts) VALUES ({id}, '{{\"m\": {n}}}') ON CONFLICT (id) DO UPDATE SET facts = EXCLUDED.facts, priority = EXCLUDED.priority"
        ),
        (5, _) => format!("UPDATE videos SET title = 'title {n}' WHERE id = {id}"),
        _ => format!("DELETE FROM videos WHERE id = {id} AND id % 7 = 0"),
    }
}

/// Every row that is filled is right, whoever writes; after the backfill, every row.
fn right(client: &mut Client, all: bool) {
    let sql = if all {
        WRONG.to_owned()
    } else {
        format!("{WRONG} AND facts IS NOT NULL AND priority IS NOT NULL")
            .replace("WHERE ", "WHERE (")
            .replace(" AND facts IS NOT NULL", ") AND facts IS NOT NULL")
    };
    assert_eq!(count(client, &sql), 0, "{sql}");
}

fn forth(client: &mut Client) {
    step(client, "SELECT mig_create()");
    step(client, "SELECT mig_dual_write()");
    right(client, false);
    client.batch_execute("SELECT mig_backfill()").unwrap();
    right(client, false);
    backfilled(client);
    right(client, true);
    client.batch_execute("SELECT mig_assert()").unwrap();
}

#[test]
fn no_value_is_lost_while_versions_take_turns_and_there_is_a_way_back_from_everywhere() {
    let cluster = Cluster::start("it_columns_live", "deadlock_timeout = 200ms");
    let mut client = cluster.database("live");
    client.batch_execute(TABLE).unwrap();
    let crew = Crew::start(&cluster, "live", statement);
    forth(&mut client);
    crew.write(Writes::Both);
    right(&mut client, true);
    step(&mut client, "SELECT mig_switch()");
    crew.some_more();
    right(&mut client, true);
    // Back, and forth again.
    step(&mut client, "SELECT mig_rollback('videos')");
    crew.some_more();
    right(&mut client, true);
    step(&mut client, "SELECT mig_switch()");
    crew.write(Writes::New);
    step(&mut client, "SELECT mig_stop()");
    crew.some_more();
    right(&mut client, true);
    step(&mut client, "SELECT mig_rollback('videos')");
    crew.write(Writes::Both);
    right(&mut client, true);
    client.batch_execute("SELECT mig_assert()").unwrap();
    crew.write(Writes::New);
    step(&mut client, "SELECT mig_stop()");
    step(&mut client, "SELECT mig_archive('videos', force => true)");
    crew.some_more();
    assert!(yes(
        &mut client,
        "SELECT string_agg(attname, ' ' ORDER BY attnum) = 'id metadata_archive urgent_archive title touched facts priority' \
         FROM pg_attribute WHERE attrelid = 'videos'::regclass AND attnum > 0 AND NOT attisdropped"
    ));
    step(&mut client, "SELECT mig_rollback('videos', 'switched')");
    crew.write(Writes::Both);
    right(&mut client, true);
    crew.write(Writes::Old);
    step(&mut client, "SELECT mig_rollback('videos', 'created')");
    crew.some_more();
    step(&mut client, "SELECT mig_rollback('videos')");
    crew.some_more();
    // All the way to the end.
    forth(&mut client);
    step(&mut client, "SELECT mig_switch()");
    crew.write(Writes::New);
    step(&mut client, "SELECT mig_stop()");
    step(&mut client, "SELECT mig_archive('videos', force => true)");
    step(
        &mut client,
        "SELECT mig_drop('videos', archives => true, force => true)",
    );
    crew.some_more();
    let errors = crew.stop();
    println!("{errors:?}");
    assert!(
        errors.keys().all(|k| k == "40001" || k == "40P01"),
        "{errors:?}"
    );
    assert!(yes(
        &mut client,
        "SELECT string_agg(attname || CASE WHEN attnotnull THEN '!' ELSE '' END, ' ' ORDER BY attnum) = 'id! title touched! facts! priority' \
         FROM pg_attribute WHERE attrelid = 'videos'::regclass AND attnum > 0 AND NOT attisdropped"
    ));
    assert_eq!(
        count(
            &mut client,
            "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'videos'::regclass AND NOT tgisinternal"
        ),
        1
    );
}
