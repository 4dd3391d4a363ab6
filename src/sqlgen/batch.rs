//! The statements of one backfill batch. Lock first, then read with a newer snapshot: a single statement that waited for a lock
//! would continue with values from before the wait.

use crate::ident::list;
use crate::sqlgen::direction::Flow;
use crate::sqlgen::{mirror, view_names};

/// Condition for the rows of a slice: `$1` is its first tid, `$2` the first tid after it.
pub fn slice(alias: &str) -> String {
    let place = view_names::place();
    format!(
        "{alias}.{place} OPERATOR(pg_catalog.>=) $1 AND {alias}.{place} OPERATOR(pg_catalog.<) $2"
    )
}

/// Locks the slice's free rows against change and returns their tids. FOR SHARE lets foreign-key checks of referencing rows
/// pass. SKIP LOCKED never waits, so no application can deadlock with a batch.
pub fn lock(flow: &Flow) -> String {
    if flow.locks_table() {
        return format!(
            "SELECT pg_catalog.array_agg(q.place) AS places, count(*) AS n FROM \
             (SELECT l.ctid AS place FROM {} AS l WHERE l.ctid OPERATOR(pg_catalog.>=) $1 AND l.ctid OPERATOR(pg_catalog.<) $2 \
             FOR SHARE OF l SKIP LOCKED) q",
            flow.touched,
        );
    }
    format!(
        "SELECT pg_catalog.array_agg(q.place) AS places, count(*) AS n FROM \
         (SELECT v.{} AS place FROM {} AS v WHERE {} FOR SHARE OF v SKIP LOCKED) q",
        view_names::place(),
        flow.view,
        slice("v"),
    )
}

/// `$1` tid[]: copies the locked rows that the written table lacks.
pub fn copy(flow: &Flow) -> String {
    insert(flow, &at_places())
}

/// As `copy`, but does not even try to insert rows that the written table has already.
pub fn copy_missing(flow: &Flow) -> String {
    insert(
        flow,
        &format!(
            "{} AND NOT EXISTS (SELECT FROM {} AS t WHERE {})",
            at_places(),
            flow.written,
            join_own_row(flow)
        ),
    )
}

/// `$1` text[] the key: copies one row.
pub fn copy_one(flow: &Flow) -> String {
    insert(flow, &flow.view_key_text("v"))
}

fn at_places() -> String {
    format!("v.{} OPERATOR(pg_catalog.=) ANY ($1)", view_names::place())
}

/// A row that exists already was written by the mirror and is equal by then; for the reverse direction see `renew`.
fn insert(flow: &Flow, condition: &str) -> String {
    let columns = list(&flow.columns);
    format!(
        "INSERT INTO {} AS t ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {} AS v WHERE {condition} \
         ON CONFLICT ({}) DO NOTHING",
        flow.written,
        flow.view,
        list(&flow.arbiter),
    )
}

/// `$1` tid[]: updates written rows that no mirror kept up to date to the values of the locked rows.
pub fn renew(flow: &Flow) -> String {
    mirror::renew(flow, &at_places())
}

/// `$1` text[] the key: as `renew`, for one row.
pub fn renew_one(flow: &Flow) -> String {
    mirror::renew(flow, &flow.view_key_text("v"))
}

/// `$1` tid[] of locked target rows that were brought back: sets the columns that expressions make to what these make of the old rows. `forth`
/// is the forward direction. None where there is no such column.
pub fn settle(forth: &Flow) -> Option<String> {
    settle_where(forth, "t.ctid OPERATOR(pg_catalog.=) ANY ($1)")
}

/// `$1` text[] the key in the target: as `settle`, for one row.
pub fn settle_one(forth: &Flow, back: &Flow) -> Option<String> {
    settle_where(forth, &back.touched_key_text("t"))
}

fn settle_where(forth: &Flow, condition: &str) -> Option<String> {
    let made = forth.made_by_expressions()?;
    Some(mirror::renew(&made, condition))
}

