//! Rows of our own tables, typed.

use crate::error::{Error, Result};
use crate::ident::{Ident, Literal, QualifiedName};
use crate::model::archive::ArchivedTable;
use crate::model::catalog_facts::CreatedFacts;
use crate::model::driver::Driver;
use crate::model::layout::Layout;
use crate::model::layout::merge::Merge;
use crate::model::phase::Phase;
use crate::model::spec::Spec;
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
}

#[derive(Clone, Debug, Deserialize)]
pub struct Mapping {
    pub id: i32,
    pub source: u32,
    /// None if the table is gone.
    pub source_name: Option<QualifiedName>,
    pub source_owner: Option<u32>,
    /// The name that was asked for; `target_now` is where the table is now.
    pub target_name: QualifiedName,
    pub target: Option<u32>,
    pub target_now: Option<QualifiedName>,
    pub target_owner: Option<u32>,
    pub adopted: bool,
    pub id_mode: String,
    pub spec: Spec,
    pub layout: Option<Layout>,
    pub bound_blocks: Option<i64>,
    pub next_block: i64,
    pub filenode: Option<i64>,
    pub batch_rows: Option<i32>,
    pub rows_done: i64,
    pub copied: bool,
    pub pass: Pass,
    pub archived: Option<ArchivedTable>,
    /// Mirrors give ids to what a row names, where it has none yet, and do not leave the row to the backfill any more.
    #[serde(default)]
    pub settled: bool,
    /// What both tables had beside their rows when the target was made or adopted.
    pub facts: Option<CreatedFacts>,
}

/// What the batches of a mapping do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    /// Copy old rows to the new table.
    Forth,
    /// Delete old rows that the new table has no longer.
    Sweep,
    /// Bring new and changed rows back to the old table.
    Back,
}

impl Pass {
    pub fn as_str(self) -> &'static str {
        match self {
            Pass::Forth => "forth",
            Pass::Sweep => "sweep",
            Pass::Back => "back",
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
pub struct Job {
    pub id: i64,
    pub migration: i32,
    pub driver: Driver,
    pub role: u32,
    pub state: String,
    pub pid: Option<i32>,
    pub error: Option<String>,
    pub task: Task,
    /// The phase that a way back goes to.
    pub goal: Option<Phase>,
    /// What a check is about, and what it has found.
    pub details: Option<Value>,
    /// Rows that could not be brought over when they were last tried.
    pub failed_then: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    Backfill,
    /// From `stopped` back.
    WayBack,
    Repair,
    Check,
}

impl Task {
    pub fn as_str(self) -> &'static str {
        match self {
            Task::Backfill => "backfill",
            Task::WayBack => "way_back",
            Task::Repair => "repair",
            Task::Check => "check",
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
pub struct Leftover {
    pub id: i64,
    pub mapping: i32,
    pub key: Vec<String>,
}

impl Migration {
    /// Errors with 55000, and how to get there, unless the migration is in phase `defined`.
    pub fn require_defined(&self) -> Result<()> {
        if self.phase == Phase::Defined {
            return Ok(());
        }
        let name = Literal(&self.name);
        Err(Error::WrongPhase {
            migration: self.name.clone(),
            phase: self.phase.as_str(),
            needs: "phase \"defined\"".into(),
            hint: format!("Go back first: SELECT mig_rollback({name}, 'defined');"),
        })
    }

    /// 55000: this is not the moment, and how to find out what is.
    pub fn wrong_phase(&self, needs: &str) -> Error {
        let name = Literal(&self.name);
        Error::WrongPhase {
            migration: self.name.clone(),
            phase: self.phase.as_str(),
            needs: needs.to_owned(),
            hint: format!("See what comes next: SELECT next_step FROM mig_status({name});"),
        }
    }

    /// An option of this migration, as a whole number.
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
    /// The target draws ids of its own.
    pub fn remaps(&self) -> bool {
        self.id_mode == "remap"
    }

    /// It names rows whose ids differ.
    pub fn names_remapped(&self) -> bool {
        self.layout
            .as_ref()
            .is_some_and(|l| l.mapped_columns().next().is_some())
    }

    /// Its mirror leaves rows to the backfill as long as that has not come by.
    pub fn notes(&self) -> bool {
        self.names_remapped() || self.is_merged()
    }

    pub fn merge(&self) -> Option<&Merge> {
        self.layout.as_ref()?.merge.as_ref()
    }

    /// Its rows become one with those of other sources.
    pub fn is_merged(&self) -> bool {
        self.merge().is_some()
    }

    /// Another mapping compares its rows, and mends them.
    pub fn is_partner(&self) -> bool {
        self.layout.as_ref().is_some_and(Layout::is_partner)
    }

    /// The mapping that does so, itself or another.
    pub fn leader(&self) -> i32 {
        self.merge().map_or(self.id, Merge::leader)
    }

    /// For messages: the source's name, or that it is gone.
    pub fn source_text(&self) -> String {
        self.source_name
            .as_ref()
            .map_or_else(|| "(dropped table)".to_owned(), QualifiedName::plain)
    }
}
