//! SQL text from the model: pure functions, names in, text out. Values never: they are bound.

pub mod anchor;
pub mod archive;
pub mod batch;
pub mod canary;
pub mod change;
pub mod details;
pub mod digest;
pub mod firing;
pub mod fkey;
pub mod flow;
pub mod guard;
pub mod index;
pub mod map;
pub mod mend;
pub mod mirror;
pub mod orphan;
pub mod parents;
pub mod rework;
pub mod sample;
pub mod sweep;
pub mod table;
pub mod trigger;
pub mod view;

use crate::ident::{Ident, Literal, QualifiedName};
use std::fmt::Display;

/// One statement of the plan.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanStatement {
    pub sql: String,
    /// The relation that is locked, and how.
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

/// What names a row of `alias` to a person: its key, or its place where it has none.
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
