//! Proof that both sides are equal: the check, the repair, and the checklist for a person.

pub mod check;
pub mod checklist;
pub mod repair;
