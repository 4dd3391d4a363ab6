//! Proof: whatever is wrong is named, nothing is named that is not, and what is data is repaired, beside an application that
//! never rests.

mod damage;
mod false_proof;
mod job;
mod live;
mod repair;

use postgres::Client;
use std::collections::BTreeSet;

/// Names of the checks that are not ok, without those that are only pending.
pub fn failed(client: &mut Client, call: &str) -> BTreeSet<String> {
    let sql = format!("SELECT DISTINCT check_name FROM {call} WHERE NOT ok");
    let rows = client.query(&sql, &[]).expect("the check runs");
    rows.iter().map(|r| r.get(0)).collect()
}

/// Every line that is not ok, as text.
pub fn doubts(client: &mut Client) -> Vec<String> {
    let sql = "SELECT format('%s: %s: %s / %s: %s', source, check_name, source_value, target_value, ok) FROM mig_check() WHERE ok IS NOT TRUE";
    let rows = client.query(sql, &[]).expect("the check runs");
    rows.iter().map(|r| r.get(0)).collect()
}

/// Runs `sql` with our triggers on `tables` off, and on again. A check sees that, too.
pub fn behind_the_mirror(client: &mut Client, tables: &str, sql: &str) {
    let word = |w: &str| {
        format!(
            "DO $$ DECLARE t record; BEGIN FOR t IN SELECT tgrelid::regclass AS r, tgname AS n FROM pg_trigger \
             WHERE tgrelid = ANY ('{{{tables}}}'::regclass[]) AND tgname ~ '^!mig_' LOOP EXECUTE format('ALTER TABLE %s {w} TRIGGER %I', t.r, t.n); END LOOP; END $$"
        )
    };
    // In one transaction: nobody else writes them while the mirror is off.
    let (off, on) = (word("DISABLE"), word("ENABLE ALWAYS"));
    client
        .batch_execute(&format!(
            "BEGIN; {off}; {sql}; SET CONSTRAINTS ALL IMMEDIATE; {on}; COMMIT"
        ))
        .unwrap_or_else(|e| panic!("{sql}: {e:?}"));
}

pub fn count(client: &mut Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).expect("the query runs").get(0)
}
