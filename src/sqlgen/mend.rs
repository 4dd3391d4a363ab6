//! Making the target's rows of some keys what the mapping says, or taking them away. As in a batch, lock first and decide
//! with a newer snapshot; see `batch`. `$1` jsonb: the keys, an array of arrays of text.

use crate::ident::{Ident, QualifiedName};
use crate::model::reference::Pair as Columns;
use crate::sqlgen::digest::{Pair, Side};
use crate::sqlgen::flow::Flow;
use crate::sqlgen::{batch, mirror, view};
use std::collections::BTreeSet;

/// A foreign key that refers to the target.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Inbound {
    pub child: QualifiedName,
    pub pairs: Vec<Columns>,
}

fn places(place: &str, from: &str, lock: &str) -> String {
    format!(
        "SELECT pg_catalog.array_agg(q.place) AS places, count(*) AS n FROM \
         (SELECT r.{place} AS place {from} FOR {lock} OF r SKIP LOCKED) q"
    )
}

/// Locks the free old rows of these keys against change, and returns their places.
pub fn lock_source(pair: &Pair) -> String {
    let from = pair.from(Side::Source, pair.chosen().of(Side::Source));
    places(&view::place().to_string(), &from, "SHARE")
}

/// Locks the free new rows of these keys: an UPDATE of one that is not free would wait, and hold the others.
pub fn lock_target(pair: &Pair) -> String {
    let from = pair.from(Side::Target, pair.chosen().of(Side::Target));
    places("ctid", &from, "NO KEY UPDATE")
}

/// `$1` tid[] places of old rows, `$2` tid[] places of new ones, all locked: updates what differs.
pub fn renew(flow: &Flow) -> String {
    mirror::renew(flow, &locked())
}

/// As `renew`, for key columns that are equal and look different (1.0 and 1.00).
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
            locked(),
            flow.meets("v", "t"),
            each(
                &|c| format!("v.{c}::pg_catalog.text <> t.{c}::pg_catalog.text"),
                " OR "
            ),
        )
    })
}

fn locked() -> String {
    format!(
        "v.{} OPERATOR(pg_catalog.=) ANY ($1) AND t.ctid OPERATOR(pg_catalog.=) ANY ($2)",
        view::place()
    )
}

/// `$1` tid[] places of locked old rows: inserts those that the target lacks. ON CONFLICT alone would wait for whoever
/// updates the new row just now (check_exclusion_or_unique_constraint in execIndexing.c), and hold all others meanwhile.
pub fn insert(flow: &Flow) -> String {
    batch::copy_missing(flow)
}

/// Locks new rows of these keys that have no old row, and returns their places.
pub fn lock_stale(pair: &Pair, flow: &Flow) -> String {
    let condition = format!(
        "{} AND NOT EXISTS (SELECT FROM {} AS v WHERE {})",
        pair.chosen().of(Side::Target),
        flow.view,
        flow.met_by("v", "r")
    );
    places("ctid", &pair.from(Side::Target, &condition), "UPDATE")
}

/// `$1` tid[] places of locked new rows: deletes those that have no old row still, and that nobody refers to: an ON DELETE
/// action would take rows along that have one.
pub fn delete(flow: &Flow, inbound: &[Inbound]) -> String {
    const CHILD: &str = "\"mig:c\"";
    let referred = inbound.iter().map(|i| {
        let same: Vec<String> = i.pairs.iter().map(|p| p.joined("t", CHILD)).collect();
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
