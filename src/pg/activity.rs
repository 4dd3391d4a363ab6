//! What pg_stat_activity shows of a pg_mig process.

use pgrx::pg_sys;
use std::ffi::CString;

/// Shows `what` as a worker's running query. A client session keeps showing the client's own query.
pub fn report(what: &str) {
    // SAFETY: reads a global that is set once, in workers.
    if unsafe { pg_sys::MyBgworkerEntry.is_null() } {
        return;
    }
    let text = CString::new(format!("pg_mig: {what}")).unwrap_or_default();
    // SAFETY: the text is copied into shared memory.
    unsafe { pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_RUNNING, text.as_ptr()) };
}

pub fn report_idle() {
    // SAFETY: clears what `report` showed.
    unsafe { pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_IDLE, std::ptr::null()) };
}
