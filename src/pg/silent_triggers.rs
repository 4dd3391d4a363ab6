//! What pg_mig writes fires no trigger of the application: the application's own write has fired them, on the side that it wrote. Only the
//! triggers of foreign keys, deferred unique keys and pg_mig itself fire. (The apply worker of logical replication does the same with
//! ordinary triggers.) This holds for the statements that foreign keys' actions run because of a write of ours, too.
//!
//! Actions of foreign keys run while the events of a statement fire. Where our statement fires its events itself, it still runs then.
//! Where they are queued behind those of the application's statement, they are bracketed: our mirror's trigger is the first and the last
//! to fire for each row, and tells the foreign keys' triggers between them from the application's.

use crate::pg::trigger_kind::{TriggerKind, acts_on_other_rows, is_mirror, kind_of, triggers_of};
use crate::pg::{own_statement, own_writes, role, syscache, tx};
use pgrx::PgList;
use pgrx::pg_sys::{self, Oid};
use pgrx::prelude::*;
use std::cell::RefCell;
use std::ffi::{c_int, c_void};

/// A row event whose first trigger has fired, and whose last has not.
#[derive(Clone, Copy, PartialEq)]
struct RowBracket {
    transaction: u32,
    trigger: Oid,
    row: (u32, u16),
}

thread_local! {
    /// With the nesting level of the subtransaction that each was opened in.
    static OPEN: RefCell<Vec<(RowBracket, c_int)>> = const { RefCell::new(Vec::new()) };
}

/// Called once in each process that loads the library.
pub fn register() {
    // SAFETY: a PostgreSQL process has one thread.
    unsafe { pg_sys::RegisterSubXactCallback(Some(forget_aborted), std::ptr::null_mut()) };
}

/// Who writes.
#[derive(Clone, Copy, PartialEq)]
pub enum Writer {
    OwnStatement,
    /// A foreign key's action, because of a write of ours.
    KeyAction,
}

/// Returns the flags that the query starts with.
///
/// # Safety
/// The query is ready to start.
pub unsafe fn flags_for(
    query: *mut pg_sys::QueryDesc,
    flags: c_int,
    writer: Option<Writer>,
) -> c_int {
    let fires_now = writer == Some(Writer::KeyAction) && own_statement::is_firing();
    // SAFETY: guaranteed by the caller.
    if fires_now && !unsafe { all_have_mirrors(query) } {
        // Nothing brackets the events of such a table: they fire now, inside the bracket of the key's own event.
        return flags & !pg_sys::EXEC_FLAG_SKIP_TRIGGERS.cast_signed();
    }
    flags
}

/// Returns who writes; None for all that is not ours.
///
/// # Safety
/// The query is ready to start.
pub unsafe fn writer_of(query: *mut pg_sys::QueryDesc, flags: c_int) -> Option<Writer> {
    // SAFETY: guaranteed by the caller.
    unsafe {
        if (*(*query).plannedstmt).resultRelations.is_null()
            || flags & pg_sys::EXEC_FLAG_EXPLAIN_ONLY.cast_signed() != 0
        {
            return None;
        }
        if own_statement::is_text((*query).sourceText) {
            return Some(Writer::OwnStatement);
        }
    }
    // Of a table without mirrors that is acted upon while both sides are written, there is one copy: its own triggers see what happens to it.
    // SAFETY: guaranteed by the caller.
    let ours =
        own_statement::is_firing() || is_bracket_open() && unsafe { all_have_mirrors(query) };
    (ours && role::acts_for_a_key()).then_some(Writer::KeyAction)
}

/// Whether each table that the query writes has a trigger of ours that sees its rows.
///
/// # Safety
/// The query is ready to start.
unsafe fn all_have_mirrors(query: *mut pg_sys::QueryDesc) -> bool {
    let own = syscache::schema_of_extension();
    // SAFETY: guaranteed by the caller: the tables are locked, so their cache entries are there; each is closed again.
    unsafe {
        let plan = &*(*query).plannedstmt;
        let tables = PgList::<pg_sys::RangeTblEntry>::from_pg(plan.rtable);
        let written = PgList::<i32>::from_pg(plan.resultRelations);
        written.iter_int().all(|index| {
            let place = usize::try_from(index).unwrap_or(0).saturating_sub(1);
            let Some(table) = tables.get_ptr(place) else {
                return false;
            };
            let relation = pg_sys::RelationIdGetRelation((*table).relid);
            if relation.is_null() {
                return false;
            }
            let found = triggers_of((*relation).trigdesc)
                .iter()
                .any(|t| is_mirror(t, own));
            pg_sys::RelationClose(relation);
            found
        })
    }
}

