//! Rows of a source that a check of the target refuses, as the target would have them.

use crate::ident::{Ident, QualifiedName};
use crate::model::layout::{Layout, Origin};
use crate::model::shape::{CheckConstraint, Shape};
use crate::sqlgen::columns::cast_expression;
use crate::sqlgen::{row_name, scope};

/// Lists the keys of the first rows whose generated column is not what its expression gives now.
pub fn list_outdated(source: &Shape, column: &Ident, generated: &str, limit: usize) -> String {
    let alias = &source.name.name;
    format!(
        "SELECT pg_catalog.to_jsonb({}) FROM ONLY {} AS {alias} \
         WHERE ROW({alias}.{column})::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW({generated})::pg_catalog.record LIMIT {limit}",
        row_name(alias, &source.key_columns()),
        source.name,
    )
}

/// Reads no row, but has the expression understood.
pub fn read_none(table: &QualifiedName, expression: &str) -> String {
    format!("SELECT ({expression}\n) IS NULL FROM {table} LIMIT 0")
}

/// Lists the keys of the first such rows, each as one text. None where a column of the check is not made from the row alone.
pub fn list_refused(
    source: &Shape,
    target: &QualifiedName,
    layout: &Layout,
    filter: Option<&str>,
    check: &CheckConstraint,
    limit: usize,
) -> Option<String> {
    let values = check
        .columns
        .iter()
        .map(|name| Some(format!("{} AS {name}", made_value(layout, name)?)))
        .collect::<Option<Vec<_>>>()?;
    let key = source.key_columns();
    let key: Vec<String> = key
        .iter()
        .map(|k| format!("{k}::pg_catalog.text"))
        .collect();
    let condition = check.definition.strip_prefix("CHECK ")?;
    let condition = condition.strip_suffix(" NOT VALID").unwrap_or(condition);
    let condition = condition.strip_suffix(" NO INHERIT").unwrap_or(condition);
    let filter = filter.map_or_else(String::new, |f| format!(" WHERE ({f}\n)"));
    let values: String = values.iter().map(|v| format!(", {v}")).collect();
    Some(format!(
        "SELECT pg_catalog.to_jsonb({0}.\"mig:key\") FROM (SELECT pg_catalog.concat_ws(', ', {1}) AS \"mig:key\"{values} FROM ONLY {2}{filter}) AS {0} \
         WHERE NOT {condition} LIMIT {limit}",
        target.name,
        key.join(", "),
        source.name,
    ))
}

/// A target column's value as an expression over the source row; None where it is not made from the row alone.
pub fn made_value(layout: &Layout, name: &Ident) -> Option<String> {
    let column = layout.columns.iter().find(|c| c.name == *name)?;
    match &column.origin {
        _ if column.via.is_some() => None,
        Origin::Source(from) => Some(from.to_string()),
        Origin::Expression(text) => Some(cast_expression(text, &column.type_text)),
        Origin::Scope => scope::value_of(layout, name),
        Origin::Partner => None,
    }
}
