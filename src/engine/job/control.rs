//! Starts, stops and awaits a backfill.

use crate::engine::job::open::{end_open, go_on, open_job, show};
use crate::engine::job::{driver, slice};
use crate::engine::kind;
use crate::engine::types::{SliceContext, SliceProgress};
use crate::error::{About, Error, Result};
use crate::ident::Literal;
use crate::model::driver::Driver;
use crate::model::phase::Phase;
use crate::model::records::{Job, JobState, Migration, MigrationState, Task};
use crate::pg::notice::notice;
use crate::pg::{guc, old_snapshots, signal, tx, wait};
use crate::store::{drift, job, log, migration};
use std::time::{Duration, Instant};

/// A call that starts a job waits no longer for a table.
const LOCK_TIMEOUT_OF_RENEWAL_MS: i32 = 200;

/// Starts or resumes the backfill; returns the job's id.
pub fn backfill(name: Option<&str>, driver: &str) -> Result<i64> {
    let m = migration::find_mine(name)?;
    let asked = driver::parse_driver(driver)?;
    if m.phase == Phase::Backfilled {
        notice(&format!("migration \"{}\" is backfilled already", m.name));
        return Ok(job::latest(m.id)?.map_or(0, |j| j.id));
    }
    require_dual_write(&m)?;
    drift::require_none(&m)?;
    if let Some(open) = job::open(m.id)?
        && goes_on(&m, &open, asked)?
    {
        return Ok(open.id);
    }
    renew(&m)?;
    let id = open_job(&m, None)?;
    driver::start(&m, id, asked)?;
    Ok(id)
}

/// Reads anew what the end of the backfill makes. A table that somebody has locked is left as it was known.
fn renew(m: &Migration) -> Result<()> {
    let work = kind::load(m.clone())?;
    let tried = tx::subtransaction(|| {
        let _short = guc::lock_timeout(LOCK_TIMEOUT_OF_RENEWAL_MS);
        work.renew()
    });
    if let Err(e) = tried {
        notice(&format!(
            "indexes and foreign keys are made as mig_create has planned them: {e}"
        ));
    }
    Ok(())
}

/// Continues an open job, with the requested driver. False if no process runs it any more.
fn goes_on(m: &Migration, open: &Job, asked: Option<Driver>) -> Result<bool> {
    let backfill = open.task == Task::Backfill;
    if open.state == JobState::Paused && backfill {
        go_on(m, open, asked)?;
        return Ok(true);
    }
    let runner = job::runner(m.id)?;
    let at_work = runner.is_some() || open.driver == Driver::PgCron;
    if !at_work && (!backfill || open.driver == Driver::Worker) {
        return Ok(false);
    }
    if !backfill || at_work && asked.is_none_or(|d| d == open.driver) {
        let by = runner.map_or_else(
            || format!("driver {}", open.driver.as_str()),
            |pid| format!("process {pid}"),
        );
        notice(&format!(
            "job {} of migration \"{}\" is running already ({by})",
            open.id, m.name
        ));
        return Ok(true);
    }
    // The old runner sees the change before its next batch.
    job::reopen(open)?;
    driver::start(m, open.id, asked)?;
    log::write(
        &m.name,
        m.phase.as_str(),
        &format!("job {} taken over from {}", open.id, open.driver.as_str()),
    )?;
    Ok(true)
}

fn require_dual_write(m: &Migration) -> Result<()> {
    if m.phase == Phase::DualWrite {
        return Ok(());
    }
    Err(m.wrong_phase("phase \"dual_write\""))
}

/// Works up to `max_ms` in the caller's transaction. Returns the rows done, 0 when the backfill is finished. A call that
/// only waited or built something counts as 1.
pub fn step(name: Option<&str>, max_ms: i32) -> Result<i64> {
    tx::require_read_committed()?;
    let m = crate::engine::gate::lock_idle_migration(name, "mig_step")?;
    step_now(&m, max_ms)
}

