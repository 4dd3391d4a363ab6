//! One slice of a job: the same for the worker, for `mig_step` and for `mig_run`.

use crate::engine::job::throttle;
use crate::engine::kind;
use crate::engine::types::{SliceContext, SliceProgress};
use crate::engine::work::Work;
use crate::error::{About, Error, Result};
use crate::model::phase::Phase;
use crate::model::records::{Job, JobState, Migration, MigrationState, Task};
use crate::pg::{guc, tx};
use crate::relation::deferred_constraints;
use crate::settings;
use crate::steps::SliceOutcome;
use crate::store::{job, log, migration};

const WAIT_MS: i64 = 200;

/// Does the next piece of work of `job` in the current transaction. ERRORs of the work are caught in a subtransaction and
/// saved in the job's row; only a cancel or a broken session passes.
pub fn run_slice(job: &Job, able: SliceContext) -> Result<SliceProgress> {
    let _safe = guc::pin(&guc::SAFE);
    let _exact = guc::pin(&guc::EXACT);
    let Some(m) = migration::by_id(job.migration)? else {
        return Ok(SliceProgress::Ended);
    };
    // The migration may have changed its owner since the job began.
    migration::require_owner(&m)?;
    if let Some(held) = throttle::find_pressure(&m, job)? {
        job::heartbeat(job.id, Some(&held.why), true)?;
        return Ok(SliceProgress::Wait {
            pause_ms: held.pause_ms,
        });
    }
    let work = kind::load(m.clone())?;
    let worked = tx::subtransaction(|| {
        // A worker's transaction ends with the slice.
        deferred_constraints::checked_at_once(&work.owners(), !able.top_level, || {
            work.work(job, able)
        })
    });
    match worked {
        Ok(Some(SliceOutcome::Did(n))) => {
            let pause_ms = i64::from(settings::delay_ms(&m));
            let resting =
                (pause_ms > 0).then(|| format!("delay_ms: {pause_ms} ms after each batch"));
            job::heartbeat(job.id, resting.as_deref(), false)?;
            Ok(SliceProgress::Continue { rows: n, pause_ms })
        }
        Ok(Some(SliceOutcome::Wait(why))) => {
            job::heartbeat(job.id, Some(&why), true)?;
            Ok(SliceProgress::Wait { pause_ms: WAIT_MS })
        }
        Ok(Some(SliceOutcome::TopLevel(command))) => {
            job::heartbeat(job.id, Some("index build"), true)?;
            Ok(SliceProgress::TopLevel(command))
        }
        Ok(Some(SliceOutcome::Done) | None) => finish(&*work, job),
        Err(e) if e.is_retryable() => {
            job::heartbeat(
                job.id,
                Some(e.detail().unwrap_or_else(|| e.message())),
                true,
            )?;
            Ok(SliceProgress::Wait { pause_ms: WAIT_MS })
        }
        Err(e) if e.is_about_data() && matches!(job.task, Task::Backfill | Task::WayBack) => {
            give_up(&*work, job, e)
        }
        Err(e) if e.code() == pgrx::PgSqlErrorCode::ERRCODE_QUERY_CANCELED => Err(e),
        Err(e) => fail(&m, job, &e),
    }
}

/// Ends a job as failed; its reason is visible in mig_status.
pub fn fail(m: &Migration, job: &Job, e: &Error) -> Result<SliceProgress> {
    let reason = match e.detail() {
        Some(detail) if e.about() == About::FailedJob => detail.to_owned(),
        Some(detail) => format!("{e}: {detail}"),
        None => e.to_string(),
    };
    job::end(job, JobState::Failed, Some(&reason))?;
    if job.task != Task::Check {
        migration::set_state(m.id, MigrationState::Failed, Some(&reason))?;
    }
    log::write(&m.name, m.phase.as_str(), &format!("job failed: {reason}"))?;
    Ok(SliceProgress::Ended)
}

/// Handles a batch that failed over one of its rows.
fn give_up(work: &dyn Work, job: &Job, e: Error) -> Result<SliceProgress> {
    match work.give_up_batch(job, e) {
        Ok(()) => {
            job::heartbeat(job.id, None, false)?;
            Ok(SliceProgress::Continue {
                rows: 0,
                pause_ms: 0,
            })
        }
        Err(again) if again.is_retryable() => Ok(SliceProgress::Wait { pause_ms: WAIT_MS }),
        Err(other) => fail(work.migration(), job, &other),
    }
}

fn finish(work: &dyn Work, job: &Job) -> Result<SliceProgress> {
    let m = work.migration();
    match job.task {
        Task::Backfill => return finish_backfill(work, job),
        Task::Repair => {
            job::end(job, JobState::Done, None)?;
            migration::set_state(m.id, MigrationState::Ok, None)?;
            let done = format!("job {} repaired all rows", job.id);
            log::write(&m.name, m.phase.as_str(), &done)?;
        }
        Task::WayBack | Task::Check => job::end(job, JobState::Done, None)?,
    }
    Ok(SliceProgress::Ended)
}

fn finish_backfill(work: &dyn Work, job: &Job) -> Result<SliceProgress> {
    let m = work.migration();
    // A caller that waits for the job may continue at once, and must not find helpers there.
    if job::helpers(m.id)? > 0 {
        return Ok(SliceProgress::Wait { pause_ms: 20 });
    }
    match work.finish_backfill() {
        Err(e) if e.is_retryable() => {
            let held_by = e.detail().unwrap_or_else(|| e.message());
            job::heartbeat(job.id, Some(held_by), true)?;
            return Ok(SliceProgress::Wait { pause_ms: WAIT_MS });
        }
        other => other?,
    }
    migration::set_phase(m, Phase::Backfilled)?;
    job::end(job, JobState::Done, None)?;
    log::write(&m.name, "backfilled", "backfill done")?;
    Ok(SliceProgress::Ended)
}
