//! What one step does. Steps know nothing of each other: the engine puts them in order.

pub mod anchor;
pub mod archive;
pub mod canary;
pub mod capture;
pub mod change;
pub mod copy;
pub mod create;
pub mod define;
pub mod dress;
pub mod fkeys;
pub mod index;
pub mod leftover;
pub mod rework;
pub mod undo;
pub mod verify;

/// What a slice of a job came to.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    /// Rows dealt with; there may be more.
    Did(i64),
    /// Nothing to do for this step any more.
    Done,
    /// Somebody is in the way: who or what.
    Wait(String),
    /// A command that must run outside a transaction.
    TopLevel(String),
}