/// Takes the application's triggers from the query that has just started.
///
/// # Safety
/// The executor has started the query, and has not run it.
pub unsafe fn silence(query: *mut pg_sys::QueryDesc, flags: c_int, writer: Writer) {
    let queues = flags & pg_sys::EXEC_FLAG_SKIP_TRIGGERS.cast_signed() != 0;
    // SAFETY: guaranteed by the caller. What is replaced and its replacement live in the query's memory.
    unsafe {
        let estate = &*(*query).estate;
        let before = pg_sys::MemoryContextSwitchTo(estate.es_query_cxt);
        let opened = PgList::<pg_sys::ResultRelInfo>::from_pg(estate.es_opened_result_relations);
        let mut bracketed = false;
        for result in opened.iter_ptr() {
            bracketed |= silence_table(&mut *result, queues);
        }
        forget_transition_tables((*query).planstate);
        for part in PgList::<pg_sys::PlanState>::from_pg(estate.es_auxmodifytables).iter_ptr() {
            forget_transition_tables(part);
        }
        pg_sys::MemoryContextSwitchTo(before);
        if bracketed {
            own_writes::note_bracketed(estate.es_output_cid);
        }
    }
    if writer == Writer::OwnStatement {
        own_statement::begin_writing();
    }
}

/// Leaves a table only the triggers that are not the application's. Where events are queued (`queues`) and foreign keys may act, our
/// triggers are first and last; then returns true.
///
/// # Safety
/// InitResultRelInfo() made `result`; the current memory context lives as long.
unsafe fn silence_table(result: &mut pg_sys::ResultRelInfo, queues: bool) -> bool {
    let own = syscache::schema_of_extension();
    // SAFETY: guaranteed by the caller: the executor copied the triggers for this query alone.
    unsafe {
        let Some(all) = result.ri_TrigDesc.as_mut() else {
            return false;
        };
        let mut left: Vec<pg_sys::Trigger> = triggers_of(all)
            .iter()
            .filter(|t| kind_of(t, own) != TriggerKind::Application)
            .copied()
            .collect();
        let acts = left.iter().any(|t| acts_on_other_rows(t.tgfoid));
        let mirrors: Vec<_> = left.iter().filter(|t| is_mirror(t, own)).copied().collect();
        let brackets = queues && acts && !mirrors.is_empty();
        if brackets {
            left.extend(mirrors);
        }
        if brackets || left.len() < all.numtriggers as usize {
            set_triggers(result, &left);
        }
        brackets
    }
}

/// Leaves a table that is written below SQL only the triggers of constraints, without those of the constraints `skipped`. Their events are
/// queued; where foreign keys may act, our triggers are first and last, and then the result is true.
///
/// # Safety
/// InitResultRelInfo() made `result`; the current memory context lives as long.
pub unsafe fn leave_constraints(result: &mut pg_sys::ResultRelInfo, skipped: &[Oid]) -> bool {
    let own = syscache::schema_of_extension();
    // SAFETY: guaranteed by the caller: the triggers were copied for this write alone.
    unsafe {
        let all = triggers_of(result.ri_TrigDesc);
        let checks = |t: &&pg_sys::Trigger| {
            kind_of(t, own) == TriggerKind::Constraint && !skipped.contains(&t.tgconstraint)
        };
        let mut left: Vec<pg_sys::Trigger> = all.iter().filter(checks).copied().collect();
        let acts = left.iter().any(|t| acts_on_other_rows(t.tgfoid));
        if acts {
            let mirrors: Vec<_> = all.iter().filter(|t| is_mirror(t, own)).copied().collect();
            left.splice(0..0, mirrors.iter().copied());
            left.extend(mirrors);
        }
        set_triggers(result, &left);
        acts
    }
}

/// # Safety
/// `result` has triggers; the current memory context lives as long as it.
unsafe fn set_triggers(result: &mut pg_sys::ResultRelInfo, triggers: &[pg_sys::Trigger]) {
    if triggers.is_empty() {
        result.ri_TrigDesc = std::ptr::null_mut();
        return;
    }
    // SAFETY: guaranteed by the caller. As InitResultRelInfo(): one entry of each array for each trigger, filled at first use.
    unsafe {
        let count = triggers.len();
        let copy: *mut pg_sys::Trigger = pg_sys::palloc(size_of_val(triggers)).cast();
        copy.copy_from_nonoverlapping(triggers.as_ptr(), count);
        (*result.ri_TrigDesc).triggers = copy;
        (*result.ri_TrigDesc).numtriggers = count as c_int;
        set_flags(&mut *result.ri_TrigDesc, triggers);
        result.ri_TrigFunctions = pg_sys::palloc0(count * size_of::<pg_sys::FmgrInfo>()).cast();
        result.ri_TrigWhenExprs =
            pg_sys::palloc0(count * size_of::<*mut pg_sys::ExprState>()).cast();
        if !result.ri_TrigInstrument.is_null() {
            result.ri_TrigInstrument =
                pg_sys::palloc0(count * size_of::<pg_sys::Instrumentation>()).cast();
        }
    }
}

