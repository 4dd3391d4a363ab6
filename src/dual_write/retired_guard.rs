//! The retired guard on an old table after the cutover: a write by an application that was not switched fails, and the error names the new
//! table.

use super::home_rows;
use super::trigger_function::{self, TriggerFunction};
use crate::error::{Error, Result};
use crate::pg::trigger_call::{self, FiringMode};
use crate::pg::{role, syscache};
use crate::sqlgen::retired_guard as sql;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// PostgreSQL's calling convention, version 1 (PG_FUNCTION_INFO_V1).
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_mig_guard() -> &'static pg_sys::Pg_finfo_record {
    const V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &V1
}

/// `mig.guard()`, the trigger function. Its argument is the oid of the new table.
///
/// # Safety
/// Called by PostgreSQL's function manager only.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn mig_guard(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: fcinfo is valid for the length of the call.
    match unsafe { fire(fcinfo) } {
        Ok(row) => row,
        Err(e) => {
            ErrorReport::from(e).report(PgLogLevel::ERROR);
            pg_sys::Datum::from(0)
        }
    }
}

/// Returns what a BEFORE trigger returns to let the row pass.
///
/// # Safety
/// `fcinfo` is what the function manager passed.
unsafe fn fire(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: guaranteed by the caller.
    let data = unsafe { trigger_function::data(TriggerFunction::Guard, fcinfo) }?;
    // SAFETY: the relation and the trigger are open while the trigger runs.
    let (relation, trigger) = unsafe { ((*data.tg_relation).rd_id, &*data.tg_trigger) };
    // SAFETY: as above.
    let (new, home) = unsafe { tables(trigger) }.ok_or_else(|| foreign_trigger(data))?;
    // The action of a foreign key passes: a parent row outside the migration was deleted or changed, and the action reaches both tables,
    // each by its own foreign key. No such action reaches a view, where letting a row pass would lose it.
    if role::acts_for_a_key() && trigger_call::call(data) != FiringMode::InsteadOfRow {
        return Ok(let_pass(data));
    }
    // SAFETY: as above.
    let filtering = unsafe { trigger_call::name(trigger) };
    let filtering = std::str::from_utf8(filtering)
        .ok()
        .and_then(sql::filtering_mapping);
    if let Some(mapping) = filtering
        // SAFETY: `data` belongs to this call, and has its rows.
        && !unsafe { home_rows::has_moved(data, mapping) }?
    {
        return Ok(let_pass(data));
    }
    let name =
        |oid| syscache::relation_name(oid).map_or_else(|| "the new table".into(), |n| n.plain());
    Err(match (filtering, home) {
        (None, None) => Error::retired_table(name(relation), name(new)),
        (Some(_), _) => Error::moved_row(name(relation), name(new), name(relation)),
        (None, Some(home)) => Error::moved_row(name(relation), name(new), name(home)),
    })
}

/// Returns the new table, and the table of rows that have not moved, if the trigger is as pg_mig creates it.
///
/// # Safety
/// `trigger` is the running trigger.
unsafe fn tables(trigger: &pg_sys::Trigger) -> Option<(pg_sys::Oid, Option<pg_sys::Oid>)> {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let oid = |n| -> Option<u32> {
            let text = trigger_call::argument(trigger, n)?.to_str().ok()?;
            text.parse().ok()
        };
        let (target, home) = (oid(0)?, oid(1));
        let name = std::str::from_utf8(trigger_call::name(trigger)).ok()?;
        let made = sql::triggers_by_name(name, target, home);
        let ours = made.iter().any(|m| trigger_call::is_as_made(trigger, m));
        ours.then(|| (target.into(), home.map(Into::into)))
    }
}

fn foreign_trigger(data: &pg_sys::TriggerData) -> Error {
    trigger_function::foreign_trigger(TriggerFunction::Guard, data, "is not as mig_stop makes it")
}

/// The return value that lets the row pass; null for a statement trigger.
fn let_pass(data: &pg_sys::TriggerData) -> pg_sys::Datum {
    let row = match trigger_call::event(data) {
        _ if trigger_call::call(data) == FiringMode::Statement => std::ptr::null_mut(),
        pg_sys::TRIGGER_EVENT_UPDATE => data.tg_newtuple,
        _ => data.tg_trigtuple,
    };
    pg_sys::Datum::from(row)
}
