//! What one step does. Steps know nothing of each other: the engine puts them in order.

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

/// What a slice of a job came to.
#[derive(Debug, PartialEq)]
pub enum SliceOutcome {
    /// Rows dealt with; there may be more.
    Did(i64),
    /// Nothing to do for this step any more.
    Done,
    /// Somebody is in the way: who or what.
    Wait(String),
    TopLevel(TopLevelCommand),
}

/// A command that must run outside a transaction, and as whom: what it says may call functions of that role's.
#[derive(Clone, Debug, PartialEq)]
pub struct TopLevelCommand {
    pub sql: String,
    pub role: Oid,
}

/// Whose rights an index is built with: those of the table's owner, where the index runs functions of his. Otherwise the caller's: the
/// owner may lack CREATE on the schema.
fn builder(i: &TargetIndex, owner: Oid) -> Oid {
    if i.has_expressions() {
        owner
    } else {
        role::current()
    }
}
