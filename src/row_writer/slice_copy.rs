//! Copies the rows of a slice below SQL, without locking them.
//!
//! Without row locks, a batch loses to a transaction that deletes a row after the batch has read it: the mirror of that transaction finds
//! no copy to delete yet, and then the batch inserts one. Two rules prevent this, and each needs the other:
//! - a mirror that looks for the copy of a row also sees uncommitted copies, and waits for the transaction that inserts one
//!   (`KeySearch::find`);
//! - a batch reads each row again after its copy is in the key's index, and deletes the copy if the row has been changed or deleted since,
//!   or is about to be.
//!
//! Both write first and read afterwards, so at least one of them sees the other (mutual exclusion as in Dekker's algorithm; the row's page
//! and the index page are each read and written under their buffer lock). Rows that the batch is not sure of are left to the job, which
//! copies each of them alone, under a lock.
//!
//! So a mirror may have to wait for the batch. A batch that another transaction waits for therefore ends with its current block: no
//! transaction waits for longer than a chunk takes, however long the batch may be.

use crate::error::Result;
use crate::pg::slot::{Slot, catch_error};
use crate::pg::tid::{self, BlockSlice};
use crate::pg::tx;
use crate::row_writer::block_scan::BlockScan;
use crate::row_writer::index_lookup::{dirty, in_progress};
use crate::row_writer::target::{EventOrder, TargetTable};
use crate::row_writer::{DirectWriter, OpenRelation, WriteEvent};
use pgrx::pg_sys;

/// Rows that are inserted together, as in COPY.
const CHUNK: usize = 1024;

/// The result for one slice.
#[derive(Default)]
pub struct CopiedSlice {
    /// Rows of the slice that the written table should have.
    pub rows: i64,
    /// The tids of rows that another transaction is writing, or whose key in the written table may belong to another row.
    pub busy: Vec<pg_sys::ItemPointerData>,
    /// The block at which the slice was stopped early, because another transaction waits for a row of this one.
    pub stopped: Option<u32>,
}

impl DirectWriter {
    /// Whether `copy` can be used: no index of the written table makes a batch wait.
    pub fn can_bulk_copy(&self) -> bool {
        self.copies
    }

    /// Copies the rows of the slice that the written table lacks. Until the transaction ends, the touched table must not be truncated or
    /// rewritten: the caller holds ROW SHARE on it.
    pub fn copy(&self, touched: pg_sys::Oid, slice: &BlockSlice) -> Result<CopiedSlice> {
        let skipped_fks = self.list_needless_fks(WriteEvent::Insert)?;
        // SAFETY: inside a transaction; an ERROR pops the snapshot together with the (sub)transaction. While the snapshot is active, no row
        // that it sees is pruned, so a tid means the same row when it is read again.
        unsafe {
            pg_sys::CommandCounterIncrement();
            pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot());
            let copied = SliceCopy::begin(self, touched, &skipped_fks).run(slice);
            pg_sys::PopActiveSnapshot();
            Ok(copied)
        }
    }
}

struct SliceCopy<'a> {
    direct: &'a DirectWriter,
    slots: Vec<Slot>,
    /// The tids in the touched table of the rows of this chunk.
    places: Vec<pg_sys::ItemPointerData>,
    /// Slots for a second read of a row of the touched table, and for a row of the written table.
    again: Slot,
    found: Slot,
    bulk: pg_sys::BulkInsertState,
    /// Most rows are already copied: each is looked up before it is inserted.
    looks_first: bool,
    /// Another transaction waits for this one: the batch ends with the block.
    hurries: bool,
    copied: CopiedSlice,
    // Declared last, so that the tables are closed after everything that uses them.
    written: TargetTable<'a>,
    source: OpenRelation,
}

impl<'a> SliceCopy<'a> {
    /// # Safety
    /// Inside a transaction.
    unsafe fn begin(
        direct: &'a DirectWriter,
        touched: pg_sys::Oid,
        skipped_fks: &[pg_sys::Oid],
    ) -> Self {
        let source = OpenRelation::read(touched);
        // SAFETY: both tables are open as long as the value lives.
        unsafe {
            let written = TargetTable::open(
                direct.written,
                &direct.kept,
                skipped_fks,
                EventOrder::AtOnce,
            );
            Self {
                direct,
                slots: Vec::with_capacity(CHUNK),
                places: Vec::with_capacity(CHUNK),
                again: Slot::of_table(source.0),
                found: Slot::of_table(written.relation),
                bulk: pg_sys::GetBulkInsertState(),
                looks_first: false,
                hurries: false,
                copied: CopiedSlice::default(),
                written,
                source,
            }
        }
    }

