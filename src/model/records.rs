//! Rows of the extension's own tables, as typed values.

use crate::error::{Error, Result};
use crate::ident::{Ident, Literal, QualifiedName};
use crate::model::archive::ArchivedTable;
use crate::model::catalog_facts::CreatedFacts;
use crate::model::driver::Driver;
use crate::model::layout::Layout;
use crate::model::layout::merge::Merge;
use crate::model::phase::Phase;
use crate::model::spec::{IdMode, Spec};
use crate::model::text_enum::text_enum;
use serde::Deserialize;
use serde_json::Value;

#[derive(Clone, Debug, Deserialize)]
pub struct Migration {
    pub id: i32,
    pub name: String,
    pub owner: u32,
    pub owner_name: String,
    pub phase: Phase,
    pub scope_table: Option<u32>,
    pub scope_table_name: Option<QualifiedName>,
    pub scope_column: Option<Ident>,
    pub scope_value: Option<String>,
    pub scope_type: Option<String>,
    pub options: Value,
    /// The path of the role that defined it; None before 0.8.0.
    #[serde(default)]
    pub search_path: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Mapping {
    pub id: i32,
    pub source: u32,
    /// None if the table is gone.
    pub source_name: Option<QualifiedName>,
    pub source_owner: Option<u32>,
    /// The name that the user gave; `target_now` is the table's current name.
    pub target_name: QualifiedName,
    pub target: Option<u32>,
    pub target_now: Option<QualifiedName>,
    pub target_owner: Option<u32>,
    pub adopted: bool,
    pub id_mode: IdMode,
    pub spec: Spec,
    /// The role that gave the spec; None for what was defined before 0.8.0.
    #[serde(default)]
    pub author: Option<u32>,
    pub layout: Option<Layout>,
    pub bound_blocks: Option<i64>,
    pub next_block: i64,
    pub filenode: Option<i64>,
    pub batch_rows: Option<i32>,
    pub rows_done: i64,
    pub copied: bool,
    pub pass: Pass,
    pub archived: Option<ArchivedTable>,
    /// Mirrors create the missing ids of referenced rows themselves and no longer leave such rows to the backfill.
    #[serde(default)]
    pub settled: bool,
    /// Catalog properties of both tables when the target was made or adopted.
    pub facts: Option<CreatedFacts>,
}

text_enum! {
    /// What the batches of a mapping do.
    pub enum Pass {
        /// Copy source rows to the target.
        Copy = "forth",
        /// Delete source rows that no longer exist in the target.
        DeleteStale = "sweep",
        /// Copy new and changed target rows to the source.
        CopyBack = "back",
    }
}

text_enum! {
    pub enum Task {
        Backfill = "backfill",
        /// Rollback from `stopped`.
        WayBack = "way_back",
        Repair = "repair",
        Check = "check",
    }
}

text_enum! {
    /// What a job is at.
    pub enum JobState {
        Running = "running",
        Paused = "paused",
        Done = "done",
        Failed = "failed",
        Cancelled = "cancelled",
    }
}

impl JobState {
    /// It has not ended.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

text_enum! {
    /// How a migration does in its phase.
    pub enum MigrationState {
        Ok = "ok",
        Running = "running",
        Paused = "paused",
        Failed = "failed",
    }
}

#[derive(Clone, Debug, Deserialize)]
pub struct Job {
    pub id: i64,
    pub migration: i32,
    pub driver: Driver,
    pub role: u32,
    pub state: JobState,
    pub pid: Option<i32>,
    pub error: Option<String>,
    pub task: Task,
    /// The phase that a rollback job ends in.
    pub goal: Option<Phase>,
    /// What a check covers, and what it has found.
    pub details: Option<Value>,
    /// Number of rows that failed at the last attempt.
    pub failed_then: Option<i64>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Leftover {
    pub id: i64,
    pub mapping: i32,
    pub key: Vec<String>,
}

impl Migration {
    /// Returns the migration as it is once it is in `phase`.
    pub fn in_phase(&self, phase: Phase) -> Self {
        Self {
            phase,
            ..self.clone()
        }
    }

    /// Errors: 55000 unless the migration is in phase `defined`; the hint says how to get there.
    pub fn require_defined(&self) -> Result<()> {
        if self.phase == Phase::Defined {
            return Ok(());
        }
        let name = Literal(&self.name);
        Err(Error::wrong_phase(
            self.name.clone(),
            self.phase.as_str(),
            "phase \"defined\"".into(),
            format!("Go back first: SELECT mig_rollback({name}, 'defined');"),
        ))
    }

    /// Returns 55000 for a call in the wrong phase; the hint says how to find the next step.
    pub fn wrong_phase(&self, needs: &str) -> Error {
        Error::wrong_phase(
            self.name.clone(),
            self.phase.as_str(),
            needs.to_owned(),
            self.next_step_hint(),
        )
    }

    /// Returns a HINT that says how to find the next step.
    pub fn next_step_hint(&self) -> String {
        format!(
            "See what comes next: SELECT next_step FROM mig_status({});",
            Literal(&self.name)
        )
    }

    /// Returns an integer option of this migration.
    pub fn int_option(&self, name: &str) -> Option<i32> {
        self.options
            .get(name)
            .and_then(Value::as_i64)
            .and_then(|n| i32::try_from(n).ok())
    }

    pub fn text_option(&self, name: &str) -> Option<String> {
        self.options
            .get(name)
            .and_then(Value::as_str)
            .map(str::to_owned)
    }

    pub fn bool_option(&self, name: &str) -> Option<bool> {
        self.options.get(name).and_then(Value::as_bool)
    }
}

impl Mapping {
    /// Whether the target draws new ids.
    pub fn remaps(&self) -> bool {
        self.id_mode == IdMode::Remap
    }

    /// Whether the mapping has columns that are translated by an id map.
    pub fn names_remapped(&self) -> bool {
        self.layout
            .as_ref()
            .is_some_and(|l| l.mapped_columns().next().is_some())
    }

    /// Whether its mirror leaves rows to the backfill until the backfill has reached them.
    pub fn notes(&self) -> bool {
        self.names_remapped() || self.is_merged()
    }

    pub fn merge(&self) -> Option<&Merge> {
        self.layout.as_ref()?.merge.as_ref()
    }

    /// Whether its rows are merged with those of other sources.
    pub fn is_merged(&self) -> bool {
        self.merge().is_some()
    }

    /// Whether another mapping compares and repairs its rows.
    pub fn is_partner(&self) -> bool {
        self.layout.as_ref().is_some_and(Layout::is_partner)
    }

    /// The mapping that compares and repairs the rows: this one, or the leader of the merge.
    pub fn leader(&self) -> i32 {
        self.merge().map_or(self.id, Merge::leader)
    }

    /// The source's name for messages, or that the table was dropped.
    pub fn source_text(&self) -> String {
        self.source_name
            .as_ref()
            .map_or_else(|| "(dropped table)".to_owned(), QualifiedName::plain)
    }
}
