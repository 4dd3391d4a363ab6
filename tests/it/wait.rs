//! Waiting for conditions, never for time.

use crate::common::cover::{TABLES, differences};
use postgres::Client;
use std::time::{Duration, Instant};

/// Until `condition` is true; panics after a minute with `what`.
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    until_within(1, what, condition);
}

pub fn until_within(minutes: u64, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60 * minutes);
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "waited {minutes} min for: {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
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
    assert!(
        yes(client, "SELECT mig_wait(timeout => '2 min')"),
        "done within two minutes"
    );
}

/// Rows compared and differences of all five tables.
pub fn all_differences(client: &mut Client) -> (i64, i64) {
    TABLES
        .iter()
        .map(|t| differences(client, *t))
        .fold((0, 0), |(r, d), (rows, found)| (r + rows, d + found))
}
