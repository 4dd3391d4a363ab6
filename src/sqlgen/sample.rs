//! Random rows of one table, and all rows that refer to them, near and far, on both sides.

use crate::ident::QualifiedName;
use crate::model::layout::KeyColumn;
use crate::model::reference::Pair;
use crate::sqlgen::digest::{self, Side};
use crate::sqlgen::view;

/// `$1` rows at random, `$2` percent of the table's blocks: keys of the mapping's rows, as text[]. All rows are looked at
/// where `$2` is null.
pub fn draw(id: i32, source: &QualifiedName, key: &[KeyColumn]) -> String {
    let parts: Vec<String> = key
        .iter()
        .map(|k| format!("r.{}::pg_catalog.text", k.target))
        .collect();
    format!(
        "SELECT ARRAY[{}] AS key FROM {} AS r WHERE $2::float8 IS NULL OR r.{} = ANY (ARRAY(SELECT s.ctid FROM {source} AS s TABLESAMPLE SYSTEM (coalesce($2, 0)))) \
         ORDER BY pg_catalog.random() LIMIT $1",
        parts.join(", "),
        view::name(id),
        view::place(),
    )
}

/// Condition over `r`: its key is one of `$1` jsonb, an array of arrays of text.
pub fn chosen(key: &[KeyColumn]) -> String {
    let value =
        |n: usize, k: &KeyColumn| format!("(c.key OPERATOR(pg_catalog.->>) {n})::{}", k.type_text);
    let names: Vec<String> = key
        .iter()
        .enumerate()
        .map(|(n, k)| format!("{} AS k{n}", value(n, k)))
        .collect();
    let same: Vec<String> = key
        .iter()
        .enumerate()
        .map(|(n, k)| {
            k.equals
                .between(&format!("c.k{n}"), &format!("r.{}", k.target))
        })
        .collect();
    format!(
        "EXISTS (SELECT FROM (SELECT {} FROM pg_catalog.jsonb_array_elements($1) AS c(key)) c WHERE {})",
        names.join(", "),
        same.join(" AND ")
    )
}

/// Condition over `r`: it refers to a row of `parent`, on either side, that `of_parent` (a condition over `r` there)
/// chooses. `pairs` by the names of the new tables.
pub fn referring(parent: &digest::Pair, of_parent: &str, pairs: &[Pair]) -> String {
    let columns: Vec<String> = pairs.iter().map(|p| format!("r.{}", p.parent)).collect();
    let sides = Side::BOTH.map(|side| {
        format!(
            "SELECT {} {}",
            columns.join(", "),
            parent.from(side, of_parent)
        )
    });
    let same: Vec<String> = pairs.iter().map(|p| p.joined("p", "r")).collect();
    format!(
        "EXISTS (SELECT FROM ({}) p WHERE {})",
        sides.join(" UNION "),
        same.join(" AND ")
    )
}