/// As SetTriggerFlags() (trigger.c). A flag without its trigger would do harm: a statement whose AFTER STATEMENT triggers are queued takes those
/// of earlier statements on its table from the queue.
fn set_flags(all: &mut pg_sys::TriggerDesc, triggers: &[pg_sys::Trigger]) {
    const ROW: u32 = pg_sys::TRIGGER_TYPE_ROW;
    const BEFORE: u32 = pg_sys::TRIGGER_TYPE_BEFORE;
    const INSTEAD: u32 = pg_sys::TRIGGER_TYPE_INSTEAD;
    let any = |event: u32, level_and_timing: u32| {
        triggers
            .iter()
            .map(|t| t.tgtype as u32)
            .any(|bits| bits & event != 0 && bits & (ROW | BEFORE | INSTEAD) == level_and_timing)
    };
    let of_event = |event| {
        [ROW | BEFORE, ROW, ROW | INSTEAD, BEFORE, 0]
            .map(|level_and_timing| any(event, level_and_timing))
    };
    [
        all.trig_insert_before_row,
        all.trig_insert_after_row,
        all.trig_insert_instead_row,
        all.trig_insert_before_statement,
        all.trig_insert_after_statement,
    ] = of_event(pg_sys::TRIGGER_TYPE_INSERT);
    [
        all.trig_update_before_row,
        all.trig_update_after_row,
        all.trig_update_instead_row,
        all.trig_update_before_statement,
        all.trig_update_after_statement,
    ] = of_event(pg_sys::TRIGGER_TYPE_UPDATE);
    [
        all.trig_delete_before_row,
        all.trig_delete_after_row,
        all.trig_delete_instead_row,
        all.trig_delete_before_statement,
        all.trig_delete_after_statement,
    ] = of_event(pg_sys::TRIGGER_TYPE_DELETE);
    all.trig_insert_new_table = false;
    all.trig_update_old_table = false;
    all.trig_update_new_table = false;
    all.trig_delete_old_table = false;
}

/// Rows for transition tables are collected for the application's triggers alone.
///
/// # Safety
/// `plan` is null or the state of a plan.
unsafe fn forget_transition_tables(plan: *mut pg_sys::PlanState) {
    // SAFETY: guaranteed by the caller; the tag says what the node is.
    unsafe {
        if !plan.is_null() && (*plan).type_ == pg_sys::NodeTag::T_ModifyTableState {
            let writes = &mut *plan.cast::<pg_sys::ModifyTableState>();
            writes.mt_transition_capture = std::ptr::null_mut();
            writes.mt_oc_transition_capture = std::ptr::null_mut();
        }
    }
}

/// Called first and last for each row event of a mirror's trigger. Returns true if the event was handled when its bracket was opened.
///
/// # Safety
/// `data` is the TriggerData of a row trigger that is running.
pub unsafe fn close_bracket(data: &pg_sys::TriggerData) -> bool {
    OPEN.with_borrow_mut(|open| {
        if open.is_empty() {
            return false;
        }
        // SAFETY: guaranteed by the caller.
        let this = unsafe { bracket_of(data) };
        let found = open.iter().rposition(|(bracket, _)| *bracket == this);
        found.inspect(|n| open.truncate(*n)).is_some()
    })
}

/// Opens the bracket of a row event, if the event is bracketed: until it is closed, foreign keys act because of a write of ours.
///
/// # Safety
/// `data` is the TriggerData of a row trigger that is running.
pub unsafe fn open_bracket(data: &pg_sys::TriggerData) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        if own_writes::is_bracketed(data) {
            let level = pg_sys::GetCurrentTransactionNestLevel();
            OPEN.with_borrow_mut(|open| open.push((bracket_of(data), level)));
        }
    }
}

/// # Safety
/// `data` is the TriggerData of a row trigger that is running.
unsafe fn bracket_of(data: &pg_sys::TriggerData) -> RowBracket {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let place = (*data.tg_trigtuple).t_self;
        RowBracket {
            transaction: tx::local_number(),
            trigger: (*data.tg_trigger).tgoid,
            row: (crate::pg::tid::block_of(&place), place.ip_posid),
        }
    }
}

fn is_bracket_open() -> bool {
    OPEN.with_borrow(|open| {
        open.last()
            .is_some_and(|(bracket, _)| bracket.transaction == tx::local_number())
    })
}

#[pg_guard]
unsafe extern "C-unwind" fn forget_aborted(
    event: pg_sys::SubXactEvent::Type,
    _own: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _argument: *mut c_void,
) {
    if event == pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB {
        // SAFETY: reads the state of this backend; the level is that of the subtransaction that aborts.
        let aborted = unsafe { pg_sys::GetCurrentTransactionNestLevel() };
        OPEN.with_borrow_mut(|open| open.retain(|(_, level)| *level < aborted));
    }
}