/// As `step`, for the caller that began the job: 0 once it has ended, or another process runs it.
pub fn step_of(id: i64, max_ms: i32) -> Result<i64> {
    tx::require_read_committed()?;
    let Some(of) = job::by_id(id)? else {
        return Ok(0);
    };
    let Some(m) = migration::by_id(of.migration)? else {
        return Ok(0);
    };
    // Jobs of other owners are not disclosed.
    if migration::require_owner(&m).is_err() {
        return Ok(0);
    }
    let m = match crate::engine::gate::lock_idle_migration(Some(&m.name), "mig_step") {
        Ok(m) => m,
        Err(e) if e.about() == About::RunningJob => return Ok(0),
        Err(e) => return Err(e),
    };
    // From here on no other session changes it.
    match job::by_id(id)? {
        Some(now) if now.state == JobState::Running && now.driver != Driver::Worker => {
            step_now(&m, max_ms)
        }
        _ => Ok(0),
    }
}

/// Returns the id of the migration's open job.
pub fn open(name: Option<&str>) -> Result<Option<i64>> {
    let m = migration::find_visible(name)?;
    Ok(job::open(m.id)?.map(|j| j.id))
}

/// Whether the job is open, and pg_cron is its driver.
pub fn cron_drives(id: i64) -> Result<bool> {
    let Some(found) = job::by_id(id)? else {
        return Ok(false);
    };
    let of = migration::by_id(found.migration)?;
    Ok(of.is_some_and(|m| migration::require_owner(&m).is_ok())
        && found.driver == Driver::PgCron
        && found.state.is_open())
}

fn step_now(m: &Migration, max_ms: i32) -> Result<i64> {
    let other_task = job::open(m.id)?.is_some_and(|j| j.task != Task::Backfill);
    if m.phase >= Phase::Backfilled && !other_task {
        return Ok(0);
    }
    if !other_task {
        require_dual_write(m)?;
    }
    let current = open_for_step(m)?;
    if current.state == JobState::Paused {
        notice(&format!(
            "migration \"{}\" is paused; SELECT mig_resume({});",
            m.name,
            Literal(&m.name)
        ));
        return Ok(0);
    }
    let deadline =
        Instant::now() + Duration::from_millis(u64::try_from(max_ms.max(1)).unwrap_or(1000));
    let mut done = 0;
    loop {
        // Rows that this transaction has copied are locked: from then on it must not wait for a row.
        let able = SliceContext {
            top_level: false,
            may_wait: done == 0,
        };
        match slice::run_slice(&current, able)? {
            SliceProgress::Continue { rows, .. } => done += rows,
            SliceProgress::Wait { .. } | SliceProgress::TopLevel(_) => return Ok(done.max(1)),
            SliceProgress::Ended => return report_end(m, done),
        }
        if Instant::now() >= deadline {
            return Ok(done.max(1));
        }
    }
}

fn report_end(m: &Migration, done: i64) -> Result<i64> {
    let latest = job::latest(m.id)?;
    match latest {
        Some(j) if j.state == JobState::Failed => {
            notice(&format!("the job failed: {}", j.error.unwrap_or_default()));
            Ok(0)
        }
        // Finished: this call returns its rows, the next call returns 0.
        _ => Ok(done),
    }
}

fn open_for_step(m: &Migration) -> Result<Job> {
    let id = match job::open(m.id)? {
        Some(open) if open.state == JobState::Running && open.driver == Driver::Worker => {
            // Its process is gone, otherwise this transaction would not hold the runner's lock.
            job::reopen(&open)?;
            job::driven_by(open.id, Driver::Manual, None)?;
            open.id
        }
        Some(open) => open.id,
        None => open_job(m, None)?,
    };
    job::by_id(id)?.ok_or_else(|| Error::internal("the job is gone".into()))
}

/// Pauses the job at its next batch; `mig_resume` continues it. False if no job was running.
pub fn pause(name: Option<&str>) -> Result<bool> {
    let m = migration::find_mine(name)?;
    let Some(open) = job::open(m.id)?.filter(|j| j.state == JobState::Running) else {
        notice(&format!("migration \"{}\" has no running job", m.name));
        return Ok(false);
    };
    job::set_state(open.id, JobState::Paused)?;
    show(&m, &open, MigrationState::Paused)?;
    log::write(&m.name, m.phase.as_str(), "mig_pause")?;
    Ok(true)
}

