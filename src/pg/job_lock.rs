//! Locks that show which process works on what. A lock ends with its process, so pg_locks shows at once that a runner is dead.
//!
//! Each one is a heavyweight lock on an "object" of the class `mig.migration`. No SQL command can take it: advisory locks have a
//! tag type of their own, and DDL locks only objects of system catalogs, with another lock method.
//!
//! The lock method is that of advisory locks. With the default method an aborted transaction also releases the locks of its session
//! (`ProcReleaseLocks` in proc.c), and a worker must keep its lock after an error. In return `pg_advisory_unlock_all()` releases
//! such a lock, in the calling process only. Users' functions run in workers, so a worker takes its lock again in each slice.

use crate::error::Result;
use crate::pg::state;
use pgrx::pg_sys;

/// The holder's task. The number is `objsubid` in pg_locks; the views mig.runners, mig.workers and mig.jobs read it.
#[derive(Clone, Copy)]
enum LockPart {
    /// Runs the job of a migration, alone. The object is the migration's id.
    Runner = 1,
    /// Helps the runner, beside others. The object is the migration's id.
    Helper = 2,
    /// Makes a constraint or an index. The object is the job's id.
    Change = 3,
}

/// One of pg_mig's locks, held or not.
#[derive(Clone, Copy)]
pub struct JobLock(pg_sys::LOCKTAG);

impl JobLock {
    /// Returns the lock of the process that runs a migration's job.
    pub fn of_runner(migration: i32) -> Self {
        Self::new(migration.cast_unsigned(), LockPart::Runner)
    }

    fn of_helpers(migration: i32) -> Self {
        Self::new(migration.cast_unsigned(), LockPart::Helper)
    }

    /// Returns the lock of the process that makes a constraint or an index. A tag has room for the low half of the job's id: of two
    /// jobs whose ids are 2^32 apart, only one can run at a time.
    pub fn of_change(job: i64) -> Self {
        Self::new(job as u32, LockPart::Change)
    }

    fn new(object: u32, part: LockPart) -> Self {
        // SAFETY: reads the oid of this backend's database, which never changes.
        let database = unsafe { pg_sys::MyDatabaseId };
        // As SET_LOCKTAG_OBJECT in lock.h, except for the lock method.
        Self(pg_sys::LOCKTAG {
            locktag_field1: database.to_u32(),
            locktag_field2: state::lock_class().to_u32(),
            locktag_field3: object,
            locktag_field4: part as u16,
            locktag_type: pg_sys::LockTagType::LOCKTAG_OBJECT as u8,
            locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
        })
    }

    /// Returns the process that holds the lock, according to the server's lock table now. None also for a prepared transaction.
    pub fn holder(&self) -> Option<i32> {
        // SAFETY: GetLockStatusData copies the lock table into the caller's memory; both allocations are freed here. The array has
        // `nelements` entries.
        unsafe {
            let data = pg_sys::GetLockStatusData();
            let length = usize::try_from((*data).nelements).unwrap_or(0);
            let locks = std::slice::from_raw_parts((*data).locks, length);
            let held = locks
                .iter()
                .find(|l| l.holdMask != 0 && self.matches_tag(&l.locktag));
            let pid = held.map(|l| l.pid).filter(|pid| *pid != 0);
            pg_sys::pfree((*data).locks.cast());
            pg_sys::pfree(data.cast());
            pid
        }
    }

    fn matches_tag(&self, other: &pg_sys::LOCKTAG) -> bool {
        let fields = |t: &pg_sys::LOCKTAG| {
            (
                (t.locktag_field1, t.locktag_field2, t.locktag_field3),
                (t.locktag_field4, t.locktag_type, t.locktag_lockmethodid),
            )
        };
        fields(&self.0) == fields(other)
    }

    /// Takes the lock without waiting, for the session or for the transaction.
    fn acquire(&self, mode: u32, session: bool) -> pg_sys::LockAcquireResult::Type {
        // SAFETY: inside a transaction; the tag is complete, and the call copies it.
        unsafe { pg_sys::LockAcquire(&self.0, mode as pg_sys::LOCKMODE, session, true) }
    }

    fn try_for_transaction(&self, mode: u32) -> bool {
        self.acquire(mode, false) != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
    }

    /// May be called repeatedly. The transaction's own hold lasts until its end, even if a user's function releases the session's
    /// hold.
    fn try_for_session(&self, mode: u32) -> bool {
        match self.acquire(mode, false) {
            pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL => false,
            pg_sys::LockAcquireResult::LOCKACQUIRE_OK => {
                self.acquire(mode, true) != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
            }
            // The session has the lock already.
            _ => true,
        }
    }
}

/// Returns whether this worker is, or becomes, the migration's runner.
pub fn try_for_session(migration: i32) -> Result<bool> {
    Ok(JobLock::of_runner(migration).try_for_session(pg_sys::ExclusiveLock))
}

/// Keeps other processes from running the migration's job, or helping with it, until the transaction ends. Returns false where one
/// does already.
pub fn try_for_transaction(migration: i32) -> Result<bool> {
    let sole = |lock: JobLock| lock.try_for_transaction(pg_sys::ExclusiveLock);
    Ok(sole(JobLock::of_runner(migration)) && sole(JobLock::of_helpers(migration)))
}

/// Returns whether this worker is, or becomes, a helper of the migration's runner, beside other helpers.
pub fn try_to_help(migration: i32) -> Result<bool> {
    Ok(JobLock::of_helpers(migration).try_for_session(pg_sys::ShareLock))
}

/// Returns whether this worker holds, or gets, the lock to make the job's constraint or index.
pub fn try_change(job: i64) -> Result<bool> {
    Ok(JobLock::of_change(job).try_for_session(pg_sys::ExclusiveLock))
}
