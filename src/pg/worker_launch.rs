//! Starting a worker when, and only when, the calling transaction commits.

use crate::error::Error;
use pgrx::bgworkers::{BackgroundWorkerBuilder, BgWorkerStartTime};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::pg_sys::{self, Oid};
use pgrx::{PgLogLevel, PgXactCallbackEvent, register_xact_callback};
use std::panic::{RefUnwindSafe, UnwindSafe};

/// The backend type of pg_mig's workers, as pg_stat_activity shows it.
pub const WORKER_TYPE: &str = "pg_mig worker";

/// Registers a worker for `job` just before the commit, connected by oid as the current role. The worker waits for the end of this
/// transaction, and finds no job if the commit failed after all. A rollback starts nothing. Without a free slot `otherwise` runs,
/// still inside the transaction.
pub fn at_commit(
    job: i64,
    part: WorkerRole,
    migration: &str,
    otherwise: impl FnOnce() + UnwindSafe + RefUnwindSafe + 'static,
) {
    // SAFETY: reads this backend's values; the transaction has written a job, so it has an id.
    let (database, role, transaction) = unsafe {
        (
            pg_sys::MyDatabaseId,
            pg_sys::GetUserId(),
            pg_sys::GetTopTransactionId(),
        )
    };
    let name = migration.to_owned();
    register_xact_callback(PgXactCallbackEvent::PrePrepare, || {
        let refused = Error::not_supported(
            "PREPARE TRANSACTION after a job was begun".into(),
            "Its worker starts with the commit of this session.".into(),
            "Begin the job in a transaction of its own.".into(),
        );
        ErrorReport::from(refused).report(PgLogLevel::ERROR);
    });
    register_xact_callback(PgXactCallbackEvent::PreCommit, move || {
        let worker = WorkerArguments {
            database,
            role,
            job,
            worker_role: part,
        };
        if worker.start(transaction.into_inner(), &name) {
            return;
        }
        // SAFETY: still inside the transaction, whose snapshots are released by now; popped below, and an ERROR aborts it.
        unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot()) };
        otherwise();
        // SAFETY: the snapshot pushed above.
        unsafe { pg_sys::PopActiveSnapshot() };
    });
}

/// A worker's arguments.
#[derive(Clone, Copy)]
pub struct WorkerArguments {
    pub database: Oid,
    pub role: Oid,
    pub job: i64,
    pub worker_role: WorkerRole,
}

/// A worker's task in a job.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum WorkerRole {
    /// Runs a migration's job.
    Runs = 0,
    /// Helps the worker that runs the job.
    Helps = 1,
    /// Makes a constraint or an index.
    Changes = 2,
}

impl WorkerArguments {
    /// Starts the worker, which first waits for the end of `transaction` (0 for none). Returns false if no slot is free.
    pub fn start(self, transaction: u32, migration: &str) -> bool {
        let name = match self.worker_role {
            WorkerRole::Changes => format!("pg_mig {migration}"),
            WorkerRole::Runs | WorkerRole::Helps => format!("pg_mig backfill {migration}"),
        };
        let (database, role) = (self.database.to_u32(), self.role.to_u32());
        let (job, part) = (self.job, self.worker_role as u32);
        let started = BackgroundWorkerBuilder::new(&name.chars().take(60).collect::<String>())
            .set_type(WORKER_TYPE)
            .set_library("pg_mig")
            .set_function("mig_worker_main")
            .set_extra(&format!("{database} {role} {job} {transaction} {part}"))
            .set_start_time(BgWorkerStartTime::RecoveryFinished)
            .set_restart_time(None)
            .enable_spi_access()
            .load_dynamic();
        started.is_ok()
    }

    /// Parses the arguments from a worker's `bgw_extra`, with the id of the transaction to wait for.
    pub fn read(extra: &str) -> Option<(Self, u32)> {
        let mut parts = extra.split(' ');
        let database = number::<u32>(parts.next())?.into();
        let role = number::<u32>(parts.next())?.into();
        let job = number(parts.next())?;
        let transaction = number(parts.next())?;
        let part = match number(parts.next())? {
            0_u32 => WorkerRole::Runs,
            1 => WorkerRole::Helps,
            2 => WorkerRole::Changes,
            _ => return None,
        };
        let worker = Self {
            database,
            role,
            job,
            worker_role: part,
        };
        Some((worker, transaction))
    }
}

fn number<T: std::str::FromStr>(text: Option<&str>) -> Option<T> {
    text?.parse().ok()
}
