//! Waiting for conditions, never for time.

use crate::common::cover::{TABLES, differences};
use crate::common::patience::PATIENCE_SQL;
pub use crate::common::patience::until;
use postgres::Client;
use postgres::error::SqlState;

/// As an operator does it: where so many sessions at work leave no gap, the call is made again.
pub fn step(client: &mut Client, call: &str) {
    until(call, || match client.batch_execute(call) {
        Ok(()) => true,
        Err(e) if e.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            println!("{call}: {e:?}");
            false
        }
        Err(e) => panic!("{call}: {e:?}"),
    });
}

/// Whether there is time for everything: `make soak` asks for all cases and many rounds, `make test` for some of each kind.
pub fn is_long() -> bool {
    std::env::var_os("PG_MIG_LONG").is_some()
}

/// Until the query, of one boolean, says true (null is not true).
pub fn until_sql(client: &mut Client, query: &str) {
    until(query, || {
        let row = client.query_one(query, &[]).expect("the condition reads");
        row.get::<_, Option<bool>>(0).unwrap_or(false)
    });
}

/// The SQLSTATE, DETAIL and HINT that a statement fails with.
pub fn refused(client: &mut Client, sql: &str) -> (String, String, String) {
    let error = client.simple_query(sql).expect_err("it is refused");
    let db = error.as_db_error().expect("the server refused it");
    (
        db.code().code().to_owned(),
        db.detail().unwrap_or_default().to_owned(),
        db.hint().unwrap_or_default().to_owned(),
    )
}

/// What a query of one boolean says.
pub fn yes(client: &mut Client, query: &str) -> bool {
    client.query_one(query, &[]).expect("the query runs").get(0)
}

/// Until the job is done; an error of the job fails the test.
pub fn backfilled(client: &mut Client) {
    let wait = format!("SELECT mig_wait(timeout => '{PATIENCE_SQL}')");
    assert!(yes(client, &wait), "the job ends");
}

/// Small batches of `migration`, and none beyond `rows`: what a test does in the middle of a job finds it there, however slow the
/// machine. `at_full_speed` ends that.
pub fn go_slowly(client: &mut Client, migration: &str, rows: u64) {
    let options = format!(
        r#"{{"batch_rows": 50, "batch_target_ms": 1, "delay_ms": 10, "throttle_query": "SELECT sum(rows_done) >= {rows} FROM mig.mapping"}}"#
    );
    configure(client, migration, &options);
}

pub fn at_full_speed(client: &mut Client, migration: &str) {
    let options =
        r#"{"batch_rows": null, "batch_target_ms": null, "delay_ms": 0, "throttle_query": null}"#;
    configure(client, migration, options);
}

pub fn configure(client: &mut Client, migration: &str, options: &str) {
    let call = format!("SELECT mig_configure('{migration}', '{options}')");
    client.simple_query(&call).expect("the options are taken");
}

/// Rows compared and differences of all five tables.
pub fn all_differences(client: &mut Client) -> (i64, i64) {
    TABLES
        .iter()
        .map(|t| differences(client, *t))
        .fold((0, 0), |(r, d), (rows, found)| (r + rows, d + found))
}
