//! Subtransactions: the only place where a PostgreSQL ERROR becomes a value, because only a rolled back subtransaction leaves
//! nothing behind.

use crate::error::{Error, Result};
use crate::pg::catch;
use pgrx::pg_sys;

/// Runs `f` in a subtransaction: released on Ok, rolled back on Err and on any ERROR raised inside.
pub fn subtransaction<T>(f: impl FnOnce() -> Result<T>) -> Result<T> {
    run(f, true)
}

/// Runs `f` in a subtransaction that is always rolled back.
pub fn probe<T>(f: impl FnOnce() -> Result<T>) -> Result<T> {
    run(f, false)
}

fn run<T>(f: impl FnOnce() -> Result<T>, keep: bool) -> Result<T> {
    // SAFETY: called inside a transaction of a backend; memory context and resource owner are restored below, as PL/pgSQL does
    // around its exception blocks (pl_exec.c).
    let (context, owner) = unsafe { (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner) };
    // SAFETY: as above; the matching release or rollback follows on every path.
    unsafe {
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(context);
    }
    let outcome = catch::catch(f);
    // SAFETY: the innermost open subtransaction is the one begun above.
    unsafe {
        if keep && outcome.is_ok() {
            pg_sys::ReleaseCurrentSubTransaction();
        } else {
            pg_sys::RollbackAndReleaseCurrentSubTransaction();
        }
        pg_sys::MemoryContextSwitchTo(context);
        pg_sys::CurrentResourceOwner = owner;
    }
    outcome
}

/// Checks whether `transaction` is the current transaction or one of its subtransactions.
pub fn is_ours(transaction: u32) -> bool {
    // SAFETY: reads the state of this backend.
    unsafe {
        pg_sys::TransactionIdIsCurrentTransactionId(pg_sys::TransactionId::from_inner(transaction))
    }
}

/// Checks whether another session waits for the end of this (sub)transaction, for example for a row that it has written.
pub fn is_waited_for() -> bool {
    // SAFETY: reads the lock table in shared memory, for the lock that every transaction with an id holds on that id.
    unsafe {
        let own = pg_sys::GetCurrentTransactionIdIfAny();
        if own == pg_sys::InvalidTransactionId {
            return false;
        }
        // As SET_LOCKTAG_TRANSACTION in lock.h.
        let tag = pg_sys::LOCKTAG {
            locktag_field1: own.into_inner(),
            locktag_type: pg_sys::LockTagType::LOCKTAG_TRANSACTION as u8,
            locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
            ..Default::default()
        };
        pg_sys::LockHasWaiters(&tag, pg_sys::ExclusiveLock as i32, false)
    }
}

/// Returns the local id of this backend's top-level transaction. The id is never used again while the backend lives.
pub fn local_number() -> u32 {
    // SAFETY: MyProc is this backend's own entry, valid as long as it runs.
    unsafe { (*pg_sys::MyProc).lxid }
}

/// Refuses a standby, where nothing can be written, before anything else is tried.
pub fn require_primary() -> Result<()> {
    // SAFETY: reads shared state of the server.
    if unsafe { pg_sys::RecoveryInProgress() } {
        Err(Error::standby())
    } else {
        Ok(())
    }
}

/// Refuses a transaction with one fixed snapshot: it could not see the other session's work that the caller waits for.
pub fn require_read_committed() -> Result<()> {
    // SAFETY: reads a global of this backend.
    let level = unsafe { pg_sys::XactIsoLevel };
    if level < pg_sys::XACT_REPEATABLE_READ as i32 {
        Ok(())
    } else {
        Err(Error::wrong_isolation())
    }
}
