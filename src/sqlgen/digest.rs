//! The full comparison: both sides in one statement, so in one snapshot.

use crate::ident::{Ident, QualifiedName};
use crate::model::layout::Layout;
use crate::sqlgen::flow::scope_is_mine;
use crate::sqlgen::view;

/// Buckets of key hashes; only those that differ are opened row by row.
const BUCKETS: u32 = 1024;

/// One row for each bucket that either side has: bucket, rows and hash sum of each side.
/// Buckets, counts and sums come from one pass over each side.
pub fn buckets(id: i32, target: &QualifiedName, layout: &Layout) -> String {
    let side = |from: &str, filter: &str, alias: &str| {
        format!(
            "SELECT b, count(*) AS n, sum(h) AS h FROM (SELECT {} AS b, {} AS h FROM {from} AS {alias}{filter}) x GROUP BY b",
            bucket(alias, layout),
            hash_row(alias, layout),
        )
    };
    let own = scope_is_mine("t", layout).map_or(String::new(), |s| format!(" WHERE {s}"));
    format!(
        "SELECT coalesce(s.b, t.b)::int AS bucket, coalesce(s.n, 0) AS source_rows, coalesce(t.n, 0) AS target_rows, \
         s.n IS NOT DISTINCT FROM t.n AND s.h IS NOT DISTINCT FROM t.h AS same FROM ({}) s FULL JOIN ({}) t USING (b)",
        side(&view::name(id).to_string(), "", "v"),
        side(&target.to_string(), &own, "t"),
    )
}

/// `$1` int[]: the rows of these buckets that differ, as (kind, key).
pub fn differences(id: i32, target: &QualifiedName, layout: &Layout) -> String {
    let key = |alias: &str| {
        layout
            .key
            .iter()
            .map(|k| format!("{alias}.{}", k.target))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let side = |from: &str, filter: String, alias: &str| {
        let columns: Vec<String> = layout
            .key
            .iter()
            .enumerate()
            .map(|(n, k)| format!("{alias}.{} AS k{n}", k.target))
            .collect();
        format!(
            "SELECT {}, {} AS h, pg_catalog.jsonb_build_array({}) AS key FROM {from} AS {alias} WHERE {} = ANY ($1){filter}",
            columns.join(", "),
            hash_row(alias, layout),
            key(alias),
            bucket(alias, layout),
        )
    };
    let own = scope_is_mine("t", layout).map_or(String::new(), |s| format!(" AND {s}"));
    let using: Vec<String> = (0..layout.key.len()).map(|n| format!("k{n}")).collect();
    format!(
        "SELECT CASE WHEN t.h IS NULL THEN 'missing' WHEN s.h IS NULL THEN 'extra' ELSE 'different' END AS kind, \
         coalesce(s.key, t.key) AS key FROM ({}) s FULL JOIN ({}) t USING ({}) WHERE s.h IS DISTINCT FROM t.h",
        side(&view::name(id).to_string(), String::new(), "v"),
        side(&target.to_string(), own, "t"),
        using.join(", "),
    )
}

fn bucket(alias: &str, layout: &Layout) -> String {
    let key = layout.key.iter().map(|k| column(alias, &k.target, layout));
    format!(
        "(hash_record_extended(ROW({}), 0) & {})",
        key.collect::<Vec<_>>().join(", "),
        BUCKETS - 1
    )
}

fn hash_row(alias: &str, layout: &Layout) -> String {
    let all: Vec<String> = layout
        .columns
        .iter()
        .map(|c| column(alias, &c.name, layout))
        .collect();
    // A row has at most 1664 columns in a target list, but ROW() takes as many as a table can have.
    format!("hash_record_extended(ROW({}), 0)", all.join(", "))
}

/// Types without a hash function are compared by their text.
fn column(alias: &str, name: &Ident, layout: &Layout) -> String {
    let hashable = layout
        .columns
        .iter()
        .find(|c| c.name == *name)
        .is_none_or(|c| c.hashable);
    if hashable {
        format!("{alias}.{name}")
    } else {
        format!("{alias}.{name}::pg_catalog.text")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture;

    #[test]
    fn both_sides_hash_the_same_columns() {
        let (_, target, layout) = fixture::sign_ups();
        let sql = buckets(7, &target, &layout);
        assert!(sql.contains("hash_record_extended(ROW(v.\"project_id\", v.\"id\", v.\"round_id\", v.\"email\"), 0) AS h FROM \"mig\".\"m7_forward\" AS v)"), "{sql}");
        assert!(sql.contains("hash_record_extended(ROW(t.\"project_id\", t.\"id\", t.\"round_id\", t.\"email\"), 0) AS h"), "{sql}");
        assert!(
            sql.contains("WHERE t.\"project_id\" OPERATOR(pg_catalog.=)"),
            "{sql}"
        );
    }
}
