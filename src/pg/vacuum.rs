//! Autovacuum that blocks a table lock. A session that waits behind it for deadlock_timeout makes the server cancel it (ProcSleep()
//! in proc.c). pg_mig never waits that long, so that nobody is kept waiting behind it, and therefore cancels autovacuum itself.
//! Autovacuum starts again by itself.

use crate::error::Result;
use crate::pg::spi;
use pgrx::pg_sys::{self, Oid};

unsafe extern "C" {
    fn kill(pid: i32, signal: i32) -> i32;
}

const SIGINT: i32 = 2;

/// Cancels autovacuum workers that hold a lock on one of these tables, as the server would, except one that prevents transaction id
/// wraparound. Returns whether there was one.
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
            // SAFETY: sends a signal that an autovacuum worker takes as a request to cancel its current work. Like the server's own
            // signal it may come too late, and is then ignored.
            any |= unsafe { kill(pid, SIGINT) } == 0;
        }
    }
    Ok(any)
}

fn is_cancellable(pid: i32) -> bool {
    // SAFETY: reads an entry of the process array, which is never unmapped. The entry may pass to another process between this look
    // and the signal, as it may in ProcSleep().
    unsafe {
        let process = pg_sys::BackendPidGetProc(pid);
        if process.is_null() {
            return false;
        }
        let flags = u32::from((*process).statusFlags);
        flags & pg_sys::PROC_IS_AUTOVACUUM != 0 && flags & pg_sys::PROC_VACUUM_FOR_WRAPAROUND == 0
    }
}
