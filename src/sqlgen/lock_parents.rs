//! Locks the referenced rows before the referencing rows are written: the foreign-key check then finds its row locked by its
//! own transaction and does not wait.

use crate::ident::QualifiedName;
use crate::model::reference::ColumnPair;
use crate::sqlgen::direction::Flow;
use crate::sqlgen::view_names;

/// A foreign key of the target.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct OutboundKey {
    pub parent: QualifiedName,
    /// Owner of the referenced table: the role as which PostgreSQL looks up rows there (ri_PerformCheck).
    pub owner: u32,
    pub pairs: Vec<TypedPair>,
}

#[derive(Clone, Debug, serde::Deserialize)]
pub struct TypedPair {
    /// The pair, with the equality operator of the referenced table's key.
    pub columns: ColumnPair,
    /// Type of the referenced column.
    #[serde(rename = "type")]
    pub type_text: String,
}

/// `$1` tid[] of source rows: returns the keys that they refer to, as an array of arrays of text.
pub fn select_parent_keys(flow: &Flow, key: &OutboundKey) -> String {
    let given: Vec<String> = columns(key).map(|c| format!("{c} IS NOT NULL")).collect();
    format!(
        "SELECT coalesce(pg_catalog.jsonb_agg(DISTINCT {}), '[]') AS keys FROM {} AS v WHERE {} AND {}",
        texts(key),
        flow.view,
        at_places(),
        given.join(" AND "),
    )
}

/// `$1` jsonb, as `select_parent_keys` returns it: locks the free rows of the referenced table, as the foreign-key check does,
/// and returns their keys. It runs as that table's owner, so it must not use types and operators of any other role.
pub fn lock(key: &OutboundKey) -> String {
    of_parents(key, " FOR KEY SHARE OF p SKIP LOCKED")
}

/// As `lock`, without locking: returns the keys that exist.
pub fn present(key: &OutboundKey) -> String {
    of_parents(key, "")
}

fn of_parents(key: &OutboundKey, lock: &str) -> String {
    let same: Vec<String> = key
        .pairs
        .iter()
        .enumerate()
        .map(|(n, p)| {
            let value = format!("(c.key OPERATOR(pg_catalog.->>) {n})::{}", p.type_text);
            let left = format!("p.{}", p.columns.parent);
            match &p.columns.equals {
                Some(o) => o.infix(&left, &value),
                None => format!("{left} OPERATOR(pg_catalog.=) {value}"),
            }
        })
        .collect();
    format!(
        "SELECT coalesce(pg_catalog.jsonb_agg(q.key), '[]') AS keys FROM (SELECT c.key FROM pg_catalog.jsonb_array_elements($1) AS c(key) \
         JOIN ONLY {} AS p ON {}{lock}) q",
        key.parent,
        same.join(" AND "),
    )
}

/// `$1` tid[] of source rows, `$2` jsonb, as `lock` returns it: returns the tids of rows that refer to one of these keys, or to
/// nothing.
pub fn select_served(flow: &Flow, key: &OutboundKey) -> String {
    let nothing: Vec<String> = columns(key).map(|c| format!("{c} IS NULL")).collect();
    format!(
        "SELECT pg_catalog.array_agg(q.place) AS places, count(*) AS n FROM (SELECT v.{} AS place FROM {} AS v WHERE {} AND ({} OR \
         {} IN (SELECT pg_catalog.jsonb_array_elements($2)))) q",
        view_names::place(),
        flow.view,
        at_places(),
        nothing.join(" OR "),
        texts(key),
    )
}

fn columns(key: &OutboundKey) -> impl Iterator<Item = String> {
    key.pairs.iter().map(|p| format!("v.{}", p.columns.child))
}

/// The key that row `v` refers to, as a JSON array.
fn texts(key: &OutboundKey) -> String {
    let all: Vec<String> = columns(key)
        .map(|c| format!("{c}::pg_catalog.text"))
        .collect();
    format!("pg_catalog.jsonb_build_array({})", all.join(", "))
}

fn at_places() -> String {
    format!("v.{} OPERATOR(pg_catalog.=) ANY ($1)", view_names::place())
}
