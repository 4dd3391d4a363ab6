//! The steps of a migration. Steps do not depend on each other: the engine orders them.

use crate::model::layout::TargetIndex;
use crate::pg::role;
use pgrx::pg_sys::Oid;

pub mod annotate;
pub mod archive;
pub mod canary;
pub mod columns;
pub mod copy;
pub mod create;
pub mod ddl;
pub mod define;
pub mod fkeys;
pub mod index;
pub mod install_triggers;
pub mod remove;
pub mod retry;
pub mod scope_pin;
pub mod verify;

/// Result of one slice of a job.
#[derive(Debug, PartialEq)]
pub enum SliceOutcome {
    /// Rows processed; there may be more.
    Did(i64),
    /// Nothing left to do for this step.
    Done,
    /// Blocked by another session; says by which or by what.
    Wait(String),
    TopLevel(TopLevelCommand),
}

/// A command that must run outside a transaction, and the role to run it as: it may call functions of that role.
#[derive(Clone, Debug, PartialEq)]
pub struct TopLevelCommand {
    pub sql: String,
    pub role: Oid,
    /// The search_path of the functions that it calls; None for the pinned one.
    pub path: Option<String>,
}

/// Returns the role that builds an index: the table's owner, if the index runs functions of the owner. Otherwise the
/// caller: the owner may lack CREATE on the schema.
fn builder(i: &TargetIndex, owner: Oid) -> Oid {
    if i.has_expressions() {
        owner
    } else {
        role::current()
    }
}
