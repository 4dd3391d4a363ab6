//! The work of a DDL job's worker, piece by piece.

use crate::engine::types::SliceProgress;
use crate::error::{Error, Result};
use crate::model::ddl_change::{DdlJob, DdlState};
use crate::pg::{job_lock, tx};
use crate::steps::{SliceOutcome, ddl as step};
use crate::store::ddl_job;

const WAIT_MS: i64 = 200;

/// Takes the job's lock. False where another process has it, or there is no such job.
pub fn take(id: i64, pid: i32) -> Result<bool> {
    if ddl_job::by_id(id)?.is_none() || !job_lock::try_change(id)? {
        return Ok(false);
    }
    ddl_job::set_started(id, pid)?;
    Ok(true)
}

/// Does the next piece of the job's work, in the current transaction.
pub fn slice(id: i64) -> Result<SliceProgress> {
    let Some(job) = ddl_job::by_id(id)? else {
        return Ok(SliceProgress::Ended);
    };
    let taken_back = matches!(job.state, DdlState::Failing | DdlState::Cancelling);
    if !taken_back && job.state != DdlState::Running {
        return Ok(SliceProgress::Ended);
    }
    // A user's function may have released the lock meanwhile, see `job_lock`.
    if !job_lock::try_change(id)? {
        return Ok(SliceProgress::Ended);
    }
    let Some(table) = job.table.clone() else {
        ddl_job::give_up(id, DdlState::Failing, Some("the table is gone"))?;
        ddl_job::end(id, DdlState::Failed)?;
        return Ok(SliceProgress::Ended);
    };
    let worked = tx::subtransaction(|| match taken_back {
        true => step::take_back(&job, &table),
        false => step::next(&job, &table),
    });
    match worked {
        Ok(SliceOutcome::Did(_)) => {
            ddl_job::heartbeat(id, None, None)?;
            Ok(SliceProgress::Continue {
                rows: 0,
                pause_ms: 0,
            })
        }
        Ok(SliceOutcome::Wait(why)) => {
            ddl_job::heartbeat(id, None, Some(&why))?;
            Ok(SliceProgress::Wait { pause_ms: WAIT_MS })
        }
        Ok(SliceOutcome::TopLevel(command)) => {
            let step = if taken_back {
                "dropping what is not valid"
            } else {
                "building"
            };
            ddl_job::heartbeat(id, Some(step), None)?;
            Ok(SliceProgress::TopLevel(command))
        }
        Ok(SliceOutcome::Done) => {
            ddl_job::end(id, ended_as(job.state))?;
            Ok(SliceProgress::Ended)
        }
        Err(e) => wrong(&job, &e),
    }
}

fn ended_as(state: DdlState) -> DdlState {
    match state {
        DdlState::Failing => DdlState::Failed,
        DdlState::Cancelling => DdlState::Cancelled,
        _ => DdlState::Done,
    }
}

/// Handles a piece of work that failed: it is tried again, or what is half-made is removed.
pub fn wrong(job: &DdlJob, e: &Error) -> Result<SliceProgress> {
    let reason = e
        .detail()
        .map_or_else(|| e.to_string(), |d| format!("{e}: {d}"));
    let cancelled =
        e.code() == pgrx::PgSqlErrorCode::ERRCODE_QUERY_CANCELED && !is_running(job.id)?;
    if cancelled || e.is_retryable() {
        ddl_job::heartbeat(job.id, None, Some(&reason))?;
        return Ok(SliceProgress::Wait { pause_ms: WAIT_MS });
    }
    if job.state == DdlState::Running {
        ddl_job::give_up(job.id, DdlState::Failing, Some(&reason))?;
        return Ok(SliceProgress::Continue {
            rows: 0,
            pause_ms: 0,
        });
    }
    // What cannot be removed stays, and is reported.
    ddl_job::give_up(job.id, job.state, Some(&reason))?;
    ddl_job::end(job.id, DdlState::Failed)?;
    Ok(SliceProgress::Ended)
}

/// Whether no end was requested: a cancel in this state came from elsewhere in the server.
fn is_running(id: i64) -> Result<bool> {
    Ok(ddl_job::by_id(id)?.is_some_and(|j| j.state == DdlState::Running))
}
