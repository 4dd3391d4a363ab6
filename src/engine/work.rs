//! What both kinds of migrations do: those that move tables, and those that change columns. The calls of the engine (`lifecycle`, `proof`,
//! `plan`, `job`) are the same for both, and a `Work` does the part that differs.

use crate::engine::types::{Action, ChecklistItem, PlannedStep, Repair, SliceContext};
use crate::error::{Error, Result};
use crate::model::phase::Phase;
use crate::model::records::{Job, Migration};
use crate::preflight::PreflightFinding;
use crate::steps::SliceOutcome;
use crate::steps::verify::rows::Difference;
use crate::steps::verify::{CheckLine, CheckMode};
use pgrx::pg_sys::Oid;

/// An obstacle to the switch, and what to do about it.
pub struct CutoverBlocker {
    pub what: String,
    pub hint: String,
}

/// A migration and what it works on. The methods work in the caller's transaction. The caller has checked the phase and the owner, and
/// records the new phase.
pub trait Work {
    fn migration(&self) -> &Migration;

    /// Returns one line for each table or column.
    fn actions(&self, done: &str) -> Vec<Action>;

    /// Returns what `actions` says of tables or columns that have reached this phase.
    fn outcome(&self, phase: Phase) -> &'static str;

    /// Names the table or columns that a check line is about.
    fn describe(&self, line: &CheckLine) -> String;

    /// Returns the owners of the tables: the work runs with their rights.
    fn owners(&self) -> Vec<Oid>;

    /// Errors: 55000 if no table or column was added.
    fn require_some(&self) -> Result<()>;

    /// Errors: 0A000 for a relation of a kind that cannot be a side, or be referred to.
    fn require_kinds(&self) -> Result<()>;

    /// Returns all findings. Rows are read only as long as they can still be corrected without a mirror.
    fn findings(&self) -> Result<Vec<PreflightFinding>>;

    /// defined → created. Returns what was done to each table or column.
    fn create(&self) -> Result<Vec<Action>>;

    /// Reads anew what the end of a backfill makes, before the job begins.
    fn renew(&self) -> Result<()> {
        Ok(())
    }

    /// created → dual_write.
    fn start_dual_write(&self) -> Result<()>;

    /// Whether something that the phase needs was changed or removed, or a rollback from `stopped` is under way.
    fn is_disturbed(&self) -> Result<bool>;

    /// Installs what the phase needs again, for `call`. Returns what was done to each table or column.
    fn reinstall(&self, call: &str) -> Result<Vec<Action>>;

    /// Returns the obstacles to the switch that `force` overrides. Errors: 55000 for those that it does not.
    fn cutover_blockers(&self) -> Result<Vec<CutoverBlocker>>;

    /// backfilled → switched.
    fn switch(&self, force: bool) -> Result<()>;

    /// switched → stopped.
    fn stop(&self) -> Result<()>;

    /// Errors: 55000 if a rollback from `stopped` is under way.
    fn require_no_rollback(&self) -> Result<()>;

    /// Returns the objects of others that would follow the old side into the archive.
    fn dependents(&self) -> Result<Vec<String>>;

    /// Returns what filters leave out, as rows that are only in the old tables; nothing where there are no filters.
    fn list_left_rows(&self) -> Result<Vec<String>>;

    /// Returns the error for these dependents; `call` overrides it.
    fn refuse_dependents(&self, found: &[String], call: String) -> Error;

    /// stopped → archived. Returns what was done to each table or column.
    fn archive(&self, suffix: &str, compat_views: bool) -> Result<Vec<Action>>;

    /// Goes back to an earlier phase, or starts the job that does. Records the phase itself, because the job may come later.
    fn roll_back(&self, to: Phase) -> Result<Vec<Action>>;

    /// Emergency stop: disables the triggers. Returns how many were enabled.
    fn disable(&self) -> Result<usize>;

    /// Drops triggers that are left where the phase has none: an older version did not find them.
    fn remove_left_triggers(&self) -> Result<()>;

    /// Says what is wrong with the migration after `disable`.
    fn problem_when_detached(&self) -> &'static str;

    /// Removes what the archived migration has left, and the archived tables or columns if wanted.
    fn release_archive(&self, drops: bool) -> Result<()>;

    /// Returns one line for each table or column that is forgotten; `dropped` if the archived ones were dropped.
    fn farewell(&self, dropped: bool) -> Vec<Action>;

    /// Returns the statements of all phases.
    fn plan(&self) -> Result<Vec<PlannedStep>>;

    /// Returns the statements that create the targets, or their foreign keys; None if there are none of this sort.
    fn ddl(&self, keys: bool) -> Result<Option<Vec<String>>>;

    /// Runs a check and saves its result.
    fn check(&self, relation: Option<Oid>, mode: CheckMode) -> Result<Vec<CheckLine>>;

    /// Returns the mappings that a check job takes one after the other. Errors: 0A000 where a check is no job.
    fn parts_to_check(&self, relation: Option<Oid>) -> Result<Vec<i32>>;

    /// Returns the first rows of a relation that differ.
    fn diff(&self, relation: Oid, limit: i64) -> Result<Vec<Difference>>;

    /// Counts the rows that differ, and repairs them unless `dry_run`.
    fn repair(&self, relation: Option<Oid>, dry_run: bool) -> Result<Vec<Repair>>;

    fn checklist(&self) -> Result<Vec<ChecklistItem>>;

    /// Does the next piece of work of the job; None when all is done.
    fn work(&self, job: &Job, able: SliceContext) -> Result<Option<SliceOutcome>>;

    /// Handles a batch that failed over one of its rows: the batch is taken row by row from now on. Returns the error if this cannot be done.
    fn give_up_batch(&self, job: &Job, error: Error) -> Result<()>;

    /// Completes a backfill.
    fn finish_backfill(&self) -> Result<()>;
}
