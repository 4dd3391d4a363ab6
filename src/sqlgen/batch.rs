//! The statements of one backfill batch. Lock, then read with a newer snapshot: a single statement that
//! waited for a lock would go on with values from before the wait.

use crate::ident::{Ident, QualifiedName, list};
use crate::model::layout::Layout;
use crate::sqlgen::{mirror, view};

/// `$1` and `$2`: the slice's first place and the first place after it.
fn slice(alias: &str) -> String {
    let place = view::place();
    format!(
        "{alias}.{place} OPERATOR(pg_catalog.>=) $1 AND {alias}.{place} OPERATOR(pg_catalog.<) $2"
    )
}

/// Locks the slice's free rows against change and returns their places. FOR SHARE lets foreign-key checks
/// of referencing rows pass; SKIP LOCKED never waits, so no application can deadlock with a batch.
pub fn lock(id: i32) -> String {
    format!(
        "SELECT pg_catalog.array_agg(q.place) AS places, count(*) AS n FROM \
         (SELECT v.{} AS place FROM {} AS v WHERE {} FOR SHARE OF v SKIP LOCKED) q",
        view::place(),
        view::name(id),
        slice("v"),
    )
}

/// `$1` tid[]: copies the locked rows. A row that the mirror brought already is equal by then.
pub fn copy(id: i32, target: &QualifiedName, layout: &Layout) -> String {
    insert(
        id,
        target,
        layout,
        &format!("v.{} OPERATOR(pg_catalog.=) ANY ($1)", view::place()),
    )
}

/// `$1` text[] the key: copies one row.
pub fn copy_one(id: i32, target: &QualifiedName, layout: &Layout) -> String {
    insert(id, target, layout, &mirror::source_key_text("v", layout))
}

fn insert(id: i32, target: &QualifiedName, layout: &Layout, condition: &str) -> String {
    let written: Vec<&Ident> = layout
        .columns
        .iter()
        .filter(|c| c.insert)
        .map(|c| &c.name)
        .collect();
    let columns = list(written);
    format!(
        "INSERT INTO {target} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {} AS v WHERE {condition} \
         ON CONFLICT ({}) DO NOTHING",
        view::name(id),
        list(&layout.arbiter),
    )
}

/// `$1`, `$2` the slice, `$3` tid[] the locked places: keys of the rows that are there and were not locked.
pub fn leftovers(id: i32, layout: &Layout) -> String {
    format!(
        "SELECT {} AS key FROM {} AS v WHERE {} AND NOT EXISTS \
         (SELECT FROM pg_catalog.unnest($3) AS l(place) WHERE l.place OPERATOR(pg_catalog.=) v.{})",
        key_text("v", layout),
        view::name(id),
        slice("v"),
        view::place(),
    )
}

/// `$1`, `$2` the slice: keys of all its rows, for a slice that holds a row which cannot be copied.
pub fn keys(id: i32, layout: &Layout) -> String {
    format!(
        "SELECT {} AS key FROM {} AS v WHERE {}",
        key_text("v", layout),
        view::name(id),
        slice("v")
    )
}

/// `$1` tid[]: keys of locked rows that the target does not have in this scope, although the copy did not fail:
/// a row of another scope holds their key.
pub fn refused(id: i32, target: &QualifiedName, layout: &Layout) -> String {
    format!(
        "SELECT {} AS key FROM {} AS v WHERE v.{} OPERATOR(pg_catalog.=) ANY ($1) AND NOT EXISTS (SELECT FROM {target} AS t WHERE {})",
        key_text("v", layout),
        view::name(id),
        view::place(),
        joined(layout),
    )
}

/// `$1` text[] the key: 1 where the row is in both the source and the target's scope.
pub fn arrived(id: i32, target: &QualifiedName, layout: &Layout) -> String {
    format!(
        "SELECT EXISTS (SELECT FROM {target} AS t WHERE {}) AS arrived FROM {} AS v WHERE {}",
        joined(layout),
        view::name(id),
        mirror::source_key_text("v", layout),
    )
}

/// `$1` text[] the key: waits for the row's lock.
pub fn lock_one(id: i32, layout: &Layout, skip: bool) -> String {
    format!(
        "SELECT 1 FROM {} AS v WHERE {} FOR SHARE OF v{}",
        view::name(id),
        mirror::source_key_text("v", layout),
        if skip { " SKIP LOCKED" } else { "" },
    )
}

/// `$1` text[] the key: one row where the source has it.
pub fn exists(id: i32, layout: &Layout) -> String {
    let key = mirror::source_key_text("v", layout);
    format!("SELECT 1 FROM {} AS v WHERE {key}", view::name(id))
}

fn joined(layout: &Layout) -> String {
    let key = layout.key.iter().enumerate().map(|(n, k)| {
        format!(
            "t.{} OPERATOR({}.{}) v.{}",
            k.target,
            k.equals.schema,
            k.equals.name.as_str(),
            view::key_name(n)
        )
    });
    mirror::scope_is_mine("t", layout)
        .into_iter()
        .chain(key)
        .collect::<Vec<_>>()
        .join(" AND ")
}

fn key_text(alias: &str, layout: &Layout) -> String {
    let parts: Vec<String> = (0..layout.key.len())
        .map(|n| format!("{alias}.{}::pg_catalog.text", view::key_name(n)))
        .collect();
    format!("ARRAY[{}]", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture;

    #[test]
    fn locks_share_and_never_wait() {
        assert_eq!(
            lock(7),
            "SELECT pg_catalog.array_agg(q.place) AS places, count(*) AS n FROM \
             (SELECT v.\"mig:ctid\" AS place FROM \"mig\".\"m7_forward\" AS v WHERE v.\"mig:ctid\" OPERATOR(pg_catalog.>=) $1 \
             AND v.\"mig:ctid\" OPERATOR(pg_catalog.<) $2 FOR SHARE OF v SKIP LOCKED) q"
        );
    }

    #[test]
    fn copies_by_place_and_names_the_arbiter() {
        let (_, target, layout) = fixture::sign_ups();
        let sql = copy(7, &target, &layout);
        assert!(sql.ends_with("WHERE v.\"mig:ctid\" OPERATOR(pg_catalog.=) ANY ($1) ON CONFLICT (\"id\") DO NOTHING"), "{sql}");
    }
}
