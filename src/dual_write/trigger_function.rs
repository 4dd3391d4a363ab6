//! Guards the trigger functions against triggers that pg_mig did not create, or that were changed: the owner of a table can attach any
//! trigger. Each call is checked before a tuple is read; a refusal says what to do.

use crate::error::{Error, Result};
use crate::ident::Ident;
use crate::pg::trigger_call::{self, FiringMode, TriggerRelation};
use pgrx::prelude::*;

/// The trigger functions of pg_mig.
#[derive(Clone, Copy)]
pub enum TriggerFunction {
    Mirror,
    Guard,
    KeepColumns,
}

impl TriggerFunction {
    /// Returns the function's name, the SQL function that installs it, and how it must be fired.
    fn describe(self) -> (&'static str, &'static str, &'static str) {
        match self {
            TriggerFunction::Mirror => (
                "mig.mirror()",
                "mig_dual_write",
                "AFTER each row of an ordinary table, or for TRUNCATE",
            ),
            TriggerFunction::Guard => (
                "mig.guard()",
                "mig_stop",
                "BEFORE a statement or BEFORE or AFTER a row of an ordinary table, or INSTEAD OF a view's",
            ),
            TriggerFunction::KeepColumns => (
                "mig.keep_columns()",
                "mig_dual_write",
                "BEFORE INSERT or UPDATE of each row of an ordinary table",
            ),
        }
    }

    /// Whether the function may read the tuples of such a call.
    fn takes(self, kind: TriggerRelation, data: &pg_sys::TriggerData) -> bool {
        let event = trigger_call::event(data);
        match (self, trigger_call::call(data), kind) {
            (TriggerFunction::Mirror, FiringMode::Statement, TriggerRelation::Heap) => {
                event == pg_sys::TRIGGER_EVENT_TRUNCATE
            }
            (TriggerFunction::Mirror, FiringMode::AfterRow, TriggerRelation::Heap)
            | (
                TriggerFunction::Guard,
                FiringMode::BeforeRow | FiringMode::AfterRow,
                TriggerRelation::Heap,
            )
            | (TriggerFunction::Guard, FiringMode::InsteadOfRow, TriggerRelation::View) => {
                trigger_call::has_rows(data)
            }
            (TriggerFunction::Guard, FiringMode::Statement, TriggerRelation::Heap) => {
                data.tg_event & pg_sys::TRIGGER_EVENT_BEFORE != 0
            }
            (TriggerFunction::KeepColumns, FiringMode::BeforeRow, TriggerRelation::Heap) => {
                event != pg_sys::TRIGGER_EVENT_DELETE && trigger_call::has_rows(data)
            }
            _ => false,
        }
    }
}

/// Returns the TriggerData of a call of `function`, if the function is installed for this kind of call.
///
/// # Safety
/// `fcinfo` is what the function manager passed, and lives as long as the result.
pub unsafe fn data<'a>(
    function: TriggerFunction,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<&'a pg_sys::TriggerData> {
    let (name, installer, way) = function.describe();
    // SAFETY: guaranteed by the caller.
    let Some(data) = (unsafe { trigger_call::data(fcinfo) }) else {
        return Err(Error::not_supported(
            format!("calling {name} by hand"),
            "It is a trigger function.".into(),
            format!("SELECT {installer}(); installs it."),
        ));
    };
    // SAFETY: `data` belongs to this call.
    if function.takes(unsafe { trigger_call::relation_kind(data) }, data) {
        return Ok(data);
    }
    Err(refuse(
        data,
        PgSqlErrorCode::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
        format!("{name} must be fired {way}"),
        "fires otherwise",
    ))
}

/// The error for a trigger that pg_mig did not create, or that was changed. `why` continues "Trigger … on …".
pub fn foreign_trigger(function: TriggerFunction, data: &pg_sys::TriggerData, why: &str) -> Error {
    let (_, installer, _) = function.describe();
    refuse(
        data,
        PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
        format!("this trigger was not installed by {installer}"),
        why,
    )
}

fn refuse(data: &pg_sys::TriggerData, code: PgSqlErrorCode, message: String, why: &str) -> Error {
    // SAFETY: trigger and relation are open while the trigger runs.
    let (name, table) =
        unsafe { trigger_call::name_of_trigger(&*data.tg_trigger, (*data.tg_relation).rd_id) };
    let (plain, quoted) = match &table {
        Some(table) => (table.plain(), table.to_string()),
        None => ("a table".into(), "its table".into()),
    };
    Error::refusal(
        code,
        message,
        format!("Trigger \"{name}\" on {plain} {why}."),
        format!(
            "Take it away: DROP TRIGGER {} ON {quoted}; Where it stands in the place of one of ours, SELECT mig_detach(); \
             gives the application its writes back; then go back with mig_rollback(..., 'defined').",
            Ident::new(name)
        ),
    )
}
