//! Disables a trigger as ALTER TABLE … DISABLE TRIGGER does, without the command: event triggers of others, which may refuse every DDL, do not
//! fire. For the emergency stop.

use crate::error::Result;
use crate::ident::Ident;
use crate::pg::{catalog, role};
use pgrx::pg_sys::{self, Oid};
use std::ffi::{CString, c_char};

const DISABLED: c_char = pg_sys::TRIGGER_DISABLED as c_char;

/// Disables the trigger. The caller has locked the table ShareRowExclusive. Errors: 42501 unless the current role owns the table.
pub fn disable(relation: Oid, name: &Ident) -> Result<()> {
    role::require(catalog::owner_of(relation)?)?;
    let name = CString::new(name.as_str()).unwrap_or_default();
    // SAFETY: the table is locked until the transaction ends, so it is there; the name is a C string. Of triggers of the system, which need a
    // superuser, none is named.
    unsafe {
        let table = pg_sys::relation_open(relation, pg_sys::NoLock as pg_sys::LOCKMODE);
        enable_disable(table, name.as_ptr());
        pg_sys::relation_close(table, pg_sys::NoLock as pg_sys::LOCKMODE);
        pg_sys::CommandCounterIncrement();
    }
    Ok(())
}

/// # Safety
/// `table` is open and locked, `name` a C string.
unsafe fn enable_disable(table: pg_sys::Relation, name: *const c_char) {
    let mode = pg_sys::ShareRowExclusiveLock as pg_sys::LOCKMODE;
    // SAFETY: guaranteed by the caller.
    unsafe { pg_sys::EnableDisableTrigger(table, name, DISABLED, false, mode) };
}
