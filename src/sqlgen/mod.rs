//! SQL text generated from the model by pure functions. Names are part of the text; values are bound as parameters.

pub mod archive;
pub mod batch;
pub mod canary;
pub mod check_rows;
pub mod checksum;
pub mod columns;
pub mod comments_stats;
pub mod ddl;
pub mod delete_stale;
pub mod direction;
pub mod fkey;
pub mod id_lookup;
pub mod id_map;
pub mod index;
pub mod lock_parents;
pub mod mirror;
pub mod new_rows;
pub mod orphan;
pub mod plan_probe;
pub mod repair;
pub mod retired_guard;
pub mod sample;
pub mod scope;
pub mod scope_pin;
pub mod standing_keys;
pub mod table;
pub mod trigger;
pub mod trigger_definition;
pub mod view;
pub mod view_names;

use crate::ident::{Ident, Literal, QualifiedName};
use std::fmt::Display;

/// One statement of the plan.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanStatement {
    pub sql: String,
    /// The relation that is locked, and the lock mode.
    pub relation: QualifiedName,
    pub lock: &'static str,
}

impl PlanStatement {
    pub fn new(relation: &QualifiedName, lock: &'static str, sql: String) -> Self {
        Self {
            sql,
            relation: relation.clone(),
            lock,
        }
    }
}

/// Identifies a row of `alias` for people: by its key, or by its tid where it has none.
fn row_name(alias: impl Display, key: &[Ident]) -> String {
    let each: Vec<String> = key
        .iter()
        .map(|k| {
            let label = format!("{} = ", k.as_str());
            format!("{} || {alias}.{k}::pg_catalog.text", Literal(&label))
        })
        .collect();
    if each.is_empty() {
        format!("'ctid = ' || {alias}.ctid::pg_catalog.text")
    } else {
        format!("pg_catalog.concat_ws(', ', {})", each.join(", "))
    }
}
