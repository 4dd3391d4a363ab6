//! One slice of a backfill: the same for the worker, for `mig_step` and for `mig_run`.

use super::{bring_back, check, columns, repair, throttle};
use crate::error::{Error, Result};
use crate::ident::Literal;
use crate::model::phase::Phase;
use crate::model::state::{Job, Mapping, Migration, Task};
use crate::pg::{session, spi, tx};
use crate::settings;
use crate::steps::{
    SliceOutcome, TopLevelCommand, anchor, capture, copy, dress, fkeys, index, leftover,
};
use crate::store::{drift, job, late, log, mapping, migration, rows};

/// More failed rows than this, and the job stops instead of listing a whole table.
const MAX_ERRORS: i64 = 1000;

/// What the caller of a slice is able to do.
#[derive(Clone, Copy)]
pub struct SliceContext {
    /// Run commands outside a transaction.
    pub top_level: bool,
    /// Wait for a row's lock, because its transaction holds no other.
    pub may_wait: bool,
}

/// What the caller has to do next.
#[derive(Debug, PartialEq)]
pub enum SliceProgress {
    /// Go on; rows done in this slice, and the pause before the next.
    Continue { rows: i64, pause_ms: i64 },
    /// Somebody is in the way: try again after the pause.
    Wait { pause_ms: i64 },
    /// Run this command outside a transaction, then go on.
    TopLevel(TopLevelCommand),
    /// The job ended: done, paused, cancelled or failed. Nothing more to do.
    Ended,
}

const WAIT_MS: i64 = 200;

/// Does the next piece of work of `job` in the current transaction. ERRORs of the work are caught in a
/// subtransaction and end up in the job's row; only a cancel or a broken session gets through.
pub fn slice(job: &Job, able: SliceContext) -> Result<SliceProgress> {
    let _safe = session::pin(&session::SAFE);
    let _exact = session::pin(&session::EXACT);
    let Some(m) = migration::by_id(job.migration)? else {
        return Ok(SliceProgress::Ended);
    };
    // It may have been the runner's when the job began.
    migration::require_owner(&m)?;
    if job.task != Task::Check
        && let Some(held) = throttle::find_pressure(&m, job)?
    {
        job::heartbeat(job.id, Some(&held.why))?;
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
        None => late::owners(&mappings),
    };
    let worked = tx::subtransaction(|| {
        // A worker's transaction ends with the slice.
        late::checked_at_once(&owners, !able.top_level, || match &reworked {
            Some(all) => columns::job::work(&m, all, able),
            None => work_at(&m, &mappings, job, able),
        })
    });
    match worked {
        Ok(Some(SliceOutcome::Did(n))) => {
            let pause_ms = i64::from(settings::delay_ms(&m));
            let resting =
                (pause_ms > 0).then(|| format!("delay_ms: {pause_ms} ms after each batch"));
            job::heartbeat(job.id, resting.as_deref())?;
            Ok(SliceProgress::Continue { rows: n, pause_ms })
        }
        Ok(Some(SliceOutcome::Wait(why))) => {
            job::heartbeat(job.id, Some(&why))?;
            Ok(SliceProgress::Wait { pause_ms: WAIT_MS })
        }
        Ok(Some(SliceOutcome::TopLevel(command))) => {
            job::heartbeat(job.id, Some("index build"))?;
            Ok(SliceProgress::TopLevel(command))
        }
        Ok(Some(SliceOutcome::Done) | None) => finish(&m, job, &mappings),
        Err(e) if e.is_retryable() => {
            job::heartbeat(job.id, Some(&e.detail().unwrap_or_else(|| e.to_string())))?;
            Ok(SliceProgress::Wait { pause_ms: WAIT_MS })
        }
        Err(e) if e.is_about_data() && matches!(job.task, Task::Backfill | Task::WayBack) => {
            give_up(&m, job, &mappings, e)
        }
        Err(e) if e.code() == pgrx::PgSqlErrorCode::ERRCODE_QUERY_CANCELED => Err(e),
        Err(e) => fail(&m, job, &e),
    }
}

/// The next thing to do for a job; None when all is done.
fn work_at(
    m: &Migration,
    mappings: &[Mapping],
    job: &Job,
    able: SliceContext,
) -> Result<Option<SliceOutcome>> {
    match (job.task, job.goal) {
        (Task::Check, _) => Ok(check::work(m, mappings, job)?.then_some(SliceOutcome::Did(0))),
        (Task::Repair, _) => repair::work(m, mappings, job, able.may_wait),
        (Task::WayBack, Some(goal)) => bring_back::work(m, mappings, job, goal, able),
        (Task::Backfill | Task::WayBack, _) => work(m, mappings, able),
    }
}

