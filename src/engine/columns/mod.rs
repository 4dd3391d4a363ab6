//! Migrations that change columns of existing tables instead of moving tables: the phases are the same.

mod backfill;
mod checklist;
mod plan;
mod proof;
mod rollback;

use crate::engine::types::{Action, ChecklistItem, PlannedStep, Repair, SliceContext};
use crate::engine::work::{CutoverBlocker, Work};
use crate::error::{Error, Result};
use crate::ident::Literal;
use crate::model::column_change::{ColumnChange, SyncStage};
use crate::model::phase::Phase;
use crate::model::records::{Job, Migration, MigrationState};
use crate::pg::application_path::PathGuard;
use crate::pg::notice::notice;
use crate::pg::tx;
use crate::preflight::{self, PreflightFinding, kinds};
use crate::relation::triggers;
use crate::settings;
use crate::steps::SliceOutcome;
use crate::steps::columns::{create, finish};
use crate::steps::verify::rows::Difference;
use crate::steps::verify::{CheckLine, CheckMode};
use crate::store::{drift, log, migration, new_column};
use pgrx::pg_sys::Oid;

/// A migration that changes columns.
pub struct ColumnWork {
    pub migration: Migration,
    pub changes: Vec<ColumnChange>,
    pub _path: PathGuard,
}

/// Installs triggers that were changed again. Rows that were written past them are left for mig_repair to find.
fn reinstall(
    m: &Migration,
    all: &[ColumnChange],
    stage: SyncStage,
    call: &str,
) -> Result<Vec<Action>> {
    if let Some(gone) = drift::list(m)?
        .iter()
        .find(|c| c.kind != drift::DriftKind::Mirror)
    {
        return Err(Error::drift(
            m.name.clone(),
            format!("Found: {}.", gone.what),
            format!(
                "SELECT * FROM mig_rollback({}, 'defined');",
                Literal(&m.name)
            ),
        ));
    }
    create::give_views_to_owners(m, all)?;
    create::install_triggers(m, all, stage, true)?;
    migration::set_state(m.id, MigrationState::Ok, None)?;
    log::write(
        &m.name,
        m.phase.as_str(),
        &format!("{call} installed the triggers again"),
    )?;
    notice(&format!(
        "writes may have passed the triggers; SELECT * FROM mig_repair({}); tells how many rows differ",
        Literal(&m.name)
    ));
    Ok(Action::for_changes(all, "kept in step again"))
}

/// Returns what uses the old columns.
fn dependents(all: &[ColumnChange]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for r in all {
        if let Some(old) = &r.replaces {
            let named = |what| format!("{what} uses \"{}\"", old.name.as_str());
            let mine = new_column::dependents(r.relation, &old.name)?;
            found.extend(mine.into_iter().map(named));
        }
    }
    Ok(found)
}

impl Work for ColumnWork {
    fn migration(&self) -> &Migration {
        &self.migration
    }

    fn actions(&self, done: &str) -> Vec<Action> {
        Action::for_changes(&self.changes, done)
    }

