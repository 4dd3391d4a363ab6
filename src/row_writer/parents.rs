//! Locks the rows that a row refers to. A foreign key of a new table is checked when its transaction ends, one of an old table when its
//! statement ends, so two transactions could lock the parents of one side in the order that the application gives them and those of the
//! other side in the opposite one, and deadlock where the application alone does not. While both sides are written, a row that was written
//! therefore locks its parents at once, first those of the side that the application wrote, then those of the other one: in the order in which
//! the checks of its foreign keys would, and as they do (ri_PerformCheck in ri_triggers.c: FOR KEY SHARE).
//!
//! Parents that no mirror writes have one row, not two. Where their check would come later they are left to it.

use crate::pg::datum_equality::DatumImage;
use crate::pg::guc;
use crate::pg::relcache_flag::{self, InvalidationFlag};
use crate::pg::slot::{Slot, lock_row};
use crate::pg::trigger_kind;
use crate::row_writer::index_lookup::{self, KeyIndex};
use crate::row_writer::{OpenRelation, attributes, items};
use pgrx::pg_sys;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// The foreign keys of a table, in the order of their checks; none if no parent has a mirror.
pub struct ParentKeys {
    keys: Vec<ParentKey>,
    /// Raised when the table or a parent changes.
    changed: Rc<InvalidationFlag>,
}

struct ParentKey {
    parent: pg_sys::Oid,
    index: KeyIndex,
    /// The referring columns, in the order of the key.
    columns: Vec<(i16, DatumImage)>,
    /// The check may come at the end of the transaction.
    late: bool,
    mirrored: bool,
    /// Of the check among the table's triggers.
    order: usize,
}

/// Which foreign keys' parents are locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParentChoice {
    All,
    /// Those of keys that may be checked later; the others lock theirs in the same statement.
    CheckedLate,
}

/// A row before and after a write, and its table.
#[derive(Clone, Copy)]
pub struct WrittenRow {
    pub table: pg_sys::Relation,
    pub old: Option<*mut pg_sys::TupleTableSlot>,
    pub new: *mut pg_sys::TupleTableSlot,
}

impl WrittenRow {
    /// `old` is None for a new row.
    pub fn new(table: pg_sys::Relation, old: Option<&Slot>, new: &Slot) -> Self {
        Self {
            table,
            old: old.map(|o| o.0),
            new: new.0,
        }
    }
}

thread_local! {
    static KNOWN: RefCell<HashMap<pg_sys::Oid, Rc<ParentKeys>>> = RefCell::default();
}

/// Locks the parents of the row of a running event. As `replica` a session checks no foreign key.
///
/// # Safety
/// `data` is the TriggerData of a row trigger that is running.
pub unsafe fn lock_of_event(data: &pg_sys::TriggerData, choice: ParentChoice) {
    if guc::is_replica() {
        return;
    }
    let (old, new) = match data.tg_event & pg_sys::TRIGGER_EVENT_OPMASK {
        pg_sys::TRIGGER_EVENT_INSERT => (None, data.tg_trigslot),
        pg_sys::TRIGGER_EVENT_UPDATE => (Some(data.tg_trigslot), data.tg_newslot),
        _ => return,
    };
    let table = data.tg_relation;
    // SAFETY: guaranteed by the caller; which slots hold rows depends on the event (trigger.c).
    unsafe { lock(WrittenRow { table, old, new }, choice) };
}

/// Locks the parents of a row, if it is new or refers to others than before.
///
/// # Safety
/// The table is open, and the slots hold rows of it.
pub unsafe fn lock(row: WrittenRow, choice: ParentChoice) {
    // SAFETY: guaranteed by the caller. A parent that is open can change no more, so this ends.
    unsafe { while !find(row.table).lock(row, choice) {} }
}

/// Returns the keys of the table, from the session's cache or newly read.
///
/// # Safety
/// `table` is open.
unsafe fn find(table: pg_sys::Relation) -> Rc<ParentKeys> {
    // SAFETY: guaranteed by the caller.
    let oid = unsafe { (*table).rd_id };
    let known = KNOWN.with_borrow(|all| all.get(&oid).cloned());
    if let Some(known) = known.filter(|k| !k.changed.is_raised()) {
        return known;
    }
    // SAFETY: guaranteed by the caller.
    let read = Rc::new(unsafe { ParentKeys::read(table) });
    KNOWN.with_borrow_mut(|all| {
        all.retain(|_, keys| !keys.changed.is_raised());
        all.insert(oid, Rc::clone(&read));
    });
    read
}

