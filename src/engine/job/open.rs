//! The one open job of a migration: created, resumed, ended.

use crate::engine::job::driver;
use crate::error::{Error, Result};
use crate::model::driver::Driver;
use crate::model::phase::Phase;
use crate::model::records::{Job, JobState, Mapping, Migration, MigrationState, Task};
use crate::pg::job_lock::JobLock;
use crate::pg::signal;
use crate::store::{job, log, mapping, migration, pending_rows};

/// Creates a job, after ending one whose runner died. The checkpoint is kept in the mappings, so nothing is lost.
pub fn open_job(m: &Migration, goal: Option<Phase>) -> Result<i64> {
    let mappings = mapping::list(m.id)?;
    if let Some(dead) = job::open(m.id)? {
        match dead.driver {
            Driver::Worker => job::end(&dead, JobState::Failed, Some("its process was gone"))?,
            _ => job::end(&dead, JobState::Cancelled, Some("another driver took over"))?,
        }
    }
    pending_rows::retry_errors(m.id)?;
    let task = match goal {
        None => Task::Backfill,
        Some(_) => Task::WayBack,
    };
    let id = job::insert(m.id, task, goal)?;
    migration::set_state(m.id, MigrationState::Running, None)?;
    log::write(&m.name, m.phase.as_str(), &describe(id, &mappings, goal))?;
    Ok(id)
}

fn describe(id: i64, mappings: &[Mapping], goal: Option<Phase>) -> String {
    let what = goal.map_or_else(|| "backfill".to_owned(), |g| format!("way back to {g}:"));
    let begun: Vec<String> = mappings
        .iter()
        .filter(|p| p.next_block > 0 || p.copied)
        .map(|p| {
            format!(
                "{} at block {} of {}",
                p.source_text(),
                p.next_block,
                p.bound_blocks.unwrap_or(0)
            )
        })
        .collect();
    if begun.is_empty() {
        format!("{what} job {id} started")
    } else {
        format!("{what} job {id} resumed: {}", begun.join(", "))
    }
}

/// Resumes a paused job with the driver it had, unless another is requested.
pub fn go_on(m: &Migration, paused: &Job, asked: Option<Driver>) -> Result<()> {
    job::reopen(paused)?;
    show(m, paused, MigrationState::Running)?;
    log::write(
        &m.name,
        m.phase.as_str(),
        &format!("job {} resumed after a pause", paused.id),
    )?;
    // A runner that has not noticed the pause yet simply continues.
    let another = asked.is_some_and(|d| d != paused.driver);
    if another || paused.driver == Driver::PgCron || job::runner(m.id)?.is_none() {
        driver::start(m, paused.id, asked.or(Some(paused.driver)))?;
    }
    Ok(())
}

/// Ends the open job, if there is one; `why` is saved with it. False if there was none.
pub fn end_open(m: &Migration, why: Option<&str>) -> Result<bool> {
    let Some(open) = job::open(m.id)? else {
        return Ok(false);
    };
    job::end(&open, JobState::Cancelled, why)?;
    // A worker inside a long statement (an index build) would notice it only afterwards.
    signal::cancel_at_commit(JobLock::of_runner(m.id));
    Ok(true)
}

/// Errors: 55006 if a job has begun and not ended.
pub fn require_no_open(m: &Migration, call: &'static str) -> Result<()> {
    if job::open(m.id)?.is_none() {
        return Ok(());
    }
    Err(Error::job_running(m.name.clone(), job::runner(m.id)?, call))
}

/// Sets the migration's state to that of its job; a check does not change it.
pub fn show(m: &Migration, of: &Job, state: MigrationState) -> Result<()> {
    if of.task == Task::Check {
        return Ok(());
    }
    migration::set_state(m.id, state, None)
}

pub fn rows_left(m: &Migration, failed: i64, again: &str) -> Error {
    Error::job_failed(
        m.name.clone(),
        format!("{failed} rows cannot be copied; mig.errors names them."),
        format!("Correct these rows and go on: {again}"),
    )
}
