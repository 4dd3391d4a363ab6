//! Starting a worker when, and only when, the calling transaction commits.

use crate::pg::notice;
use pgrx::bgworkers::{BackgroundWorkerBuilder, BgWorkerStartTime};
use pgrx::{PgXactCallbackEvent, pg_sys, register_xact_callback};

/// Registers a worker for `job` at commit, connected by oid as the current role. A rollback starts nothing.
/// Without a free slot the client is told how to go on by hand; the transaction is committed by then.
pub fn at_commit(job: i64, migration: &str, fallback: String) {
    // SAFETY: both are set for the life of the backend.
    let (database, role) = unsafe { (pg_sys::MyDatabaseId, pg_sys::GetUserId()) };
    let name = format!("pg_mig backfill {migration}");
    register_xact_callback(PgXactCallbackEvent::Commit, move || {
        let started = BackgroundWorkerBuilder::new(&name.chars().take(60).collect::<String>())
            .set_type("pg_mig worker")
            .set_library("pg_mig")
            .set_function("mig_worker_main")
            .set_extra(&format!("{} {} {job}", database.to_u32(), role.to_u32()))
            .set_start_time(BgWorkerStartTime::RecoveryFinished)
            .set_restart_time(None)
            .enable_spi_access()
            .load_dynamic();
        if started.is_err() {
            notice::notice(&fallback);
        }
    });
}

unsafe extern "C" {
    /// POSIX; std has no call for it.
    fn kill(pid: std::ffi::c_int, signal: std::ffi::c_int) -> std::ffi::c_int;
}

/// Interrupts the statement of a worker of ours once the caller's transaction is committed: by then the
/// worker reads that its job has ended. What pg_cancel_backend() does, but at the right moment.
pub fn cancel_at_commit(pid: i32) {
    register_xact_callback(PgXactCallbackEvent::Commit, move || {
        // SAFETY: a signal to a process that held the job's lock a moment ago; SIGINT only ends a statement.
        unsafe { kill(pid, pg_sys::SIGINT as i32) };
    });
}
