//! Rollback from `stopped` to `switched`, or further: first the mirrors of the targets, then every row that was created,
//! changed or deleted there since, by the engine of the backfill, then a full check, and only then the phase.

use super::descend::descend;
use crate::engine::job::{driver, open};
use crate::engine::types::SliceContext;
use crate::error::{Error, Result};
use crate::ident::Literal;
use crate::model::order;
use crate::model::phase::Phase;
use crate::model::records::{Job, JobState, Mapping, Migration, Pass};
use crate::pg::notice::notice;
use crate::pg::tx;
use crate::relation::{scope_pin, triggers};
use crate::sqlgen::direction::Direction;
use crate::steps::verify::{self, CheckMode};
use crate::steps::{SliceOutcome, copy, install_triggers, retry};
use crate::store::{drift, job, log, mapping, migration, pending_rows};

/// Installs the reverse mirrors, unless they exist, and starts the job; returns its id. The retired guards stay until it is
/// done: a source that is not up to date must not be written.
pub(super) fn start(m: &Migration, mappings: &[Mapping], goal: Phase) -> Result<i64> {
    drift::require_none(m)?;
    if let Some(open) = job::open(m.id)?.filter(|j| j.state == JobState::Paused) {
        open::go_on(m, &open, None)?;
        return Ok(open.id);
    }
    if !is_under_way(mappings)? {
        install_triggers::give_objects_to_owners(m, mappings)?;
        install_triggers::install_reverse(m, mappings, false)?;
        for p in mappings {
            mapping::begin_pass(p.id, Pass::DeleteStale)?;
        }
    }
    let id = open::open_job(m, Some(goal))?;
    driver::start(m, id, None)?;
    notice(&format!(
        "rows of the new tables come back in job {id}; the phase is \"{goal}\" when it is done: SELECT mig_wait({});",
        Literal(&m.name)
    ));
    Ok(id)
}

/// Whether the reverse mirrors exist beside the retired guards: a rollback has begun.
pub(super) fn is_under_way(mappings: &[Mapping]) -> Result<bool> {
    for p in mappings {
        let installed = triggers::list_installed(p)?;
        if installed.iter().any(|t| t.goes(Direction::Reverse)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Does the next piece of work; None when the goal is reached.
pub(super) fn work(
    m: &Migration,
    mappings: &[Mapping],
    job: &Job,
    goal: Phase,
    able: SliceContext,
) -> Result<Option<SliceOutcome>> {
    drift::require_none(m)?;
    if let Some(p) = next_table(mappings) {
        return copy::batch(m, p).map(Some);
    }
    if mappings.iter().any(|p| p.pass == Pass::DeleteStale) {
        for p in mappings {
            mapping::begin_pass(p.id, Pass::CopyBack)?;
        }
        return Ok(Some(SliceOutcome::Did(0)));
    }
    if let Some(l) = pending_rows::next_leftover(m.id)? {
        return retry::copy(m, &l, able.may_wait).map(Some);
    }
    let failed = pending_rows::open(m.id, None)?.errors;
    if failed > 0 {
        let again = format!("SELECT mig_rollback({}, '{goal}');", Literal(&m.name));
        return another_round(m, job, failed, &again).map(Some);
    }
    arrive(m, mappings, goal)?;
    Ok(None)
}

/// Returns the next table: children lose their rows before parents do, and parents get theirs before children.
pub(super) fn next_table(mappings: &[Mapping]) -> Option<&Mapping> {
    let order = order::parents_first(mappings);
    let open = |n: &&usize| !mappings[**n].copied;
    let sweeping = order
        .iter()
        .rev()
        .filter(open)
        .find(|n| mappings[**n].pass == Pass::DeleteStale);
    sweeping
        .or_else(|| order.iter().find(open))
        .map(|n| &mappings[*n])
}

/// Tries failed rows again, as long as fewer fail each time. A row may wait for another one: a value that is unique in the
/// source is free once its last holder has changed.
pub(super) fn another_round(
    m: &Migration,
    job: &Job,
    failed: i64,
    again: &str,
) -> Result<SliceOutcome> {
    if job.failed_then.is_some_and(|then| failed >= then) {
        return Err(open::rows_left(m, failed, again));
    }
    job::set_failed(job.id, failed)?;
    pending_rows::retry_errors(m.id)?;
    Ok(SliceOutcome::Did(0))
}

/// Errors: 40001 if writes of the application have listed rows meanwhile; those come first.
fn require_none_noted(m: &Migration) -> Result<()> {
    if pending_rows::open(m.id, None)?.leftovers == 0 {
        return Ok(());
    }
    Err(Error::sql(
        pgrx::PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
        "rows came in between".into(),
        None,
    ))
}

/// Completes the rollback: a clean check, then the sources take writes again and are mirrored, in one transaction.
fn arrive(m: &Migration, mappings: &[Mapping], goal: Phase) -> Result<()> {
    // The locks of the check are released with the subtransaction.
    let found = tx::probe(|| verify::in_full(m, mappings))?;
    verify::save_result(m, CheckMode::Full, &found)?;
    if !found.rows_are_equal() {
        require_none_noted(m)?;
        return Err(Error::job_failed(
            m.name.clone(),
            "Both sides differ after all rows were brought back.".into(),
            format!(
                "SELECT * FROM mig_check({}) WHERE ok IS NOT TRUE;",
                Literal(&m.name)
            ),
        ));
    }
    install_triggers::reopen(m, mappings)?;
    scope_pin::hold(mappings)?;
    // Under the locks no transaction lists another row.
    require_none_noted(m)?;
    migration::set_phase(m, Phase::Switched)?;
    log::write(&m.name, "switched", "mig_rollback from stopped")?;
    if goal < Phase::Switched {
        let now = m.in_phase(Phase::Switched);
        descend(&now, &mapping::list(m.id)?, goal)?;
    }
    Ok(())
}
