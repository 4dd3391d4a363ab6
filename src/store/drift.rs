//! Drift: DDL on source or target, and triggers that were disabled or changed. Detected by `mig.drift`, reported here.

use crate::error::{Error, Result};
use crate::ident::Literal;
use crate::model::phase::Phase;
use crate::model::records::{Mapping, Migration};
use crate::model::text_enum::text_enum;
use crate::pg::prepared::KeptPlan;
use crate::pg::{catalog, state, syscache};
use crate::sqlgen::view_names;
use pgrx::pg_sys;

/// Returns the drift of one mapping, of some kinds, as text; None if there is none.
pub fn find_text(p: &Mapping, kinds: &[DriftKind]) -> Result<Option<String>> {
    let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
    state::value(
        "SELECT pg_catalog.string_agg(what, '; ' ORDER BY what) FROM mig.drift WHERE mapping = $1 AND kind = ANY ($2)",
        &[p.id.into(), kinds.into()],
    )
}

text_enum! {
    /// What has changed.
    pub enum DriftKind {
        /// A table or a view.
        Gone = "gone",
        /// Columns, keys or children of a table.
        Shape = "shape",
        /// A trigger of ours.
        Mirror = "mirror",
        /// Rows of an old table: they lack writes of the new one.
        Behind = "behind",
    }
}

/// One detected change.
#[derive(serde::Deserialize)]
pub struct DriftChange {
    pub mapping: i32,
    pub source: Option<u32>,
    pub kind: DriftKind,
    pub what: String,
}

/// Lists the drift of a migration. Each batch asks, and the view is planned longer than it runs.
pub fn list(m: &Migration) -> Result<Vec<DriftChange>> {
    thread_local! {
        static KEPT: KeptPlan = const { KeptPlan::new() };
    }
    #[derive(serde::Deserialize)]
    struct DriftDocument {
        all: Vec<DriftChange>,
    }
    let found: Option<DriftDocument> = KEPT.with(|kept| {
        state::first_kept(
            kept,
            "SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(d) ORDER BY d.what), '[]') AS \"all\" \
             FROM (SELECT mapping, source::oid::bigint AS source, kind, what FROM mig.drift WHERE migration_id = $1) d",
            &[pg_sys::INT4OID],
            &mut [pg_sys::Datum::from(m.id)],
        )
    })?;
    Ok(found.map_or_else(Vec::new, |f| f.all))
}

/// What came or went on the source of a mapping, and did not on the target.
#[derive(serde::Deserialize)]
pub struct ObjectChange {
    pub mapping: i32,
    pub what: String,
}

pub fn list_object_changes(m: &Migration) -> Result<Vec<ObjectChange>> {
    state::rows(
        "SELECT mapping, what FROM mig.changes WHERE migration_id = $1 ORDER BY what",
        &[m.id.into()],
    )
}

/// Whether the migration has drift.
pub fn is_there(m: &Migration) -> Result<bool> {
    let found = state::value::<bool>(
        "SELECT EXISTS (SELECT FROM mig.drift WHERE migration_id = $1)",
        &[m.id.into()],
    )?;
    Ok(found.unwrap_or(false))
}

/// Whether a view that says what rows of a target are is gone.
fn lacks_view(mappings: &[Mapping]) -> bool {
    let mut names = mappings.iter().map(|p| view_names::name(p.id));
    names.any(|name| catalog::oid_of(&name).is_none())
}

/// Whether a target lacks a column of its layout, or a source a column of its key.
fn lacks_column(p: &Mapping) -> bool {
    let Some(layout) = &p.layout else {
        return false;
    };
    let gone = |relation: u32, name| !syscache::has_column(relation.into(), name);
    let target = p.target.unwrap_or(0);
    layout.columns.iter().any(|c| gone(target, &c.name))
        || layout.key.iter().any(|k| gone(p.source, &k.source))
}

/// Whether rows can be compared: such a view is there, and the columns.
pub fn is_comparable(mappings: &[Mapping]) -> bool {
    !lacks_view(mappings) && !mappings.iter().any(lacks_column)
}

/// Errors: 55000 if rows cannot be compared.
pub fn require_comparable(m: &Migration, mappings: &[Mapping]) -> Result<()> {
    if is_comparable(mappings) {
        return Ok(());
    }
    require_none(m)
}

/// Errors: 55000 if a table or a view is gone or replaced.
pub fn require_nothing_gone(m: &Migration) -> Result<()> {
    match describe_gone(m)? {
        Some(_) => require_none(m),
        None => Ok(()),
    }
}

/// Returns which tables or views are gone or replaced, as text; None if all are there.
pub fn describe_gone(m: &Migration) -> Result<Option<String>> {
    let found = list(m)?;
    let gone = found.iter().filter(|c| c.kind == DriftKind::Gone);
    let what: Vec<&str> = gone.map(|c| c.what.as_str()).collect();
    Ok((!what.is_empty()).then(|| what.join("; ")))
}

/// Errors: 55000 if tables, columns, keys or mirrors of the migration have changed.
pub fn require_none(m: &Migration) -> Result<()> {
    require_none_of(m, list(m)?)
}

/// The same for `mig_stop`: from then on the new tables are the truth, and old ones that lack their writes can be brought up to date.
pub fn require_none_of_the_new(m: &Migration) -> Result<()> {
    let mut found = list(m)?;
    found.retain(|c| c.kind != DriftKind::Behind);
    require_none_of(m, found)
}

fn require_none_of(m: &Migration, found: Vec<DriftChange>) -> Result<()> {
    let what: Vec<&str> = found.iter().map(|c| c.what.as_str()).collect();
    let what = what.join("; ");
    match found.as_slice() {
        [] => Ok(()),
        changes => Err(Error::drift(
            m.name.clone(),
            if changes.iter().any(|c| c.kind == DriftKind::Mirror) {
                format!("Found: {what}. Writes may have passed the mirror.")
            } else {
                format!("Found: {what}.")
            },
            match m.phase {
                Phase::Switched if changes.iter().any(|c| c.kind == DriftKind::Behind) => format!(
                    "Where the new rows are right: SELECT * FROM mig_stop({0}); and SELECT * FROM mig_rollback({0}, 'switched'); bring the old tables up to date. \
                     Rows of the old tables that are newer (mig_diff names rows) have to be written again before.",
                    Literal(&m.name)
                ),
                Phase::Switched if changes.iter().all(|c| c.kind != DriftKind::Gone) => format!(
                    "Make both sides equal (mig_diff names rows, mig_repair makes new rows equal to the old ones); then SELECT * FROM mig_switch({0}); installs the mirrors again.",
                    Literal(&m.name)
                ),
                _ => format!(
                    "What to do about it: SELECT next_step FROM mig_status({});",
                    Literal(&m.name)
                ),
            },
        )),
    }
}
