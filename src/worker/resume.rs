//! With `shared_preload_libraries = 'pg_mig'`, jobs that a restart interrupted are resumed automatically. A launcher process starts with
//! the server and checks each database once, through a second process. Then it sleeps for as long as the server lives, so that the
//! postmaster starts it again after a crash.

use super::{die, transaction};
use crate::error::Result;
use crate::pg::worker_launch::{WorkerArguments, WorkerRole};
use crate::pg::{databases, state};
use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder, BgWorkerStartTime};
use pgrx::pg_sys::Oid;
use pgrx::prelude::*;
use std::time::Duration;

/// Registers the launcher. Called while the server loads its preloaded libraries.
pub fn register() {
    BackgroundWorkerBuilder::new("pg_mig launcher")
        .set_type("pg_mig launcher")
        .set_library("pg_mig")
        .set_function("mig_launcher_main")
        .set_start_time(BgWorkerStartTime::RecoveryFinished)
        .set_restart_time(Some(Duration::from_secs(10)))
        .enable_spi_access()
        .load();
}

/// # Safety
/// Called by the postmaster's child only.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn mig_launcher_main(_argument: pg_sys::Datum) {
    // SAFETY: the first thing that a new worker does.
    unsafe {
        pg_sys::pqsignal(pg_sys::SIGTERM as i32, Some(die));
        pg_sys::BackgroundWorkerUnblockSignals();
    }
    databases::connect_to_none();
    for database in transaction(|| Ok(databases::list_connectable())).unwrap_or_default() {
        look_into(database);
    }
    loop {
        crate::pg::wait::sleep(i64::from(i32::MAX));
        pgrx::check_for_interrupts!();
    }
}

/// Starts a process that resumes the jobs of one database, and waits for its end: a server with many databases needs only one slot for
/// this.
fn look_into(database: Oid) {
    let looking = || {
        BackgroundWorkerBuilder::new("pg_mig resume")
            .set_type("pg_mig resume")
            .set_library("pg_mig")
            .set_function("mig_resume_main")
            .set_extra(&database.to_u32().to_string())
            .set_start_time(BgWorkerStartTime::RecoveryFinished)
            .set_restart_time(None)
            // SAFETY: reads the pid of this process.
            .set_notify_pid(unsafe { pg_sys::MyProcPid })
            .enable_spi_access()
            .load_dynamic()
    };
    loop {
        if let Ok(started) = looking() {
            let _ = started.wait_for_shutdown();
            return;
        }
        // All slots are taken. By the time one is free, there may be one for the job, too.
        crate::pg::wait::sleep(1000);
        pgrx::check_for_interrupts!();
    }
}

/// # Safety
/// Called by the postmaster's child only.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn mig_resume_main(_argument: pg_sys::Datum) {
    // SAFETY: the first thing that a new worker does.
    unsafe {
        pg_sys::pqsignal(pg_sys::SIGTERM as i32, Some(die));
        pg_sys::BackgroundWorkerUnblockSignals();
    }
    let Ok(database) = BackgroundWorker::get_extra().parse::<u32>() else {
        return;
    };
    let database = Oid::from(database);
    BackgroundWorker::connect_worker_to_spi_by_oid(Some(database), None);
    match transaction(list_interrupted) {
        Ok(jobs) => jobs.iter().for_each(|j| go_on(database, j)),
        Err(e) => log!("pg_mig: interrupted jobs are not known: {e}"),
    }
}

#[derive(serde::Deserialize)]
struct InterruptedJob {
    id: i64,
    role: u32,
    migration: String,
    changes: bool,
}

/// Lists the jobs that were interrupted; empty in a database without the extension. The roles are those that pg_mig's own code has
/// recorded.
fn list_interrupted() -> Result<Vec<InterruptedJob>> {
    if state::owner().is_err() {
        return Ok(Vec::new());
    }
    state::rows(
        "SELECT j.id, j.role::oid::bigint AS role, m.name AS migration, false AS changes FROM mig.job j JOIN mig.migration m ON m.id = j.migration \
         WHERE j.state = 'running' AND j.driver = 'worker' \
         UNION ALL SELECT c.id, c.role::oid::bigint, pg_catalog.format('%s %s', c.change->>'kind', c.relation), true FROM mig.change c WHERE c.ended_at IS NULL ORDER BY id",
        &[],
    )
}

fn go_on(database: Oid, job: &InterruptedJob) {
    let worker = WorkerArguments {
        database,
        role: Oid::from(job.role),
        job: job.id,
        worker_role: if job.changes {
            WorkerRole::Changes
        } else {
            WorkerRole::Runs
        },
    };
    if !worker.start(0, &job.migration) {
        log!("pg_mig: no worker slot is free for job {}", job.id);
    }
}
