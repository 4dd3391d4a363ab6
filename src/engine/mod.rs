//! Which step comes next. Phases change here and nowhere else, each in the transaction of its effect.

pub mod archive;
pub mod bring_back;
pub mod changes;
pub mod check;
pub mod checklist;
pub mod columns;
pub mod cutover;
pub mod detach;
pub mod drive;
pub mod drivers;
pub mod help;
pub mod inspect;
pub mod jobs;
pub mod lint;
pub mod phases;
pub mod repair;
pub mod rollback;
pub mod throttle;

use crate::error::{Error, Result};
use crate::model::state::{Mapping, Migration};
use crate::pg::{job_lock, wait};
use crate::store::{job, mapping, migration, sessions};
use pgrx::pg_sys::Oid;
use std::time::{Duration, Instant};

/// One line of the functions that return `TABLE(source, target, action)`.
pub struct Action {
    pub source: Option<Oid>,
    pub target: Option<Oid>,
    pub action: String,
}

fn actions(mappings: &[Mapping], action: &str) -> Vec<Action> {
    mappings
        .iter()
        .map(|p| Action {
            source: Some(Oid::from(p.source)),
            target: p.target.map(Oid::from),
            action: action.to_owned(),
        })
        .collect()
}

/// The migration and its tables, owned by the caller, with no job at work beside `call`.
fn idle(name: Option<&str>, call: &'static str) -> Result<(Migration, Vec<Mapping>)> {
    let m = migration::find_mine(name)?;
    // Held to the end of the transaction: a job that starts meanwhile finds it taken.
    if !job_lock::try_for_transaction(m.id)? && !has_left(m.id)? {
        return Err(Error::JobRunning {
            pid: job::at_work(m.id)?,
            migration: m.name,
            call,
        });
    }
    sessions::close_to_old()?;
    let mappings = mapping::list(m.id)?;
    Ok((m, mappings))
}

/// A worker holds its lock until its process has gone, a moment after its job has ended: whoever waited for the job must not be
/// refused for that. True with the lock.
fn has_left(migration: i32) -> Result<bool> {
    const MOMENT: Duration = Duration::from_secs(5);
    let deadline = Instant::now() + MOMENT;
    while Instant::now() < deadline && job::open(migration)?.is_none() {
        if job_lock::try_for_transaction(migration)? {
            return Ok(true);
        }
        wait::sleep(2);
    }
    Ok(false)
}

/// For the history: a call, and what `force` went past.
fn describe_forced_call(call: &str, passed_over: &[String]) -> String {
    match passed_over {
        [] => call.to_owned(),
        what => format!("{call} by force, in spite of: {}", what.join("; ")),
    }
}
