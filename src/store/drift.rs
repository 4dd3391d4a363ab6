//! Drift: DDL on source or target, and triggers that were disabled or changed. Detected by `mig.drift`, reported here.

use crate::error::{Error, Result};
use crate::ident::Literal;
use crate::model::phase::Phase;
use crate::model::records::{Mapping, Migration};
use crate::pg::state;

/// Returns the drift of one mapping as text; None if there is none. `kinds` narrows it to `gone`, `shape` or `mirror`.
pub fn find_text(p: &Mapping, kinds: &[&str]) -> Result<Option<String>> {
    let kinds: Vec<String> = kinds.iter().map(|k| (*k).to_owned()).collect();
    state::value(
        "SELECT pg_catalog.string_agg(what, '; ' ORDER BY what) FROM mig.drift WHERE mapping = $1 AND kind = ANY ($2)",
        &[p.id.into(), kinds.into()],
    )
}

/// One detected change.
#[derive(serde::Deserialize)]
pub struct DriftChange {
    pub mapping: i32,
    pub kind: String,
    pub what: String,
}

pub fn list(m: &Migration) -> Result<Vec<DriftChange>> {
    state::rows(
        "SELECT mapping, kind, what FROM mig.drift WHERE migration_id = $1 ORDER BY what",
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

/// Errors: 55000 if tables, columns, keys or mirrors of the migration have changed.
pub fn require_none(m: &Migration) -> Result<()> {
    let what: Option<String> = state::value(
        "SELECT pg_catalog.string_agg(what, '; ' ORDER BY what) FROM mig.drift WHERE migration_id = $1",
        &[m.id.into()],
    )?;
    match what {
        None => Ok(()),
        Some(what) => Err(Error::Drift {
            migration: m.name.clone(),
            detail: if what.contains("mirror of ") {
                format!("Found: {what}. Writes may have passed the mirror.")
            } else {
                format!("Found: {what}.")
            },
            hint: match m.phase {
                Phase::Switched => format!(
                    "Make both sides equal (mig_diff names rows, mig_repair makes new rows what the old ones are); then SELECT * FROM mig_switch({0}); puts the mirrors in anew.",
                    Literal(&m.name)
                ),
                _ => format!(
                    "What to do about it: SELECT next_step FROM mig_status({});",
                    Literal(&m.name)
                ),
            },
        }),
    }
}
