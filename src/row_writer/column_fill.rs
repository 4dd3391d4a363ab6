//! New columns filled in the rows that stand, below SQL: no trigger of the application fires, so that nothing else in the row
//! changes (an `updated_at`), and rows that are right are not touched. A batch waits for no row: one that somebody has locked at this
//! moment is passed over, and comes later, alone. Only whoever may wait learns that a lock is in nobody's way: rows that foreign keys
//! refer to are locked by somebody all the time, and may be changed all the same (heap_update()).

use crate::model::column_change::SyncStage;
use crate::pg::slot::Slot;
use crate::pg::slot::merge;
use crate::pg::tid::{self, BlockSlice};
use crate::pg::tx;
use crate::row_writer::OpenRelation;
use crate::row_writer::block_scan::BlockScan;
use crate::row_writer::column_exprs::ColumnSync;
use crate::row_writer::column_exprs::EvalContext;
use crate::row_writer::modify::UpdateManner;
use crate::row_writer::table_cache::TableCache;
use crate::row_writer::target::TargetTable;
use pgrx::pg_sys;

/// Rows between two looks whether somebody waits.
const CHUNK: usize = 256;

/// What became of a slice.
#[derive(Default)]
pub struct FilledSlice {
    pub rows: i64,
    pub written: i64,
    /// Blocks with a row that somebody else writes.
    pub busy: Vec<i64>,
    /// The block at which it has stopped before the end of the slice: somebody waits for a row of this transaction.
    pub stopped: Option<u32>,
}

/// How the rows of a slice are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum FillMode {
    /// All that are free.
    Batch,
    /// The first that lacks something, waited for, because nothing else is held.
    OneRow,
}

/// What the table's constraints have to do with the new columns.
#[derive(Clone, Debug, Default, serde::Deserialize)]
pub struct AffectedConstraints {
    /// Oids of foreign keys and late unique constraints over them: their triggers fire.
    pub constraints: Vec<u32>,
    /// A CHECK or NOT NULL speaks of them.
    pub checks: bool,
}

impl ColumnSync {
    /// Until the transaction ends, the table must not be truncated or rewritten: the caller holds ROW EXCLUSIVE on it.
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
            let spared = kept.all_but(&heeded);
            let filled = SliceFill {
                rework: self,
                stage,
                context: EvalContext::new(),
                written: TargetTable::open(self.relation, &kept, &spared),
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
        // SAFETY: as the caller says. New versions of rows are younger than the snapshot: the scan does not meet them.
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

    /// False where the row lacks nothing.
    ///
    /// # Safety
    /// `row` holds a row of the table, `new` is one to fill.
    unsafe fn take(&mut self, row: &Slot, new: &Slot, block: u32) -> bool {
        // SAFETY: as the caller says. What expressions leave behind goes with the row.
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
