//! Plain data and pure rules. Nothing here touches Postgres.

pub mod config;
pub mod expr;
pub mod layout;
pub mod nearest;
pub mod options;
pub mod phase;
pub mod shape;
pub mod spec;
pub mod state;

#[cfg(test)]
pub mod fixture;
