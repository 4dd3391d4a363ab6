//! Autovacuum in the way of a table lock. Whoever waits for deadlock_timeout behind it has the server cancel it (ProcSleep() in
//! proc.c); we never wait that long, so that nobody is kept waiting behind us, and do the same by ourselves. It comes again by itself.

use crate::error::Result;
use crate::pg::spi;
use pgrx::pg_sys::{self, Oid};

unsafe extern "C" {
    fn kill(pid: i32, signal: i32) -> i32;
}

const SIGINT: i32 = 2;

/// Cancels autovacuum workers that hold a lock on one of these tables, as the server would; not one that prevents transaction
/// numbers from running out. True if there was one.
pub fn cancel(tables: &[Oid]) -> Result<bool> {
    let holders: Vec<i32> = spi::json_rows(
        "SELECT DISTINCT pg_catalog.to_jsonb(l.pid) FROM pg_catalog.pg_locks l \
         WHERE l.locktype = 'relation' AND l.relation = ANY ($1) AND l.granted AND l.mode = 'ShareUpdateExclusiveLock' \
         AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())",
        &[tables.to_vec().into()],
    )?;
    let mut any = false;
    for pid in holders {
        if is_cancellable(pid) {
            // SAFETY: a signal that a worker of autovacuum takes as a request to end what it does. Like the server's own it may
            // come too late: it is ignored then.
            any |= unsafe { kill(pid, SIGINT) } == 0;
        }
    }
    Ok(any)
}

fn is_cancellable(pid: i32) -> bool {
    // SAFETY: a look at an entry of the process array, which is never unmapped; who it belongs to may change between the look and
    // what comes of it, as it may in ProcSleep().
    unsafe {
        let process = pg_sys::BackendPidGetProc(pid);
        if process.is_null() {
            return false;
        }
        let flags = u32::from((*process).statusFlags);
        flags & pg_sys::PROC_IS_AUTOVACUUM != 0 && flags & pg_sys::PROC_VACUUM_FOR_WRAPAROUND == 0
    }
}
