//! Random rows of one table, and all rows that refer to them directly or indirectly, on both sides.

use crate::ident::QualifiedName;
use crate::model::reference::ColumnPair;
use crate::sqlgen::checksum::{self, Condition, Side};
use crate::sqlgen::view_names;

/// Draws source keys of the mapping as text[]; `key` is the number of key columns. `$1` number of rows, `$2` percent of the
/// table's blocks; null reads all rows.
pub fn draw(id: i32, source: &QualifiedName, key: usize) -> String {
    let parts: Vec<String> = (0..key)
        .map(|n| format!("r.{}::pg_catalog.text", view_names::key_name(n)))
        .collect();
    format!(
        "SELECT ARRAY[{}] AS key FROM {} AS r WHERE $2::float8 IS NULL OR r.{} = ANY (ARRAY(SELECT s.ctid FROM {source} AS s TABLESAMPLE SYSTEM (coalesce($2, 0)))) \
         ORDER BY pg_catalog.random() LIMIT $1",
        parts.join(", "),
        view_names::name(id),
        view_names::place(),
    )
}

/// Rows that refer to a row of `parent`, on either side, that `of_parent` selects. `pairs` has the names of the target tables.
pub fn select_children(
    parent: &checksum::ComparedPair,
    of_parent: &Condition,
    pairs: &[ColumnPair],
) -> Condition {
    let columns: Vec<String> = pairs.iter().map(|p| format!("r.{}", p.parent)).collect();
    let sides = Side::BOTH.map(|side| {
        format!(
            "SELECT {} {}",
            columns.join(", "),
            parent.from(side, of_parent.on_side(side))
        )
    });
    let same: Vec<String> = pairs.iter().map(|p| p.join_condition("p", "r")).collect();
    Condition::on_both(format!(
        "EXISTS (SELECT FROM ({}) p WHERE {})",
        sides.join(" UNION "),
        same.join(" AND ")
    ))
}
