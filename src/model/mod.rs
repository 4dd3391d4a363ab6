//! Plain data and pure rules. Nothing here touches Postgres.

pub mod archive;
pub mod change;
pub mod config;
pub mod driver;
pub mod expr;
pub mod facts;
pub mod layout;
pub mod lint;
pub mod nearest;
pub mod options;
pub mod order;
pub mod phase;
pub mod ranges;
pub mod reference;
pub mod rework;
pub mod scan;
pub mod shape;
pub mod spec;
pub mod state;
pub mod throttle;
pub mod units;

#[cfg(test)]
pub mod fixture;
#[cfg(test)]
mod tests;
