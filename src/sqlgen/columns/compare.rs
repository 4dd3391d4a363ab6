//! Finds rows whose old and new columns are out of sync.

use super::{DOWN, OLD, PLACE, new_name, up_name, view_name};
use crate::ident::{Ident, Literal, QualifiedName};
use crate::model::column_change::{ColumnChange, NewColumn, SyncStage};
use crate::sqlgen::row_name;

/// Whether two values differ bit by bit: works for types without an equality operator (json), and distinguishes 1.0 from 1.00.
fn differ(a: &str, b: &str) -> String {
    format!("ROW({a})::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW({b})::pg_catalog.record")
}

/// Condition for a wrong row of the view `v`: a new column differs from `up`, and the old column differs from `down`. One of them follows the
/// other, and `up` and `down` need not undo each other: `'{"a":1}'::jsonb::text` has a blank. In stage `Old`, a new column that is null but
/// should have a value counts as wrong, because it is not filled yet. In stage `New`, `up` is not computed for rows where the old column
/// follows: the application may have written values whose `down` no longer converts.
pub fn wrong(r: &ColumnChange, stage: SyncStage) -> String {
    let new = |n| format!("v.{}", new_name(n));
    let off = |n| differ(&new(n), &format!("v.{}", up_name(n)));
    let any: Vec<String> = (0..r.columns.len()).map(off).collect();
    let any = any.join(" OR ");
    if r.replaces.is_none() {
        return format!("({any})");
    }
    let [old, down] = [OLD, DOWN].map(|c| format!("v.{}", Ident::new(c)));
    let follows = differ(&old, &down);
    match stage {
        SyncStage::New => format!("CASE WHEN {follows} THEN {any} ELSE false END"),
        SyncStage::Both => format!("({any}) AND {follows}"),
        SyncStage::Old => {
            let lacking =
                (0..r.columns.len()).map(|n| format!("{} IS NULL AND {}", new(n), off(n)));
            let doubts: Vec<String> = std::iter::once(follows).chain(lacking).collect();
            format!("({any}) AND ({})", doubts.join(" OR "))
        }
    }
}

/// Returns the effect of the batches as a single statement.
pub fn fill(table: &QualifiedName, r: &ColumnChange) -> String {
    let set: Vec<String> = r
        .columns
        .iter()
        .map(|c| {
            format!(
                "{} = {}",
                c.name,
                super::cast_expression(&c.up, &c.type_text)
            )
        })
        .collect();
    format!("UPDATE {table} SET {}", set.join(", "))
}

/// Returns one row: how many rows there are, and how many are wrong.
pub fn count(r: &ColumnChange, stage: SyncStage) -> String {
    // OFFSET keeps the planner from evaluating an expression again at each use.
    let rows = match stage {
        SyncStage::New => view_name(r.id).to_string(),
        _ => format!("(SELECT * FROM {} OFFSET 0)", view_name(r.id)),
    };
    format!(
        "SELECT count(*) AS rows, count(*) FILTER (WHERE {}) AS wrong FROM {rows} AS v",
        wrong(r, stage),
    )
}

/// Lists the first wrong rows by key, with expected and actual values.
pub fn list(
    r: &ColumnChange,
    stage: SyncStage,
    table: &QualifiedName,
    key: &[Ident],
    limit: i64,
) -> String {
    let pairs = |value: &dyn Fn(usize) -> String| -> String {
        let each = r
            .columns
            .iter()
            .enumerate()
            .map(|(n, c)| format!("{}, {}", Literal(c.name.as_str()), value(n)));
        each.collect::<Vec<_>>().join(", ")
    };
    let old = r.replaces.as_ref().map_or_else(String::new, |o| {
        format!("{}, v.{}, ", Literal(o.name.as_str()), Ident::new(OLD))
    });
    format!(
        "SELECT {}::pg_catalog.text AS key, pg_catalog.jsonb_build_object({old}{})::pg_catalog.text AS source, \
         pg_catalog.jsonb_build_object({old}{})::pg_catalog.text AS target \
         FROM {} AS v JOIN ONLY {table} AS r ON r.ctid OPERATOR(pg_catalog.=) v.{} WHERE {} LIMIT {limit}",
        key_of(key),
        pairs(&|n| format!("v.{}", up_name(n))),
        pairs(&|n| format!("v.{}", new_name(n))),
        view_name(r.id),
        Ident::new(PLACE),
        wrong(r, stage),
    )
}

