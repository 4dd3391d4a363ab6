//! Migrations that move tables.

mod backfill;
mod check;
mod checklist;
mod create;
mod cutover;
mod descend;
mod plan;
mod repair;
mod rollback;
mod sync_back;
mod take_over;

pub use check::choose_mappings;

use crate::engine::types::{Action, ChecklistItem, PlannedStep, Repair, SliceContext};
use crate::engine::work::{CutoverBlocker, Work};
use crate::error::{Error, Result};
use crate::model::phase::Phase;
use crate::model::records::{Job, Mapping, Migration, Task};
use crate::pg::application_path::PathGuard;
use crate::preflight::{PreflightFinding, kinds};
use crate::relation::{deferred_constraints, scope_pin, triggers};
use crate::settings;
use crate::steps::verify::rows::Difference;
use crate::steps::verify::{CheckLine, CheckMode};
use crate::steps::{SliceOutcome, archive, install_triggers};
use crate::store::{drift, job, mapping};
use pgrx::pg_sys::Oid;

/// A migration that moves tables, or that has none yet.
pub struct TableWork {
    pub migration: Migration,
    pub mappings: Vec<Mapping>,
    pub _path: PathGuard,
}

impl Work for TableWork {
    fn migration(&self) -> &Migration {
        &self.migration
    }

    fn actions(&self, done: &str) -> Vec<Action> {
        Action::for_mappings(&self.mappings, done)
    }

