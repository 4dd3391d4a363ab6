//! The trigger that keeps old and new columns of one table in step. It works only on the row that is being written: it needs no snapshot
//! and no second row, so there is nothing to race with.

use super::trigger_function::{self, TriggerFunction};
use crate::error::{Error, Result};
use crate::ident::{Literal, QualifiedName};
use crate::model::column_change::SyncStage;
use crate::pg::error_context::{self, ErrorTexts};
use crate::pg::relcache_flag::{self, InvalidationFlag};
use crate::pg::visible_parts::WritingRole;
use crate::pg::{application_path, catalog, guc, role, syscache, trigger_call};
use crate::row_writer::column_exprs::{ColumnSync, ColumnValue};
use crate::row_writer::column_rules::ColumnOutcome;
use crate::sqlgen::columns as sql;
use crate::store::{new_column, unmirrored};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CStr;
use std::rc::Rc;

/// PostgreSQL's calling convention, version 1 (PG_FUNCTION_INFO_V1).
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_mig_keep_columns() -> &'static pg_sys::Pg_finfo_record {
    const V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &V1
}

/// `mig.keep_columns()`, the trigger function.
///
/// # Safety
/// Called by PostgreSQL's function manager only.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn mig_keep_columns(
    fcinfo: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    // SAFETY: fcinfo is valid for the length of the call.
    match unsafe { fire(fcinfo) } {
        Ok(tuple) => pg_sys::Datum::from(tuple),
        Err(e) => {
            ErrorReport::from(e).report(PgLogLevel::ERROR);
            pg_sys::Datum::from(0)
        }
    }
}

