//! Lookahead: rows of the same statement are written together. AFTER triggers fire when a statement has written all of its rows. So the
//! rows whose events are still to come are already in the table, most of them behind the current row. Tables and indexes are opened once
//! for many rows, and nothing is left to do when the events of these rows come.
//!
//! No result depends on lookahead. A row is taken from a page only if the same command made the same change to it, so the row has an event
//! of its own; anything unexpected is left to that event. A write by a trigger of the application in between has its own event too, which
//! finds the copy. An abort removes rows, copies and events together.

use crate::pg::slot::{Slot, catch_error};
use crate::pg::tx;
use crate::row_writer::apply::RowApplier;
use crate::row_writer::row_change::{RowChange, Tid, block_of, pointer_to};
use crate::row_writer::{WriteEvent, index_lookup};
use pgrx::pg_sys;
use std::ptr::null_mut;

/// Rows that are written together at most.
const MOST: usize = 1024;
/// Nested statements that are remembered at a time.
const DEPTH: usize = 8;

/// The rows that were written before their event came.
#[derive(Default)]
pub struct Lookahead {
    transaction: u32,
    /// The last event.
    last: Option<(RowChange, Tid)>,
    runs: Vec<CommandRows>,
}

/// Rows of one command, in tid order, and whether each is written.
struct CommandRows {
    deed: RowChange,
    rows: Vec<(Tid, bool)>,
    /// The first row whose event has not come, if events come in order.
    next: usize,
    /// The number of events still to come.
    left: usize,
}

impl Lookahead {
    /// Whether no written row still waits for its event.
    pub fn is_idle(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether the row of this event is already written. Marks the event as seen.
    pub fn take(&mut self, deed: RowChange, place: Tid) -> bool {
        let of_this = |r: &CommandRows| r.deed == deed;
        let Some(at) = self.runs.iter().rposition(of_this) else {
            return false;
        };
        let run = &mut self.runs[at];
        let found = match run.rows.get(run.next) {
            Some(row) if row.0 == place => Ok(run.next),
            _ => run.rows.binary_search_by_key(&place, |r| r.0),
        };
        let (Ok(n), true) = (found, self.transaction == tx::local_number()) else {
            return false;
        };
        run.next = n + 1;
        run.left -= 1;
        let written = run.rows[n].1;
        if run.left == 0 {
            self.runs.remove(at);
        }
        self.last = Some((deed, place));
        written
    }

    /// Whether a look at the rows behind this one pays: events come in tid order, and the rows behind this one are not known yet.
    fn leads(&mut self, deed: RowChange, place: Tid) -> bool {
        let transaction = tx::local_number();
        if self.transaction != transaction {
            *self = Self {
                transaction,
                ..Self::default()
            };
        }
        let last = self.last.replace((deed, place));
        let follows =
            |(d, p): (RowChange, Tid)| d == deed && p < place && block_of(place) - block_of(p) <= 1;
        last.is_some_and(follows) && !self.runs.iter().any(|r| r.deed == deed)
    }

    fn keep(&mut self, deed: RowChange, rows: Vec<(Tid, bool)>) {
        if self.runs.len() == DEPTH {
            self.runs.remove(0);
        }
        self.runs.push(CommandRows {
            deed,
            left: rows.len(),
            next: 0,
            rows,
        });
    }
}

impl RowApplier<'_> {
    /// Writes the rows behind the row of this event, if that pays.
    ///
    /// # Safety
    /// `data` is the TriggerData of the running row trigger.
    pub unsafe fn look_ahead(&self, data: &pg_sys::TriggerData) {
        // SAFETY: guaranteed by the caller; a slot of this kind pins the buffer that holds its row.
        unsafe {
            let slot = data.tg_trigslot;
            let (true, Some((deed, place))) =
                (index_lookup::is_stored(slot), RowChange::from_trigger(data))
            else {
                return;
            };
            // An index with a deferred check accepts conflicting rows at first, and nothing would check them again.
            if deed.event == WriteEvent::Insert && !self.direct.copies {
                return;
            }
            if !self.direct.ahead.borrow_mut().leads(deed, place) {
                return;
            }
            let slot = slot.cast::<pg_sys::BufferHeapTupleTableSlot>();
            let places = self.places((*slot).buffer, deed, place);
            if places.is_empty() {
                return;
            }
            let written = match deed.event {
                WriteEvent::Insert => self.insert_all(&places),
                WriteEvent::Update | WriteEvent::Delete => self.follow_all(&places, deed.event),
            };
            // Rows that are not followed have no event.
            let rows = places.into_iter().zip(written);
            let rows: Vec<_> = rows
                .filter_map(|(place, done)| Some((place, done?)))
                .collect();
            if !rows.is_empty() {
                self.direct.ahead.borrow_mut().keep(deed, rows);
            }
        }
    }

