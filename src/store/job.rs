//! `mig.job`: jobs of migrations.

use crate::error::{Error, Result};
use crate::model::driver::Driver;
use crate::model::phase::Phase;
use crate::model::records::{Job, JobState, Task};
use crate::model::throttle::ThrottleState;
use crate::pg::document::JsonText;
use crate::pg::{cron, role, state};
use pgrx::pg_sys::Oid;

const COLUMNS: &str = "id, migration, driver, role::oid::bigint AS role, state, pid, error, task, goal, details, failed_then";

/// Adds a job; `goal` is the phase that a rollback goes to. The driver is chosen next.
pub fn insert(migration: i32, task: Task, goal: Option<Phase>) -> Result<i64> {
    state::value(
        "INSERT INTO mig.job (migration, driver, role, task, goal) VALUES ($1, 'manual', $2::regrole, $3, $4) RETURNING id",
        &[
            migration.into(),
            role::current().into(),
            task.as_str().into(),
            goal.map(Phase::as_str).into(),
        ],
    )?
    .ok_or_else(|| Error::internal("a job without an id".into()))
}

pub fn by_id(id: i64) -> Result<Option<Job>> {
    state::first(
        &format!("SELECT {COLUMNS} FROM mig.job WHERE id = $1"),
        &[id.into()],
    )
}

/// Returns the job that is running or paused.
pub fn open(migration: i32) -> Result<Option<Job>> {
    state::first(
        &format!(
            "SELECT {COLUMNS} FROM mig.job WHERE migration = $1 AND state IN ('running', 'paused')"
        ),
        &[migration.into()],
    )
}

pub fn latest(migration: i32) -> Result<Option<Job>> {
    state::first(
        &format!("SELECT {COLUMNS} FROM mig.job WHERE migration = $1 ORDER BY id DESC LIMIT 1"),
        &[migration.into()],
    )
}

/// Whether this transaction has written the job's row: no other session sees that version.
pub fn is_of_this_transaction(id: i64) -> Result<bool> {
    state::has_written("SELECT xmin::text::bigint FROM mig.job WHERE id = $1", id)
}

pub fn set_started(id: i64, pid: i32) -> Result<()> {
    state::run(
        "UPDATE mig.job SET pid = $2, heartbeat_at = clock_timestamp() WHERE id = $1",
        &[id.into(), pid.into()],
    )?;
    Ok(())
}

/// Continues the job with another runner, as the current role.
pub fn reopen(old: &Job) -> Result<()> {
    leave_cron(old);
    state::run(
        "UPDATE mig.job SET state = 'running', role = $2::regrole, pid = NULL, waiting_for = NULL, error = NULL WHERE id = $1",
        &[old.id.into(), role::current().into()],
    )?;
    Ok(())
}

/// Sets the driver from now on, and the reason why the driver before it in the order of choice was not taken.
pub fn driven_by(id: i64, driver: Driver, reason: Option<&str>) -> Result<()> {
    state::run(
        "UPDATE mig.job SET driver = $2, driver_reason = $3, driven_since = clock_timestamp() WHERE id = $1",
        &[id.into(), driver.as_str().into(), reason.into()],
    )?;
    Ok(())
}

fn leave_cron(job: &Job) {
    if job.driver == Driver::PgCron {
        cron::unschedule(job.id, Oid::from(job.role));
    }
}

/// Shows that the runner is alive, and what it waits for.
pub fn heartbeat(id: i64, waiting_for: Option<&str>, held: bool) -> Result<()> {
    state::run(
        "UPDATE mig.job SET heartbeat_at = clock_timestamp(), waiting_for = $2, held = $3 WHERE id = $1",
        &[id.into(), waiting_for.into(), held.into()],
    )?;
    Ok(())
}

pub fn set_state(id: i64, state: JobState) -> Result<()> {
    state::run(
        "UPDATE mig.job SET state = $2, waiting_for = NULL WHERE id = $1",
        &[id.into(), state.as_str().into()],
    )?;
    Ok(())
}

pub fn end(job: &Job, state: JobState, error: Option<&str>) -> Result<()> {
    leave_cron(job);
    state::run(
        "UPDATE mig.job SET state = $2, error = $3, waiting_for = NULL, ended_at = clock_timestamp() WHERE id = $1",
        &[job.id.into(), state.as_str().into(), error.into()],
    )?;
    Ok(())
}

/// Saves what a check has found so far.
pub fn set_details(id: i64, details: serde_json::Value) -> Result<()> {
    state::run(
        "UPDATE mig.job SET details = $2 WHERE id = $1",
        &[id.into(), pgrx::JsonB(details).into()],
    )?;
    Ok(())
}

/// Loads what the throttle has seen of the server.
pub fn load_seen(id: i64) -> Result<ThrottleState> {
    let found: Option<JsonText> = state::value(
        "SELECT details->'seen' FROM mig.job WHERE id = $1",
        &[id.into()],
    )?;
    Ok(found.and_then(|d| d.decode().ok()).unwrap_or_default())
}

pub fn set_seen(id: i64, seen: &ThrottleState) -> Result<()> {
    let document = serde_json::to_value(seen).map_err(|e| Error::internal(e.to_string()))?;
    state::run(
        "UPDATE mig.job SET details = coalesce(details, '{}') || pg_catalog.jsonb_build_object('seen', $2) WHERE id = $1",
        &[id.into(), pgrx::JsonB(document).into()],
    )?;
    Ok(())
}

/// Records how many rows failed in the round that ends, before they are tried again.
pub fn set_failed(id: i64, rows: i64) -> Result<()> {
    state::run(
        "UPDATE mig.job SET failed_then = $2 WHERE id = $1",
        &[id.into(), rows.into()],
    )?;
    Ok(())
}

/// Whether the job's runner waits for something, as of its last batch; the pause of the option `delay_ms` does not count.
pub fn is_held(id: i64) -> Result<bool> {
    let sql = "SELECT held FROM mig.job WHERE id = $1";
    Ok(state::value::<bool>(sql, &[id.into()])? == Some(true))
}

/// Returns the number of helpers.
pub fn helpers(migration: i32) -> Result<i64> {
    let sql = "SELECT count(*) FROM mig.workers WHERE migration_id = $1 AND helps";
    Ok(state::value(sql, &[migration.into()])?.unwrap_or(0))
}

/// Returns another process that works on the migration's job: the runner, or a helper.
pub fn at_work(migration: i32) -> Result<Option<i32>> {
    state::value(
        "SELECT pid FROM mig.workers WHERE migration_id = $1 AND pid <> pg_catalog.pg_backend_pid() ORDER BY helps LIMIT 1",
        &[migration.into()],
    )
}

/// Whether a worker was called a minute ago and has not come: it could not connect, and nobody else learns of that.
pub fn has_no_worker(id: i64) -> Result<bool> {
    let sql = "SELECT pid IS NULL AND driven_since < clock_timestamp() - interval '1 min' FROM mig.job WHERE id = $1";
    Ok(state::value::<bool>(sql, &[id.into()])? == Some(true))
}

/// Returns the other process that runs this migration's job now: the holder of its lock, see `job_lock`.
pub fn runner(migration: i32) -> Result<Option<i32>> {
    state::value(
        "SELECT pid FROM mig.runners WHERE migration_id = $1 AND pid <> pg_catalog.pg_backend_pid()",
        &[migration.into()],
    )
}