/// The next thing to do; None when all is done.
fn work(m: &Migration, mappings: &[Mapping], able: SliceContext) -> Result<Option<SliceOutcome>> {
    drift::require_none(m)?;
    if let Some(p) = mappings.iter().find(|p| !p.copied) {
        // Without a way to build indexes concurrently they are built while the target is still small.
        if !able.top_level && p.bound_blocks.is_none() {
            match index::next(m, p, false)? {
                SliceOutcome::Done => {}
                other => return Ok(Some(other)),
            }
        }
        return copy::batch(m, p).map(Some);
    }
    if mappings.iter().any(|p| p.notes() && !p.settled) {
        capture::settle(m, mappings)?;
        return Ok(Some(SliceOutcome::Did(0)));
    }
    if let Some(l) = rows::next_leftover(m.id)? {
        too_many_errors(m)?;
        return leftover::copy(m, &l, able.may_wait).map(Some);
    }
    let failed = rows::open(m.id, None)?.errors;
    if failed > 0 {
        return Err(errors_left(m, failed));
    }
    late_work(m, mappings, able.top_level)
}

/// Indexes, then the wait for old snapshots, then foreign keys, then anchors. What there is to do is asked for all tables at once:
/// looking at each of many tables before each piece of work grows with the square of their number.
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
    match anchor::next_of(m, mappings)? {
        SliceOutcome::Done => Ok(None),
        other => Ok(Some(other)),
    }
}

fn too_many_errors(m: &Migration) -> Result<()> {
    let failed = rows::open(m.id, None)?.errors;
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

pub(super) fn rows_left(m: &Migration, failed: i64, again: &str) -> Error {
    Error::JobFailed {
        migration: m.name.clone(),
        detail: format!("{failed} rows cannot be copied; mig.errors names them."),
        hint: format!("Mend those rows and go on: {again}"),
    }
}

/// A batch failed over one of its rows: take the slice row by row from now on. Anything else that a row can
/// break (a unique index, a foreign key) fails the job.
fn give_up(m: &Migration, job: &Job, mappings: &[Mapping], e: Error) -> Result<SliceProgress> {
    let table = match job.goal {
        None => mappings.iter().find(|p| !p.copied),
        Some(_) => bring_back::next_table(mappings),
    };
    let Some(p) = table else {
        return fail(m, job, &e);
    };
    match tx::subtransaction(|| copy::give_up_slice(m, p, false)) {
        Ok(_) => {
            job::heartbeat(job.id, None)?;
            Ok(SliceProgress::Continue {
                rows: 0,
                pause_ms: 0,
            })
        }
        Err(again) if again.is_retryable() => Ok(SliceProgress::Wait { pause_ms: WAIT_MS }),
        Err(other) => fail(m, job, &other),
    }
}

/// Ends a job with its reason, visible in status.
pub fn fail(m: &Migration, job: &Job, e: &Error) -> Result<SliceProgress> {
    let reason = match e.detail() {
        Some(detail) if matches!(e, Error::JobFailed { .. } | Error::Drift { .. }) => detail,
        Some(detail) => format!("{e}: {detail}"),
        None => e.to_string(),
    };
    job::end(job, "failed", Some(&reason))?;
    if job.task != Task::Check {
        migration::set_state(m.id, "failed", Some(&reason))?;
    }
    log::write(&m.name, m.phase.as_str(), &format!("job failed: {reason}"))?;
    Ok(SliceProgress::Ended)
}

fn finish(m: &Migration, job: &Job, mappings: &[Mapping]) -> Result<SliceProgress> {
    match job.task {
        // Whoever waits for the job may want to go on at once, and must not find them there.
        Task::Backfill if job::helpers(m.id)? > 0 => {
            return Ok(SliceProgress::Wait { pause_ms: 20 });
        }
        Task::Backfill => {}
        Task::Repair => return repair::finish_job(m, job),
        Task::WayBack | Task::Check => {
            job::end(job, "done", None)?;
            return Ok(SliceProgress::Ended);
        }
    }
    match tx::subtransaction(|| mappings.iter().try_for_each(dress::annotate)) {
        Err(e) if e.is_retryable() => {
            job::heartbeat(job.id, Some(&e.detail().unwrap_or_else(|| e.to_string())))?;
            return Ok(SliceProgress::Wait { pause_ms: WAIT_MS });
        }
        other => other?,
    }
    for p in mappings {
        spi::run(&format!("ANALYZE {}", mapping::target(p)?), &[])?;
    }
    migration::set_phase(m, Phase::Backfilled)?;
    job::end(job, "done", None)?;
    log::write(&m.name, "backfilled", "backfill done")?;
    Ok(SliceProgress::Ended)
}
