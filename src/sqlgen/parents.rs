//! Locking what rows refer to before they are written: the check of a foreign key then finds its row locked by us already,
//! and waits for nobody.

use crate::ident::QualifiedName;
use crate::model::reference::Pair;
use crate::sqlgen::flow::Flow;
use crate::sqlgen::view;

/// A foreign key of the target.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Outbound {
    pub parent: QualifiedName,
    /// Owner of that table: as whom PostgreSQL itself looks rows up there (ri_PerformCheck).
    pub owner: u32,
    pub pairs: Vec<Typed>,
}

#[derive(Clone, Debug, serde::Deserialize)]
pub struct Typed {
    pub columns: Pair,
    pub child_type: String,
    pub parent_type: String,
}

/// `$1` tid[] places of old rows: what they refer to, as an array of arrays of text.
pub fn named(flow: &Flow, key: &Outbound) -> String {
    let columns = || key.pairs.iter().map(|p| format!("v.{}", p.columns.child));
    let texts: Vec<String> = columns().map(|c| format!("{c}::pg_catalog.text")).collect();
    let given: Vec<String> = columns().map(|c| format!("{c} IS NOT NULL")).collect();
    format!(
        "SELECT coalesce(pg_catalog.jsonb_agg(DISTINCT pg_catalog.jsonb_build_array({})), '[]') AS keys FROM {} AS v WHERE {} AND {}",
        texts.join(", "),
        flow.view,
        at_places(),
        given.join(" AND "),
    )
}

/// `$1` jsonb, as `named` gives it: locks those rows that are free, as the check of a foreign key does, and returns their
/// keys.
pub fn lock(key: &Outbound) -> String {
    let texts: Vec<String> = key
        .pairs
        .iter()
        .map(|p| format!("p.{}::pg_catalog.text", p.columns.parent))
        .collect();
    let same: Vec<String> = key
        .pairs
        .iter()
        .enumerate()
        .map(|(n, p)| {
            let value = format!("(c.key OPERATOR(pg_catalog.->>) {n})::{}", p.child_type);
            equal(p, &format!("p.{}", p.columns.parent), &value)
        })
        .collect();
    format!(
        "SELECT coalesce(pg_catalog.jsonb_agg(q.key), '[]') AS keys FROM (SELECT pg_catalog.jsonb_build_array({}) AS key FROM ONLY {} AS p \
         WHERE EXISTS (SELECT FROM pg_catalog.jsonb_array_elements($1) AS c(key) WHERE {}) FOR KEY SHARE OF p SKIP LOCKED) q",
        texts.join(", "),
        key.parent,
        same.join(" AND "),
    )
}

/// `$1` tid[] places of old rows, `$2` jsonb, as `lock` gives it: the places of those that refer to one of these, or to
/// nothing.
pub fn served(flow: &Flow, key: &Outbound) -> String {
    let nothing = key
        .pairs
        .iter()
        .map(|p| format!("v.{} IS NULL", p.columns.child));
    let same: Vec<String> = key
        .pairs
        .iter()
        .enumerate()
        .map(|(n, p)| {
            let value = format!("(c.key OPERATOR(pg_catalog.->>) {n})::{}", p.parent_type);
            equal(p, &value, &format!("v.{}", p.columns.child))
        })
        .collect();
    format!(
        "SELECT pg_catalog.array_agg(q.place) AS places, count(*) AS n FROM (SELECT v.{} AS place FROM {} AS v WHERE {} AND ({} OR \
         EXISTS (SELECT FROM pg_catalog.jsonb_array_elements($2) AS c(key) WHERE {}))) q",
        view::place(),
        flow.view,
        at_places(),
        nothing.collect::<Vec<_>>().join(" OR "),
        same.join(" AND "),
    )
}

fn at_places() -> String {
    format!("v.{} OPERATOR(pg_catalog.=) ANY ($1)", view::place())
}

fn equal(pair: &Typed, left: &str, right: &str) -> String {
    match &pair.columns.equals {
        Some(o) => format!("{left} OPERATOR({}.{}) {right}", o.schema, o.name.as_str()),
        None => format!("{left} OPERATOR(pg_catalog.=) {right}"),
    }
}