impl ParentKeys {
    /// # Safety
    /// `table` is open.
    unsafe fn read(table: pg_sys::Relation) -> Self {
        // SAFETY: guaranteed by the caller; the list belongs to the relcache entry, which stays as it is while no invalidation is accepted,
        // so it is copied first.
        let keys: Vec<pg_sys::ForeignKeyCacheInfo> = unsafe {
            items::<pg_sys::ForeignKeyCacheInfo>(pg_sys::RelationGetFKeyList(table))
                .map(|key| *key)
                .collect()
        };
        let mut watched: Vec<_> = keys.iter().map(|key| key.confrelid).collect();
        // SAFETY: guaranteed by the caller.
        watched.push(unsafe { (*table).rd_id });
        let changed = relcache_flag::relations(watched);
        // SAFETY: guaranteed by the caller.
        let keys = keys
            .iter()
            .filter_map(|key| unsafe { ParentKey::from_constraint(table, key) });
        let mut keys: Vec<_> = keys.collect();
        if !keys.iter().any(|key| key.mirrored) {
            keys.clear();
        }
        keys.sort_by_key(|key| key.order);
        Self { keys, changed }
    }

    /// False if a parent changed meanwhile.
    ///
    /// # Safety
    /// As for the function.
    unsafe fn lock(&self, row: WrittenRow, choice: ParentChoice) -> bool {
        for key in &self.keys {
            let left_to_check = match choice {
                ParentChoice::CheckedLate => !key.late || !key.mirrored,
                ParentChoice::All => key.late && !key.mirrored,
            };
            // SAFETY: guaranteed by the caller.
            if left_to_check || unsafe { row.old.is_some_and(|old| key.is_same(old, row.new)) } {
                continue;
            }
            let parent = OpenRelation::open(key.parent, pg_sys::RowShareLock);
            if self.changed.is_raised() {
                return false;
            }
            // SAFETY: guaranteed by the caller.
            unsafe { key.lock(&parent, row.new) };
        }
        true
    }
}

impl ParentKey {
    /// Returns None where the parent cannot be found by built-in comparisons of an index.
    ///
    /// # Safety
    /// `child` is open, and has the key.
    unsafe fn from_constraint(
        child: pg_sys::Relation,
        key: &pg_sys::ForeignKeyCacheInfo,
    ) -> Option<Self> {
        let parent = OpenRelation::read(key.confrelid);
        // SAFETY: guaranteed by the caller; the parent is open.
        unsafe {
            if !index_lookup::is_table(parent.0) {
                return None;
            }
            let count = usize::try_from(key.nkeys).ok()?;
            let columns = &key.conkey[..count];
            let kind = |n: &i16| attributes::attribute(child, *n).atttypid;
            let types: Vec<_> = columns.iter().map(kind).collect();
            let images = types.iter().map(|t| DatumImage::for_type(*t));
            let triggers = trigger_kind::triggers_of((*child).trigdesc);
            // A key within one table has its actions there, too.
            let checks = |t: &pg_sys::Trigger| {
                t.tgconstraint == key.conoid && trigger_kind::checks_parent(t)
            };
            let order = triggers.iter().position(checks)?;
            Some(Self {
                parent: key.confrelid,
                index: KeyIndex::of_parent(parent.0, &key.confkey[..count])?
                    .compared_by(&key.conpfeqop[..count], &types)?,
                columns: columns.iter().copied().zip(images).collect(),
                late: triggers[order].tgdeferrable,
                mirrored: trigger_kind::has_mirror(parent.0),
                order,
            })
        }
    }

    /// # Safety
    /// Both slots hold rows of the child.
    unsafe fn is_same(
        &self,
        old: *mut pg_sys::TupleTableSlot,
        new: *mut pg_sys::TupleTableSlot,
    ) -> bool {
        // SAFETY: guaranteed by the caller.
        self.columns.iter().all(|(number, image)| unsafe {
            match (Slot::value(old, *number), Slot::value(new, *number)) {
                ((_, true), (_, true)) => true,
                ((a, false), (b, false)) => image.is_same(a, b),
                _ => false,
            }
        })
    }

    /// Locks the parent of this row, if it refers to one that exists. What the lock finds is not asked: the check decides.
    ///
    /// # Safety
    /// `row` holds a row of the child.
    unsafe fn lock(&self, parent: &OpenRelation, row: *mut pg_sys::TupleTableSlot) {
        // SAFETY: guaranteed by the caller.
        let value = |(number, _): &(i16, _)| unsafe { Slot::value(row, *number) };
        let values = self.columns.iter().map(value);
        let values: Option<Vec<_>> = values.map(|(v, null)| (!null).then_some(v)).collect();
        let Some(values) = values else {
            return;
        };
        // SAFETY: the parent is open for longer than the slot.
        unsafe {
            let found = Slot::of_table(parent.0);
            if self.index.find_now(parent.0, &values, &found) && !index_lookup::is_own(found.0) {
                lock_row(parent.0, &found, pg_sys::LockTupleMode::LockTupleKeyShare);
            }
        }
    }
}