pub fn resume(name: Option<&str>) -> Result<bool> {
    let m = migration::find_mine(name)?;
    let Some(open) = job::open(m.id)?.filter(|j| j.state == JobState::Paused) else {
        notice(&format!("migration \"{}\" has no paused job", m.name));
        return Ok(false);
    };
    go_on(&m, &open, None)?;
    Ok(true)
}

/// Cancels the job; its work stays, and a new start continues from there.
pub fn cancel(name: Option<&str>) -> Result<bool> {
    let m = migration::find_mine(name)?;
    let Some(open) = job::open(m.id)? else {
        notice(&format!("migration \"{}\" has no job to cancel", m.name));
        return Ok(false);
    };
    end_open(&m, None)?;
    show(&m, &open, MigrationState::Ok)?;
    log::write(&m.name, m.phase.as_str(), "mig_cancel")?;
    Ok(true)
}

/// Returns true when the job is done, false at the timeout. Errors with the reason if it failed.
pub fn wait_for(name: Option<&str>, timeout: Duration) -> Result<bool> {
    let m = migration::find_visible(name)?;
    // The error contains the reason why the job failed, keys of rows too.
    migration::require_owner(&m)?;
    let watched = job::latest(m.id)?.ok_or_else(|| Error::no_job(m.name.clone()))?;
    let is_open = watched.state.is_open();
    if is_open && job::is_of_this_transaction(watched.id)? {
        return Err(Error::waits_for_itself(
            format!("the job of migration \"{}\"", m.name),
            format!("mig_wait({})", Literal(&m.name)),
        ));
    }
    old_snapshots::promise_not_to_read();
    wait::until_decided(timeout, || {
        let now = job_now(watched.id)?;
        match now.as_ref().map(|j| j.state) {
            Some(JobState::Done) => Ok(Some(true)),
            Some(JobState::Failed) => Err(Error::job_failed(
                m.name.clone(),
                now.and_then(|j| j.error)
                    .unwrap_or_else(|| "No reason was noted.".into()),
                format!(
                    "SELECT problem, next_step FROM mig_status({});",
                    Literal(&m.name)
                ),
            )),
            Some(JobState::Running | JobState::Paused) => check_alive(&m, now).map(|()| None),
            _ => Ok(Some(false)),
        }
    })
}

/// Errors if the runner no longer holds its lock while its job is open: it has been killed. Errors, too, if none has come.
fn check_alive(m: &Migration, seen: Option<Job>) -> Result<()> {
    let Some(seen) = seen.filter(|j| j.state == JobState::Running && j.driver == Driver::Worker)
    else {
        return Ok(());
    };
    if job::runner(m.id)?.is_some() {
        return Ok(());
    }
    if seen.pid.is_none() {
        return require_worker(m, seen.id);
    }
    // The job may have ended between the two queries.
    match job_now(seen.id)? {
        Some(now)
            if now.state == JobState::Running
                && now.pid == seen.pid
                && !seen.pid.is_some_and(signal::is_worker) =>
        {
            Err(Error::job_failed(
                m.name.clone(),
                format!("Its process {} is gone.", seen.pid.unwrap_or(0)),
                format!(
                    "Go on at the checkpoint: SELECT mig_backfill({});",
                    Literal(&m.name)
                ),
            ))
        }
        _ => Ok(()),
    }
}

/// What is said of a job whose worker has not come.
pub const NO_WORKER: &str =
    "No worker has come for a minute: the role may have no connection left, or may not connect.";

fn require_worker(m: &Migration, id: i64) -> Result<()> {
    if !job::has_no_worker(id)? {
        return Ok(());
    }
    Err(Error::job_failed(
        m.name.clone(),
        NO_WORKER.into(),
        format!(
            "The server's log says why. Drive the job yourself: SELECT mig_backfill({}, 'manual');",
            Literal(&m.name)
        ),
    ))
}

/// Reads the job. In REPEATABLE READ it would never seem to change; see `snapshot`.
fn job_now(id: i64) -> Result<Option<Job>> {
    tx::require_read_committed()?;
    job::by_id(id)
}
