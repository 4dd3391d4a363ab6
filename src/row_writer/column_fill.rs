//! Fills new columns in existing rows, below SQL. No trigger of the application fires, so nothing else in the row changes (an
//! `updated_at`), and rows that are already correct are not touched. A batch never waits for a row: a locked row is skipped, and filled
//! later, alone. The batch skips every locked row, also one with a KEY SHARE lock, which does not conflict: rows that foreign keys
//! refer to have one most of the time. The retry may wait, so it updates them (heap_update()).

use crate::model::column_change::SyncStage;
use crate::pg::slot::{Slot, merge};
use crate::pg::tid::{self, BlockSlice};
use crate::pg::tx;
use crate::row_writer::OpenRelation;
use crate::row_writer::block_scan::BlockScan;
use crate::row_writer::column_exprs::{ColumnSync, EvalContext};
use crate::row_writer::modify::UpdateManner;
use crate::row_writer::table_cache::TableCache;
use crate::row_writer::target::{EventOrder, TargetTable};
use pgrx::pg_sys;

/// Rows between two checks whether another transaction waits for this one.
const CHUNK: usize = 256;

/// The result for one slice.
#[derive(Default)]
pub struct FilledSlice {
    pub rows: i64,
    pub written: i64,
    /// Blocks with a row that another transaction is writing.
    pub busy: Vec<i64>,
    /// The block at which the slice was stopped early, because another transaction waits for a row of this one.
    pub stopped: Option<u32>,
}

/// Which rows of a slice are filled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum FillMode {
    /// All rows that are not locked.
    Batch,
    /// The first row that lacks a value. May wait for its lock, because the transaction holds no other.
    OneRow,
}

/// The table's constraints that involve the new columns.
#[derive(Clone, Debug, Default, serde::Deserialize)]
pub struct AffectedConstraints {
    /// Oids of foreign keys and deferrable unique constraints over these columns: their triggers fire.
    pub constraints: Vec<u32>,
    /// A CHECK or NOT NULL constraint involves these columns.
    pub checks: bool,
}

impl ColumnSync {
    /// Fills the rows of a slice. Until the transaction ends, the table must not be truncated or rewritten: the caller holds ROW EXCLUSIVE
    /// on it.
    pub fn fill(
        &self,
        slice: &BlockSlice,
        stage: SyncStage,
        pace: FillMode,
        concerned: &AffectedConstraints,
    ) -> FilledSlice {
        // SAFETY: inside a transaction; an ERROR pops the snapshot together with the (sub)transaction.
        unsafe {
            pg_sys::CommandCounterIncrement();
            pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot());
            let kept = {
                let table = OpenRelation::read(self.relation);
                TableCache::load(table.0)
            };
            let heeded: Vec<_> = concerned
                .constraints
                .iter()
                .map(|c| pg_sys::Oid::from(*c))
                .collect();
            let skipped_fks = kept.all_but(&heeded);
            let filled = SliceFill {
                rework: self,
                stage,
                context: EvalContext::new(),
                written: TargetTable::open(self.relation, &kept, &skipped_fks, EventOrder::AtOnce),
                manner: UpdateManner {
                    alone: false,
                    waits: pace == FillMode::OneRow,
                    checks: concerned.checks,
                },
                filled: FilledSlice::default(),
            }
            .run(slice);
            pg_sys::PopActiveSnapshot();
            filled
        }
    }
}

struct SliceFill<'a> {
    rework: &'a ColumnSync,
    stage: SyncStage,
    context: EvalContext,
    written: TargetTable<'a>,
    manner: UpdateManner,
    filled: FilledSlice,
}

impl SliceFill<'_> {
    /// # Safety
    /// The latest snapshot is active.
    unsafe fn run(mut self, slice: &BlockSlice) -> FilledSlice {
        // SAFETY: guaranteed by the caller. New row versions are younger than the snapshot, so the scan does not return them.
        unsafe {
            let Some(scan) = BlockScan::begin(self.written.relation, slice) else {
                return self.filled;
            };
            let row = Slot::of_table(self.written.relation);
            let new = Slot::to_fill(self.written.relation);
            let (mut last, mut since, mut hurries) = (None, 0, false);
            while scan.next(&row) {
                let block = tid::block_of(&(*row.0).tts_tid);
                if hurries && last.is_some_and(|l| l != block) {
                    self.filled.stopped = Some(block);
                    break;
                }
                last = Some(block);
                since += 1;
                if since == CHUNK {
                    since = 0;
                    pgrx::check_for_interrupts!();
                    hurries = tx::is_waited_for();
                }
                let tried = self.take(&row, &new, block);
                if tried && self.manner.waits {
                    break;
                }
            }
            drop((row, new));
            scan.end();
        }
        self.filled
    }

    /// Fills one row; false if it lacks nothing.
    ///
    /// # Safety
    /// `row` holds a row of the table; `new` is a slot to fill.
    unsafe fn take(&mut self, row: &Slot, new: &Slot, block: u32) -> bool {
        // SAFETY: guaranteed by the caller. Memory that expressions leave behind is freed after the row.
        unsafe {
            let before = pg_sys::MemoryContextSwitchTo(self.written.row_memory());
            let lacks = self.rework.lacks(&self.context, row.0, self.stage);
            self.filled.rows += 1;
            if !lacks.is_empty() {
                merge(row.0, &lacks, new);
                if self.written.update(row, new, self.manner) {
                    self.filled.written += 1;
                } else if self.filled.busy.last() != Some(&i64::from(block)) {
                    self.filled.busy.push(i64::from(block));
                }
                pg_sys::ExecClearTuple(new.0);
            }
            pg_sys::MemoryContextSwitchTo(before);
            let tried = !lacks.is_empty();
            drop(lacks);
            pg_sys::MemoryContextReset(self.written.row_memory());
            tried
        }
    }
}
