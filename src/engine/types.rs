//! Arguments and results of the engine's functions.

use crate::model::phase::Phase;
use crate::sqlgen::PlanStatement;
use crate::steps::TopLevelCommand;
use pgrx::pg_sys::Oid;

/// One line of the functions that return `TABLE(source, target, action)`.
pub struct Action {
    pub source: Option<Oid>,
    pub target: Option<Oid>,
    pub action: String,
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

/// What is to be repaired, or was repaired, in one table.
pub struct Repair {
    pub source: u32,
    pub kind: &'static str,
    pub rows: i64,
}
