//! Putting a row in, changing it, taking it away: as ExecSimpleRelationInsert() and its neighbours in execReplication.c
//! do, with one difference. A row that somebody else has written meanwhile is no error here, it is left to the caller.

use super::slot::{Slot, guarded};
use pgrx::pg_sys;
use std::ptr::null_mut;

/// The written table, open for one row.
pub struct Written {
    pub relation: pg_sys::Relation,
    estate: *mut pg_sys::EState,
    result: *mut pg_sys::ResultRelInfo,
    /// Triggers are left that have to see what is written.
    fires: bool,
}

impl Written {
    /// Triggers of the foreign keys `spared` do not fire.
    ///
    /// # Safety
    /// Inside a transaction.
    pub unsafe fn open(table: pg_sys::Oid, spared: &[pg_sys::Oid]) -> Self {
        // SAFETY: closed on drop, or by the abort that unwinds it.
        unsafe {
            let relation = pg_sys::table_open(table, pg_sys::RowExclusiveLock as i32);
            let estate = pg_sys::CreateExecutorState();
            let result: *mut pg_sys::ResultRelInfo = pg_sys::MemoryContextAllocZero(
                (*estate).es_query_cxt,
                size_of::<pg_sys::ResultRelInfo>(),
            )
            .cast();
            pg_sys::InitResultRelInfo(result, relation, 0, null_mut(), 0);
            // Where its triggers look for it, and where its indexes are closed.
            let opened = &raw mut (*estate).es_opened_result_relations;
            *opened = pg_sys::lappend(*opened, result.cast());
            let mut fires = false;
            if let Some(own) = (*result).ri_TrigDesc.as_ref() {
                // InitResultRelInfo() has copied them for us.
                for t in std::slice::from_raw_parts_mut(own.triggers, own.numtriggers as usize) {
                    if spared.contains(&t.tgconstraint) {
                        t.tgenabled = pg_sys::TRIGGER_DISABLED as std::ffi::c_char;
                    } else {
                        fires = true;
                    }
                }
            }
            Self {
                relation,
                estate,
                result,
                fires,
            }
        }
    }

    pub fn expression_context(&self) -> *mut pg_sys::ExprContext {
        // SAFETY: the state lives as long as this value.
        unsafe {
            if (*self.estate).es_per_tuple_exprcontext.is_null() {
                pg_sys::MakePerTupleExprContext(self.estate);
            }
            (*self.estate).es_per_tuple_exprcontext
        }
    }

    /// For what is of no use after the row.
    pub fn row_memory(&self) -> pg_sys::MemoryContext {
        // SAFETY: the context lives as long as this value.
        unsafe { (*self.expression_context()).ecxt_per_tuple_memory }
    }

    /// # Safety
    /// `new` holds a whole row of the table, whose key it does not have.
    #[allow(ffi_unwind_calls, reason = "the call is guarded")]
    pub unsafe fn insert(&self, new: &Slot) -> bool {
        // SAFETY: as the caller says.
        unsafe {
            let Some(insert) = (*(*self.relation).rd_tableam).tuple_insert else {
                return false;
            };
            self.check(new);
            let command = pg_sys::GetCurrentCommandId(true);
            guarded(|| insert(self.relation, new.0, command, 0, null_mut()));
            let recheck = self.index(new, false);
            self.fire(|| {
                pg_sys::ExecARInsertTriggers(self.estate, self.result, new.0, recheck, null_mut());
            });
            true
        }
    }

    /// False where the row is not what it was under the snapshot.
    ///
    /// # Safety
    /// `old` holds a row of the table as stored, `new` what becomes of it; `snapshot` is active.
    #[allow(ffi_unwind_calls, reason = "the call is guarded")]
    pub unsafe fn update(&self, old: &Slot, new: &Slot, snapshot: pg_sys::Snapshot) -> bool {
        // SAFETY: as the caller says.
        unsafe {
            let Some(update) = (*(*self.relation).rd_tableam).tuple_update else {
                return false;
            };
            pg_sys::CheckCmdReplicaIdentity(self.relation, pg_sys::CmdType::CMD_UPDATE);
            self.check(new);
            let place = &raw mut (*old.0).tts_tid;
            let command = pg_sys::GetCurrentCommandId(true);
            let mut failure = pg_sys::TM_FailureData::default();
            let (mut mode, mut indexes) = (0, false);
            let result = guarded(|| {
                update(
                    self.relation,
                    place,
                    new.0,
                    command,
                    snapshot,
                    null_mut(),
                    true,
                    &mut failure,
                    &mut mode,
                    &mut indexes,
                )
            });
            if result != pg_sys::TM_Result::TM_Ok {
                return false;
            }
            let recheck = if indexes {
                self.index(new, true)
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

    /// False where the row is not what it was under the snapshot.
    ///
    /// # Safety
    /// `old` holds a row of the table as stored; `snapshot` is active.
    pub unsafe fn delete(&self, old: &Slot, snapshot: pg_sys::Snapshot) -> bool {
        // SAFETY: as the caller says.
        unsafe {
            pg_sys::CheckCmdReplicaIdentity(self.relation, pg_sys::CmdType::CMD_DELETE);
            if !self.remove(old, snapshot) {
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
        unsafe { self.remove(own, pg_sys::GetActiveSnapshot()) };
    }

    /// # Safety
    /// As `delete`.
    #[allow(ffi_unwind_calls, reason = "the call is guarded")]
    unsafe fn remove(&self, old: &Slot, snapshot: pg_sys::Snapshot) -> bool {
        // SAFETY: as the caller says.
        unsafe {
            let Some(delete) = (*(*self.relation).rd_tableam).tuple_delete else {
                return false;
            };
            let place = &raw mut (*old.0).tts_tid;
            let command = pg_sys::GetCurrentCommandId(true);
            let mut failure = pg_sys::TM_FailureData::default();
            let result = guarded(|| {
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

    /// They are closed with the table.
    ///
    /// # Safety
    /// The table is open.
    unsafe fn open_indexes(&self) {
        // SAFETY: as the caller says.
        unsafe {
            if (*self.result).ri_IndexRelationDescs.is_null() {
                pg_sys::ExecOpenIndices(self.result, false);
            }
        }
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

impl Drop for Written {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: opened by `open`; slots of triggers pin buffers.
            unsafe {
                pg_sys::ExecResetTupleTable((*self.estate).es_tupleTable, false);
                pg_sys::ExecCloseResultRelations(self.estate);
                pg_sys::FreeExecutorState(self.estate);
                pg_sys::table_close(self.relation, pg_sys::NoLock as i32);
            }
        }
    }
}
