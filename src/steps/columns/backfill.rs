//! One batch of a column's backfill: fills blocks and saves the checkpoint, in one transaction.

use crate::error::{Error, Result};
use crate::model::column_change::{ColumnChange, NewColumn, SyncStage};
use crate::model::records::Migration;
use crate::pg::tid::BlockSlice;
use crate::pg::{application_path, catalog, guc, role, spi, tx};
use crate::row_writer::column_exprs::ColumnSync as Expressions;
use crate::row_writer::column_fill::{AffectedConstraints, FillMode, FilledSlice};
use crate::settings;
use crate::sqlgen::columns as sql;
use crate::steps::SliceOutcome;
use crate::store::log;
use crate::store::new_column::{self, FillBatch};
use pgrx::pg_sys::Oid;
use std::time::Instant;

/// Maximum number of blocks in a batch, however few rows they hold.
const MAX_BLOCKS: i64 = 8192;

/// Fills the next blocks; after the last one, the rows that were locked, each alone.
pub fn batch(m: &Migration, r: &ColumnChange, may_wait: bool) -> Result<SliceOutcome> {
    let leader = fix_bound(m, r)?;
    let end = leader.bound_blocks.unwrap_or(0);
    if leader.next_block < end {
        return fill_range(m, r, &leader, end);
    }
    let Some((block, others)) = leader.busy.split_first() else {
        let done = FillBatch {
            filled: true,
            ..progress(&leader)
        };
        new_column::checkpoint(r.id, done)?;
        return Ok(SliceOutcome::Did(0));
    };
    fill_locked_rows(m, r, &leader, *block, others, may_wait)
}

/// Fills rows of a block that were locked when the batch passed. A transaction that waits for a row holds no other row.
fn fill_locked_rows(
    m: &Migration,
    r: &ColumnChange,
    leader: &NewColumn,
    block: i64,
    others: &[i64],
    may_wait: bool,
) -> Result<SliceOutcome> {
    let pace = if may_wait {
        FillMode::OneRow
    } else {
        FillMode::Batch
    };
    let tried = one_block(r, SyncStage::Old, pace, block, settings::lock_timeout_ms(m))?;
    let mut busy: Vec<i64> = others.to_vec();
    let (keeps, outcome) = match tried {
        // The block may have more such rows.
        Some(f) if may_wait && f.written > 0 => (true, SliceOutcome::Did(1)),
        Some(f) if f.busy.is_empty() => (false, SliceOutcome::Did(f.written)),
        _ => {
            let row = format!("a row in block {block} of {}", r.table()?.plain());
            (true, SliceOutcome::Wait(row))
        }
    };
    if keeps {
        // The other blocks first.
        busy.push(block);
    }
    new_column::checkpoint(
        r.id,
        FillBatch {
            busy,
            ..progress(leader)
        },
    )?;
    Ok(outcome)
}

/// Fills one block. None if the wait for a row lock timed out.
fn one_block(
    r: &ColumnChange,
    stage: SyncStage,
    pace: FillMode,
    block: i64,
    timeout_ms: i32,
) -> Result<Option<FilledSlice>> {
    let tried = tx::subtransaction(|| {
        let _timeout = guc::lock_timeout(timeout_ms);
        fill(r, stage, pace, block, block + 1)
    });
    match tried {
        Ok(filled) => Ok(Some(filled)),
        Err(e) if e.is_retryable() => Ok(None),
        Err(e) => Err(e),
    }
}

fn progress(leader: &NewColumn) -> FillBatch {
    FillBatch {
        next_block: leader.next_block,
        busy: leader.busy.clone(),
        rows: 0,
        ms: 0,
        batch_blocks: leader.batch_blocks.unwrap_or(1),
        filled: false,
    }
}

fn fill_range(
    m: &Migration,
    r: &ColumnChange,
    leader: &NewColumn,
    end: i64,
) -> Result<SliceOutcome> {
    let started = Instant::now();
    let blocks = match leader.batch_blocks {
        Some(blocks) => blocks,
        None => first_blocks(m, r)?,
    };
    let to = (leader.next_block + blocks).min(end);
    let filled = fill(r, SyncStage::Old, FillMode::Batch, leader.next_block, to)?;
    let ms = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
    let mut busy = leader.busy.clone();
    busy.extend(&filled.busy);
    // At most twice or half of this batch, towards the target duration.
    let wanted = i64::from(settings::batch_target_ms(m));
    let batch_blocks = (blocks * wanted / ms.max(1))
        .clamp(blocks / 2, blocks * 2)
        .clamp(1, MAX_BLOCKS);
    new_column::checkpoint(
        r.id,
        FillBatch {
            next_block: filled.stopped.map_or(to, i64::from),
            busy,
            rows: filled.rows,
            ms,
            batch_blocks,
            filled: false,
        },
    )?;
    Ok(SliceOutcome::Did(filled.rows))
}

