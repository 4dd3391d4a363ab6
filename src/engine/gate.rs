//! Preconditions of a call: the migration is idle, in the right phase, and has been in it long enough.

use crate::error::{Error, Result};
use crate::ident::Literal;
use crate::model::phase::Phase;
use crate::model::records::Migration;
use crate::pg::notice::notice;
use crate::pg::{job_lock, wait};
use crate::store::{self, log, migration, sessions};
use std::time::{Duration, Instant};

/// Returns a migration of the caller, with no job running until the transaction ends. Errors name `call`.
pub fn lock_idle_migration(name: Option<&str>, call: &'static str) -> Result<Migration> {
    let m = migration::find_mine(name)?;
    // Held to the end of the transaction: a job that starts meanwhile finds the lock taken.
    if !job_lock::try_for_transaction(m.id)? && !wait_for_worker_exit(m.id)? {
        return Err(Error::job_running(m.name, store::job::at_work(m.id)?, call));
    }
    sessions::close_to_old()?;
    Ok(m)
}

/// Waits for a worker whose job has ended: it holds its lock until its process has exited, and a caller that waited for the
/// job must not be refused for that. Returns true with the lock held.
fn wait_for_worker_exit(migration: i32) -> Result<bool> {
    const MOMENT: Duration = Duration::from_secs(5);
    let deadline = Instant::now() + MOMENT;
    while Instant::now() < deadline && store::job::open(migration)?.is_none() {
        if job_lock::try_for_transaction(migration)? {
            return Ok(true);
        }
        wait::sleep(2);
    }
    Ok(false)
}

/// Records that the migration has come into a phase, by this call.
pub fn enter(m: &Migration, phase: Phase, call: &str) -> Result<()> {
    migration::set_phase(m, phase)?;
    log::write(&m.name, phase.as_str(), call)
}

/// Returns a call for the log, with what `force` overrode.
pub fn describe_forced_call(call: &str, passed_over: &[String]) -> String {
    match passed_over {
        [] => call.to_owned(),
        what => format!("{call} with force, overriding: {}", what.join("; ")),
    }
}

/// Whether the call has work to do: false if the phase has passed already. Errors if it is too early.
pub fn require_phase(m: &Migration, from: Phase, call: &str, earlier: &str) -> Result<bool> {
    if m.phase == from {
        return Ok(true);
    }
    if m.phase > from {
        notice(&format!(
            "migration \"{}\" is in phase \"{}\" already; {call} has nothing to do",
            m.name, m.phase
        ));
        return Ok(false);
    }
    Err(Error::wrong_phase(
        m.name.clone(),
        m.phase.as_str(),
        format!("phase \"{from}\""),
        format!("Run it first: SELECT {earlier}({});", Literal(&m.name)),
    ))
}

pub fn require_suffix(suffix: &str) -> Result<()> {
    if !suffix.is_empty() && suffix.len() < 32 {
        return Ok(());
    }
    Err(Error::invalid(
        format!("suffix \"{suffix}\" is no suffix"),
        "It has to have between 1 and 31 bytes.".into(),
        "Leave suffix out for _archive.".into(),
    ))
}

pub fn require_min_age(
    m: &Migration,
    days: i32,
    option: &'static str,
    call: &str,
    force: bool,
    passed_over: &mut Vec<String>,
) -> Result<()> {
    let waited = migration::days_in_phase(m.id)?;
    if waited >= f64::from(days) {
        return Ok(());
    }
    if !force {
        return Err(Error::too_early(
            m.name.clone(),
            m.phase.as_str(),
            waited,
            days,
            option,
            call.to_owned(),
        ));
    }
    passed_over.push(format!("{option} is {days}, and it was {waited:.1} days"));
    Ok(())
}
