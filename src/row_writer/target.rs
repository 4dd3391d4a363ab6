//! The written table, opened for writing: its triggers, its indexes, and memory contexts.

use crate::pg::silent_triggers;
use crate::pg::trigger_kind::{self, TriggerKind};
use crate::row_writer::table_cache::TableCache;
use pgrx::pg_sys;
use std::ptr::null_mut;

/// When the triggers of the written rows fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventOrder {
    /// After each row, or after all rows that are written together.
    AtOnce,
    /// After those of the application's statement, as those of a foreign key's action do (ri_PerformCheck). If the written table is
    /// mirrored too, only when each row of that statement is mirrored does the action of a foreign key on one side match its counterpart on
    /// the other.
    Queued,
}

/// The written table, opened for the rows of one call.
pub struct TargetTable<'a> {
    pub relation: pg_sys::Relation,
    pub estate: *mut pg_sys::EState,
    pub result: *mut pg_sys::ResultRelInfo,
    /// There are triggers that must see the written rows.
    pub fires: bool,
    pub order: EventOrder,
    /// The events of foreign keys are bracketed, see `silent_triggers`.
    pub brackets: bool,
    pub kept: &'a TableCache,
}

impl<'a> TargetTable<'a> {
    /// Opens the table. Only triggers of constraints fire, and not those of the foreign keys `skipped_fks`.
    ///
    /// # Safety
    /// Inside a transaction; `kept` was loaded from the table as it is now.
    pub unsafe fn open(
        table: pg_sys::Oid,
        kept: &'a TableCache,
        skipped_fks: &[pg_sys::Oid],
        order: EventOrder,
    ) -> Self {
        // SAFETY: closed on drop, or by the abort that unwinds it.
        unsafe {
            let relation = pg_sys::table_open(table, pg_sys::RowExclusiveLock as i32);
            let estate = pg_sys::CreateExecutorState();
            let result: *mut pg_sys::ResultRelInfo = pg_sys::MemoryContextAllocZero(
                (*estate).es_query_cxt,
                size_of::<pg_sys::ResultRelInfo>(),
            )
            .cast();
            // Triggers find the table in this list, and ExecCloseResultRelations() closes its indexes by it.
            let opened = &raw mut (*estate).es_opened_result_relations;
            *opened = pg_sys::lappend(*opened, result.cast());
            let fires = !kept.is_quiet(skipped_fks);
            let mut brackets = false;
            if fires {
                let before = pg_sys::MemoryContextSwitchTo((*estate).es_query_cxt);
                pg_sys::InitResultRelInfo(result, relation, 0, null_mut(), 0);
                match order {
                    EventOrder::AtOnce => disable_triggers(result, skipped_fks),
                    EventOrder::Queued => {
                        brackets = silent_triggers::leave_constraints(&mut *result, skipped_fks);
                    }
                }
                pg_sys::MemoryContextSwitchTo(before);
            } else {
                // As InitResultRelInfo(), without a copy of the triggers.
                (*result).type_ = pg_sys::NodeTag::T_ResultRelInfo;
                (*result).ri_RelationDesc = relation;
            }
            Self {
                relation,
                estate,
                result,
                fires,
                order,
                brackets,
                kept,
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

    /// The memory context that lives as long as this value.
    pub fn memory(&self) -> pg_sys::MemoryContext {
        // SAFETY: the state lives as long as this value.
        unsafe { (*self.estate).es_query_cxt }
    }

    /// The memory context that is reset after each row.
    pub fn row_memory(&self) -> pg_sys::MemoryContext {
        // SAFETY: the context lives as long as this value.
        unsafe { (*self.expression_context()).ecxt_per_tuple_memory }
    }

    /// Opens the indexes, on first use. They are closed with the table.
    ///
    /// # Safety
    /// The table is open.
    pub unsafe fn open_indexes(&self) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            if (*self.result).ri_IndexRelationDescs.is_null() {
                // The current memory context may be one that is reset after the row.
                let before = pg_sys::MemoryContextSwitchTo(self.memory());
                match &self.kept.indexes {
                    Some(known) => open_known(self.result, known),
                    None => pg_sys::ExecOpenIndices(self.result, false),
                }
                pg_sys::MemoryContextSwitchTo(before);
            }
        }
    }
}

/// As ExecOpenIndices(), from cached index information.
///
/// # Safety
/// The table is open, and these are its indexes; the current memory context lives as long as `result`.
unsafe fn open_known(
    result: *mut pg_sys::ResultRelInfo,
    known: &[(pg_sys::Oid, *mut pg_sys::IndexInfo)],
) {
    // SAFETY: guaranteed by the caller; both arrays have room for each index.
    unsafe {
        let size = known.len().max(1) * size_of::<*mut u8>();
        let relations = pg_sys::palloc(size).cast::<pg_sys::Relation>();
        let infos = pg_sys::palloc(size).cast::<*mut pg_sys::IndexInfo>();
        for (n, (index, info)) in known.iter().enumerate() {
            *relations.add(n) = pg_sys::index_open(*index, pg_sys::RowExclusiveLock as i32);
            *infos.add(n) = *info;
        }
        (*result).ri_IndexRelationDescs = relations;
        (*result).ri_IndexRelationInfo = infos;
        (*result).ri_NumIndices = known.len() as i32;
    }
}

/// Disables all triggers except those of constraints, and those of the foreign keys `skipped_fks`.
///
/// # Safety
/// `result` was initialized by InitResultRelInfo(), which copied the triggers for it.
unsafe fn disable_triggers(result: *mut pg_sys::ResultRelInfo, skipped_fks: &[pg_sys::Oid]) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let Some(own) = (*result).ri_TrigDesc.as_ref() else {
            return;
        };
        let kinds = trigger_kind::list_kinds(trigger_kind::triggers_of(own));
        let triggers = std::slice::from_raw_parts_mut(own.triggers, own.numtriggers as usize);
        for (trigger, kind) in triggers.iter_mut().zip(kinds) {
            if kind != TriggerKind::Constraint || skipped_fks.contains(&trigger.tgconstraint) {
                trigger.tgenabled = pg_sys::TRIGGER_DISABLED as std::ffi::c_char;
            }
        }
    }
}

impl TargetTable<'_> {
    /// Closes the indexes that `open_known` opened. Their locks last to the end of the transaction, as that of the table does: the next row
    /// finds them held.
    ///
    /// # Safety
    /// Nothing uses these indexes any more.
    unsafe fn close_known(&self) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let result = &mut *self.result;
            if self.kept.indexes.is_none() || result.ri_IndexRelationDescs.is_null() {
                return;
            }
            for n in 0..result.ri_NumIndices as usize {
                let index = *result.ri_IndexRelationDescs.add(n);
                pg_sys::index_close(index, pg_sys::NoLock as i32);
            }
            result.ri_NumIndices = 0;
        }
    }
}

impl Drop for TargetTable<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: opened by `open`; slots of triggers pin buffers, and are reset first.
            unsafe {
                self.close_known();
                pg_sys::ExecResetTupleTable((*self.estate).es_tupleTable, false);
                pg_sys::ExecCloseResultRelations(self.estate);
                pg_sys::FreeExecutorState(self.estate);
                pg_sys::table_close(self.relation, pg_sys::NoLock as i32);
            }
        }
    }
}
