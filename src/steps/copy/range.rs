//! The blocks that a batch reads, and where its checkpoint is kept: the whole table, for one process, or a share of it, for
//! one of several.

use super::{ROWS, passes};
use crate::error::Result;
use crate::model::records::{Mapping, Migration};
use crate::pg::catalog;
use crate::pg::tid::BlockSlice;
use crate::settings;
use crate::store::block_range::{self, BlockShare};
use crate::store::mapping::{self, Checkpoint};

/// Maximum number of blocks in a slice, however few rows they hold.
const MAX_BLOCKS: i64 = 4096;
/// Below this number of blocks more workers gain nothing.
const WORTH_SHARING: i64 = 64;
/// Shares per worker: at the end, workers wait for each other no longer than one share takes.
const SHARES_EACH: i64 = 8;

/// Blocks still to be copied, for this transaction.
pub struct CopyRange {
    share: Option<i64>,
    next: i64,
    end: i64,
    batch_rows: Option<i32>,
    /// Rows and blocks before `next`.
    seen: (i64, i64),
}

/// Result of a batch.
pub struct BatchResult {
    pub rows: i64,
    pub batch_rows: i32,
    pub ms: i64,
}

impl CopyRange {
    fn whole_table(p: &Mapping) -> Self {
        Self {
            share: None,
            next: p.next_block,
            end: p.bound_blocks.unwrap_or(0),
            batch_rows: p.batch_rows,
            seen: (p.rows_done, p.next_block),
        }
    }

    fn from_share(s: BlockShare) -> Self {
        Self {
            share: Some(s.id),
            next: s.next_block,
            end: s.end_block,
            batch_rows: s.batch_rows,
            seen: (s.rows_done, s.next_block - s.start_block),
        }
    }

    /// Returns the number of rows of the next batch.
    pub fn batch_rows(&self, m: &Migration) -> i64 {
        i64::from(self.batch_rows.unwrap_or_else(|| settings::batch_rows(m)))
    }

    /// Returns the next slice, and the block after it.
    pub fn slice(&self, m: &Migration, p: &Mapping) -> Result<(BlockSlice, i64)> {
        let end = (self.next + self.blocks(m, p)?).min(self.end);
        Ok((BlockSlice::new(self.next, end)?, end))
    }

    /// Returns the number of blocks that hold about one batch of rows, judged by the blocks so far.
    fn blocks(&self, m: &Migration, p: &Mapping) -> Result<i64> {
        let (rows, blocks) = if self.seen.1 > 0 {
            self.seen
        } else {
            let extent = catalog::extent(passes::read_from(p)?.0)?;
            extent.map_or((0, 0), |e| (e.rows, e.blocks))
        };
        let density = if blocks > 0 {
            (rows / blocks).max(1)
        } else {
            1
        };
        Ok((self.batch_rows(m) / density).clamp(1, MAX_BLOCKS))
    }

    /// Saves the checkpoint: blocks below `end` are done.
    pub fn checkpoint(&self, p: &Mapping, end: i64, done: &BatchResult) -> Result<()> {
        let batch_ms = i32::try_from(done.ms).unwrap_or(i32::MAX);
        match self.share {
            Some(id) => block_range::checkpoint(id, end, done.rows, done.batch_rows, batch_ms),
            None => mapping::checkpoint(
                p.id,
                &Checkpoint {
                    next_block: end,
                    rows: done.rows,
                    batch_rows: done.batch_rows,
                    batch_ms,
                    copied: end >= self.end,
                },
            ),
        }
    }

    /// Keeps the position, with another batch size.
    pub fn reset_batch_size(&self, p: &Mapping, done: &BatchResult) -> Result<()> {
        self.checkpoint(p, self.next, done)
    }

    /// Returns the size of the next batch: at most twice or half of this one, towards the target duration.
    pub fn next_batch_size(&self, m: &Migration, rows: i64, ms: i64) -> i32 {
        let now = self.batch_rows(m);
        let wanted = i64::from(settings::batch_target_ms(m));
        let next = if rows == 0 {
            now
        } else {
            (rows * wanted / ms.max(1)).clamp(now / 2, now * 2)
        };
        i32::try_from(next.clamp(*ROWS.start(), *ROWS.end())).unwrap_or(1000)
    }
}

/// Returns the next range for the runner; None when all shares are done. Splits the table into shares if helpers are
/// wanted, and adds up their results. It waits for their last blocks, holding nothing.
pub fn find(m: &Migration, p: &Mapping) -> Result<Option<CopyRange>> {
    if !block_range::exists(p.id)? {
        let workers = i64::from(settings::max_workers(m));
        let whole = CopyRange::whole_table(p);
        if workers == 1 || whole.end - whole.next < WORTH_SHARING || !passes::may_share(p)? {
            return Ok(Some(whole));
        }
        block_range::deal(p.id, whole.next, whole.end, workers * SHARES_EACH)?;
    }
    for wait in [false, true] {
        if let Some(found) = block_range::take(p.id, wait)? {
            return Ok(Some(CopyRange::from_share(found)));
        }
    }
    block_range::gather(p.id)?;
    Ok(None)
}

/// Returns the next range for a helper; None if other processes have all blocks that are left.
pub fn find_share(p: &Mapping) -> Result<Option<CopyRange>> {
    Ok(block_range::take(p.id, false)?.map(CopyRange::from_share))
}
