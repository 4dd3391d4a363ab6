//! Applies one row of the touched table to the written table, in a command of its own.

use crate::pg::slot::{Slot, lock_row};
use crate::row_writer::index_lookup::{self, KeySearch};
use crate::row_writer::modify::UpdateManner;
use crate::row_writer::parents::{self, ParentChoice, WrittenRow};
use crate::row_writer::target::{EventOrder, TargetTable};
use crate::row_writer::{DirectWriter, WriteEvent};
use pgrx::pg_sys;
use std::cell::{Cell, OnceCell, RefCell};

/// State for the rows that one call writes.
pub struct RowApplier<'a> {
    pub direct: &'a DirectWriter,
    pub touched: pg_sys::Relation,
    /// The row that is being built.
    new: Slot,
    /// A search by the written table's key, and the row that it found. Opened on first use: most inserts need neither.
    looked: OnceCell<(RefCell<KeySearch<'a>>, Slot)>,
    // Declared after the slots and the search, so that it is closed after them.
    pub written: TargetTable<'a>,
    pub latest: LatestSnapshot,
}

impl<'a> RowApplier<'a> {
    /// # Safety
    /// Inside a transaction, in a command of its own; `touched` stays open longer than the value lives.
    pub unsafe fn begin(
        direct: &'a DirectWriter,
        touched: pg_sys::Relation,
        skipped_fks: &[pg_sys::Oid],
        order: EventOrder,
    ) -> Self {
        let latest = LatestSnapshot::default();
        if !direct.plain {
            latest.get();
        }
        // SAFETY: guaranteed by the caller.
        unsafe {
            let written = TargetTable::open(direct.written, &direct.kept, skipped_fks, order);
            Self {
                direct,
                touched,
                new: Slot::to_fill(written.relation),
                looked: OnceCell::new(),
                written,
                latest,
            }
        }
    }

    /// Writes the row of an event, and rows behind it if that pays (`look_ahead`). False if nothing was done.
    ///
    /// # Safety
    /// As `Direct::write`.
    pub unsafe fn apply_event(
        &self,
        data: &pg_sys::TriggerData,
        key: &[pg_sys::Datum],
        event: WriteEvent,
    ) -> bool {
        let source = match event {
            WriteEvent::Insert => Some(data.tg_trigslot),
            WriteEvent::Update => Some(data.tg_newslot),
            WriteEvent::Delete => None,
        };
        // SAFETY: a row trigger has these slots (trigger.c).
        unsafe {
            let is_so = match source {
                Some(row) => {
                    index_lookup::is_own(row)
                        || index_lookup::is_visible(self.touched, row, self.latest.get())
                }
                None => !self.is_there(data.tg_trigslot),
            };
            let done = is_so && self.write_row(source, key, event, true);
            if done {
                self.look_ahead(data);
            }
            done
        }
    }

