//! One runner per migration: an advisory lock, held by the session of a worker or the transaction of a step.
//! It goes with the process, so a dead runner is seen at once in pg_locks.

use crate::error::Result;
use crate::pg::spi;

/// Class of our advisory locks: "mig" in ASCII. The second key is the migration's id. The view mig.runners
/// finds the holders.
const CLASS: i32 = 0x006d_6967;
/// Of those who help the runner: they share it. The view mig.workers finds them.
const HELPERS: i32 = CLASS + 1;
/// Of the jobs that make a constraint or an index; the second key is the job's id. The view mig.jobs finds the holders.
const CHANGES: i32 = CLASS + 2;

pub fn try_for_session(migration: i32) -> Result<bool> {
    try_lock("pg_try_advisory_lock", CLASS, migration)
}

/// Nobody runs the migration's job, nor helps to, until the transaction ends.
pub fn try_for_transaction(migration: i32) -> Result<bool> {
    let sole = |class| try_lock("pg_try_advisory_xact_lock", class, migration);
    Ok(sole(CLASS)? && sole(HELPERS)?)
}

/// Beside others who help.
pub fn try_to_help(migration: i32) -> Result<bool> {
    try_lock("pg_try_advisory_lock_shared", HELPERS, migration)
}

/// Whoever makes the change, for the life of its session.
pub fn try_change(job: i64) -> Result<bool> {
    // The low half of a number that counts from 1.
    try_lock("pg_try_advisory_lock", CHANGES, job as i32)
}

fn try_lock(function: &str, class: i32, migration: i32) -> Result<bool> {
    let sql = format!("SELECT pg_catalog.{function}($1, $2)");
    Ok(spi::value(&sql, &[class.into(), migration.into()])?.unwrap_or(false))
}
