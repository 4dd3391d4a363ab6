//! Repairs the target's rows of given keys, or deletes them. As in a batch, lock first and decide with a newer snapshot; see
//! `batch`. `$1` jsonb: the keys, an array of arrays of text.

use crate::ident::{Ident, QualifiedName, list};
use crate::model::reference::ColumnPair as Columns;
use crate::sqlgen::checksum::{ComparedPair, Side};
use crate::sqlgen::direction::{Flow, FlowKey};
use crate::sqlgen::{batch, mirror, view_names};
use std::collections::BTreeSet;

/// A foreign key that refers to the target.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct InboundKey {
    pub child: QualifiedName,
    pub pairs: Vec<Columns>,
}

fn places(place: &str, from: &str, lock: &str) -> String {
    format!(
        "SELECT pg_catalog.array_agg(q.place) AS places, count(*) AS n FROM \
         (SELECT r.{place} AS place {from} FOR {lock} OF r SKIP LOCKED) q"
    )
}

/// Locks the free source rows of these keys against change and returns their tids.
pub fn lock_source(pair: &ComparedPair) -> String {
    let from = pair.from(Side::Source, pair.chosen().on_side(Side::Source));
    places(&view_names::place().to_string(), &from, "SHARE")
}

/// Locks the free target rows of these keys: an UPDATE of a row that is not free would wait and keep the other rows locked.
pub fn lock_target(pair: &ComparedPair) -> String {
    let from = pair.from(Side::Target, pair.chosen().on_side(Side::Target));
    places("ctid", &from, "NO KEY UPDATE")
}

/// `$1` tid[] of source rows, `$2` tid[] of target rows, all locked: updates those that differ.
pub fn renew(flow: &Flow) -> String {
    mirror::renew(flow, &match_locked_pair())
}

/// As `renew`, for key columns that are equal but have different texts (1.0 and 1.00).
pub fn renew_keys(flow: &Flow) -> Option<String> {
    let own = flow.fixed.iter().filter(|c| !flow.marks.contains(c));
    let keys: BTreeSet<&Ident> = own.collect();
    let each = |f: &dyn Fn(&Ident) -> String, by: &str| {
        keys.iter().map(|c| f(c)).collect::<Vec<_>>().join(by)
    };
    (!keys.is_empty()).then(|| {
        format!(
            "UPDATE {} AS t SET {} FROM {} AS v WHERE {} AND {} AND ({})",
            flow.written,
            each(&|c| format!("{c} = v.{c}"), ", "),
            flow.view,
            match_locked_pair(),
            flow.meets("v", "t"),
            each(
                &|c| format!("v.{c}::pg_catalog.text <> t.{c}::pg_catalog.text"),
                " OR "
            ),
        )
    })
}

/// `$1` jsonb: locks the rows of these keys in one source of a merge and returns their keys.
pub fn lock_part(part: &Flow) -> String {
    let key: Vec<String> = part
        .key
        .iter()
        .map(|k| format!("s.{}::pg_catalog.text", k.touched))
        .collect();
    format!(
        "SELECT pg_catalog.jsonb_agg(q.key) FROM (SELECT pg_catalog.jsonb_build_array({}) AS key FROM {} AS s \
         WHERE EXISTS (SELECT FROM pg_catalog.jsonb_array_elements($1) AS c(key) WHERE {}) FOR SHARE OF s SKIP LOCKED) q",
        key.join(", "),
        part.touched,
        by_key(part, match_key_part),
    )
}

/// Whether part `n` of the key of row `s` equals that in the document `c`.
fn match_key_part(n: usize, k: &FlowKey) -> String {
    let value = format!("(c.key OPERATOR(pg_catalog.->>) {n})::{}", k.type_text);
    k.equals.infix(&format!("s.{}", k.touched), &value)
}

fn by_key(part: &Flow, one: impl Fn(usize, &FlowKey) -> String) -> String {
    let each = part.key.iter().enumerate().map(|(n, k)| one(n, k));
    each.collect::<Vec<_>>().join(" AND ")
}

/// `$1` jsonb the keys, `$2` jsonb for each part the keys of its locked rows: inserts the rows that the target lacks if all
/// their parts are locked.
pub fn insert_whole(flow: &Flow, pair: &ComparedPair, parts: &[Flow]) -> String {
    let columns = list(&flow.columns);
    let free = parts.iter().enumerate().map(|(at, part)| {
        let same = by_key(part, |n, k| {
            k.equals.infix(&format!("s.{}", k.touched), &format!("r.{}", view_names::key_name(n)))
        });
        let is_locked = by_key(part, match_key_part);
        format!(
            " AND NOT EXISTS (SELECT FROM {} AS s WHERE {same} AND NOT EXISTS (SELECT FROM \
             pg_catalog.jsonb_array_elements($2 OPERATOR(pg_catalog.->) {at}) AS c(key) WHERE {is_locked}))",
            part.touched
        )
    });
    format!(
        "INSERT INTO {} AS t ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} {} AND NOT EXISTS (SELECT FROM {} AS n WHERE {}){} \
         ON CONFLICT ({}) DO NOTHING",
        flow.written,
        pair.from(Side::Source, pair.chosen().on_side(Side::Source)),
        flow.written,
        flow.meets("r", "n"),
        free.collect::<String>(),
        list(&flow.arbiter),
    )
}

fn match_locked_pair() -> String {
    format!(
        "v.{} OPERATOR(pg_catalog.=) ANY ($1) AND t.ctid OPERATOR(pg_catalog.=) ANY ($2)",
        view_names::place()
    )
}

/// `$1` tid[] of locked source rows: inserts those that the target lacks. ON CONFLICT alone would wait for a transaction that
/// is updating the target row (check_exclusion_or_unique_constraint in execIndexing.c) and keep all others locked meanwhile.
pub fn insert(flow: &Flow) -> String {
    batch::copy_missing(flow)
}

/// Locks the target rows of these keys that have no source row and returns their tids.
pub fn lock_stale(pair: &ComparedPair, flow: &Flow) -> String {
    let condition = format!(
        "{} AND NOT EXISTS (SELECT FROM {} AS v WHERE {})",
        pair.chosen().on_side(Side::Target),
        flow.view,
        flow.met_by("v", "r")
    );
    places("ctid", &pair.from(Side::Target, &condition), "UPDATE")
}

/// `$1` tid[] of locked target rows: deletes those that still have no source row and that no row refers to: an ON DELETE action
/// would delete rows that do have a source row.
pub fn delete(flow: &Flow, inbound: &[InboundKey]) -> String {
    const CHILD: &str = "\"mig:c\"";
    let referred = inbound.iter().map(|i| {
        let same: Vec<String> = i
            .pairs
            .iter()
            .map(|p| p.join_condition("t", CHILD))
            .collect();
        format!(
            " AND NOT EXISTS (SELECT FROM {} AS {CHILD} WHERE {})",
            i.child,
            same.join(" AND ")
        )
    });
    format!(
        "DELETE FROM {} AS t WHERE t.ctid OPERATOR(pg_catalog.=) ANY ($1) AND NOT EXISTS (SELECT FROM {} AS v WHERE {}){}",
        flow.written,
        flow.view,
        flow.met_by("v", "t"),
        referred.collect::<String>(),
    )
}