    /// Whether the touched table has a row with the key of this one: a committed one, or one of this transaction. No other transaction can
    /// insert the key before this one ends, so no snapshot has to be asked, and none leaves a predicate lock.
    ///
    /// # Safety
    /// `row` holds a row of the touched table.
    pub unsafe fn is_there(&self, row: *mut pg_sys::TupleTableSlot) -> bool {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let key = self.direct.touched_columns.of_slot(row);
            let found = Slot::of_table(self.touched);
            self.direct.touched_key.find_now(self.touched, &key, &found)
        }
    }

    /// Locks the parents of a row of the touched table that is written before its event comes.
    ///
    /// # Safety
    /// The slots hold the row before and after the application's write.
    pub unsafe fn lock_parents(&self, old: Option<&Slot>, new: &Slot) {
        if self.written.order == EventOrder::Queued {
            let row = WrittenRow::new(self.touched, old, new);
            // SAFETY: guaranteed by the caller.
            unsafe { parents::lock(row, ParentChoice::All) };
        }
    }

    /// Writes one row; false if nothing was written. `source` is the current row of the touched table; `alone`: the command writes no other
    /// rows.
    ///
    /// # Safety
    /// `key` is the key of a row of the touched table to which `event` happened.
    pub unsafe fn write_row(
        &self,
        source: Option<*mut pg_sys::TupleTableSlot>,
        key: &[pg_sys::Datum],
        event: WriteEvent,
        alone: bool,
    ) -> bool {
        let (row, written) = (&self.direct.row, &self.written);
        // SAFETY: guaranteed by the caller.
        unsafe {
            if source.is_some_and(|source| !row.is_followed(source)) {
                return false;
            }
            if let (WriteEvent::Insert, Some(source)) = (event, source) {
                return row.fill(written, source, &self.new) && self.put_in(key);
            }
            let Some(found) = self.find(key) else {
                // The copy is still to come, or has gone. Statements would do the same, and leave predicate locks.
                return match source {
                    None => true,
                    Some(source) => {
                        alone && row.fill(written, source, &self.new) && self.put_in(key)
                    }
                };
            };
            if !row.is_ours(found) {
                return false;
            }
            match source {
                None => written.delete(found),
                Some(source) => {
                    if !row.fill(written, source, &self.new) {
                        return false;
                    }
                    row.keep_others(found, &self.new);
                    if self.is_right(found) {
                        return self.hold(found);
                    }
                    written.update(found, &self.new, UpdateManner::of_a_statement(alone))
                }
            }
        }
    }

    /// Whether the written row is as it should be already. If the written table is mirrored, a write would go beyond what the application did.
    ///
    /// # Safety
    /// `self.new` holds the row as it should be, and `found` the row as stored.
    unsafe fn is_right(&self, found: &Slot) -> bool {
        // SAFETY: guaranteed by the caller.
        self.direct.both_ways && unsafe { self.direct.row.is_same(found, &self.new) }
    }

    /// Locks the written row as an UPDATE would; false if it is another one by now.
    ///
    /// # Safety
    /// `found` holds the row as stored.
    unsafe fn hold(&self, found: &Slot) -> bool {
        // SAFETY: guaranteed by the caller.
        unsafe {
            lock_row(
                self.written.relation,
                found,
                pg_sys::LockTupleMode::LockTupleNoKeyExclusive,
            )
        }
    }

    /// Inserts the row; false if its key is taken. Usually there is no conflict, and the index reports one without a search before the
    /// insert. If an index could wait instead, the key is searched first.
    ///
    /// # Safety
    /// `self.new` holds the row of this key.
    unsafe fn put_in(&self, key: &[pg_sys::Datum]) -> bool {
        let written = &self.written;
        // SAFETY: guaranteed by the caller.
        unsafe {
            if self.direct.copies {
                return written.insert_unless_there(&self.new);
            }
            if self.find(key).is_some() {
                return false;
            }
            written.insert(&self.new);
        }
        true
    }

    /// Finds the written table's row for this key of the touched table. Waits for a transaction that is about to write that row.
    ///
    /// # Safety
    /// As `write_row`.
    unsafe fn find(&self, key: &[pg_sys::Datum]) -> Option<&Slot> {
        let relation = self.written.relation;
        // SAFETY: guaranteed by the caller; the table stays open longer than the search and the slot.
        unsafe {
            // The search keeps its allocations, and the caller's memory context may be reset after the row.
            let before = pg_sys::MemoryContextSwitchTo(self.written.memory());
            let (search, found) = self.looked.get_or_init(|| {
                let search = self.direct.written_key.search(relation);
                (RefCell::new(search), Slot::of_table(relation))
            });
            let there = search.borrow_mut().find(&self.direct.row.key(key), found);
            pg_sys::MemoryContextSwitchTo(before);
            there.then_some(found)
        }
    }
}

/// The latest snapshot, active from its first use until the value is dropped. It sees what the transaction's commands have written.
#[derive(Default)]
pub struct LatestSnapshot(Cell<bool>);

impl LatestSnapshot {
    pub fn get(&self) -> pg_sys::Snapshot {
        // SAFETY: inside a transaction; popped on drop, or with the (sub)transaction that an ERROR aborts.
        unsafe {
            if !self.0.replace(true) {
                pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot());
            }
            pg_sys::GetActiveSnapshot()
        }
    }
}

impl Drop for LatestSnapshot {
    fn drop(&mut self) {
        if self.0.get() && !std::thread::panicking() {
            // SAFETY: pushed by `get`; any snapshot pushed since has been popped.
            unsafe { pg_sys::PopActiveSnapshot() };
        }
    }
}
