//! Compares both sides: sums a hash of each row. Where the sums differ, rows are joined by key; in large tables only those in
//! the buckets (of key hashes) that differ.

use crate::ident::{Ident, QualifiedName};
use crate::model::layout::{Compare, KeyColumn, Layout, TargetColumn};
use crate::sqlgen::scope::scope_is_mine;
use crate::sqlgen::view_names;

mod keyed;

pub use keyed::Condition;

const BUCKETS: u32 = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Rows of the mapping's view: what the target should hold.
    Source,
    /// The target's rows of the scope.
    Target,
}

impl Side {
    pub const BOTH: [Side; 2] = [Side::Source, Side::Target];
}

/// Both sides of one mapping, with the same column names.
pub struct ComparedPair<'a> {
    id: i32,
    target: &'a QualifiedName,
    layout: &'a Layout,
}

impl<'a> ComparedPair<'a> {
    pub fn new(id: i32, target: &'a QualifiedName, layout: &'a Layout) -> Self {
        Self { id, target, layout }
    }

    /// Returns `FROM … AS r WHERE …`, with one more condition over `r`.
    pub fn from(&self, side: Side, condition: &str) -> String {
        match side {
            Side::Source => format!("FROM {} AS r WHERE {condition}", view_names::name(self.id)),
            Side::Target => {
                let own = scope_is_mine("r", self.layout);
                let own = own.map_or(String::new(), |s| format!("{s} AND "));
                format!("FROM {} AS r WHERE {own}{condition}", self.target)
            }
        }
    }

    /// Counts the rows of one side and sums their hashes in one pass. With `sliced`, `$1` and `$2` are the first tid and the
    /// first tid after the slice.
    pub fn total(&self, side: Side, sliced: bool) -> String {
        let condition = if sliced {
            let place = place(side);
            format!("r.{place} OPERATOR(pg_catalog.>=) $1 AND r.{place} OPERATOR(pg_catalog.<) $2")
        } else {
            "true".to_owned()
        };
        format!(
            "SELECT count(*) AS rows, coalesce(sum({}), 0)::pg_catalog.text AS hash {}",
            self.hash(),
            self.from(side, &condition),
        )
    }

    /// The same for each bucket. Three times as slow as `total`, so it runs only where the totals differ and the tables are too
    /// large for a full join.
    pub fn buckets(&self, side: Side) -> String {
        format!(
            "SELECT q.b AS bucket, count(*) AS rows, sum(q.h)::pg_catalog.text AS hash FROM (SELECT {} AS b, {} AS h {}) q GROUP BY q.b",
            self.bucket(),
            self.hash(),
            self.from(side, "true"),
        )
    }

    /// Counts the rows of one side that `condition` selects.
    pub fn count(&self, side: Side, condition: &Condition) -> String {
        let from = self.from(side, condition.on_side(side));
        format!("SELECT count(*) AS rows {from}")
    }

    /// Rows in the buckets `$1` int[].
    pub fn in_buckets(&self) -> Condition {
        Condition::on_both(format!("{} = ANY ($1)", self.bucket()))
    }

    /// Selects the rows that differ, among those of `condition`, as (kind, key, new_key, k0 …). `key` is the source key, null
    /// where a target row has none; `new_key` is the target key. `$2`, `$3`: the tid range of source rows that are not copied
    /// yet; rows missing there are pending. A null tid (the row comes from another source of a merge) counts as (0,0). `$4`
    /// jsonb: keys of pending rows.
    pub fn select_differing(&self, condition: &Condition) -> String {
        let side = |side: Side| {
            let key = self.layout.key.iter().enumerate();
            let key: Vec<String> = key
                .map(|(n, k)| format!("r.{} AS k{n}", k.target))
                .collect();
            format!(
                "SELECT {}, {} AS key, {} AS h, r.{} AS place {}",
                key.join(", "),
                match side {
                    Side::Source => self.old_key_text(),
                    Side::Target => "NULL::pg_catalog.text[]".to_owned(),
                },
                self.hash(),
                place(side),
                self.from(side, condition.on_side(side)),
            )
        };
        let numbers = 0..self.layout.key.len();
        let key: Vec<String> = numbers
            .map(|n| format!("coalesce(s.k{n}, t.k{n}) AS k{n}"))
            .collect();
        let same: Vec<String> = self
            .layout
            .key
            .iter()
            .enumerate()
            .map(|(n, k)| {
                k.target_equals()
                    .infix(&format!("s.k{n}"), &format!("t.k{n}"))
            })
            .collect();
        let texts = |part: &dyn Fn(usize) -> String| {
            let parts: Vec<String> = (0..self.layout.key.len())
                .map(|n| format!("{}::pg_catalog.text", part(n)))
                .collect();
            format!("ARRAY[{}]", parts.join(", "))
        };
        format!(
            "SELECT CASE WHEN s.h IS NULL THEN 'extra' \
             WHEN pg_catalog.to_jsonb(s.key) IN (SELECT pg_catalog.jsonb_array_elements($4)) THEN 'pending' WHEN t.h IS NOT NULL THEN 'different' \
             WHEN coalesce(s.place, '(0,0)') OPERATOR(pg_catalog.>=) $2 AND coalesce(s.place, '(0,0)') OPERATOR(pg_catalog.<) $3 THEN 'pending' \
             ELSE 'missing' END AS kind, \
             coalesce(s.key, {}) AS key, {} AS new_key, {} FROM ({}) s FULL JOIN ({}) t ON {} WHERE s.h IS DISTINCT FROM t.h",
            texts(&|n| self.old_part(n, &format!("t.k{n}"))),
            texts(&|n| format!("coalesce(s.k{n}, t.k{n})")),
            key.join(", "),
            side(Side::Source),
            side(Side::Target),
            same.join(" AND "),
        )
    }

