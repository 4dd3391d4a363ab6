//! Are both sides equal? The check, what is repaired, and the list of what a person has to look at.

pub mod check;
pub mod checklist;
pub mod repair;
