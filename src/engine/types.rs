//! Arguments and results of the engine's functions.

use crate::error::{Error, Result};
use crate::model::column_change::ColumnChange;
use crate::model::phase::Phase;
use crate::model::records::Mapping;
use crate::sqlgen::PlanStatement;
use crate::steps::TopLevelCommand;
use crate::steps::verify::CheckFindings;
use pgrx::pg_sys::Oid;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One line of the functions that return `TABLE(source, target, action)`.
pub struct Action {
    pub source: Option<Oid>,
    pub target: Option<Oid>,
    pub action: String,
}

impl Action {
    /// Returns one line for each mapping.
    pub fn for_mappings(mappings: &[Mapping], done: &str) -> Vec<Self> {
        let line = |p: &Mapping| Self {
            source: Some(Oid::from(p.source)),
            target: p.target.map(Oid::from),
            action: done.to_owned(),
        };
        mappings.iter().map(line).collect()
    }

    /// Returns one line for each column change.
    pub fn for_changes(all: &[ColumnChange], done: &str) -> Vec<Self> {
        let line = |r: &ColumnChange| Self {
            source: r.table.as_ref().map(|_| Oid::from(r.relation)),
            target: r.table.as_ref().map(|_| Oid::from(r.relation)),
            action: format!("{done}: {}", r.describe()),
        };
        all.iter().map(line).collect()
    }
}

/// What the caller of a slice can do.
#[derive(Clone, Copy)]
pub struct SliceContext {
    /// Run commands outside a transaction.
    pub top_level: bool,
    /// Wait for a row's lock, because its transaction holds no other.
    pub may_wait: bool,
}

/// What the caller has to do next.
#[derive(Debug, PartialEq)]
pub enum SliceProgress {
    /// Continue; rows done in this slice, and the pause before the next.
    Continue { rows: i64, pause_ms: i64 },
    /// Blocked by another session: try again after the pause.
    Wait { pause_ms: i64 },
    /// Run this command outside a transaction, then continue.
    TopLevel(TopLevelCommand),
    /// The job ended: done, paused, cancelled or failed. Nothing more to do.
    Ended,
}

/// One statement of the plan, with the phase it belongs to.
pub struct PlannedStep {
    pub phase: Phase,
    pub statement: PlanStatement,
    pub rows: i64,
    pub bytes: i64,
}

/// Arguments of `mig_check`.
pub struct CheckArguments<'a> {
    pub migration: Option<&'a str>,
    pub mode: &'a str,
    pub relation: Option<Oid>,
    pub sample: i32,
}

/// An item of the checklist.
pub struct ChecklistItem {
    pub phase: &'static str,
    pub item: String,
    /// None: a person has to answer, or the migration has not reached the phase.
    pub ok: Option<bool>,
    pub detail: String,
}

impl ChecklistItem {
    /// The detail of an item that the database cannot answer.
    pub const FOR_PERSON: &str = "for a person to answer";

    pub fn new(
        phase: &'static str,
        item: impl Into<String>,
        ok: Option<bool>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            phase,
            item: item.into(),
            ok,
            detail: detail.into(),
        }
    }

    pub fn for_person(phase: &'static str, item: &str) -> Self {
        Self::new(phase, item, None, Self::FOR_PERSON)
    }
}

/// State of a check that runs as a job: what it has found so far.
#[derive(Serialize, Deserialize)]
pub struct CheckState {
    pub mode: String,
    pub sample: i32,
    /// Mappings, and how many of them are done.
    pub tables: Vec<i32>,
    pub done: usize,
    pub found: CheckFindings,
}

impl CheckState {
    pub fn encode(&self) -> Result<Value> {
        serde_json::to_value(self).map_err(|e| Error::internal(e.to_string()))
    }

    pub fn decode(document: Value) -> Result<Self> {
        serde_json::from_value(document)
            .map_err(|e| Error::internal(format!("the job does not decode: {e}")))
    }
}

/// What is to be repaired, or was repaired, in one table.
pub struct Repair {
    pub source: u32,
    pub kind: &'static str,
    pub rows: i64,
}
