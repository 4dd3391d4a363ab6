//! Sessions that hold an old snapshot.

use pgrx::pg_sys;

/// Returns the virtual transactions of other sessions in this database that hold a snapshot now, as `backend/local`. It is the same
/// list that CREATE INDEX CONCURRENTLY waits for (WaitForOlderSnapshots in indexcmds.c), so it needs no privilege to see other
/// roles' sessions.
pub fn holders() -> Vec<String> {
    let mut n = 0;
    // SAFETY: returns a palloc'd array of `n` entries, freed with the current memory context.
    let list = unsafe {
        let flags = pg_sys::PROC_IS_AUTOVACUUM | pg_sys::PROC_IN_VACUUM | pg_sys::PROC_IN_SAFE_IC;
        let limit = pg_sys::ReadNextFullTransactionId().value as u32;
        let found = pg_sys::GetCurrentVirtualXIDs(
            pg_sys::TransactionId::from_inner(limit),
            true,
            false,
            flags as i32,
            &mut n,
        );
        std::slice::from_raw_parts(found, usize::try_from(n).unwrap_or(0))
    };
    list.iter().map(name).collect()
}

#[cfg(any(feature = "pg17", feature = "pg18"))]
fn name(id: &pg_sys::VirtualTransactionId) -> String {
    format!("{}/{}", id.procNumber, id.localTransactionId)
}

#[cfg(not(any(feature = "pg17", feature = "pg18")))]
fn name(id: &pg_sys::VirtualTransactionId) -> String {
    format!("{}/{}", id.backendId, id.localTransactionId)
}

/// Tells concurrent index builds not to wait for this session's snapshot, until the transaction ends.
///
/// `mig_wait` holds a snapshot while it waits for a worker that may build an index, and each would wait for the other. The flag is
/// PostgreSQL's own for a session that promises not to read other tables with its snapshot (`set_indexsafe_procflags`); vacuum
/// still honours the snapshot. So it is set only in READ COMMITTED, where later statements take newer snapshots.
pub fn promise_not_to_read() {
    /// Position of ProcArrayLock among the main locks (lwlocknames.txt), the same since PostgreSQL 9.6.
    const PROC_ARRAY_LOCK: usize = 4;
    // SAFETY: this backend's own entry of the process array, changed under ProcArrayLock as set_indexsafe_procflags() does; the end
    // of the transaction clears it (PROC_VACUUM_STATE_MASK).
    unsafe {
        if pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32 {
            return;
        }
        let lock = &raw mut (*pg_sys::MainLWLockArray.add(PROC_ARRAY_LOCK)).lock;
        pg_sys::LWLockAcquire(lock, pg_sys::LWLockMode::LW_EXCLUSIVE);
        (*pg_sys::MyProc).statusFlags |= pg_sys::PROC_IN_SAFE_IC as u8;
        let at = (*pg_sys::MyProc).pgxactoff as usize;
        *(*pg_sys::ProcGlobal).statusFlags.add(at) = (*pg_sys::MyProc).statusFlags;
        pg_sys::LWLockRelease(lock);
    }
}
