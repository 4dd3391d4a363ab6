//! One runner per migration: an advisory lock, held by the session of a worker or the transaction of a step.
//! It goes with the process, so a dead runner is seen at once in pg_locks.

use crate::error::Result;
use crate::pg::spi;

/// Class of our advisory locks: "mig" in ASCII. The second key is the migration's id. The view mig.runners
/// finds the holders.
const CLASS: i32 = 0x006d_6967;

pub fn try_for_session(migration: i32) -> Result<bool> {
    try_lock("SELECT pg_catalog.pg_try_advisory_lock($1, $2)", migration)
}

pub fn try_for_transaction(migration: i32) -> Result<bool> {
    try_lock(
        "SELECT pg_catalog.pg_try_advisory_xact_lock($1, $2)",
        migration,
    )
}

fn try_lock(sql: &str, migration: i32) -> Result<bool> {
    Ok(spi::value(sql, &[CLASS.into(), migration.into()])?.unwrap_or(false))
}
