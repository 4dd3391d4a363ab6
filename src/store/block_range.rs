//! `mig.share`: the blocks of one table, split into shares so that several workers copy them in parallel. A process locks a
//! share's row for one transaction and copies its next slice. No process owns a share for longer, so a dead worker leaves
//! nothing behind.

use crate::error::Result;
use crate::pg::state;
use serde::Deserialize;

/// Blocks of a share that are still to be copied, and the row count of the blocks before them.
#[derive(Debug, Deserialize)]
pub struct BlockShare {
    pub id: i64,
    pub start_block: i64,
    pub next_block: i64,
    pub end_block: i64,
    pub rows_done: i64,
    pub batch_rows: Option<i32>,
}

/// Splits blocks into shares of about equal size.
pub fn deal(mapping: i32, from: i64, to: i64, shares: i64) -> Result<()> {
    state::run(
        "INSERT INTO mig.share (mapping, start_block, next_block, end_block) SELECT $1, b.start, b.start, b.stop \
         FROM (SELECT $2 + n * ($3 - $2) / $4 AS start, $2 + (n + 1) * ($3 - $2) / $4 AS stop FROM pg_catalog.generate_series(0, $4 - 1) n) b \
         WHERE b.start < b.stop",
        &[mapping.into(), from.into(), to.into(), shares.into()],
    )?;
    Ok(())
}

pub fn exists(mapping: i32) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM mig.share s WHERE s.mapping = $1)";
    Ok(state::value::<bool>(sql, &[mapping.into()])? == Some(true))
}

/// Whether any table of the migration has blocks left in shares.
pub fn any_left(migration: i32) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM mig.share s JOIN mig.mapping p ON p.id = s.mapping WHERE p.migration = $1 AND s.next_block < s.end_block)";
    Ok(state::value::<bool>(sql, &[migration.into()])? == Some(true))
}

/// Locks a share with blocks left, for this transaction. None if there is none, or, without `wait`, if other processes hold
/// them all.
pub fn take(mapping: i32, wait: bool) -> Result<Option<BlockShare>> {
    let skip = if wait { "" } else { " SKIP LOCKED" };
    state::first(
        &format!(
            "SELECT s.id, s.start_block, s.next_block, s.end_block, s.rows_done, s.batch_rows FROM mig.share s \
             WHERE s.mapping = $1 AND s.next_block < s.end_block ORDER BY s.id LIMIT 1 FOR UPDATE OF s{skip}"
        ),
        &[mapping.into()],
    )
}

/// Saves the checkpoint of a share, in the transaction of the batch.
pub fn checkpoint(id: i64, next: i64, rows: i64, batch_rows: i32, batch_ms: i32) -> Result<()> {
    state::run(
        "UPDATE mig.share SET next_block = $2, rows_done = rows_done + $3, batch_rows = $4, batch_ms = $5 WHERE id = $1",
        &[
            id.into(),
            next.into(),
            rows.into(),
            batch_rows.into(),
            batch_ms.into(),
        ],
    )?;
    Ok(())
}

/// Adds the row counts of the shares to the mapping and marks it as copied: all blocks are done.
pub fn gather(mapping: i32) -> Result<()> {
    state::run(
        "WITH done AS (DELETE FROM mig.share s WHERE s.mapping = $1 RETURNING s.rows_done) \
         UPDATE mig.mapping p SET rows_done = p.rows_done + (SELECT coalesce(sum(d.rows_done), 0) FROM done d), \
         next_block = p.bound_blocks, copied = true WHERE p.id = $1",
        &[mapping.into()],
    )?;
    Ok(())
}

/// Deletes the shares, when another copy begins.
pub fn clear(mapping: i32) -> Result<()> {
    state::run(
        "DELETE FROM mig.share WHERE mapping = $1",
        &[mapping.into()],
    )?;
    Ok(())
}