    /// Counts the rows of `select_differing` by kind.
    pub fn count_differing(&self, condition: &Condition) -> String {
        format!(
            "SELECT d.kind, count(*) AS rows FROM ({}) d GROUP BY d.kind",
            self.select_differing(condition)
        )
    }

    /// Lists the first `$5` rows of `select_differing` by key, without pending ones.
    pub fn list_differing(&self, condition: &Condition) -> String {
        let order: Vec<String> = (0..self.layout.key.len())
            .map(|n| format!("d.k{n}"))
            .collect();
        format!(
            "SELECT d.kind, d.key, d.new_key FROM ({}) d WHERE d.kind <> 'pending' ORDER BY {} LIMIT $5",
            self.select_differing(condition),
            order.join(", ")
        )
    }

    /// Lists the keys of `select_differing` that can be stored as pending rows, each as one JSON array.
    pub fn list_keys_to_note(&self, condition: &Condition) -> String {
        format!(
            "SELECT pg_catalog.to_jsonb(d.key)::pg_catalog.text FROM ({}) d WHERE d.kind <> 'pending' \
             AND pg_catalog.array_position(d.key, NULL) IS NULL",
            self.select_differing(condition)
        )
    }

    /// Lists the first `$1` keys that several rows of a side have, as text.
    pub fn list_repeated(&self, side: Side) -> String {
        let names: Vec<String> = (0..self.layout.key.len())
            .map(|n| match side {
                Side::Source => format!("r.{}", view_names::key_name(n)),
                Side::Target => format!("r.{}", self.layout.key[n].target),
            })
            .collect();
        let texts: Vec<String> = names
            .iter()
            .map(|name| format!("{name}::pg_catalog.text"))
            .collect();
        format!(
            "SELECT ARRAY[{}] AS key {} GROUP BY {} HAVING count(*) > 1 ORDER BY 1 LIMIT $1",
            texts.join(", "),
            self.from(side, "true"),
            names.join(", ")
        )
    }

    /// Hashes by value, so that different texts of one key fall into the same bucket.
    fn bucket(&self) -> String {
        let by_value = |k: &KeyColumn| {
            if k.hashable {
                format!("r.{}", k.target)
            } else {
                format!("r.{}::pg_catalog.text", k.target)
            }
        };
        let key: Vec<String> = self.layout.key.iter().map(by_value).collect();
        // A mask, not a remainder, because hashes are signed.
        format!(
            "(pg_catalog.hash_record_extended(ROW({}), 0) & {})::int",
            key.join(", "),
            BUCKETS - 1
        )
    }

    fn hash(&self) -> String {
        let all: Vec<String> = self.layout.columns.iter().map(hash_input).collect();
        // A target list has at most 1664 entries; ROW() takes as many as a table has columns.
        format!(
            "pg_catalog.hash_record_extended(ROW({}), 0)",
            all.join(", ")
        )
    }
}

/// A value is compared by its text; `guc::EXACT` fixes the output format of numbers and dates. Collation "C", because another
/// collation may treat different texts as equal.
fn hash_input(column: &TargetColumn) -> String {
    match column.compare {
        Compare::Hash => format!("r.{}", column.name),
        Compare::Text => format!(
            "r.{}::pg_catalog.text COLLATE pg_catalog.\"C\"",
            column.name
        ),
    }
}

fn place(side: Side) -> Ident {
    match side {
        Side::Source => view_names::place(),
        Side::Target => "ctid".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture;

    #[test]
    fn both_sides_hash_the_same_columns() {
        let (_, target, layout) = fixture::sign_ups();
        let pair = ComparedPair::new(7, &target, &layout);
        let hash = "pg_catalog.hash_record_extended(ROW(r.\"project_id\", r.\"id\"::pg_catalog.text COLLATE pg_catalog.\"C\"";
        let source = pair.total(Side::Source, false);
        let theirs = pair.total(Side::Target, true);
        assert!(source.contains(hash), "{source}");
        assert!(theirs.contains(hash), "{theirs}");
        assert!(
            source.contains("FROM \"mig\".\"m7_forward\" AS r WHERE true"),
            "{source}"
        );
        assert!(
            theirs.contains("WHERE r.\"project_id\" OPERATOR(pg_catalog.=) '00000000-0000-0000-0000-000000000001'::uuid AND r.\"ctid\""),
            "{theirs}"
        );
    }
}
