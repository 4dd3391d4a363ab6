//! One function for each kind of statement that has something to it.

mod columns;
mod constraints;
mod data;
mod habits;
mod indexes;
mod names;
mod tables;
mod transactions;
mod types;

use super::statement::Statement;
use super::{File, Hit};

type Check = fn(&File, &Statement) -> Vec<Hit>;

pub const ALL: &[Check] = &[
    transactions::invalid,
    transactions::alone,
    transactions::held,
    transactions::timeout,
    transactions::programs,
    transactions::new_values,
    columns::added,
    columns::dropped,
    columns::not_null,
    types::changed,
    constraints::added,
    constraints::validated,
    indexes::created,
    indexes::dropped,
    indexes::rebuilt,
    names::renamed,
    tables::dropped,
    tables::rewritten,
    tables::partitions,
    tables::triggers,
    tables::locked,
    data::changed,
    data::copied_once,
    data::truncated,
    habits::columns,
    habits::lock_query,
];