/// Returns the tuple to write.
///
/// # Safety
/// `fcinfo` is what the function manager passed.
unsafe fn fire(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::HeapTuple> {
    // SAFETY: guaranteed by the caller. A BEFORE row trigger has these slots and tuples (trigger.c).
    unsafe {
        let data = trigger_function::data(TriggerFunction::KeepColumns, fcinfo)?;
        let is_update = trigger_call::event(data) == pg_sys::TRIGGER_EVENT_UPDATE;
        let Some(kept) = of_trigger(data)? else {
            return Ok(written_tuple(data));
        };
        let relation = (*data.tg_relation).rd_id;
        let shows = kept.reader.visible_parts(role::current(), &[relation]);
        let _texts = error_context::explain_errors(&kept.texts, shows);
        let (path, kept, stage) = (kept.path.clone(), &kept.rework, kept.stage);
        if is_update && kept.is_untouched(data.tg_trigslot, data.tg_newslot, stage) {
            return Ok(written_tuple(data));
        }
        let _owner = (!kept.plain).then(|| owner(data));
        let _path = application_path::enter(path);
        let _safe = (!kept.plain).then(application_path::pin_for_code);
        let verdict = if is_update {
            kept.decide_update(data.tg_trigslot, data.tg_newslot, stage)
        } else {
            kept.decide_insert(data.tg_trigslot, stage)
        };
        let tuple = written_tuple(data);
        match verdict {
            ColumnOutcome::Set(values) if values.is_empty() => Ok(tuple),
            ColumnOutcome::Set(values) => {
                Ok(with_values(tuple, (*data.tg_relation).rd_att, &values))
            }
            refused => Err(refusal(&refused, data)),
        }
    }
}

/// Returns the row as the application writes it: a new one, or one that is updated.
fn written_tuple(data: &pg_sys::TriggerData) -> pg_sys::HeapTuple {
    match trigger_call::event(data) {
        pg_sys::TRIGGER_EVENT_UPDATE => data.tg_newtuple,
        _ => data.tg_trigtuple,
    }
}

/// Switches to the table's owner: expressions run with the owner's privileges.
///
/// # Safety
/// `data` is the TriggerData of a running trigger.
unsafe fn owner(data: &pg_sys::TriggerData) -> role::RoleGuard {
    // SAFETY: guaranteed by the caller.
    role::act_as(unsafe { (*(*data.tg_relation).rd_rel).relowner })
}

/// Returns the tuple with these values set.
///
/// # Safety
/// `tuple` matches `description`, and the values are of its columns.
unsafe fn with_values(
    tuple: pg_sys::HeapTuple,
    description: pg_sys::TupleDesc,
    set: &[ColumnValue],
) -> pg_sys::HeapTuple {
    let mut numbers: Vec<i32> = set.iter().map(|s| i32::from(s.0)).collect();
    let mut values: Vec<pg_sys::Datum> = set.iter().map(|s| s.1).collect();
    let mut nulls: Vec<bool> = set.iter().map(|s| s.2).collect();
    // SAFETY: guaranteed by the caller; all three arrays have an entry for each value.
    unsafe {
        pg_sys::heap_modify_tuple_by_cols(
            tuple,
            description,
            set.len() as i32,
            numbers.as_mut_ptr(),
            values.as_mut_ptr(),
            nulls.as_mut_ptr(),
        )
    }
}

/// # Safety
/// `data` is the TriggerData of a running trigger.
unsafe fn refusal(verdict: &ColumnOutcome, data: &pg_sys::TriggerData) -> Error {
    // SAFETY: guaranteed by the caller.
    let relation = unsafe { (*data.tg_relation).rd_id };
    let table = syscache::relation_name(relation).map_or_else(String::new, |n| n.plain());
    let (code, message, detail) = match verdict {
        ColumnOutcome::Replaced => (
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("a column of {table} that has been replaced is written"),
            "The new column is the truth, and the old one follows it.",
        ),
        ColumnOutcome::Computed => (
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("a computed column of {table} is written with another value"),
            "Until mig_switch it is what other columns make it: no \"down\" says how they would follow.",
        ),
        _ => (
            PgSqlErrorCode::ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION,
            format!("an old and a new column of {table} contradict each other"),
            "Both are written at once, and neither is what the other makes of it.",
        ),
    };
    Error::refusal(
        code,
        message,
        detail.into(),
        format!(
            "Which ones, and how: SELECT column_name, replaces, up, down FROM mig.columns WHERE relation = {}::regclass;",
            Literal(&table)
        ),
    )
}

fn foreign_trigger(data: &pg_sys::TriggerData) -> Error {
    let why = "is not as mig_dual_write makes it for columns of mig_add_column";
    trigger_function::foreign_trigger(TriggerFunction::KeepColumns, data, why)
}

struct CachedColumnSync {
    rework: ColumnSync,
    stage: SyncStage,
    /// The search_path of the expressions' functions.
    path: Option<Rc<CStr>>,
    texts: ErrorTexts,
    reader: WritingRole,
    changed: Rc<InvalidationFlag>,
    /// `tgtype` of the trigger.
    fires: i16,
}

thread_local! {
    static KEPT: RefCell<HashMap<pg_sys::Oid, Rc<CachedColumnSync>>> = RefCell::new(HashMap::new());
}

/// Returns the columns that the running trigger keeps in step, from the session's cache or newly loaded. None if the view belongs to a role that
/// lacks the rights of the table's owner, which is noted: the write passes.
///
/// # Safety
/// `data` is the TriggerData of a running trigger.
unsafe fn of_trigger(data: &pg_sys::TriggerData) -> Result<Option<Rc<CachedColumnSync>>> {
    // SAFETY: both pointers are valid while the trigger runs.
    let (trigger, relation) = unsafe { (&*data.tg_trigger, (*data.tg_relation).rd_id) };
    let known = KEPT.with_borrow(|all| {
        all.get(&trigger.tgoid)
            .filter(|k| {
                !k.changed.is_raised() && k.rework.relation == relation && k.fires == trigger.tgtype
            })
            .map(Rc::clone)
    });
    if let Some(known) = known {
        return Ok(Some(known));
    }
    // SAFETY: guaranteed by the caller. The owner is set already here, because planning an expression may run functions.
    let _owner = unsafe { owner(data) };
    let _safe = guc::pin_names();
    // SAFETY: `trigger` is the running trigger.
    let (id, stage) = unsafe { read_arguments(trigger) }.ok_or_else(|| foreign_trigger(data))?;
    let path = new_column::code_path(id, relation)?;
    let path = path
        .as_deref()
        .map(application_path::to_c_string)
        .transpose()?;
    let _path = application_path::enter(path.clone());
    let _code = application_path::switch();
    let rework = match make(id, relation) {
        Making::Made(rework) => rework,
        Making::Foreign => return Err(foreign_trigger(data)),
        Making::LacksRights => {
            unmirrored::note_columns(id)?;
            return Ok(None);
        }
    };
    let kept = Rc::new(CachedColumnSync {
        stage,
        path,
        texts: error_texts(relation),
        reader: WritingRole::default(),
        changed: relcache_flag::relations(vec![rework.relation, rework.view]),
        fires: trigger.tgtype,
        rework,
    });
    KEPT.with_borrow_mut(|all| {
        // Other stale entries may belong to dropped triggers.
        all.retain(|_, k| !k.changed.is_raised());
        all.insert(trigger.tgoid, Rc::clone(&kept));
    });
    Ok(Some(kept))
}

fn error_texts(relation: pg_sys::Oid) -> ErrorTexts {
    let table = syscache::relation_name(relation).unwrap_or_else(|| QualifiedName::new("", ""));
    ErrorTexts::new(
        &format!("old and new columns of {} kept in step", table.plain()),
        (table.schema.as_str(), table.name.as_str()),
        &format!(
            "a row of {} has a value that does not convert",
            table.plain()
        ),
    )
}

/// Returns the id of the change and its stage; None if pg_mig did not install the trigger.
///
/// # Safety
/// `trigger` is the running trigger.
unsafe fn read_arguments(trigger: &pg_sys::Trigger) -> Option<(i32, SyncStage)> {
    // SAFETY: guaranteed by the caller.
    let (id, stage) = unsafe {
        let text = |n| trigger_call::argument(trigger, n)?.to_str().ok();
        (text(0)?.parse::<i32>().ok()?, SyncStage::parse(text(1)?)?)
    };
    // SAFETY: guaranteed by the caller.
    let is_as_made = unsafe { trigger_call::is_as_made(trigger, &sql::trigger(id, stage)) };
    is_as_made.then_some((id, stage))
}

enum Making {
    Made(ColumnSync),
    /// The view is not as it was made.
    Foreign,
    /// The view's owner lacks the rights of the table's.
    LacksRights,
}

fn make(id: i32, relation: pg_sys::Oid) -> Making {
    let view = catalog::oid_of(&sql::view_name(id));
    let loaded = view.and_then(|view| {
        let mut rework = ColumnSync::load(view)?;
        rework.plain &= catalog::uses_nothing_of_users(view).ok()?;
        let [author, owner] = [view, relation].map(|o| catalog::owner_of(o).ok());
        Some((rework, author?, owner?))
    });
    // The view owner's expressions run with the privileges of the table's owner, so the view's owner must have those privileges. Built-in
    // code belongs to no role and needs no such check.
    match loaded {
        Some((rework, ..)) if rework.relation != relation => Making::Foreign,
        Some((rework, author, owner)) if rework.plain || role::has_privileges_of(author, owner) => {
            Making::Made(rework)
        }
        Some(_) => Making::LacksRights,
        None => Making::Foreign,
    }
}
