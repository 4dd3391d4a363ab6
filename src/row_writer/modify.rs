//! Putting a row in, changing it, taking it away: as ExecSimpleRelationInsert() and its neighbours in execReplication.c
//! do, with one difference. A row that somebody else has written meanwhile is no error here, it is left to the caller.

use crate::pg::slot::Slot;
use crate::pg::slot::catch_error;
use crate::row_writer::target::TargetTable;
use pgrx::pg_sys;
use std::ptr::null_mut;

/// How a row is changed.
#[derive(Clone, Copy)]
pub struct UpdateManner {
    /// It is not one of many that one command changes. An index page that is full is searched for versions that are dead by now
    /// (bottom-up deletion, nbtree's README); those that this command has replaced are not, so that where there are many of them
    /// the search is in vain.
    pub alone: bool,
    /// For whoever writes the row.
    pub waits: bool,
    /// NOT NULL and CHECK are looked at.
    pub checks: bool,
}

impl UpdateManner {
    /// As a statement does it.
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
    /// `new` holds a whole row of the table, whose key it does not have.
    pub unsafe fn insert(&self, new: &Slot) {
        // SAFETY: as the caller says.
        unsafe {
            self.store(new);
            let recheck = self.index(new, false);
            self.fire(|| {
                pg_sys::ExecARInsertTriggers(self.estate, self.result, new.0, recheck, null_mut());
            });
        }
    }

    /// As `insert`, but waits for nobody: false where another row has the place in a unique index, or may come to have it.
    ///
    /// # Safety
    /// `new` holds a whole row of the table; its indexes tell at once.
    pub unsafe fn insert_unless_there(&self, new: &Slot) -> bool {
        // SAFETY: as the caller says.
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

    /// Into the table alone.
    ///
    /// # Safety
    /// As `insert`.
    #[allow(ffi_unwind_calls, reason = "the call is guarded")]
    unsafe fn store(&self, new: &Slot) {
        // SAFETY: as the caller says; a table of the kinds that `suits` lets pass takes rows.
        unsafe {
            self.check(new);
            let command = pg_sys::GetCurrentCommandId(true);
            if let Some(insert) = (*(*self.relation).rd_tableam).tuple_insert {
                catch_error(|| insert(self.relation, new.0, command, 0, null_mut()));
            }
        }
    }

    /// Puts rows in together, and waits for nobody. The numbers of those that stand in the way of others in a unique index:
    /// they are in the table all the same.
    ///
    /// # Safety
    /// The slots hold whole rows of the table.
    #[allow(ffi_unwind_calls, reason = "the call is guarded")]
    pub unsafe fn insert_all(&self, new: &[Slot], bulk: pg_sys::BulkInsertState) -> Vec<usize> {
        // SAFETY: as the caller says.
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

    /// False where the row is not what it was, or where somebody writes it and `manner` is not to wait.
    ///
    /// # Safety
    /// `old` holds a row of the table as stored, `new` what becomes of it; a snapshot is active.
    #[allow(ffi_unwind_calls, reason = "the call is guarded")]
    pub unsafe fn update(&self, old: &Slot, new: &Slot, manner: UpdateManner) -> bool {
        // SAFETY: as the caller says.
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
            true
        }
    }

    /// False where the row is not what it was.
    ///
    /// # Safety
    /// `old` holds a row of the table as stored; a snapshot is active.
    pub unsafe fn delete(&self, old: &Slot) -> bool {
        // SAFETY: as the caller says.
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

    /// Takes away a row that this transaction has put in, if it has not yet.
    ///
    /// # Safety
    /// `own` holds that row, put in by an earlier command; a snapshot is active.
    pub unsafe fn take_back(&self, own: &Slot) {
        // SAFETY: as the caller says.
        unsafe { self.remove(own) };
    }

    /// # Safety
    /// As `delete`.
    #[allow(ffi_unwind_calls, reason = "the call is guarded")]
    unsafe fn remove(&self, old: &Slot) -> bool {
        // SAFETY: as the caller says.
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

    /// NOT NULL and CHECK.
    ///
    /// # Safety
    /// `new` holds a row of the table.
    pub unsafe fn check(&self, new: &Slot) {
        // SAFETY: as the caller says.
        unsafe {
            if !(*(*self.relation).rd_att).constr.is_null() {
                pg_sys::ExecConstraints(self.result, new.0, self.estate);
            }
        }
    }

    /// Puts the row into the indexes; those whose check comes later.
    ///
    /// # Safety
    /// `new` holds a row that the table has by now.
    unsafe fn index(&self, new: &Slot, update: bool) -> *mut pg_sys::List {
        // SAFETY: as the caller says.
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

    /// Puts the row into the indexes, and waits for nobody; false where another row has its place in a unique one, or may
    /// come to have it.
    ///
    /// # Safety
    /// `new` holds a row that the table has by now.
    pub unsafe fn index_unless_there(&self, new: &Slot) -> bool {
        let mut conflict = false;
        // SAFETY: as the caller says.
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

    /// Foreign keys of rows that were put in.
    ///
    /// # Safety
    /// The slots hold them.
    pub unsafe fn fire_for(&self, new: &[Slot]) {
        // SAFETY: as the caller says. A row that was taken back since is not checked (RI_FKey_check).
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
        }
    }

    /// Foreign keys, as at the end of a statement.
    ///
    /// # Safety
    /// `queue` queues events of this table.
    unsafe fn fire(&self, queue: impl FnOnce()) {
        // SAFETY: as the caller says; inside a transaction.
        unsafe {
            if !self.fires {
                return;
            }
            pg_sys::AfterTriggerBeginQuery();
            queue();
            pg_sys::AfterTriggerEndQuery(self.estate);
        }
    }
}