/// Returns the number of blocks that hold about `batch_rows` rows.
fn first_blocks(m: &Migration, r: &ColumnChange) -> Result<i64> {
    let density = catalog::extent(r.relation)?.map_or(1, |e| e.rows / e.blocks.max(1));
    Ok((i64::from(settings::batch_rows(m)) / density.max(1)).clamp(1, MAX_BLOCKS))
}

/// Fills the whole table in the caller's transaction. Returns the number of rows written, and of blocks with rows left.
pub fn fill_whole_table(m: &Migration, r: &ColumnChange, stage: SyncStage) -> Result<(i64, usize)> {
    /// Long enough to take a lock that nobody holds.
    const GLANCE_MS: i32 = 1;
    hold(m, r)?;
    let blocks = catalog::extent(r.relation)?.map_or(0, |e| e.blocks);
    let filled = fill(r, stage, FillMode::Batch, 0, blocks)?;
    let (mut written, mut left) = (filled.written, 0);
    for block in filled.busy {
        loop {
            match one_block(r, stage, FillMode::OneRow, block, GLANCE_MS)? {
                Some(f) if f.written > 0 => written += f.written,
                Some(f) if f.busy.is_empty() => break,
                _ => {
                    left += 1;
                    break;
                }
            }
        }
    }
    Ok((written, left))
}

/// Locks the table to the end of the transaction: nobody rewrites it during the batch.
fn hold(m: &Migration, r: &ColumnChange) -> Result<()> {
    let _timeout = guc::lock_timeout(settings::lock_timeout_ms(m));
    let table = r.table()?;
    spi::run(
        &format!("LOCK TABLE ONLY {table} IN ROW EXCLUSIVE MODE"),
        &[],
    )?;
    Ok(())
}

/// Fills blocks as the owner, below SQL.
fn fill(
    r: &ColumnChange,
    stage: SyncStage,
    pace: FillMode,
    from: i64,
    to: i64,
) -> Result<FilledSlice> {
    let _owner = role::confine(new_column::trusted_owner(r)?)?;
    let _safe = application_path::pin_for_code();
    let view = catalog::oid_of(&sql::view_name(r.id));
    let expressions = view
        .and_then(Expressions::load)
        .filter(|e| e.relation.to_u32() == r.relation)
        .ok_or_else(|| {
            Error::drift(
                r.describe(),
                "The view that says what the columns should be is gone, or is not as it was made."
                    .into(),
                "Go back and forth again: SELECT mig_rollback(…, 'defined');".into(),
            )
        })?;
    let concerned: AffectedConstraints = spi::first(
        "SELECT coalesce((SELECT pg_catalog.jsonb_agg(c.oid::bigint) FROM pg_catalog.pg_constraint c \
           WHERE c.conrelid = $1 AND c.contype IN ('f', 'u') AND c.conkey && $2), '[]') AS constraints, \
         EXISTS (SELECT FROM pg_catalog.pg_constraint c WHERE c.conrelid = $1 AND c.contype = 'c' AND c.conkey && $2) \
           OR EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1 AND a.attnum = ANY ($2) AND a.attnotnull) AS checks",
        &[Oid::from(r.relation).into(), expressions.numbers().into()],
    )?
    .unwrap_or_default();
    let slice = BlockSlice::new(from, to)?;
    Ok(expressions.fill(&slice, stage, pace, &concerned))
}

/// Fixes the bound at the first batch. Starts over if the table was rewritten since (VACUUM FULL, CLUSTER, TRUNCATE, a
/// restored dump): block numbers mean nothing in another file.
fn fix_bound(m: &Migration, r: &ColumnChange) -> Result<NewColumn> {
    hold(m, r)?;
    let leader = r.leader();
    let extent = catalog::extent(r.relation)?
        .ok_or_else(|| Error::internal("the table has no extent".into()))?;
    if leader.bound_blocks.is_some() && leader.filenode == Some(extent.filenode) {
        return Ok(leader.clone());
    }
    if leader.bound_blocks.is_some() {
        log::write(
            &m.name,
            m.phase.as_str(),
            &format!(
                "backfill of {} starts over: the table was rewritten",
                r.describe()
            ),
        )?;
    }
    new_column::set_bound(r.id, &extent)?;
    Ok(NewColumn {
        bound_blocks: Some(extent.blocks),
        next_block: 0,
        busy: Vec::new(),
        ..leader.clone()
    })
}
