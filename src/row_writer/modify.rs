//! Inserts, updates and deletes rows as ExecSimpleRelationInsert() and related functions in execReplication.c do, with one difference: a
//! row that another transaction has written meanwhile is not an error here, but left to the caller.

use crate::pg::own_statement;
use crate::pg::slot::{Slot, catch_error};
use crate::row_writer::parents::{self, ParentChoice, WrittenRow};
use crate::row_writer::target::{EventOrder, TargetTable};
use pgrx::pg_sys;
use std::ptr::null_mut;

/// How a row is updated.
#[derive(Clone, Copy)]
pub struct UpdateManner {
    /// The command updates only this row. A full index page is searched for dead row versions (bottom-up deletion, nbtree's README).
    /// Versions that the same command has replaced are not dead yet, so the search is useless if there are many of them.
    pub alone: bool,
    /// Waits for a transaction that is writing the row.
    pub waits: bool,
    /// NOT NULL and CHECK are checked.
    pub checks: bool,
}

impl UpdateManner {
    /// The manner of an SQL statement.
    pub fn of_a_statement(alone: bool) -> Self {
        Self {
            alone,
            waits: true,
            checks: true,
        }
    }
}

impl TargetTable<'_> {
    /// # Safety
    /// `new` holds a complete row; no row of the table has its key.
    pub unsafe fn insert(&self, new: &Slot) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            self.store(new);
            let recheck = self.index(new, false);
            self.fire(|| {
                pg_sys::ExecARInsertTriggers(self.estate, self.result, new.0, recheck, null_mut());
            });
            self.lock_parents(None, new);
        }
    }

    /// As `insert`, but does not wait. False if another row conflicts, or may come to conflict, in a unique index.
    ///
    /// # Safety
    /// `new` holds a complete row of the table; its indexes report conflicts at once (`eligibility::tells_at_once`).
    pub unsafe fn insert_unless_there(&self, new: &Slot) -> bool {
        // SAFETY: guaranteed by the caller.
        unsafe {
            self.store(new);
            if !self.index_unless_there(new) {
                pg_sys::CommandCounterIncrement();
                self.take_back(new);
                return false;
            }
            self.fire_for(std::slice::from_ref(new));
        }
        true
    }

    /// Inserts into the table only, not into its indexes.
    ///
    /// # Safety
    /// As `insert`.
    #[allow(ffi_unwind_calls, reason = "the call is guarded")]
    unsafe fn store(&self, new: &Slot) {
        // SAFETY: guaranteed by the caller; a table that `eligibility::table` accepts takes rows.
        unsafe {
            self.check(new);
            let command = pg_sys::GetCurrentCommandId(true);
            if let Some(insert) = (*(*self.relation).rd_tableam).tuple_insert {
                catch_error(|| insert(self.relation, new.0, command, 0, null_mut()));
            }
        }
    }

    /// Inserts rows together, without waiting. Returns the numbers of the rows that conflict in a unique index; they are in the table all
    /// the same.
    ///
    /// # Safety
    /// The slots hold complete rows of the table.
    #[allow(ffi_unwind_calls, reason = "the call is guarded")]
    pub unsafe fn insert_all(&self, new: &[Slot], bulk: pg_sys::BulkInsertState) -> Vec<usize> {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let Some(insert) = (*(*self.relation).rd_tableam).multi_insert else {
                return Vec::new();
            };
            let mut slots: Vec<_> = new.iter().map(|s| s.0).collect();
            let (relation, count) = (self.relation, new.len() as i32);
            let command = pg_sys::GetCurrentCommandId(true);
            catch_error(|| insert(relation, slots.as_mut_ptr(), count, command, 0, bulk));
            self.index_all(new)
        }
    }

    /// Updates a row. False if the row has changed since, or if another transaction is writing it and `manner` does not wait.
    ///
    /// # Safety
    /// `old` holds a row of the table as stored, `new` its new version; a snapshot is active.
    #[allow(ffi_unwind_calls, reason = "the call is guarded")]
    pub unsafe fn update(&self, old: &Slot, new: &Slot, manner: UpdateManner) -> bool {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let Some(update) = (*(*self.relation).rd_tableam).tuple_update else {
                return false;
            };
            pg_sys::CheckCmdReplicaIdentity(self.relation, pg_sys::CmdType::CMD_UPDATE);
            if manner.checks {
                self.check(new);
            }
            let place = &raw mut (*old.0).tts_tid;
            let command = pg_sys::GetCurrentCommandId(true);
            let mut failure = pg_sys::TM_FailureData::default();
            let (mut mode, mut indexes) = (0, false);
            let snapshot = pg_sys::GetActiveSnapshot();
            let result = catch_error(|| {
                update(
                    self.relation,
                    place,
                    new.0,
                    command,
                    snapshot,
                    null_mut(),
                    manner.waits,
                    &mut failure,
                    &mut mode,
                    &mut indexes,
                )
            });
            if result != pg_sys::TM_Result::TM_Ok {
                return false;
            }
            let recheck = if indexes {
                self.index(new, manner.alone)
            } else {
                null_mut()
            };
            self.fire(|| {
                pg_sys::ExecARUpdateTriggers(
                    self.estate,
                    self.result,
                    null_mut(),
                    null_mut(),
                    place,
                    null_mut(),
                    new.0,
                    recheck,
                    null_mut(),
                    false,
                );
            });
            self.lock_parents(Some(old), new);
            true
        }
    }

    /// Deletes a row; false if it has changed since.
    ///
    /// # Safety
    /// `old` holds a row of the table as stored; a snapshot is active.
    pub unsafe fn delete(&self, old: &Slot) -> bool {
        // SAFETY: guaranteed by the caller.
        unsafe {
            pg_sys::CheckCmdReplicaIdentity(self.relation, pg_sys::CmdType::CMD_DELETE);
            if !self.remove(old) {
                return false;
            }
            self.fire(|| {
                pg_sys::ExecARDeleteTriggers(
                    self.estate,
                    self.result,
                    &raw mut (*old.0).tts_tid,
                    null_mut(),
                    null_mut(),
                    false,
                );
            });
            true
        }
    }

    /// Deletes a row that this transaction inserted, unless it has already done so.
    ///
    /// # Safety
    /// `own` holds that row, inserted by an earlier command; a snapshot is active.
    pub unsafe fn take_back(&self, own: &Slot) {
        // SAFETY: guaranteed by the caller.
        unsafe { self.remove(own) };
    }

    /// # Safety
    /// As `delete`.
    #[allow(ffi_unwind_calls, reason = "the call is guarded")]
    unsafe fn remove(&self, old: &Slot) -> bool {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let Some(delete) = (*(*self.relation).rd_tableam).tuple_delete else {
                return false;
            };
            let place = &raw mut (*old.0).tts_tid;
            let command = pg_sys::GetCurrentCommandId(true);
            let snapshot = pg_sys::GetActiveSnapshot();
            let mut failure = pg_sys::TM_FailureData::default();
            let result = catch_error(|| {
                delete(
                    self.relation,
                    place,
                    command,
                    snapshot,
                    null_mut(),
                    true,
                    &mut failure,
                    false,
                )
            });
            result == pg_sys::TM_Result::TM_Ok
        }
    }

    /// Checks NOT NULL and CHECK constraints.
    ///
    /// # Safety
    /// `new` holds a row of the table.
    pub unsafe fn check(&self, new: &Slot) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            if !(*(*self.relation).rd_att).constr.is_null() {
                pg_sys::ExecConstraints(self.result, new.0, self.estate);
            }
        }
    }

    /// Inserts the row's index entries. Returns the indexes whose check is deferred.
    ///
    /// # Safety
    /// `new` holds a row that is already in the table.
    unsafe fn index(&self, new: &Slot, update: bool) -> *mut pg_sys::List {
        // SAFETY: guaranteed by the caller.
        unsafe {
            self.open_indexes();
            if (*self.result).ri_NumIndices == 0 {
                return null_mut();
            }
            let (no_conflict, no_arbiter) = (null_mut(), null_mut());
            pg_sys::ExecInsertIndexTuples(
                self.result,
                new.0,
                self.estate,
                update,
                false,
                no_conflict,
                no_arbiter,
            )
        }
    }

    /// Inserts the row's index entries, without waiting. False if another row conflicts, or may come to conflict, in a unique index.
    ///
    /// # Safety
    /// `new` holds a row that is already in the table.
    pub unsafe fn index_unless_there(&self, new: &Slot) -> bool {
        let mut conflict = false;
        // SAFETY: guaranteed by the caller.
        unsafe {
            self.open_indexes();
            if (*self.result).ri_NumIndices > 0 {
                pg_sys::ExecInsertIndexTuples(
                    self.result,
                    new.0,
                    self.estate,
                    false,
                    true,
                    &mut conflict,
                    null_mut(),
                );
            }
        }
        !conflict
    }

    /// Fires the foreign key triggers of inserted rows.
    ///
    /// # Safety
    /// The slots hold these rows.
    pub unsafe fn fire_for(&self, new: &[Slot]) {
        // SAFETY: guaranteed by the caller. A row that has been deleted again is not checked (RI_FKey_check).
        unsafe {
            self.fire(|| {
                for slot in new {
                    pg_sys::ExecARInsertTriggers(
                        self.estate,
                        self.result,
                        slot.0,
                        null_mut(),
                        null_mut(),
                    );
                }
            });
            for slot in new {
                self.lock_parents(None, slot);
            }
        }
    }

    /// Locks the rows that a written row refers to, where its foreign keys would lock them only when the transaction ends.
    ///
    /// # Safety
    /// The slots hold the row before and after the write.
    unsafe fn lock_parents(&self, old: Option<&Slot>, new: &Slot) {
        if self.order == EventOrder::Queued {
            let row = WrittenRow::new(self.relation, old, new);
            // SAFETY: guaranteed by the caller.
            unsafe { parents::lock(row, ParentChoice::CheckedLate) };
        }
    }

    /// Fires the foreign key triggers that `queue` queues, as at the end of a statement, or leaves them in the application's queue.
    ///
    /// # Safety
    /// `queue` queues events of this table.
    unsafe fn fire(&self, queue: impl FnOnce()) {
        // SAFETY: guaranteed by the caller; inside a transaction.
        unsafe {
            if !self.fires {
                return;
            }
            if self.order == EventOrder::Queued {
                queue();
                return;
            }
            let _ours = own_statement::write_below_sql();
            pg_sys::AfterTriggerBeginQuery();
            queue();
            pg_sys::AfterTriggerEndQuery(self.estate);
        }
    }
}