/// `$1`, `$2` the slice, `$3` tid[] the locked rows: returns the keys of existing rows that were not locked.
pub fn leftovers(flow: &Flow) -> String {
    format!(
        "SELECT {} AS key FROM {} AS v WHERE {} AND NOT EXISTS \
         (SELECT FROM pg_catalog.unnest($3) AS l(place) WHERE l.place OPERATOR(pg_catalog.=) v.{})",
        flow.key_text("v"),
        flow.view,
        slice("v"),
        view_names::place(),
    )
}

/// `$1`, `$2` the slice: returns the keys of all its rows, for a slice with a row that cannot be copied.
pub fn keys(flow: &Flow) -> String {
    format!(
        "SELECT {} AS key FROM {} AS v WHERE {}",
        flow.key_text("v"),
        flow.view,
        slice("v")
    )
}

/// `$1` tid[]: returns the keys of the rows with these tids.
pub fn keys_at(flow: &Flow) -> String {
    format!(
        "SELECT {} AS key FROM {} AS v WHERE {}",
        flow.key_text("v"),
        flow.view,
        at_places()
    )
}

/// `$1` tid[]: returns the keys of locked rows that the target lacks in this scope although the copy did not fail: a row of
/// another scope has their key.
pub fn select_refused(flow: &Flow) -> String {
    format!(
        "SELECT {} AS key FROM {} AS v WHERE v.{} OPERATOR(pg_catalog.=) ANY ($1) AND NOT EXISTS (SELECT FROM {} AS t WHERE {})",
        flow.key_text("v"),
        flow.view,
        view_names::place(),
        flow.written,
        join_own_row(flow),
    )
}

/// `$1` text[] the key: whether the written table has the row in this scope; no result where the source lacks it.
pub fn select_arrived(flow: &Flow) -> String {
    format!(
        "SELECT EXISTS (SELECT FROM {} AS t WHERE {}) AS arrived FROM {} AS v WHERE {}",
        flow.written,
        join_own_row(flow),
        flow.view,
        flow.view_key_text("v"),
    )
}

/// `$1` text[] the key: locks the row, and waits for that unless `skip` is set.
pub fn lock_one(flow: &Flow, skip: bool) -> String {
    let (from, key) = match flow.locks_table() {
        true => (&flow.touched, flow.touched_key_text("v")),
        false => (&flow.view, flow.view_key_text("v")),
    };
    let skip = if skip { " SKIP LOCKED" } else { "" };
    format!("SELECT 1 FROM {from} AS v WHERE {key} FOR SHARE OF v{skip}")
}

/// `$1` text[] the key: whether the touched table itself has the row; in a merge, the view may have it from another source.
pub fn is_here(flow: &Flow) -> String {
    format!(
        "SELECT 1 FROM {} AS v WHERE {}",
        flow.touched,
        flow.touched_key_text("v")
    )
}

/// `$1` text[] the key: returns one row where the source has it.
pub fn exists(flow: &Flow) -> String {
    let key = flow.view_key_text("v");
    format!("SELECT 1 FROM {} AS v WHERE {key}", flow.view)
}

/// Joins the view's row `v` with this mapping's row `t` of the written table.
fn join_own_row(flow: &Flow) -> String {
    let own = flow.own.iter().cloned();
    own.chain([flow.meets("v", "t")])
        .collect::<Vec<_>>()
        .join(" AND ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture;

    fn flow() -> Flow {
        let (source, target, layout) = fixture::sign_ups();
        Flow::forward(7, &source.name, &target, &layout)
    }

    #[test]
    fn locks_share_and_never_wait() {
        assert_eq!(
            lock(&flow()),
            "SELECT pg_catalog.array_agg(q.place) AS places, count(*) AS n FROM \
             (SELECT v.\"mig:ctid\" AS place FROM \"mig\".\"m7_forward\" AS v WHERE v.\"mig:ctid\" OPERATOR(pg_catalog.>=) $1 \
             AND v.\"mig:ctid\" OPERATOR(pg_catalog.<) $2 FOR SHARE OF v SKIP LOCKED) q"
        );
    }

    #[test]
    fn copies_by_place_and_names_the_arbiter() {
        let sql = copy(&flow());
        assert!(sql.ends_with("WHERE v.\"mig:ctid\" OPERATOR(pg_catalog.=) ANY ($1) ON CONFLICT (\"id\") DO NOTHING"), "{sql}");
    }
}
