//! Cancels a DDL job, and waits for one.

use super::{at_work, start};
use crate::engine::job::control::NO_WORKER;
use crate::error::{Error, Result};
use crate::model::ddl_change::{DdlJob, DdlState};
use crate::pg::job_lock::JobLock;
use crate::pg::notice::notice;
use crate::pg::{catalog, old_snapshots, role, signal, tx, wait};
use crate::store::{ddl_job, migration};
use pgrx::pg_sys::Oid;
use std::time::Duration;

/// Ends a job of the caller; its worker removes what is half-made. False if it has ended before.
pub fn cancel(id: i64) -> Result<bool> {
    let job = ddl_job::by_id(id)?.ok_or_else(|| Error::no_such_job(id))?;
    mine_or_gone(&job)?;
    if !matches!(job.state, DdlState::Running | DdlState::Failing) {
        notice(&format!("the job has ended before ({})", job.state));
        return Ok(false);
    }
    ddl_job::give_up(id, DdlState::Cancelling, None)?;
    match (at_work(id)?, job.table) {
        (true, _) => signal::cancel_at_commit(JobLock::of_change(id)),
        (false, Some(table)) => {
            // What is half-made is removed by its name: no other name is looked up.
            ddl_job::reopen(id, "pg_catalog")?;
            start(id, &table, &job.change);
        }
        (false, None) => ddl_job::end(id, DdlState::Cancelled)?,
    }
    Ok(true)
}

/// Errors unless the caller owns the table. A table that is gone has no owner: then the role that began the job counts.
fn mine_or_gone(job: &DdlJob) -> Result<()> {
    match &job.table {
        Some(table) => migration::require_table(table, catalog::owner_of(Oid::from(job.relation))?),
        None => role::require(Oid::from(job.role)),
    }
}

/// Whether its worker was killed.
fn is_dead(job: &DdlJob) -> Result<bool> {
    if job.pid.is_none() || at_work(job.id)? {
        return Ok(false);
    }
    // The job may have ended between the two queries.
    let now = ddl_job::by_id(job.id)?;
    Ok(now.is_some_and(|now| now.state == job.state && now.pid == job.pid))
}

/// Returns true when the job is done, false at the timeout. Errors with the reason if it failed.
pub fn wait_for(id: i64, timeout: Duration) -> Result<bool> {
    let job = ddl_job::by_id(id)?.ok_or_else(|| Error::no_such_job(id))?;
    // The error contains the reason why the job failed, keys of rows too; jobs of other owners are not disclosed.
    if mine_or_gone(&job).is_err() {
        return Err(Error::no_such_job(id));
    }
    let open = !matches!(
        job.state,
        DdlState::Done | DdlState::Failed | DdlState::Cancelled
    );
    if open && ddl_job::is_of_this_transaction(id)? {
        return Err(Error::waits_for_itself(
            "the job".into(),
            format!("mig_wait({id})"),
        ));
    }
    old_snapshots::promise_not_to_read();
    tx::require_read_committed()?;
    wait::until_decided(timeout, || {
        let job = ddl_job::by_id(id)?.ok_or_else(|| Error::no_such_job(id))?;
        match job.state {
            DdlState::Done => Ok(Some(true)),
            DdlState::Cancelled => Ok(Some(false)),
            DdlState::Failed => Err(Error::change_failed(
                job.change.describe(),
                job.error.unwrap_or_else(|| "No reason was noted.".into()),
            )),
            _ if is_dead(&job)? => Err(Error::change_failed(
                job.change.describe(),
                format!("Its process {} is gone.", job.pid.unwrap_or(0)),
            )),
            DdlState::Running if ddl_job::has_no_worker(id)? => Err(Error::change_failed(
                job.change.describe(),
                NO_WORKER.into(),
            )),
            _ => Ok(None),
        }
    })
}
