//! Conditions for the rows of one scope, and for those of all others.

use crate::ident::{Ident, Literal};
use crate::model::layout::{Layout, Scope};

/// Returns for example `t.project_id = '…'::uuid`.
pub fn scope_is_mine(alias: &str, layout: &Layout) -> Option<String> {
    let each: Vec<String> = layout.marks().map(|s| in_scope(alias, s)).collect();
    (!each.is_empty()).then(|| each.join(" AND "))
}

/// Returns the value that all rows of the migration have in this column.
pub fn value_of(layout: &Layout, column: &Ident) -> Option<String> {
    let mut marks = layout.marks();
    let mark = marks.find(|s| s.column == *column)?;
    Some(format!("{}::{}", Literal(&mark.value), mark.type_text))
}

pub fn in_scope(alias: &str, scope: &Scope) -> String {
    format!(
        "{alias}.{} OPERATOR(pg_catalog.=) {}::{}",
        scope.column,
        Literal(&scope.value),
        scope.type_text
    )
}

/// Rows of any other scope: `<` or `>`, because an index supports both but not `<>`.
pub fn scope_is_another(alias: &str, layout: &Layout) -> Option<String> {
    layout.scope.as_ref().map(|s| in_another_scope(alias, s))
}

pub fn in_another_scope(alias: &str, scope: &Scope) -> String {
    let side = |operator: &str| {
        format!(
            "{alias}.{} OPERATOR(pg_catalog.{operator}) {}::{}",
            scope.column,
            Literal(&scope.value),
            scope.type_text
        )
    };
    format!("{} OR {}", side("<"), side(">"))
}
