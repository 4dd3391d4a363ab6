//! Rows of a slice copied below SQL, and no row locked.
//!
//! A batch that locks nothing loses to whoever deletes a row after the batch has read it: his mirror finds no copy to delete yet,
//! and the batch puts one in. Two rules close that, and each needs the other:
//! - a mirror that looks for a row's copy sees uncommitted ones too, and waits for whoever puts one in (`Key::find`);
//! - a batch looks at each row again after it has put the copy into the key's index, and takes the copy back where somebody
//!   has changed or deleted the row since, or is about to.
//!
//! Both write first and read then, so at least one of them sees the other (Dekker's way to exclude each other; the row's
//! page and the index's page are each read and written under their buffer's lock). What the batch is not sure of is left to
//! the job, which copies it alone, under a lock.
//!
//! A mirror may have to wait for the batch, then. So a batch that somebody waits for ends with the block that it is at: nobody waits
//! longer than for a chunk, however long a batch may take.

use crate::error::Result;
use crate::pg::slot::Slot;
use crate::pg::slot::catch_error;
use crate::pg::tid::{self, BlockSlice};
use crate::pg::tx;
use crate::row_writer::Direct;
use crate::row_writer::OpenRelation;
use crate::row_writer::WriteEvent;
use crate::row_writer::block_scan::BlockScan;
use crate::row_writer::index_lookup::dirty;
use crate::row_writer::index_lookup::in_progress;
use crate::row_writer::target::TargetTable;
use pgrx::pg_sys;

/// Rows that are put in at once, as COPY does it.
const CHUNK: usize = 1024;

/// What became of a slice.
#[derive(Default)]
pub struct CopiedSlice {
    /// Rows that the written table should have, of those that are in the slice.
    pub rows: i64,
    /// Where rows stand that somebody writes at this time, or whose place in the written table another row may have.
    pub busy: Vec<pg_sys::ItemPointerData>,
    /// The block at which it has stopped before the end of the slice: somebody waits for a row of this transaction.
    pub stopped: Option<u32>,
}

impl Direct {
    /// Whether `copy` serves: no index of the written table makes a batch wait.
    pub fn copies(&self) -> bool {
        self.copies
    }

    /// Copies the slice's rows that the written table lacks. Until the transaction ends, the touched table must not be truncated
    /// or rewritten: the caller holds ROW SHARE on it.
    pub fn copy(&self, touched: pg_sys::Oid, slice: &BlockSlice) -> Result<CopiedSlice> {
        let spared = self.list_needless_fks(WriteEvent::Insert)?;
        // SAFETY: inside a transaction; an ERROR pops the snapshot together with the (sub)transaction. While it is active, no row
        // that it sees is pruned, so a place means the same row at the second look.
        unsafe {
            pg_sys::CommandCounterIncrement();
            pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot());
            let copied = SliceCopy::begin(self, touched, &spared).run(slice);
            pg_sys::PopActiveSnapshot();
            Ok(copied)
        }
    }
}

struct SliceCopy<'a> {
    direct: &'a Direct,
    slots: Vec<Slot>,
    /// Where the rows of this chunk stand in the touched table.
    places: Vec<pg_sys::ItemPointerData>,
    /// Another look at a row of the touched table, and one of the written table.
    again: Slot,
    found: Slot,
    bulk: pg_sys::BulkInsertState,
    /// Most rows are there already: each is looked for before it is put in.
    looks_first: bool,
    /// Somebody waits for this transaction: it ends with the block.
    hurries: bool,
    copied: CopiedSlice,
    // The tables are closed after all that needs them.
    written: TargetTable<'a>,
    source: OpenRelation,
}

impl<'a> SliceCopy<'a> {
    /// # Safety
    /// Inside a transaction.
    unsafe fn begin(direct: &'a Direct, touched: pg_sys::Oid, spared: &[pg_sys::Oid]) -> Self {
        let source = OpenRelation::read(touched);
        // SAFETY: both tables are open as long as the value lives.
        unsafe {
            let written = TargetTable::open(direct.written, &direct.kept, spared);
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
        // SAFETY: as the caller says.
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
                self.take(&row);
            }
            self.put_in();
            drop(row);
            scan.end();
            pg_sys::FreeBulkInsertState(self.bulk);
        }
        self.copied
    }

    /// # Safety
    /// `row` holds a row of the touched table.
    unsafe fn take(&mut self, row: &Slot) {
        // SAFETY: as the caller says. What expressions leave behind goes with the chunk.
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
            // SAFETY: as the caller says.
            unsafe { self.put_in() };
            self.hurries = tx::is_waited_for();
        }
    }

    /// Puts the chunk in, and takes back what should not be there.
    ///
    /// # Safety
    /// Each place has its row in the slot of the same number.
    unsafe fn put_in(&mut self) {
        let places = std::mem::take(&mut self.places);
        if places.is_empty() {
            return;
        }
        pgrx::check_for_interrupts!();
        // SAFETY: as the caller says.
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
                // A row may be both.
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

    /// Whether the key of the new row is in the written table; says so where it is not known for certain that it is the
    /// same row.
    ///
    /// # Safety
    /// The slot of this number holds a new row, made of the row at `place`.
    unsafe fn is_there(&mut self, number: usize, place: pg_sys::ItemPointerData) -> bool {
        // SAFETY: as the caller says.
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

    /// Nobody has changed or deleted the row since, nor is about to. A lock on it is no change.
    ///
    /// # Safety
    /// The row was read at this place under the active snapshot.
    #[allow(ffi_unwind_calls, reason = "the call is guarded")]
    unsafe fn is_as_read(&self, mut place: pg_sys::ItemPointerData) -> bool {
        // SAFETY: as the caller says.
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