/// The key of row `r` as a JSON document.
pub fn key_of(key: &[Ident]) -> String {
    if key.is_empty() {
        return "pg_catalog.jsonb_build_object('ctid', r.ctid::pg_catalog.text)".into();
    }
    let each: Vec<String> = key
        .iter()
        .map(|k| format!("{}, r.{k}", Literal(k.as_str())))
        .collect();
    format!("pg_catalog.jsonb_build_object({})", each.join(", "))
}

/// `$1` tid, `$2` tid: evaluates expressions over all rows of a slice.
pub fn evaluate_slice(table: &QualifiedName, expressions: &[String]) -> String {
    let alias = &table.name;
    format!(
        "SELECT count(ROW({})) FROM ONLY {table} AS {alias} WHERE {alias}.ctid OPERATOR(pg_catalog.>=) $1 AND {alias}.ctid OPERATOR(pg_catalog.<) $2",
        expressions.join(", ")
    )
}

/// `$1` text: the same for the row with this tid.
pub fn evaluated_one(table: &QualifiedName, expressions: &[String]) -> String {
    let alias = &table.name;
    format!(
        "SELECT count(ROW({})) FROM ONLY {table} AS {alias} WHERE {alias}.ctid OPERATOR(pg_catalog.=) $1::pg_catalog.tid",
        expressions.join(", ")
    )
}

/// `$1` tid, `$2` tid: returns the tids of the rows between, as text.
pub fn places_in(table: &QualifiedName) -> String {
    format!(
        "SELECT pg_catalog.to_jsonb(r.ctid::pg_catalog.text) FROM ONLY {table} AS r \
         WHERE r.ctid OPERATOR(pg_catalog.>=) $1 AND r.ctid OPERATOR(pg_catalog.<) $2"
    )
}

/// `$1` text: returns what identifies the row with this tid.
pub fn select_row_name(table: &QualifiedName, key: &[Ident]) -> String {
    let shown = row_name("r", key);
    format!(
        "SELECT {shown} FROM ONLY {table} AS r WHERE r.ctid OPERATOR(pg_catalog.=) $1::pg_catalog.tid"
    )
}

/// Lists the first rows for which a NOT NULL column would be null, each as one text.
pub fn nulls(table: &QualifiedName, c: &NewColumn, key: &[Ident], limit: usize) -> String {
    let alias = &table.name;
    format!(
        "SELECT pg_catalog.to_jsonb({}) FROM ONLY {table} AS {alias} WHERE {} IS NULL LIMIT {limit}",
        row_name(alias, key),
        super::cast_expression(&c.up, &c.type_text)
    )
}

/// Lists the rows of a sample whose old value changes in a round trip through the new column: key, value before, value after.
pub fn round_trip(
    table: &QualifiedName,
    r: &ColumnChange,
    old_type: &str,
    key: &[Ident],
    sample: u32,
) -> Option<String> {
    let old = r.replaces.as_ref()?;
    let alias = &table.name;
    let new: Vec<String> = r
        .columns
        .iter()
        .map(|c| {
            format!(
                "{} AS {}",
                super::cast_expression(&c.up, &c.type_text),
                c.name
            )
        })
        .collect();
    let back = super::cast_expression(&old.down, old_type);
    let shown = match key {
        [] => "'a row'".to_owned(),
        key => row_name("q", key),
    };
    Some(format!(
        "SELECT {shown} AS key, pg_catalog.left(q.{0}::pg_catalog.text, 60) AS was, pg_catalog.left(q.\"mig:back\"::pg_catalog.text, 60) AS back \
         FROM (SELECT {alias}.*, {back} AS \"mig:back\" FROM (SELECT {alias}.*, {1} FROM ONLY {table} AS {alias} LIMIT {sample}) AS {alias}) q \
         WHERE {2} LIMIT 3",
        old.name,
        new.join(", "),
        differ(&format!("q.{}", old.name), "q.\"mig:back\""),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_application_wrote_is_not_wrong_for_not_coming_back() {
        let (_, r) = super::super::tests::jsonb();
        let text = wrong(&r, SyncStage::Old);
        assert!(text.starts_with(
            "(ROW(v.\"new:1\")::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(v.\"up:1\")"
        ));
        assert!(text.contains(
            "ROW(v.\"old\")::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(v.\"down\")"
        ));
        assert!(text.contains("v.\"new:1\" IS NULL AND"));
    }
}