    /// Returns the tids of rows behind `after`, on its page and on the following ones, that the same command changed in the same way.
    ///
    /// # Safety
    /// The buffer holds the page of `after`, and is pinned.
    unsafe fn places(&self, buffer: pg_sys::Buffer, deed: RowChange, after: Tid) -> Vec<Tid> {
        let mut places = Vec::new();
        // SAFETY: guaranteed by the caller. A page that is read here is released here, or by the abort.
        unsafe {
            deed.on_page(buffer, after, MOST, &mut places);
            let main = pg_sys::ForkNumber::MAIN_FORKNUM;
            let mut block = block_of(after) + 1;
            let mut before = 0;
            while places.len() < MOST
                && places.len() > before
                && block < pg_sys::RelationGetNumberOfBlocksInFork(self.touched, main)
            {
                before = places.len();
                let next = pg_sys::ReadBuffer(self.touched, block);
                deed.on_page(next, u64::from(block) << 32, MOST, &mut places);
                pg_sys::ReleaseBuffer(next);
                block += 1;
            }
        }
        places
    }

    /// Inserts copies of these rows; returns which of them were written, None for those that are not followed. As in a batch, rows that conflict in a unique index are deleted
    /// again and left to their own events, which know which transaction to wait for.
    ///
    /// # Safety
    /// The tids are those of rows that this command inserted into the touched table.
    unsafe fn insert_all(&self, places: &[Tid]) -> Vec<Option<bool>> {
        let mut written = vec![Some(false); places.len()];
        let (mut new, mut numbers) = (Vec::new(), Vec::new());
        // SAFETY: guaranteed by the caller. Memory that expressions leave behind is freed after the last row.
        unsafe {
            let source = Slot::of_table(self.touched);
            let before = pg_sys::MemoryContextSwitchTo(self.written.row_memory());
            for (n, place) in places.iter().enumerate() {
                if !self.fetch(*place, self.latest.get(), &source) {
                    continue;
                }
                if !self.direct.row.is_followed(source.0) {
                    written[n] = None;
                    continue;
                }
                let row = Slot::of_table(self.written.relation);
                if self.direct.row.fill(&self.written, source.0, &row) {
                    self.lock_parents(None, &source);
                    self.written.check(&row);
                    pg_sys::ExecMaterializeSlot(row.0);
                    new.push(row);
                    numbers.push(n);
                }
            }
            pg_sys::MemoryContextSwitchTo(before);
            let doubles = self.written.insert_all(&new, null_mut());
            for n in &numbers {
                written[*n] = Some(true);
            }
            if !doubles.is_empty() {
                pg_sys::CommandCounterIncrement();
            }
            for n in doubles {
                self.written.take_back(&new[n]);
                written[numbers[n]] = Some(false);
            }
            self.written.fire_for(&new);
            drop(new);
            pg_sys::MemoryContextReset(self.written.row_memory());
        }
        written
    }

    /// Mirrors changes or deletions of these rows; returns which of them were written, None for those that are not followed.
    ///
    /// # Safety
    /// The tids are those of rows that this command changed or deleted in the touched table.
    unsafe fn follow_all(&self, places: &[Tid], event: WriteEvent) -> Vec<Option<bool>> {
        // SAFETY: guaranteed by the caller; any existing row version can be read under this snapshot.
        unsafe {
            let any = &raw mut pg_sys::SnapshotAnyData;
            let (old, new) = (Slot::of_table(self.touched), Slot::of_table(self.touched));
            let follow = |place: &Tid| {
                let before = pg_sys::MemoryContextSwitchTo(self.written.row_memory());
                let done = match self.fetch(*place, any, &old) {
                    true if !self.direct.row.is_followed(old.0) => None,
                    there => Some(there && self.follow(&old, &new, event)),
                };
                pg_sys::MemoryContextSwitchTo(before);
                pg_sys::MemoryContextReset(self.written.row_memory());
                done
            };
            places.iter().map(follow).collect()
        }
    }

    /// # Safety
    /// `old` holds a row that this command changed or deleted.
    unsafe fn follow(&self, old: &Slot, new: &Slot, event: WriteEvent) -> bool {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let tuple = &*pg_sys::ExecFetchSlotHeapTuple(old.0, false, null_mut());
            let key = self.direct.key.of_slot(old.0);
            if event == WriteEvent::Delete {
                return !self.is_there(old.0) && self.write_row(None, &key, event, false);
            }
            let next = pgrx::itemptr::item_pointer_to_u64((*tuple.t_data).t_ctid);
            let is_so = self.fetch(next, self.latest.get(), new)
                && self.direct.row.is_followed(new.0)
                && self
                    .direct
                    .key
                    .is_same(&key, &self.direct.key.of_slot(new.0));
            if !is_so {
                return false;
            }
            self.lock_parents(Some(old), new);
            self.write_row(Some(new.0), &key, event, false)
        }
    }

    /// # Safety
    /// The snapshot is valid.
    #[allow(ffi_unwind_calls, reason = "the call is guarded")]
    unsafe fn fetch(&self, place: Tid, snapshot: pg_sys::Snapshot, slot: &Slot) -> bool {
        let mut pointer = pointer_to(place);
        // SAFETY: guaranteed by the caller.
        unsafe {
            match (*(*self.touched).rd_tableam).tuple_fetch_row_version {
                None => false,
                Some(fetch) => catch_error(|| fetch(self.touched, &mut pointer, snapshot, slot.0)),
            }
        }
    }
}
