//! The background worker: one process for one job. It runs slices until the job ends, and then exits.

mod change;
mod help;
pub mod resume;

use crate::engine::job::slice;
use crate::engine::types::{SliceContext, SliceProgress};
use crate::error::{Error, Result};
use crate::model::driver::Driver;
use crate::model::records::{Job, JobState};
use crate::pg::worker_launch::{WorkerArguments, WorkerRole};
use crate::pg::{activity, catch, guc, job_lock, role, spi, top_level, wait};
use crate::settings;
use crate::steps::TopLevelCommand;
use crate::store::{job, migration};
use help::Helpers;
use pgrx::bgworkers::BackgroundWorker;
use pgrx::prelude::*;

unsafe extern "C-unwind" {
    /// The server's SIGTERM handler (tcop/postgres.c); pgrx only offers a wrapper that is not a C function.
    fn die(signal: std::ffi::c_int);
}

/// A worker commits every slice, and is at the top level between two slices.
const WORKER_CONTEXT: SliceContext = SliceContext {
    top_level: true,
    may_wait: true,
};

/// # Safety
/// Called by the postmaster's child only.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn mig_worker_main(_argument: pg_sys::Datum) {
    // SAFETY: the first thing that a new worker does. The server's own `die` ends the worker at once, also inside a statement, so that DROP
    // DATABASE and shutdown never wait; SIGINT stays the server's statement cancel.
    unsafe {
        pg_sys::pqsignal(pg_sys::SIGTERM as i32, Some(die));
        pg_sys::BackgroundWorkerUnblockSignals();
    }
    let Some((arguments, transaction)) = WorkerArguments::read(BackgroundWorker::get_extra())
    else {
        return;
    };
    wait_for_launcher(transaction);
    BackgroundWorker::connect_worker_to_spi_by_oid(Some(arguments.database), Some(arguments.role));
    match arguments.worker_role {
        WorkerRole::Runs => run(arguments),
        WorkerRole::Helps => help::run(arguments.job),
        WorkerRole::Changes => change::run(arguments.job),
    }
}

/// Waits until the transaction that started this worker has ended. That happens before the worker connects: the role and its privileges may
/// be as new as the job.
fn wait_for_launcher(transaction: u32) {
    let transaction = pg_sys::TransactionId::from_inner(transaction);
    // SAFETY: writes this process's own PGPROC entry, which joins the process array only with the connection (ProcArrayAdd). Until then the
    // field holds the array index of the entry's previous process, and TransactionIdIsInProgress() would skip that index as its own.
    unsafe { (*pg_sys::MyProc).pgxactoff = -1 };
    // SAFETY: reads shared memory, which this process has been attached to since its start.
    let in_progress = || unsafe { pg_sys::TransactionIdIsInProgress(transaction) };
    while transaction != pg_sys::InvalidTransactionId && in_progress() {
        wait::sleep(2);
        pgrx::check_for_interrupts!();
    }
}

/// Replaces settings that the connection took from the role and the database. They may include another role, set by a role that may set it
/// for the database. A batch in REPEATABLE READ would copy rows that its locks no longer cover, and an index build under a lock timeout
/// would start again for ever.
fn own_settings() -> Result<()> {
    role::own_session()?;
    for (name, value) in [
        ("application_name", "pg_mig worker"),
        ("default_transaction_isolation", "read committed"),
        ("default_transaction_read_only", "off"),
        ("default_transaction_deferrable", "off"),
        ("lock_timeout", "0"),
    ] {
        spi::run(
            "SELECT pg_catalog.set_config($1, $2, false)",
            &[name.into(), value.into()],
        )?;
    }
    Ok(())
}

/// Runs the job. Exits silently if there is no such job, because the transaction that created it was rolled back.
fn run(arguments: WorkerArguments) {
    let id = arguments.job;
    // The first transaction still has the role's settings, and only changes them.
    if let Err(e) = transaction(own_settings) {
        log!("pg_mig worker: job {id} does not start: {e}");
        return;
    }
    loop {
        match transaction(|| begin(id)) {
            Ok(StartDecision::Run) => break,
            Ok(StartDecision::Wait) => rest(id, LOOK_EVERY_MS / 10),
            Ok(StartDecision::Leave) => return,
            Err(e) if e.is_retryable() => rest(id, LOOK_EVERY_MS / 10),
            Err(e) => {
                log!("pg_mig worker: job {id} does not start: {e}");
                return;
            }
        }
    }
    let mut helpers = Helpers::for_runner(arguments);
    while let Some(pause) = turn(id) {
        helpers.call();
        rest(id, pause);
    }
}

const LOOK_EVERY_MS: i64 = 500;

/// Returns the job, as long as it belongs to this worker.
fn find_own_job(id: i64) -> Result<Option<Job>> {
    let wanted = |j: &Job| j.state == JobState::Running && j.driver == Driver::Worker;
    Ok(job::by_id(id)?.filter(wanted))
}

/// Pauses between slices. A long pause ends early if the job is no longer wanted, or if its pause has become shorter.
fn rest(id: i64, pause: i64) {
    rest_for(0);
    let (mut rested, mut pause) = (0, pause);
    while rested < pause {
        let nap = (pause - rested).min(LOOK_EVERY_MS);
        rest_for(nap);
        rested += nap;
        if rested < pause {
            pause = pause.min(transaction(|| pause_now(id)).unwrap_or(pause));
        }
    }
}

