//! The lint rules: one function for each kind of statement that can be a problem.

mod columns;
mod constraints;
mod data;
mod habits;
mod indexes;
mod names;
mod tables;
mod transactions;
mod types;

use super::statement::LintStatement;
use super::{File, RuleHit};

type LintRule = fn(&File, &LintStatement) -> Vec<RuleHit>;

pub const ALL: &[LintRule] = &[
    transactions::invalid,
    transactions::check_not_in_transaction,
    transactions::check_held_locks,
    transactions::timeout,
    transactions::programs,
    transactions::new_values,
    columns::check_added,
    columns::check_dropped,
    columns::not_null,
    types::check_type_change,
    constraints::check_added,
    constraints::check_validated,
    indexes::check_create,
    indexes::check_drop,
    indexes::rebuilt,
    names::check_rename,
    tables::check_drop,
    tables::rewritten,
    tables::partitions,
    tables::triggers,
    tables::check_lock,
    data::check_whole_table_writes,
    data::copied_once,
    data::check_truncate,
    habits::columns,
    habits::lock_query,
];
