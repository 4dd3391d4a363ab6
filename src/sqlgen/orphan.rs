//! Orphans: rows that refer to a row that does not exist.

use crate::ident::QualifiedName;
use crate::model::reference::ColumnPair;

/// A table, and a condition over its alias that selects the rows that count.
pub struct ChosenRows<'a> {
    pub table: &'a QualifiedName,
    pub condition: Option<String>,
}

/// The alias of the referenced table; no user table has this name.
pub const PARENT: &str = "\"mig:p\"";

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
