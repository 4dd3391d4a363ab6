//! The guard on an old table after the cutover: a straggler's write fails loudly, and says where to write instead.

use crate::error::{Error, Result};
use crate::ident::QualifiedName;
use crate::pg::{catalog, role};
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

/// What a BEFORE trigger returns to let the row pass.
///
/// # Safety
/// `fcinfo` is what the function manager passed.
unsafe fn fire(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: the context of a function called as a trigger is a TriggerData; the tag is checked first.
    let data = unsafe {
        if !pgrx::trigger_support::called_as_trigger(fcinfo) {
            return Err(Error::NotSupported {
                what: "calling mig.guard() by hand".into(),
                detail: "It is a trigger function.".into(),
                hint: "SELECT mig_stop(); installs it.".into(),
            });
        }
        &*((*fcinfo).context as *mut pg_sys::TriggerData)
    };
    // A parent outside the migration was deleted or changed: the action reaches both tables, each by its own key.
    if role::acts_for_a_key() {
        return Ok(passing(data));
    }
    // SAFETY: the relation and the trigger are open while the trigger runs; its first argument is a C string.
    let (old, new) = unsafe {
        let trigger = &*data.tg_trigger;
        let argument = (trigger.tgnargs > 0)
            .then(|| std::ffi::CStr::from_ptr(*trigger.tgargs).to_string_lossy());
        let oid = argument
            .and_then(|a| a.parse::<u32>().ok())
            .map(pg_sys::Oid::from);
        (
            catalog::name_of((*data.tg_relation).rd_id),
            oid.and_then(catalog::name_of),
        )
    };
    let name = |n: Option<QualifiedName>| n.map_or_else(|| "the new table".into(), |n| n.plain());
    Err(Error::Retired {
        old: name(old),
        new: name(new),
    })
}

fn passing(data: &pg_sys::TriggerData) -> pg_sys::Datum {
    let row = match data.tg_event & pg_sys::TRIGGER_EVENT_OPMASK {
        pg_sys::TRIGGER_EVENT_UPDATE => data.tg_newtuple,
        _ => data.tg_trigtuple,
    };
    pg_sys::Datum::from(row)
}
