//! Plain data and pure rules. Nothing here calls PostgreSQL.

pub mod archive;
pub mod catalog_facts;
pub mod column_change;
pub mod config;
pub mod ddl_change;
pub mod did_you_mean;
pub mod driver;
pub mod expression;
pub mod layout;
pub mod lint;
pub mod options;
pub mod order;
pub mod phase;
pub mod ranges;
pub mod records;
pub mod reference;
pub mod scan;
pub mod shape;
pub mod spec;
pub mod text_enum;
pub mod throttle;
pub mod trigger;
pub mod units;

#[cfg(test)]
pub mod fixture;
#[cfg(test)]
mod tests;
