//! Orphans: rows that refer to a row that does not exist.

use crate::ident::{Ident, QualifiedName};
use crate::model::reference::ColumnPair;

/// A table, and a condition over its alias that selects the rows that count.
pub struct ChosenRows<'a> {
    pub table: &'a QualifiedName,
    pub condition: Option<String>,
}

/// The alias of the referenced table; no user table has this name.
pub const PARENT: &str = "\"mig:p\"";

/// Lists the first rows of `child` without their row in `parent`, each as text: the row's key, and what it refers to.
pub fn list(
    child: &QualifiedName,
    key: &[Ident],
    parent: &QualifiedName,
    pairs: &[ColumnPair],
    limit: usize,
) -> String {
    const CHILD: &str = "\"mig:c\"";
    let texts = |columns: Vec<&Ident>| {
        let each: Vec<String> = columns
            .iter()
            .map(|c| format!("{CHILD}.{c}::pg_catalog.text"))
            .collect();
        format!("pg_catalog.concat_ws(', ', {})", each.join(", "))
    };
    let given: Vec<String> = pairs
        .iter()
        .map(|p| format!("{CHILD}.{} IS NOT NULL", p.child))
        .collect();
    let joined: Vec<String> = pairs
        .iter()
        .map(|p| p.join_condition(PARENT, CHILD))
        .collect();
    format!(
        "SELECT pg_catalog.to_jsonb(pg_catalog.format('(%s): %s', {}, {})) FROM ONLY {child} AS {CHILD} WHERE {} \
         AND NOT EXISTS (SELECT FROM {parent} AS {PARENT} WHERE {}) LIMIT {limit}",
        texts(key.iter().collect()),
        texts(pairs.iter().map(|p| &p.child).collect()),
        given.join(" AND "),
        joined.join(" AND "),
    )
}

/// Counts the rows of `child` (alias: its own name, so that a filter can use it) without their row in `parent` (alias
/// `PARENT`). A reference with a null in it refers to nothing, as in a MATCH SIMPLE foreign key.
pub fn count(child: &ChosenRows, parent: &ChosenRows, pairs: &[ColumnPair]) -> String {
    let name = child.table.name.to_string();
    let given = pairs
        .iter()
        .map(|p| format!("{name}.{} IS NOT NULL", p.child));
    let given = given.chain(child.condition.iter().map(|c| format!("({c}\n)")));
    let joined = pairs.iter().map(|p| p.join_condition(PARENT, &name));
    let joined = joined.chain(parent.condition.clone());
    format!(
        "SELECT count(*) AS rows FROM {} WHERE {} AND NOT EXISTS (SELECT FROM {} AS {PARENT} WHERE {})",
        child.table,
        given.collect::<Vec<_>>().join(" AND "),
        parent.table,
        joined.collect::<Vec<_>>().join(" AND "),
    )
}