    /// # Safety
    /// The latest snapshot is active.
    unsafe fn run(mut self, slice: &BlockSlice) -> CopiedSlice {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let relation = self.source.0;
            let Some(scan) = BlockScan::begin(relation, slice) else {
                return self.copied;
            };
            let row = Slot::of_table(relation);
            let mut last = None;
            while scan.next(&row) {
                let block = tid::block_of(&(*row.0).tts_tid);
                if self.hurries && last.is_some_and(|l| l != block) {
                    self.copied.stopped = Some(block);
                    break;
                }
                last = Some(block);
                self.add_to_chunk(&row);
            }
            self.put_in();
            drop(row);
            scan.end();
            pg_sys::FreeBulkInsertState(self.bulk);
        }
        self.copied
    }

    /// Adds one row to the chunk, and inserts the chunk when it is full.
    ///
    /// # Safety
    /// `row` holds a row of the touched table.
    unsafe fn add_to_chunk(&mut self, row: &Slot) {
        // SAFETY: guaranteed by the caller. Memory that expressions leave behind is freed after the chunk.
        unsafe {
            let at = self.places.len();
            if at == self.slots.len() {
                self.slots.push(Slot::of_table(self.written.relation));
            }
            let new = &self.slots[at];
            let before = pg_sys::MemoryContextSwitchTo(self.written.row_memory());
            let wanted = self.direct.row.fill(&self.written, row.0, new);
            if wanted {
                self.written.check(new);
            }
            pg_sys::MemoryContextSwitchTo(before);
            if !wanted {
                return;
            }
            self.copied.rows += 1;
            let place = (*row.0).tts_tid;
            if self.looks_first && self.is_there(at, place) {
                return;
            }
            pg_sys::ExecMaterializeSlot(self.slots[at].0);
            self.places.push(place);
        }
        if self.places.len() == CHUNK {
            // SAFETY: guaranteed by the caller.
            unsafe { self.put_in() };
            self.hurries = tx::is_waited_for();
        }
    }

    /// Inserts the chunk, and deletes the copies that must not be there.
    ///
    /// # Safety
    /// Each tid has its row in the slot of the same number.
    unsafe fn put_in(&mut self) {
        let places = std::mem::take(&mut self.places);
        if places.is_empty() {
            return;
        }
        pgrx::check_for_interrupts!();
        // SAFETY: guaranteed by the caller.
        unsafe {
            let new = &self.slots[..places.len()];
            let doubles = self.written.insert_all(new, self.bulk);
            let busy: Vec<usize> = (0..places.len())
                .filter(|n| !self.is_as_read(places[*n]))
                .collect();
            if doubles.len() + busy.len() > 0 {
                pg_sys::CommandCounterIncrement();
            }
            for n in doubles.iter().chain(&busy) {
                // A row may be in both lists.
                self.written.take_back(&self.slots[*n]);
            }
            self.copied.busy.extend(busy.iter().map(|n| places[*n]));
            for n in doubles.iter().filter(|n| !busy.contains(n)) {
                if !self.is_there(*n, places[*n]) {
                    self.copied.busy.push(places[*n]);
                }
            }
            self.written.fire_for(&self.slots[..places.len()]);
            self.looks_first = doubles.len() * 8 > places.len();
            for slot in &self.slots {
                pg_sys::ExecClearTuple(slot.0);
            }
            pg_sys::MemoryContextReset(self.written.row_memory());
        }
        self.places = places;
        self.places.clear();
    }

    /// Whether the key of the new row is in the written table. Lists the row as busy if it is not certain that this is the same row.
    ///
    /// # Safety
    /// The slot of this number holds a new row, made from the row at `place`.
    unsafe fn is_there(&mut self, number: usize, place: pg_sys::ItemPointerData) -> bool {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let key = self.direct.row.key_of(&self.slots[number]);
            let mut search = self.direct.written_key.search(self.written.relation);
            if !search.look(&key, &self.found) {
                return false;
            }
            if search.in_progress().is_some() || !self.direct.row.is_ours(&self.found) {
                self.copied.busy.push(place);
            }
            pg_sys::ExecClearTuple(self.found.0);
        }
        true
    }

    /// Whether the row has been neither changed nor deleted since, nor is about to be. A lock on it is no change.
    ///
    /// # Safety
    /// The row was read at this tid under the active snapshot.
    #[allow(ffi_unwind_calls, reason = "the call is guarded")]
    unsafe fn is_as_read(&self, mut place: pg_sys::ItemPointerData) -> bool {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let Some(fetch) = (*(*self.source.0).rd_tableam).tuple_fetch_row_version else {
                return false;
            };
            let mut dirty = dirty();
            let (relation, slot) = (self.source.0, self.again.0);
            catch_error(|| fetch(relation, &mut place, &raw mut dirty, slot))
                && in_progress(&dirty).is_none()
        }
    }
}
