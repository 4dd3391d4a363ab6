//! Checks, now or in a job, and the rows that differ.

use crate::engine::job::{driver, open};
use crate::engine::kind;
use crate::engine::types::{CheckArguments, CheckState};
use crate::error::{Error, Result};
use crate::ident::Literal;
use crate::model::records::Task;
use crate::steps::verify::rows::Difference;
use crate::steps::verify::{CheckFindings, CheckLine, CheckMode};
use crate::store::{job, log};
use pgrx::pg_sys::Oid;

/// Runs a check over all tables, or over the one that `relation` is source or target of.
pub fn check(wanted: &CheckArguments) -> Result<Vec<CheckLine>> {
    let mode = CheckMode::read(wanted.mode, wanted.sample)?;
    kind::find(wanted.migration)?.check(wanted.relation, mode)
}

/// Runs a check. Errors with the first line that is not ok.
pub fn assert(name: Option<&str>, mode_name: &str) -> Result<()> {
    let mode = CheckMode::read(mode_name, 10)?;
    let work = kind::find(name)?;
    let lines = work.check(None, mode)?;
    let Some(bad) = lines.iter().find(|l| l.ok != Some(true)) else {
        return Ok(());
    };
    let text = |v: &Option<String>| v.clone().unwrap_or_default();
    let m = work.migration();
    Err(Error::check_failed(
        m.name.clone(),
        format!(
            "{}: {}: source {}, target {}.",
            work.describe(bad),
            bad.name,
            text(&bad.source_value),
            text(&bad.target_value)
        ),
        format!(
            "SELECT * FROM mig_check({}, {}) WHERE ok IS NOT TRUE;",
            Literal(&m.name),
            Literal(mode_name)
        ),
    ))
}

/// Returns the first rows of one table that differ.
pub fn diff(name: Option<&str>, relation: Oid, max_rows: i32) -> Result<Vec<Difference>> {
    if max_rows < 1 {
        return Err(Error::invalid(
            format!("max_rows is {max_rows}"),
            "It has to be 1 at least.".into(),
            "Leave max_rows out for 20.".into(),
        ));
    }
    kind::find(name)?.diff(relation, i64::from(max_rows))
}

/// Starts a check in the background; returns the job's id.
pub fn start(wanted: &CheckArguments, driver: &str) -> Result<i64> {
    let asked = driver::parse_driver(driver)?;
    let mode = CheckMode::read(wanted.mode, wanted.sample)?;
    let work = kind::find(wanted.migration)?;
    let tables = work.parts_to_check(wanted.relation)?;
    let work = kind::lock_idle(Some(&work.migration().name), "mig_check_start")?;
    let m = work.migration();
    open::require_no_open(m, "mig_check_start")?;
    let id = job::insert(m.id, Task::Check, None)?;
    let state = CheckState {
        mode: mode.as_str().to_owned(),
        sample: wanted.sample,
        tables,
        done: 0,
        found: CheckFindings::default(),
    };
    job::set_details(id, state.encode()?)?;
    let begun = format!("job {id} started: {} check", mode.as_str());
    log::write(&m.name, m.phase.as_str(), &begun)?;
    driver::start(m, id, asked)?;
    Ok(id)
}