    fn outcome(&self, phase: Phase) -> &'static str {
        match phase {
            Phase::Defined => "forgotten",
            Phase::Created => "exists",
            Phase::DualWrite | Phase::Backfilled => "mirrored",
            Phase::Switched => "both ways",
            Phase::Stopped => "old table refuses writes",
            Phase::Archived => "archived",
        }
    }

    fn describe(&self, line: &CheckLine) -> String {
        let found = self.mappings.iter().find(|p| p.source == line.source);
        found.map_or_else(String::new, Mapping::source_text)
    }

    fn owners(&self) -> Vec<Oid> {
        deferred_constraints::owners(&self.mappings)
    }

    fn require_some(&self) -> Result<()> {
        if !self.mappings.is_empty() {
            return Ok(());
        }
        Err(Error::no_tables(self.migration.name.clone()))
    }

    fn require_kinds(&self) -> Result<()> {
        kinds::require_none(&kinds::list(&self.migration, &self.mappings)?)
    }

    fn findings(&self) -> Result<Vec<PreflightFinding>> {
        create::findings(&self.migration, &self.mappings)
    }

    fn create(&self) -> Result<Vec<Action>> {
        create::create(&self.migration, &self.mappings)
    }

    fn renew(&self) -> Result<()> {
        take_over::renew_keys(&self.migration, &self.mappings)
    }

    fn start_dual_write(&self) -> Result<()> {
        create::start_dual_write(&self.migration, &self.mappings)
    }

    fn is_disturbed(&self) -> Result<bool> {
        let goes_back =
            self.migration.phase == Phase::Stopped && sync_back::is_under_way(&self.mappings)?;
        Ok(goes_back || drift::is_there(&self.migration)?)
    }

    fn reinstall(&self, _call: &str) -> Result<Vec<Action>> {
        match self.migration.phase {
            Phase::Switched => cutover::reinstall_both_ways(&self.migration, &self.mappings),
            Phase::Stopped => cutover::stop_again(&self.migration, &self.mappings),
            _ => create::reinstall(&self.migration, &self.mappings),
        }
    }

    fn cutover_blockers(&self) -> Result<Vec<CutoverBlocker>> {
        cutover::require_ways_back(&self.migration, &self.mappings)?;
        cutover::blockers(&self.migration, &self.mappings)
    }

    fn switch(&self, force: bool) -> Result<()> {
        install_triggers::install_reverse(&self.migration, &self.mappings, force)
    }

    fn stop(&self) -> Result<()> {
        install_triggers::retire(&self.migration, &self.mappings, false)?;
        scope_pin::release(&self.mappings)
    }

    fn require_no_rollback(&self) -> Result<()> {
        if sync_back::is_under_way(&self.mappings)? || job::open(self.migration.id)?.is_some() {
            let needed = "phase \"stopped\" with no way back begun";
            return Err(self.migration.wrong_phase(needed));
        }
        Ok(())
    }

    fn dependents(&self) -> Result<Vec<String>> {
        archive::dependents(&self.mappings)
    }

    fn list_left_rows(&self) -> Result<Vec<String>> {
        archive::list_left_rows(&self.mappings)
    }

    fn refuse_dependents(&self, found: &[String], call: String) -> Error {
        Error::has_dependents(format!("Found: {}.", found.join("; ")), call)
    }

    fn archive(&self, suffix: &str, compat_views: bool) -> Result<Vec<Action>> {
        drift::require_none(&self.migration)?;
        archive::archive_tables(&self.migration, &self.mappings, suffix, compat_views)?;
        let done = if compat_views {
            "archived, view in its place"
        } else {
            "archived"
        };
        Ok(Action::for_mappings(
            &mapping::list(self.migration.id)?,
            done,
        ))
    }

    fn roll_back(&self, to: Phase) -> Result<Vec<Action>> {
        rollback::roll_back(&self.migration, &self.mappings, to)
    }

    fn disable(&self) -> Result<usize> {
        install_triggers::disable(&self.mappings)
    }

    fn remove_left_triggers(&self) -> Result<()> {
        let timeout = settings::lock_timeout_ms(&self.migration);
        triggers::remove_left(&self.mappings, timeout)
    }

    fn problem_when_detached(&self) -> &'static str {
        if self.migration.phase >= Phase::Switched {
            "detached by mig_detach: each side misses what was written to the other since"
        } else {
            "detached by mig_detach: the targets miss what was written since"
        }
    }

    fn release_archive(&self, drops: bool) -> Result<()> {
        archive::let_go(&self.migration, &self.mappings, drops)
    }

    fn farewell(&self, dropped: bool) -> Vec<Action> {
        let mut lines = self.actions("forgotten");
        for (line, p) in lines.iter_mut().zip(&self.mappings).filter(|_| dropped) {
            line.source = None;
            line.action = format!("{} dropped", p.source_text());
        }
        lines
    }

    fn plan(&self) -> Result<Vec<PlannedStep>> {
        plan::plan(&self.migration, &self.mappings)
    }

    fn ddl(&self, keys: bool) -> Result<Option<Vec<String>>> {
        plan::ddl(&self.migration, &self.mappings, keys).map(Some)
    }

    fn check(&self, relation: Option<Oid>, mode: CheckMode) -> Result<Vec<CheckLine>> {
        check::check(&self.migration, &self.mappings, relation, mode)
    }

    fn parts_to_check(&self, relation: Option<Oid>) -> Result<Vec<i32>> {
        check::parts(&self.migration, &self.mappings, relation)
    }

    fn diff(&self, relation: Oid, limit: i64) -> Result<Vec<Difference>> {
        check::diff(&self.migration, &self.mappings, relation, limit)
    }

    fn repair(&self, relation: Option<Oid>, dry_run: bool) -> Result<Vec<Repair>> {
        repair::repair(&self.migration, &self.mappings, relation, dry_run)
    }

    fn checklist(&self) -> Result<Vec<ChecklistItem>> {
        checklist::items(&self.migration, &self.mappings)
    }

    fn work(&self, job: &Job, able: SliceContext) -> Result<Option<SliceOutcome>> {
        let (m, mappings) = (&self.migration, &self.mappings);
        match (job.task, job.goal) {
            (Task::Check, _) => {
                let more = check::work(m, mappings, job)?;
                Ok(more.then_some(SliceOutcome::Did(0)))
            }
            (Task::Repair, _) => repair::work(m, mappings, job, able.may_wait),
            (Task::WayBack, Some(goal)) => sync_back::work(m, mappings, job, goal, able),
            (Task::Backfill | Task::WayBack, _) => backfill::work(m, mappings, able),
        }
    }

    fn give_up_batch(&self, job: &Job, error: Error) -> Result<()> {
        let table = match job.goal {
            None => self.mappings.iter().find(|p| !p.copied),
            Some(_) => sync_back::next_table(&self.mappings),
        };
        backfill::give_up_batch(&self.migration, table, error)
    }

    fn finish_backfill(&self) -> Result<()> {
        backfill::finish(&self.mappings)
    }
}
