//! The first pass of the rollback from `stopped`: deletes source rows that the target no longer has. As in a batch, lock first
//! and decide with a newer snapshot; see `batch`.

use crate::sqlgen::batch::slice;
use crate::sqlgen::direction::Flow;
use crate::sqlgen::view_names;

/// Whether the target lacks row `v` of the source. `back` is the reverse direction.
fn stale(back: &Flow) -> String {
    format!(
        "NOT EXISTS (SELECT FROM {} AS r WHERE {})",
        back.view,
        back.stands_for("r", "v"),
    )
}

/// `$1`, `$2` the slice: locks its free stale rows and returns their tids.
pub fn lock(back: &Flow) -> String {
    let (join, locked) = match back.merged {
        true => (
            format!(
                " JOIN {} AS l ON l.ctid OPERATOR(pg_catalog.=) v.{}",
                back.written,
                view_names::place()
            ),
            "l",
        ),
        false => (String::new(), "v"),
    };
    format!(
        "SELECT pg_catalog.array_agg(q.place) AS places, count(*) AS n FROM \
         (SELECT v.{} AS place FROM {} AS v{join} WHERE {} AND {} FOR UPDATE OF {locked} SKIP LOCKED) q",
        view_names::place(),
        view_names::name(back.mapping),
        slice("v"),
        stale(back),
    )
}

/// `$1` tid[]: deletes the locked rows that are still stale.
pub fn delete(back: &Flow) -> String {
    format!(
        "DELETE FROM {} AS t WHERE t.ctid OPERATOR(pg_catalog.=) ANY ($1) AND NOT EXISTS (SELECT FROM {} AS v WHERE {})",
        back.written,
        back.view,
        back.met_by("v", "t"),
    )
}

/// `$1`, `$2` the slice, `$3` tid[] the locked rows: returns the keys of stale rows that were not locked.
pub fn leftovers(back: &Flow) -> String {
    format!(
        "{} AND NOT EXISTS (SELECT FROM pg_catalog.unnest($3) AS l(place) WHERE l.place OPERATOR(pg_catalog.=) v.{})",
        keys(back),
        view_names::place(),
    )
}

/// `$1`, `$2` the slice: returns the keys of its stale rows.
pub fn keys(back: &Flow) -> String {
    format!(
        "SELECT {} AS key FROM {} AS v WHERE {} AND {}",
        back.new_key_text("v"),
        view_names::name(back.mapping),
        slice("v"),
        stale(back),
    )
}

/// `$1` text[] the key: locks the source row with this key if it is free.
pub fn lock_one(back: &Flow) -> String {
    let there = exists(back);
    format!("{there} FOR UPDATE OF v SKIP LOCKED")
}

/// `$1` text[] the key: whether the source has it.
pub fn exists(back: &Flow) -> String {
    // In a merge, the view of one source also has rows that only another source has.
    let (from, key) = match back.merged {
        true => (back.written.clone(), back.written_key_text("v")),
        false => (view_names::name(back.mapping), back.forth_row_text("v")),
    };
    format!("SELECT 1 FROM {from} AS v WHERE {key}")
}

/// `$1` text[] the key: deletes the row if it is stale.
pub fn delete_one(back: &Flow) -> String {
    format!(
        "DELETE FROM {} AS t WHERE {} AND NOT EXISTS (SELECT FROM {} AS v WHERE {})",
        back.written,
        back.written_key_text("t"),
        back.view,
        back.met_by("v", "t"),
    )
}
