//! Rows of the same statement, written together. AFTER triggers fire when a statement has written all of its rows, so those whose
//! events are still to come stand in the table already, most of them behind the one at hand: tables and indexes are opened once for
//! many of them, and when their own events come there is nothing left to do.
//!
//! No answer depends on it. A row is taken from a page only if the same command did the same to it, so it has an event of its
//! own; what is not as expected is left to that. Whatever is written between the two, by triggers of the application, has its own
//! event, too, and that one finds the copy. An abort takes rows, copies and events away together.

use crate::pg::slot::Slot;
use crate::pg::slot::catch_error;
use crate::pg::tx;
use crate::row_writer::WriteEvent;
use crate::row_writer::apply::RowApplier;
use crate::row_writer::index_lookup;
use crate::row_writer::row_change::RowChange;
use crate::row_writer::row_change::Tid;
use crate::row_writer::row_change::block_of;
use crate::row_writer::row_change::pointer_to;
use pgrx::pg_sys;
use std::ptr::null_mut;

/// Rows that are written together.
const MOST: usize = 1024;
/// Statements inside statements that are known at a time.
const DEPTH: usize = 8;

/// What was written before its event came.
#[derive(Default)]
pub struct Lookahead {
    transaction: u32,
    /// The event that came last.
    last: Option<(RowChange, Tid)>,
    runs: Vec<CommandRows>,
}

/// Rows of one command, in the order of their places, and whether each is written.
struct CommandRows {
    deed: RowChange,
    rows: Vec<(Tid, bool)>,
    /// The first one whose event has not come, if they come in order.
    next: usize,
    /// Events that are still to come.
    left: usize,
}

impl Lookahead {
    /// No event is to come whose row is written.
    pub fn is_idle(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether the row of this event is written; the event is used up.
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

    /// Whether it is worth while to look at what comes behind this row: events come in the order of places, and those behind
    /// it are not known yet.
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
    /// Writes the rows behind the one whose event has come, if that is worth while.
    ///
    /// # Safety
    /// `data` is the TriggerData of the running row trigger.
    pub unsafe fn look_ahead(&self, data: &pg_sys::TriggerData) {
        // SAFETY: as the caller says; a slot of this kind pins the buffer that its row is in.
        unsafe {
            let slot = data.tg_trigslot;
            let (true, Some((deed, place))) =
                (index_lookup::is_stored(slot), RowChange::from_trigger(data))
            else {
                return;
            };
            // An index that is checked late would be told of rows that are put in, and nobody would look again.
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
            let rows = places.into_iter().zip(written).collect();
            self.direct.ahead.borrow_mut().keep(deed, rows);
        }
    }

    /// # Safety
    /// The buffer holds the page of `after`, and is pinned.
    unsafe fn places(&self, buffer: pg_sys::Buffer, deed: RowChange, after: Tid) -> Vec<Tid> {
        let mut places = Vec::new();
        // SAFETY: as the caller says. A page that is read here is let go of here, or by the abort.
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

    /// Which of them are written: as a batch does it, rows whose place in a unique index is taken are taken back, and left to
    /// their own events, which know whom to wait for.
    ///
    /// # Safety
    /// The places are those of rows that this command has put into the touched table.
    unsafe fn insert_all(&self, places: &[Tid]) -> Vec<bool> {
        let mut written = vec![false; places.len()];
        let (mut new, mut numbers) = (Vec::new(), Vec::new());
        // SAFETY: as the caller says. What expressions leave behind goes with the last row.
        unsafe {
            let source = Slot::of_table(self.touched);
            let before = pg_sys::MemoryContextSwitchTo(self.written.row_memory());
            for (n, place) in places.iter().enumerate() {
                if !self.fetch(*place, self.latest.get(), &source) {
                    continue;
                }
                let row = Slot::of_table(self.written.relation);
                if self.direct.row.fill(&self.written, source.0, &row) {
                    self.written.check(&row);
                    pg_sys::ExecMaterializeSlot(row.0);
                    new.push(row);
                    numbers.push(n);
                }
            }
            pg_sys::MemoryContextSwitchTo(before);
            let doubles = self.written.insert_all(&new, null_mut());
            for n in &numbers {
                written[*n] = true;
            }
            if !doubles.is_empty() {
                pg_sys::CommandCounterIncrement();
            }
            for n in doubles {
                self.written.take_back(&new[n]);
                written[numbers[n]] = false;
            }
            self.written.fire_for(&new);
            drop(new);
            pg_sys::MemoryContextReset(self.written.row_memory());
        }
        written
    }

    /// # Safety
    /// The places are those of rows that this command has changed or deleted in the touched table.
    unsafe fn follow_all(&self, places: &[Tid], event: WriteEvent) -> Vec<bool> {
        // SAFETY: as the caller says; any version of a row that is there can be read under this snapshot.
        unsafe {
            let any = &raw mut pg_sys::SnapshotAnyData;
            let (old, new) = (Slot::of_table(self.touched), Slot::of_table(self.touched));
            let follow = |place: &Tid| {
                let before = pg_sys::MemoryContextSwitchTo(self.written.row_memory());
                let done = self.fetch(*place, any, &old) && self.follow(&old, &new, event);
                pg_sys::MemoryContextSwitchTo(before);
                pg_sys::MemoryContextReset(self.written.row_memory());
                done
            };
            places.iter().map(follow).collect()
        }
    }

    /// # Safety
    /// `old` holds a row that this command has changed or deleted.
    unsafe fn follow(&self, old: &Slot, new: &Slot, event: WriteEvent) -> bool {
        // SAFETY: as the caller says.
        unsafe {
            let tuple = &*pg_sys::ExecFetchSlotHeapTuple(old.0, false, null_mut());
            let key = self.direct.key.of_slot(old.0);
            if event == WriteEvent::Delete {
                return !self
                    .direct
                    .touched_key
                    .is_in(self.touched, &key, self.latest.get())
                    && self.write_row(None, &key, event, false);
            }
            let next = pgrx::itemptr::item_pointer_to_u64((*tuple.t_data).t_ctid);
            self.fetch(next, self.latest.get(), new)
                && self
                    .direct
                    .key
                    .is_same(&key, &self.direct.key.of_slot(new.0))
                && self.write_row(Some(new.0), &key, event, false)
        }
    }

    /// # Safety
    /// The snapshot is valid.
    #[allow(ffi_unwind_calls, reason = "the call is guarded")]
    unsafe fn fetch(&self, place: Tid, snapshot: pg_sys::Snapshot, slot: &Slot) -> bool {
        let mut pointer = pointer_to(place);
        // SAFETY: as the caller says.
        unsafe {
            match (*(*self.touched).rd_tableam).tuple_fetch_row_version {
                None => false,
                Some(fetch) => catch_error(|| fetch(self.touched, &mut pointer, snapshot, slot.0)),
            }
        }
    }
}
