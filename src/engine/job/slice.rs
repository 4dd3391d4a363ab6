//! One slice of a job: the same for the worker, for `mig_step` and for `mig_run`.

use crate::engine::columns;
use crate::engine::job::open::rows_left;
use crate::engine::job::{sync_back, throttle};
use crate::engine::proof::{check, repair};
use crate::engine::types::{SliceContext, SliceProgress};
use crate::error::{Error, Result};
use crate::ident::Literal;
use crate::model::phase::Phase;
use crate::model::records::{Job, JobState, Mapping, Migration, MigrationState, Task};
use crate::pg::{guc, spi, tx};
use crate::relation::deferred_constraints;
use crate::settings;
use crate::steps::{
    SliceOutcome, annotate, copy, fkeys, index, install_triggers, retry, scope_pin,
};
use crate::store::{drift, job, log, mapping, migration, pending_rows, sides};

/// With more failed rows than this the job stops instead of listing a whole table.
const MAX_ERRORS: i64 = 1000;

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
    if job.task != Task::Check
        && let Some(held) = throttle::find_pressure(&m, job)?
    {
        job::heartbeat(job.id, Some(&held.why), true)?;
        return Ok(SliceProgress::Wait {
            pause_ms: held.pause_ms,
        });
    }
    let mappings = mapping::list(m.id)?;
    let reworked = if mappings.is_empty() {
        columns::load(&m)?
    } else {
        None
    };
    let owners = match &reworked {
        Some(all) => columns::owners(all),
        None => deferred_constraints::owners(&mappings),
    };
    let worked = tx::subtransaction(|| {
        // A worker's transaction ends with the slice.
        deferred_constraints::checked_at_once(&owners, !able.top_level, || match &reworked {
            Some(all) => columns::job::work(&m, all, able),
            None => work_at(&m, &mappings, job, able),
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
        Ok(Some(SliceOutcome::Done) | None) => finish(&m, job, &mappings),
        Err(e) if e.is_retryable() => {
            job::heartbeat(
                job.id,
                Some(&e.detail().unwrap_or_else(|| e.to_string())),
                true,
            )?;
            Ok(SliceProgress::Wait { pause_ms: WAIT_MS })
        }
        Err(e) if e.is_about_data() && matches!(job.task, Task::Backfill | Task::WayBack) => {
            give_up(&m, job, &mappings, e)
        }
        Err(e) if e.code() == pgrx::PgSqlErrorCode::ERRCODE_QUERY_CANCELED => Err(e),
        Err(e) => fail(&m, job, &e),
    }
}

/// Does the next piece of work of a job; None when all is done.
fn work_at(
    m: &Migration,
    mappings: &[Mapping],
    job: &Job,
    able: SliceContext,
) -> Result<Option<SliceOutcome>> {
    match (job.task, job.goal) {
        (Task::Check, _) => Ok(check::work(m, mappings, job)?.then_some(SliceOutcome::Did(0))),
        (Task::Repair, _) => repair::work(m, mappings, job, able.may_wait),
        (Task::WayBack, Some(goal)) => sync_back::work(m, mappings, job, goal, able),
        (Task::Backfill | Task::WayBack, _) => work(m, mappings, able),
    }
}

/// Does the next piece of work of a backfill; None when all is done.
fn work(m: &Migration, mappings: &[Mapping], able: SliceContext) -> Result<Option<SliceOutcome>> {
    drift::require_none(m)?;
    if let Some(p) = mappings.iter().find(|p| !p.copied) {
        // Without concurrent builds, indexes are built while the target is still small.
        if !able.top_level && p.bound_blocks.is_none() {
            match index::next(m, p, false)? {
                SliceOutcome::Done => {}
                other => return Ok(Some(other)),
            }
        }
        return copy::batch(m, p).map(Some);
    }
    if mappings.iter().any(|p| p.notes() && !p.settled) {
        install_triggers::settle_ids(m, mappings)?;
        return Ok(Some(SliceOutcome::Did(0)));
    }
    if let Some(l) = pending_rows::next_leftover(m.id)? {
        too_many_errors(m)?;
        return retry::copy(m, &l, able.may_wait).map(Some);
    }
    let failed = pending_rows::open(m.id, None)?.errors;
    if failed > 0 {
        return Err(errors_left(m, failed));
    }
    late_work(m, mappings, able.top_level)
}

/// Builds indexes, waits for old snapshots, adds foreign keys, then scope pins. What is missing is looked up for all tables
/// at once: a look at each of many tables before each piece of work grows with the square of their number.
fn late_work(m: &Migration, mappings: &[Mapping], top_level: bool) -> Result<Option<SliceOutcome>> {
    if let Some(p) = index::find_lacking(m, mappings)? {
        return index::next(m, p, top_level).map(Some);
    }
    match fkeys::drain(m)? {
        SliceOutcome::Done => {}
        other => return Ok(Some(other)),
    }
    if let Some(p) = fkeys::find_lacking(m, mappings)? {
        return fkeys::next(m, p).map(Some);
    }
    match scope_pin::next_of(m, mappings)? {
        SliceOutcome::Done => Ok(None),
        other => Ok(Some(other)),
    }
}

fn too_many_errors(m: &Migration) -> Result<()> {
    let failed = pending_rows::open(m.id, None)?.errors;
    if failed > MAX_ERRORS {
        Err(errors_left(m, failed))
    } else {
        Ok(())
    }
}

fn errors_left(m: &Migration, failed: i64) -> Error {
    rows_left(
        m,
        failed,
        &format!("SELECT mig_backfill({});", Literal(&m.name)),
    )
}

/// Handles a batch that failed over one of its rows: the slice is taken row by row from now on. Anything else that a row
/// can violate (a unique index, a foreign key) fails the job.
fn give_up(m: &Migration, job: &Job, mappings: &[Mapping], e: Error) -> Result<SliceProgress> {
    let table = match job.goal {
        None => mappings.iter().find(|p| !p.copied),
        Some(_) => sync_back::next_table(mappings),
    };
    let Some(p) = table else {
        return fail(m, job, &e);
    };
    match tx::subtransaction(|| copy::give_up_slice(m, p, false)) {
        Ok(_) => {
            job::heartbeat(job.id, None, false)?;
            Ok(SliceProgress::Continue {
                rows: 0,
                pause_ms: 0,
            })
        }
        Err(again) if again.is_retryable() => Ok(SliceProgress::Wait { pause_ms: WAIT_MS }),
        Err(other) => fail(m, job, &other),
    }
}

/// Ends a job as failed; its reason is visible in mig_status.
pub fn fail(m: &Migration, job: &Job, e: &Error) -> Result<SliceProgress> {
    let reason = match e.detail() {
        Some(detail) if matches!(e, Error::JobFailed { .. } | Error::Drift { .. }) => detail,
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

fn finish(m: &Migration, job: &Job, mappings: &[Mapping]) -> Result<SliceProgress> {
    match job.task {
        // A caller that waits for the job may continue at once, and must not find helpers there.
        Task::Backfill if job::helpers(m.id)? > 0 => {
            return Ok(SliceProgress::Wait { pause_ms: 20 });
        }
        Task::Backfill => {}
        Task::Repair => return repair::finish_job(m, job),
        Task::WayBack | Task::Check => {
            job::end(job, JobState::Done, None)?;
            return Ok(SliceProgress::Ended);
        }
    }
    match tx::subtransaction(|| mappings.iter().try_for_each(annotate::annotate)) {
        Err(e) if e.is_retryable() => {
            job::heartbeat(
                job.id,
                Some(&e.detail().unwrap_or_else(|| e.to_string())),
                true,
            )?;
            return Ok(SliceProgress::Wait { pause_ms: WAIT_MS });
        }
        other => other?,
    }
    for p in mappings {
        spi::run(&format!("ANALYZE {}", sides::target(p)?), &[])?;
    }
    migration::set_phase(m, Phase::Backfilled)?;
    job::end(job, JobState::Done, None)?;
    log::write(&m.name, "backfilled", "backfill done")?;
    Ok(SliceProgress::Ended)
}
