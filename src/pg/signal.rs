//! Interrupting a pg_mig worker. Shared memory alone decides which process gets the signal: a process id in a table's row may be
//! old or forged.

use crate::pg::job_lock::JobLock;
use crate::pg::worker_launch::WORKER_TYPE;
use crate::pg::{role, tx};
use pgrx::pg_sys::{self, Oid};
use pgrx::{PgXactCallbackEvent, register_xact_callback};
use std::ffi::CStr;

unsafe extern "C" {
    /// POSIX; std has no call for it.
    fn kill(pid: std::ffi::c_int, signal: std::ffi::c_int) -> std::ffi::c_int;
}

/// Interrupts the statement of the worker that holds `lock`, once the caller's transaction is committed: the worker then reads that
/// its job has ended. Where no worker holds the lock, or the caller may not signal it, nothing happens: the worker sees the end of
/// its job at its next step. The caller must have written the job's row before, in this (sub)transaction.
pub fn cancel_at_commit(lock: JobLock) {
    let caller = role::current();
    // SAFETY: reads the id of this (sub)transaction, which has written.
    let writer = unsafe { pg_sys::GetCurrentTransactionId() }.into_inner();
    register_xact_callback(PgXactCallbackEvent::PreCommit, move || {
        // If the savepoint was rolled back, the job has not ended.
        if !tx::is_ours(writer) {
            return;
        }
        let worker = lock.holder().and_then(OwnWorker::look_up);
        if let Some(worker) = worker.filter(|w| w.may_be_signalled_by(caller)) {
            register_xact_callback(PgXactCallbackEvent::Commit, move || worker.interrupt());
        }
    });
}

/// Whether a pg_mig worker of this database has this process id. A function of a user's can release a worker's lock, which the worker takes again
/// in its next slice: until then its process alone shows that it lives.
pub fn is_worker(pid: i32) -> bool {
    OwnWorker::look_up(pid).is_some()
}

/// A pg_mig worker in this database.
#[derive(Clone, Copy, PartialEq, Eq)]
struct OwnWorker {
    pid: i32,
    role: Oid,
}

impl OwnWorker {
    /// Returns None for every other process. Reads shared memory only and allocates nothing, so it may be called after the commit.
    fn look_up(pid: i32) -> Option<Self> {
        // SAFETY: entries of the process array are never unmapped; the name is in a buffer of this backend. If the process ends
        // between the two look-ups, the second does not find it.
        unsafe {
            let process = pg_sys::BackendPidGetProc(pid);
            if process.is_null() || (*process).databaseId != pg_sys::MyDatabaseId {
                return None;
            }
            let role = (*process).roleId;
            let kind = pg_sys::GetBackgroundWorkerTypeByPid(pid);
            let ours = !kind.is_null() && CStr::from_ptr(kind).to_bytes() == WORKER_TYPE.as_bytes();
            (ours && pid != pg_sys::MyProcPid).then_some(Self { pid, role })
        }
    }

    /// Applies the rules of pg_cancel_backend (`pg_signal_backend` in signalfuncs.c).
    fn may_be_signalled_by(&self, caller: Oid) -> bool {
        // SAFETY: catalog look-ups inside a transaction.
        let is_superuser = |role| unsafe { pg_sys::superuser_arg(role) };
        if self.role == Oid::INVALID || is_superuser(self.role) {
            return is_superuser(caller);
        }
        role::has_privileges_of(caller, self.role)
            || role::has_privileges_of(caller, pg_sys::ROLE_PG_SIGNAL_BACKEND.into())
    }

    /// Runs after the commit, where an ERROR would take the server down. So the lock table is not read again, as that allocates
    /// memory. A worker has one job and keeps its lock for life, so the same worker still holds the same lock.
    fn interrupt(self) {
        if Self::look_up(self.pid) == Some(self) {
            // SAFETY: signals a pg_mig worker; SIGINT only ends a statement.
            unsafe { kill(self.pid, pg_sys::SIGINT as i32) };
        }
    }
}
