//! `mig.change`: jobs that create constraints and indexes in a worker.

use crate::error::{Error, Result};
use crate::model::ddl_change::{DdlChange, DdlJob, DdlState};
use crate::pg::{role, state};
use pgrx::JsonB;
use pgrx::pg_sys::Oid;

const SELECT: &str = "SELECT j.id, j.relation::oid::bigint AS relation, \
    (SELECT pg_catalog.jsonb_build_object('schema', n.nspname, 'name', c.relname) FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = j.relation) AS table, \
    j.change, j.role::oid::bigint AS role, j.search_path, j.state, j.pid, j.error, j.looked FROM mig.change j";

pub fn by_id(id: i64) -> Result<Option<DdlJob>> {
    state::first(&format!("{SELECT} WHERE j.id = $1"), &[id.into()])
}

/// Returns the open job for the object of this name in the same table.
pub fn open(relation: u32, change: &DdlChange) -> Result<Option<DdlJob>> {
    state::first(
        &format!(
            "{SELECT} WHERE j.relation = $1 AND j.change->>'kind' = $2 AND coalesce(j.change->>'name', j.change->>'column') = $3 AND j.ended_at IS NULL"
        ),
        &[
            Oid::from(relation).into(),
            change.kind().into(),
            change.name().as_str().into(),
        ],
    )
}

pub fn insert(relation: u32, change: &DdlChange, search_path: &str) -> Result<i64> {
    state::value(
        "INSERT INTO mig.change (relation, role, change, search_path, step) VALUES ($1::regclass, $2::regrole, $3, $4, $5) RETURNING id",
        &[
            Oid::from(relation).into(),
            role::current().into(),
            json(change)?.into(),
            search_path.into(),
            first_step(change).into(),
        ],
    )?
    .ok_or_else(|| Error::internal("a job without an id".into()))
}

fn first_step(change: &DdlChange) -> &'static str {
    match change {
        DdlChange::Index { .. } => "building",
        _ => "looking at the rows",
    }
}

/// Hands the job to another worker, as the current role, which looks names up in `path`.
pub fn reopen(id: i64, path: &str) -> Result<()> {
    state::run(
        "UPDATE mig.change SET role = $2::regrole, search_path = $3, pid = NULL, waiting_for = NULL WHERE id = $1",
        &[id.into(), role::current().into(), path.into()],
    )?;
    Ok(())
}

pub fn set_started(id: i64, pid: i32) -> Result<()> {
    state::run(
        "UPDATE mig.change SET pid = $2, heartbeat_at = clock_timestamp() WHERE id = $1",
        &[id.into(), pid.into()],
    )?;
    Ok(())
}

/// Whether this transaction has written the job's row: no other session sees that version.
pub fn is_of_this_transaction(id: i64) -> Result<bool> {
    state::has_written(
        "SELECT xmin::text::bigint FROM mig.change WHERE id = $1",
        id,
    )
}

/// Records that the rows have been checked.
pub fn set_looked(id: i64) -> Result<()> {
    state::run(
        "UPDATE mig.change SET looked = true WHERE id = $1",
        &[id.into()],
    )?;
    Ok(())
}

/// Shows that the worker is alive, what it does and what it waits for.
/// Whether a worker was called a minute ago and has not come: it could not connect, and nobody else learns of that.
pub fn has_no_worker(id: i64) -> Result<bool> {
    let sql = "SELECT pid IS NULL AND greatest(started_at, heartbeat_at) < clock_timestamp() - interval '1 min' FROM mig.change WHERE id = $1";
    Ok(state::value::<bool>(sql, &[id.into()])? == Some(true))
}

pub fn heartbeat(id: i64, step: Option<&str>, waiting_for: Option<&str>) -> Result<()> {
    state::run(
        "UPDATE mig.change SET heartbeat_at = clock_timestamp(), step = coalesce($2, step), waiting_for = $3 WHERE id = $1",
        &[id.into(), step.into(), waiting_for.into()],
    )?;
    Ok(())
}

/// Starts to undo what has been begun; `state` is `failing` or `cancelling`.
pub fn give_up(id: i64, state: DdlState, why: Option<&str>) -> Result<()> {
    state::run(
        "UPDATE mig.change SET state = $2, error = coalesce(error, $3), waiting_for = NULL WHERE id = $1",
        &[id.into(), state.as_str().into(), why.into()],
    )?;
    Ok(())
}

pub fn end(id: i64, state: DdlState) -> Result<()> {
    state::run(
        "UPDATE mig.change SET state = $2, ended_at = clock_timestamp(), step = NULL, waiting_for = NULL WHERE id = $1",
        &[id.into(), state.as_str().into()],
    )?;
    Ok(())
}

fn json(change: &DdlChange) -> Result<JsonB> {
    let value = serde_json::to_value(change);
    value
        .map(JsonB)
        .map_err(|e| Error::internal(format!("a change does not encode: {e}")))
}
