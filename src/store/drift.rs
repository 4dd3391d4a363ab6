//! Drift: DDL on source or target, and triggers that were disabled or changed. Detected by `mig.drift`, reported here.

use crate::error::{Error, Result};
use crate::ident::Literal;
use crate::model::phase::Phase;
use crate::model::records::{Mapping, Migration};
use crate::model::text_enum::text_enum;
use crate::pg::state;

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

pub fn list(m: &Migration) -> Result<Vec<DriftChange>> {
    state::rows(
        "SELECT mapping, source::oid::bigint AS source, kind, what FROM mig.drift WHERE migration_id = $1 ORDER BY what",
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

/// Errors: 55000 if a table or a view is gone without which rows cannot be compared.
pub fn require_comparable(m: &Migration) -> Result<()> {
    let found = list(m)?;
    let gone: Vec<&str> = found
        .iter()
        .filter(|c| c.kind == DriftKind::Gone)
        .map(|c| c.what.as_str())
        .collect();
    if gone.is_empty() {
        return Ok(());
    }
    Err(Error::drift(
        m.name.clone(),
        format!("Found: {}.", gone.join("; ")),
        format!(
            "What to do about it: SELECT next_step FROM mig_status({});",
            Literal(&m.name)
        ),
    ))
}

/// Errors: 55000 if tables, columns, keys or mirrors of the migration have changed.
pub fn require_none(m: &Migration) -> Result<()> {
    let found = list(m)?;
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
                Phase::Switched => format!(
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
