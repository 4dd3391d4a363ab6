//! The dual-write trigger (mirror), for both directions. It does not trust the row that it is called with: for each touched key it reads
//! the touched table again under the latest snapshot, and makes the written table match. That is correct where a copy of NEW is wrong:
//! shifted keys, updates by other triggers, transactions with old snapshots.

mod build;
mod cache;
mod column_sync;
mod event;
mod event_writer;
mod home_rows;
mod merge;
mod retired_guard;
mod trigger_function;
mod trust;
mod types;

use crate::error::{Error, Result};
use crate::pg::{
    application_path, error_context, guc, own_writes, prepared, role, silent_triggers,
};
use crate::row_writer::WriteEvent;
use crate::row_writer::parents::{self, ParentChoice};
use event::{RowEvent, TriggerEvent, classify_event};
use event_writer::EventWriter;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use trigger_function::TriggerFunction;
use types::Mirror;

/// PostgreSQL's calling convention, version 1 (PG_FUNCTION_INFO_V1).
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_mig_mirror() -> &'static pg_sys::Pg_finfo_record {
    const V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &V1
}

/// `mig.mirror()`, the trigger function.
///
/// # Safety
/// Called by PostgreSQL's function manager only.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn mig_mirror(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: fcinfo is valid for the length of the call.
    if let Err(e) = unsafe { fire(fcinfo) } {
        ErrorReport::from(e).report(PgLogLevel::ERROR);
    }
    pg_sys::Datum::from(0)
}

/// # Safety
/// `fcinfo` is what the function manager passed.
unsafe fn fire(fcinfo: pg_sys::FunctionCallInfo) -> Result<()> {
    // SAFETY: guaranteed by the caller.
    let data = unsafe { trigger_function::data(TriggerFunction::Mirror, fcinfo) }?;
    let by_row = data.tg_event & pg_sys::TRIGGER_EVENT_ROW != 0;
    // SAFETY: `data` belongs to this call; a row trigger has its tuples.
    unsafe {
        if by_row && silent_triggers::close_bracket(data) {
            return Ok(());
        }
        // A row that was written ahead has its bracket, too.
        if !by_row || !was_written(data) {
            if by_row && own_writes::is_ours(data) {
                parents::lock_of_event(data, ParentChoice::CheckedLate);
            } else {
                mirror_to_all(data)?;
            }
        }
        if by_row {
            silent_triggers::open_bracket(data);
        }
    }
    Ok(())
}

/// Mirrors the event to the written table, or to all of them. It passes if an owner lacks the rights that the mirror writes with.
///
/// # Safety
/// `data` is the TriggerData of the running call.
unsafe fn mirror_to_all(data: &pg_sys::TriggerData) -> Result<()> {
    let Some(mirror) = cache::find_or_build(data)? else {
        return Ok(());
    };
    // SAFETY: `data` belongs to this call.
    let touched = unsafe { classify_event(data, &mirror) };
    if mirror.both_ways {
        // SAFETY: as above.
        unsafe { parents::lock_of_event(data, ParentChoice::All) };
    }
    if mirror.partners.is_empty() {
        // SAFETY: as above.
        return unsafe { mirror_event(data, &mirror, touched) };
    }
    for one in mirror.in_order(&touched) {
        // SAFETY: as above.
        unsafe { mirror_event(data, one, touched.clone()) }?;
    }
    Ok(())
}

/// Mirrors the event to one written table.
///
/// # Safety
/// `data` is the TriggerData of the running call, and `touched` the event in it.
unsafe fn mirror_event(
    data: &pg_sys::TriggerData,
    mirror: &Mirror,
    touched: TriggerEvent,
) -> Result<()> {
    let _told = error_context::explain_errors(&mirror.error_texts, mirror.visible_parts());
    let _owner = role::act_as(mirror.owner);
    let _path = application_path::enter(mirror.path.clone());
    // SAFETY: guaranteed by the caller.
    if unsafe { written_directly(data, mirror, &touched) }? {
        return Ok(());
    }
    // Settings are pinned only around the mirror's own statements, for one row or one statement.
    let _safe = guc::pin_names();
    let connection = prepared::connect()?;
    let writer = EventWriter {
        connection: &connection,
        mirror,
    };
    match touched {
        TriggerEvent::Emptying => refuse_others(&connection, mirror)?,
        TriggerEvent::All => {
            for plan in &mirror.clear {
                // Not queued, as `write` may do: TRUNCATE has no queue for trigger events of other tables.
                own_writes::note_next_command();
                connection.run_latest(plan, &mut [])?;
            }
        }
        TriggerEvent::Row(mut key, came) => writer.now_or_later(&mut [&mut key], came)?,
        TriggerEvent::Moved(mut old, mut new) => {
            writer.now_or_later(&mut [&mut old, &mut new], RowEvent::Changed)?
        }
    }
    Ok(())
}

/// Whether the row was already mirrored together with other rows of its statement.
///
/// # Safety
/// `data` is the TriggerData of a running row trigger.
unsafe fn was_written(data: &pg_sys::TriggerData) -> bool {
    let known = cache::find_cached(data);
    let direct = known.as_ref().and_then(|m| m.direct.as_ref());
    // SAFETY: guaranteed by the caller.
    direct.is_some_and(|d| unsafe { d.was_written(data) })
}

/// Writes the row below SQL, which is the path of most rows. False if that is not possible.
///
/// # Safety
/// `data` is the TriggerData of the running call, and `touched` the event in it.
unsafe fn written_directly(
    data: &pg_sys::TriggerData,
    mirror: &Mirror,
    touched: &TriggerEvent,
) -> Result<bool> {
    let (Some(direct), TriggerEvent::Row(key, came)) = (&mirror.direct, touched) else {
        return Ok(false);
    };
    let event = match came {
        RowEvent::New => WriteEvent::Insert,
        RowEvent::Changed => WriteEvent::Update,
        RowEvent::Gone => WriteEvent::Delete,
    };
    let _safe = (!direct.is_plain()).then(application_path::pin_for_code);
    // SAFETY: guaranteed by the caller.
    unsafe { direct.write(data, key, event) }
}

/// Refuses TRUNCATE of a new table that holds rows of other scopes: it would delete rows that are not in the old table. Errors: 55000.
fn refuse_others(connection: &prepared::Connection, mirror: &Mirror) -> Result<()> {
    let Some(others) = &mirror.others else {
        return Ok(());
    };
    if connection.run_latest(others, &mut [])? == 0 {
        return Ok(());
    }
    Err(Error::sql(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!(
            "cannot truncate {}: it holds rows of other scopes",
            mirror.touched_name
        ),
        Some(format!(
            "Delete this scope's rows instead: {};",
            mirror.clear_touched
        )),
    ))
}
