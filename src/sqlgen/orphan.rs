//! Rows that name a row which is not there.

use crate::ident::QualifiedName;
use crate::model::reference::ColumnPair;

/// A table and which of its rows count, as a condition over its alias.
pub struct ChosenRows<'a> {
    pub table: &'a QualifiedName,
    pub condition: Option<String>,
}

/// The alias of the table that is referred to: no user's table has this name.
pub const PARENT: &str = "\"mig:p\"";

/// How many rows of `child` (alias: its own name, so that a filter may use it) lack their row of `parent` (alias
/// `PARENT`). A reference with a null in it names nothing, as in a foreign key that is MATCH SIMPLE.
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