/// Sleeps. A cancel ends the running statement; between two statements there is none, and the next one reads what was cancelled.
fn rest_for(pause: i64) {
    PgTryBuilder::new(|| {
        pgrx::check_for_interrupts!();
        wait::sleep(pause);
    })
    .catch_when(PgSqlErrorCode::ERRCODE_QUERY_CANCELED, |_| ())
    .execute();
}

/// How long the pause after a batch should be.
fn pause_now(id: i64) -> Result<i64> {
    let Some(job) = find_own_job(id)? else {
        return Ok(0);
    };
    let m = migration::by_id(job.migration)?;
    Ok(m.map_or(0, |m| i64::from(settings::delay_ms(&m))))
}

enum StartDecision {
    Run,
    /// Another process is in the middle of a batch. Each retry is a transaction of its own, because no other transaction may have to wait
    /// for this one.
    Wait,
    Leave,
}

/// Takes the runner's lock and records this process in the job.
fn begin(id: i64) -> Result<StartDecision> {
    let Some(found) = find_own_job(id)? else {
        return Ok(StartDecision::Leave);
    };
    if !job_lock::try_for_session(found.migration)? {
        // Another worker already runs this job and needs no second runner.
        let served = found.pid.is_some() && job::runner(found.migration)? == found.pid;
        return Ok(if served {
            StartDecision::Leave
        } else {
            StartDecision::Wait
        });
    }
    // SAFETY: reads the pid of this process.
    job::set_started(id, unsafe { pg_sys::MyProcPid })?;
    Ok(StartDecision::Run)
}

/// Runs one slice in its own transaction. Returns the pause before the next one, or None at the end.
fn turn(id: i64) -> Option<i64> {
    let next = transaction(|| {
        let Some(current) = find_own_job(id)? else {
            return Ok(SliceProgress::Ended);
        };
        // A user's function may have released the lock meanwhile, see `job_lock`.
        if !job_lock::try_for_session(current.migration)? {
            return Ok(SliceProgress::Ended);
        }
        slice::run_slice(&current, WORKER_CONTEXT)
    });
    match next {
        Ok(SliceProgress::Continue { pause_ms, .. } | SliceProgress::Wait { pause_ms }) => {
            Some(pause_ms)
        }
        Ok(SliceProgress::Ended) => None,
        Ok(SliceProgress::TopLevel(command)) => top_level(id, &command),
        Err(e) if e.is_retryable() => Some(200),
        Err(e) => {
            fail(id, &e);
            None
        }
    }
}

fn top_level(id: i64, command: &TopLevelCommand) -> Option<i64> {
    let workers = || {
        let Some(job) = find_own_job(id)? else {
            return Ok(1);
        };
        Ok(migration::by_id(job.migration)?.map_or(1, |m| settings::max_workers(&m)))
    };
    match build(workers, command) {
        Ok(()) => Some(0),
        Err(e) if e.is_retryable() => Some(200),
        Err(e) => {
            fail(id, &e);
            None
        }
    }
}

/// Builds an index with at most as many processes as the migration may have: the server's own parallel workers would take two more cores,
/// and the application feels that more than anything else in a backfill.
fn build(workers: impl FnOnce() -> Result<i32>, command: &TopLevelCommand) -> Result<()> {
    transaction(|| {
        spi::run(
            "SELECT pg_catalog.set_config(s.name, least(s.reset_val::int, $1)::text, false) \
             FROM pg_catalog.pg_settings s WHERE s.name = 'max_parallel_maintenance_workers'",
            &[(workers()? - 1).into()],
        )
    })?;
    activity::report(&command.sql);
    top_level::run_top_level(&command.sql, command.role, command.path.as_deref())
}

/// Records the reason of the failure, so that status can show it.
fn fail(id: i64, error: &Error) {
    let noted = transaction(|| {
        let Some(current) = find_own_job(id)? else {
            return Ok(());
        };
        let Some(m) = migration::by_id(current.migration)? else {
            return Ok(());
        };
        slice::fail(&m, &current, error).map(|_| ())
    });
    if let Err(e) = noted {
        log!("pg_mig worker: job {id} failed ({error}), and could not say so: {e}");
    }
}

/// Runs `f` in its own transaction. An ERROR aborts the transaction and is returned as a value, so that the process goes on.
fn transaction<T>(f: impl FnOnce() -> Result<T>) -> Result<T> {
    activity::report("job");
    // SAFETY: no transaction is open here; this one is committed or aborted below.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
    }
    let outcome = catch::catch(|| {
        let safe = guc::pin(&guc::SAFE);
        // A caller's open transaction may hold locks on rows of pg_mig's own tables: never wait long while holding a batch's locks.
        let timeout = guc::lock_timeout(1000);
        let value = f()?;
        drop(timeout);
        drop(safe);
        // SAFETY: as above; `f` succeeded.
        unsafe {
            pg_sys::PopActiveSnapshot();
            pg_sys::CommitTransactionCommand();
        }
        Ok(value)
    });
    if outcome.is_err() {
        // SAFETY: the transaction begun above is open or aborted; either way this ends it.
        unsafe { pg_sys::AbortCurrentTransaction() };
    }
    activity::report_idle();
    outcome
}