    fn outcome(&self, phase: Phase) -> &'static str {
        match phase {
            Phase::Defined => "forgotten",
            Phase::Created => "exists",
            Phase::DualWrite | Phase::Backfilled => "kept in step",
            Phase::Switched => "both ways",
            Phase::Stopped => "old column refuses writes",
            Phase::Archived => "archived",
        }
    }

    fn describe(&self, line: &CheckLine) -> String {
        let found = self.changes.iter().find(|r| r.relation == line.source);
        found.map_or_else(String::new, ColumnChange::describe)
    }

    fn owners(&self) -> Vec<Oid> {
        proof::owners(&self.changes)
    }

    fn require_some(&self) -> Result<()> {
        Ok(())
    }

    fn require_kinds(&self) -> Result<()> {
        let tables = self.changes.iter().map(|r| r.relation);
        kinds::require_none(&kinds::list_for_columns(tables)?)
    }

    fn findings(&self) -> Result<Vec<PreflightFinding>> {
        let reads_rows = self.migration.phase <= Phase::Created;
        let owners = self.changes.iter().map(|c| c.leader().owner);
        let unfit = kinds::list_for_columns(self.changes.iter().map(|r| r.relation))?;
        if !unfit.is_empty() {
            return Ok(kinds::findings(&unfit));
        }
        let mut found = preflight::code_path::findings(&self.migration, owners)?;
        found.extend(preflight::columns::findings(
            &self.migration,
            &self.changes,
            reads_rows,
        )?);
        Ok(found)
    }

    fn create(&self) -> Result<Vec<Action>> {
        create::columns(&self.migration, &self.changes)?;
        Ok(self.actions("created"))
    }

    fn start_dual_write(&self) -> Result<()> {
        create::give_views_to_owners(&self.migration, &self.changes)?;
        create::install_triggers(&self.migration, &self.changes, SyncStage::Old, false)?;
        let mut changes = self.changes.iter();
        changes.try_for_each(|r| new_column::reset(r.id))
    }

    fn is_disturbed(&self) -> Result<bool> {
        drift::is_there(&self.migration)
    }

    fn reinstall(&self, call: &str) -> Result<Vec<Action>> {
        let m = &self.migration;
        match m.phase {
            Phase::Switched => reinstall(m, &self.changes, SyncStage::Both, call),
            Phase::Stopped => {
                let replacing = self.changes.iter().filter(|r| r.replaces.is_some());
                let replacing: Vec<ColumnChange> = replacing.cloned().collect();
                reinstall(m, &replacing, SyncStage::New, call)
            }
            _ => reinstall(m, &self.changes, SyncStage::Old, call),
        }
    }

    fn cutover_blockers(&self) -> Result<Vec<CutoverBlocker>> {
        let mut found: Vec<String> = drift::list(&self.migration)?
            .into_iter()
            .map(|d| d.what)
            .collect();
        let wrong = match drift::describe_gone(&self.migration)? {
            None => tx::probe(|| proof::wrong(&self.changes, SyncStage::Old))?,
            Some(_) => 0,
        };
        if wrong > 0 {
            found.push(format!("{wrong} rows are out of step"));
        }
        let hint = format!(
            "SELECT * FROM mig_check({0}) WHERE ok IS NOT TRUE; mig_diff names rows, and SELECT * FROM mig_repair({0}, dry_run => false); repairs them.",
            Literal(&self.migration.name)
        );
        let blocker = |what| CutoverBlocker {
            what,
            hint: hint.clone(),
        };
        Ok(found.into_iter().map(blocker).collect())
    }

    fn switch(&self, force: bool) -> Result<()> {
        finish::switch(&self.migration, &self.changes, force)
    }

    fn stop(&self) -> Result<()> {
        finish::stop(&self.migration, &self.changes)
    }

    fn require_no_rollback(&self) -> Result<()> {
        Ok(())
    }

    fn dependents(&self) -> Result<Vec<String>> {
        dependents(&self.changes)
    }

    fn list_left_rows(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn refuse_dependents(&self, found: &[String], call: String) -> Error {
        Error::refusal(
            pgrx::PgSqlErrorCode::ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST,
            "others use an old column and would follow it into the archive".into(),
            format!("Found: {}.", found.join("; ")),
            format!(
                "Make them use the new column, or drop them; SELECT * FROM {call}; lets them follow and is recorded."
            ),
        )
    }

    fn archive(&self, suffix: &str, compat_views: bool) -> Result<Vec<Action>> {
        if compat_views {
            notice("compat_views is for tables: a column has no view in its place");
        }
        let (m, all) = (&self.migration, &self.changes);
        finish::put_away(m, all, suffix, settings::take_names(m))?;
        Ok(Action::for_changes(&new_column::list(m.id)?, "archived"))
    }

    fn roll_back(&self, to: Phase) -> Result<Vec<Action>> {
        rollback::roll_back(&self.migration, to)
    }

    fn disable(&self) -> Result<usize> {
        create::disable(&self.changes)
    }

    fn remove_left_triggers(&self) -> Result<()> {
        let timeout = settings::lock_timeout_ms(&self.migration);
        triggers::remove_left(&self.changes, timeout)
    }

    fn problem_when_detached(&self) -> &'static str {
        "detached by mig_detach: columns are not kept in step"
    }

    fn release_archive(&self, drops: bool) -> Result<()> {
        finish::let_go(&self.migration, &self.changes, drops)
    }

    fn farewell(&self, dropped: bool) -> Vec<Action> {
        self.actions(if dropped {
            "old column dropped"
        } else {
            "forgotten"
        })
    }

    fn plan(&self) -> Result<Vec<PlannedStep>> {
        plan::plan(&self.changes)
    }

    fn ddl(&self, keys: bool) -> Result<Option<Vec<String>>> {
        if keys {
            return Ok(None);
        }
        plan::ddl(&self.changes).map(Some)
    }

    fn check(&self, relation: Option<Oid>, mode: CheckMode) -> Result<Vec<CheckLine>> {
        proof::check(&self.migration, &self.changes, relation, mode)
    }

    fn parts_to_check(&self, _relation: Option<Oid>) -> Result<Vec<i32>> {
        Err(Error::not_supported(
            "a check of columns as a job".into(),
            "It reads each table once, in the call.".into(),
            "SELECT * FROM mig_check();".into(),
        ))
    }

    fn diff(&self, relation: Oid, limit: i64) -> Result<Vec<Difference>> {
        proof::diff(&self.migration, &self.changes, relation, limit)
    }

    fn repair(&self, relation: Option<Oid>, dry_run: bool) -> Result<Vec<Repair>> {
        proof::repair(&self.migration, &self.changes, relation, dry_run)
    }

    fn checklist(&self) -> Result<Vec<ChecklistItem>> {
        checklist::items(&self.migration, &self.changes, &self.findings()?)
    }

    fn work(&self, _job: &Job, able: SliceContext) -> Result<Option<SliceOutcome>> {
        backfill::work(&self.migration, &self.changes, able)
    }

    fn give_up_batch(&self, _job: &Job, error: Error) -> Result<()> {
        Err(error)
    }

    fn finish_backfill(&self) -> Result<()> {
        Ok(())
    }
}
