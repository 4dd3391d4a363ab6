//! One batch of the backfill: copies rows, lists those that it could not take as pending, and saves the checkpoint, all in one transaction.
//! Below SQL it locks no row; by statements it locks the rows that are free. Why neither loses a row: README, "How it stays correct".

mod passes;
mod range;

use super::SliceOutcome;
use crate::error::{Error, Result};
use crate::model::records::{Mapping, Migration};
use crate::pg::catalog::Extent;
use crate::pg::{catalog, guc, spi, tx};
use crate::settings;
use crate::store::{log, mapping, pending_rows};
use range::{BatchResult, CopyRange};
use std::time::Instant;

/// Limits of the adaptive batch size, in rows.
const ROWS: std::ops::RangeInclusive<i64> = 50..=100_000;

/// How long a batch waits, with rows locked, for a row that another transaction is inserting.
const MERGED_WAIT_MS: i32 = 100;

/// Copies the next slice of one mapping, for the runner of the job.
pub fn batch(m: &Migration, p: &Mapping) -> Result<SliceOutcome> {
    let p = &fix_bound(m, p)?;
    match range::find(m, p)? {
        Some(range) => copy(m, p, &range),
        None => Ok(SliceOutcome::Did(0)),
    }
}

/// Copies the next slice of a share, for a helper; `Done` if there is none for it.
pub fn help(m: &Migration, p: &Mapping) -> Result<SliceOutcome> {
    if !is_bounded(m, p)? {
        return Ok(SliceOutcome::Done);
    }
    match range::find_share(p)? {
        Some(range) => copy(m, p, &range),
        None => Ok(SliceOutcome::Done),
    }
}

fn copy(m: &Migration, p: &Mapping, range: &CopyRange) -> Result<SliceOutcome> {
    let started = Instant::now();
    let (slice, end) = range.slice(m, p)?;
    // Limits waits of the target's own constraints (an adopted target may have foreign keys): this batch holds row locks.
    let timeout = settings::lock_timeout_ms(m);
    let moved = if p.is_merged() {
        // A transaction that writes another part may have inserted the whole merged row and not committed yet: the row is
        // left for later.
        let _timeout = guc::lock_timeout(timeout.min(MERGED_WAIT_MS));
        match tx::subtransaction(|| passes::run(p, &slice)) {
            Err(e) if e.is_retryable() => return smaller(m, p, range),
            other => other?,
        }
    } else {
        let _timeout = guc::lock_timeout(timeout);
        passes::run(p, &slice)?
    };
    pending_rows::add(p.id, &moved.leftovers)?;
    pending_rows::add_refused(p.id, &moved.refused)?;
    let ms = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
    let rows = moved.locked;
    let batch_rows = range.next_batch_size(m, rows, ms);
    range.checkpoint(
        p,
        moved.stopped.unwrap_or(end),
        &BatchResult {
            rows,
            batch_rows,
            ms,
        },
    )?;
    Ok(SliceOutcome::Did(rows))
}

/// Gives up a slice with a row that cannot be copied. A smaller slice is tried in its place; all rows of the smallest one
/// become pending rows, each tried alone. `helps`: for a helper.
pub fn give_up_slice(m: &Migration, p: &Mapping, helps: bool) -> Result<SliceOutcome> {
    let (p, found) = if helps {
        if !is_bounded(m, p)? {
            return Ok(SliceOutcome::Done);
        }
        (p.clone(), range::find_share(p)?)
    } else {
        let p = fix_bound(m, p)?;
        let found = range::find(m, &p)?;
        (p, found)
    };
    match found {
        Some(range) => smaller(m, &p, &range),
        None => Ok(SliceOutcome::Did(0)),
    }
}

fn smaller(m: &Migration, p: &Mapping, range: &CopyRange) -> Result<SliceOutcome> {
    let done = BatchResult {
        rows: 0,
        batch_rows: i32::try_from(*ROWS.start()).unwrap_or(50),
        ms: 0,
    };
    if range.batch_rows(m) > *ROWS.start() {
        range.reset_batch_size(p, &done)?;
        return Ok(SliceOutcome::Did(0));
    }
    let (slice, end) = range.slice(m, p)?;
    let keys = passes::keys(p, &slice)?;
    pending_rows::add(p.id, &keys)?;
    range.checkpoint(p, end, &done)?;
    Ok(SliceOutcome::Did(i64::try_from(keys.len()).unwrap_or(0)))
}

/// Locks the table to the end of the transaction: nobody rewrites it during the batch.
fn hold(m: &Migration, p: &Mapping) -> Result<Extent> {
    let (relation, name) = passes::read_from(p)?;
    let _timeout = guc::lock_timeout(settings::lock_timeout_ms(m));
    spi::run(&format!("LOCK TABLE ONLY {name} IN ROW SHARE MODE"), &[])?;
    catalog::extent(relation)?.ok_or_else(|| Error::internal("the source has no extent".into()))
}

/// Whether the bound is that of the table's current file.
fn is_bounded(m: &Migration, p: &Mapping) -> Result<bool> {
    let extent = hold(m, p)?;
    Ok(p.bound_blocks.is_some() && p.filenode == Some(extent.filenode))
}

/// Fixes the bound at the first batch. Starts over if the table was rewritten since (VACUUM FULL, CLUSTER, TRUNCATE, a
/// restored dump): tids mean nothing in another file.
fn fix_bound(m: &Migration, p: &Mapping) -> Result<Mapping> {
    let extent = hold(m, p)?;
    if p.bound_blocks.is_some() && p.filenode == Some(extent.filenode) {
        return Ok(p.clone());
    }
    if p.bound_blocks.is_some() {
        log::write(
            &m.name,
            m.phase.as_str(),
            &format!(
                "backfill of {} starts over: the table was rewritten",
                passes::read_from(p)?.1.plain()
            ),
        )?;
    }
    mapping::set_bound(p.id, &extent)?;
    mapping::by_id(p.id)?.ok_or_else(|| Error::internal("the mapping is gone".into()))
}
