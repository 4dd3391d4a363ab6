//! The dual-write trigger. It does not trust the row that it is called with: for each touched key it reads
//! the source again under the latest snapshot and makes the target the same. That is right where a copy of
//! NEW is wrong: shifted keys, other triggers' updates, transactions with old snapshots.

mod plans;

use crate::error::{Error, Result};
use crate::pg::{plan, role, session};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use plans::Mirror;
use std::rc::Rc;

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
    // SAFETY: the context of a function called as a trigger is a TriggerData; the tag is checked first.
    let data = unsafe {
        if !pgrx::trigger_support::called_as_trigger(fcinfo) {
            return Err(Error::NotSupported {
                what: "calling mig.mirror() by hand".into(),
                detail: "It is a trigger function.".into(),
                hint: "SELECT mig_dual_write(); installs it.".into(),
            });
        }
        &*((*fcinfo).context as *mut pg_sys::TriggerData)
    };
    // One row or one statement: pinned only around our own statements.
    let _safe = session::pin_names();
    let mirror = plans::of(data)?;
    // SAFETY: `data` belongs to this call.
    let touched = unsafe { touched(data, &mirror) };
    let _owner = role::act_as(mirror.owner);
    let connection = plan::connect()?;
    match touched {
        Touched::All => {
            connection.run_latest(&mirror.clear, &mut [])?;
        }
        Touched::Row(mut key) => reconcile(&connection, &mirror, &mut key)?,
        Touched::Moved(mut old, mut new) => follow(&connection, &mirror, &mut old, &mut new)?,
    }
    Ok(())
}

/// The source's row changed its key. Its target row is moved where it can be: to delete it would run the ON DELETE
/// actions of foreign keys, and in the source nothing was deleted.
///
/// Where another source row has the old key by now, its own event comes later or has been; both are left to it.
/// The source took the keys one after the other, and so do we: to put that row in at once would break a second
/// unique key that its old target row still holds. Only a deferrable key lets two rows have it at one time.
fn follow(
    connection: &plan::Connection,
    mirror: &Rc<Mirror>,
    old: &mut [pg_sys::Datum],
    new: &mut [pg_sys::Datum],
) -> Result<()> {
    let mut both: Vec<_> = old.iter().chain(new.iter()).copied().collect();
    let moved = match &mirror.rekey {
        Some(rekey) => connection.run_latest(rekey, &mut both)? > 0,
        None => false,
    };
    if mirror.lock.is_some() {
        reconcile(connection, mirror, old)?;
    } else if moved {
        return Ok(());
    } else if connection.run_latest(&mirror.exists, old)? == 0 {
        connection.run_latest(&mirror.delete, old)?;
    }
    reconcile(connection, mirror, new)
}

/// What the application did.
enum Touched {
    /// TRUNCATE.
    All,
    Row(Vec<pg_sys::Datum>),
    /// The old and the new key.
    Moved(Vec<pg_sys::Datum>, Vec<pg_sys::Datum>),
}

/// Makes the target's row of this key what the source's row is now.
fn reconcile(
    connection: &plan::Connection,
    mirror: &Rc<Mirror>,
    key: &mut [pg_sys::Datum],
) -> Result<()> {
    if let Some(lock) = &mirror.lock {
        // Only the lock on a key's row keeps a batch away, and a double of it is another row.
        connection.run_latest(lock, key)?;
    }
    if connection.run_latest(&mirror.upsert, key)? > 0 {
        return Ok(());
    }
    connection.run_latest(&mirror.delete, key)?;
    // Nothing was written although the source has the row: its key is taken by another scope.
    if connection.run_latest(&mirror.exists, key)? > 0 {
        return Err(Error::Sql {
            code: PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION,
            message: format!(
                "the row's key is taken by another scope in {}",
                mirror.target_name
            ),
            detail: Some("The write cannot be mirrored, so it is refused.".into()),
        });
    }
    Ok(())
}

/// # Safety
/// `data` is the TriggerData of the running call.
unsafe fn touched(data: &pg_sys::TriggerData, mirror: &Mirror) -> Touched {
    // SAFETY: which tuples are there depends on the event, as the manual's chapter on trigger functions says.
    unsafe {
        let event = data.tg_event & pg_sys::TRIGGER_EVENT_OPMASK;
        if event == pg_sys::TRIGGER_EVENT_TRUNCATE {
            return Touched::All;
        }
        let old = mirror.key_of(data.tg_relation, data.tg_trigtuple);
        if event != pg_sys::TRIGGER_EVENT_UPDATE {
            return Touched::Row(old);
        }
        let new = mirror.key_of(data.tg_relation, data.tg_newtuple);
        // Keys that are equal bit by bit are one key; others are looked at one by one, which is never wrong.
        if mirror.same_key(&old, &new) {
            Touched::Row(new)
        } else {
            Touched::Moved(old, new)
        }
    }
}
