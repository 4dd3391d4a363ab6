//! Event triggers of others fire for DDL of ours too. Their functions find names as in any other session: with the path that the session began
//! with, not with the pinned one. That path is the session user's choice, so it counts only where that role has the rights that the DDL
//! runs with. A function that sets its own search_path keeps it.

#![allow(
    ffi_unwind_calls,
    reason = "an ERROR of the server passes; nothing here is dropped"
)]

use crate::pg::{guc, role, syscache};
use pgrx::pg_sys::{self, Datum, FmgrHookEventType, Oid};
use pgrx::prelude::*;
use std::cell::Cell;

thread_local! {
    static NEEDS: Cell<pg_sys::needs_fmgr_hook_type> = const { Cell::new(None) };
    static CALL: Cell<pg_sys::fmgr_hook_type> = const { Cell::new(None) };
}

/// Called once in each process that loads the library.
pub fn register() {
    // SAFETY: a PostgreSQL process has one thread, and no function is being called through the hook.
    unsafe {
        NEEDS.set(pg_sys::needs_fmgr_hook);
        pg_sys::needs_fmgr_hook = Some(needs);
        CALL.set(pg_sys::fmgr_hook);
        pg_sys::fmgr_hook = Some(call);
    }
}

/// Returns whether `call` is to hear of the function (`fmgr_info_cxt_security` in fmgr.c).
unsafe extern "C-unwind" fn needs(function: Oid) -> bool {
    // SAFETY: the server passes a function's oid.
    unsafe {
        is_ours_to_prepare(function) || NEEDS.get().is_some_and(|previous| previous(function))
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn is_ours_to_prepare(function: Oid) -> bool {
    guc::is_path_pinned()
        && syscache::is_event_trigger_without_path(function)
        && role::session_has_rights_of_current()
}

/// Called before and after a function that one of the hooks asked for, and after SECURITY DEFINER or SET too (`fmgr_security_definer` in fmgr.c). One
/// place in memory is kept for each call, and the previous hook may need it: ours are the event triggers that it did not ask for.
unsafe extern "C-unwind" fn call(
    event: FmgrHookEventType::Type,
    function: *mut pg_sys::FmgrInfo,
    kept: *mut Datum,
) {
    // SAFETY: the server passes a function that is about to run, or has run.
    unsafe {
        match CALL.get() {
            Some(previous) if !is_left_to_us((*function).fn_oid) => previous(event, function, kept),
            _ => switch(event, function, kept),
        }
    }
}

/// # Safety
/// `function` is a function's oid.
unsafe fn is_left_to_us(function: Oid) -> bool {
    // SAFETY: the previous hook takes any function.
    let asked = unsafe { NEEDS.get().is_some_and(|previous| previous(function)) };
    !asked && syscache::is_event_trigger_without_path(function)
}

/// Sets the session's own path when an event trigger begins, and takes it back when the trigger ends. An ERROR takes the setting with
/// it, at the end of the subtransaction.
#[pg_guard]
unsafe extern "C-unwind" fn switch(
    event: FmgrHookEventType::Type,
    function: *mut pg_sys::FmgrInfo,
    kept: *mut Datum,
) {
    // SAFETY: `kept` belongs to this call from its begin to its end; it is 0 before.
    unsafe {
        match event {
            FmgrHookEventType::FHET_START if is_ours_to_prepare((*function).fn_oid) => {
                let level = guc::search_path(&guc::search_path_at_start()).into_level();
                *kept = Datum::from(level);
            }
            FmgrHookEventType::FHET_END if (*kept).value() > 0 => {
                drop(guc::from_level((*kept).value() as i32));
                *kept = Datum::from(0);
            }
            _ => {}
        }
    }
}
