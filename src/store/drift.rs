//! Is everything as we left it? DDL on source or target, and triggers that somebody switched off.

use crate::error::{Error, Result};
use crate::model::state::Mapping;
use crate::pg::{catalog, spi};
use crate::sqlgen::mirror;
use crate::store::mapping;

/// Whether columns and keys of both tables are what the mapping was made for.
pub fn same_shape(p: &Mapping) -> Result<bool> {
    Ok(catalog::fingerprint(p.source, p.target.unwrap_or(0))? == p.fingerprint)
}

/// Errors with 55000 if source or target changed since `mig_create` looked at them.
pub fn require_same_shape(p: &Mapping) -> Result<()> {
    mapping::source(p)?;
    mapping::target(p)?;
    if same_shape(p)? {
        return Ok(());
    }
    Err(Error::ShapeDiffers {
        relation: format!("{} or its target", p.source_text()),
        detail: "Columns or keys changed since mig_create.".into(),
        hint: "Undo that change; or go back with mig_rollback(..., 'defined') and create the targets again.".into(),
    })
}

/// Disabled, demoted or missing triggers of a mapping, as text; None if all stand as we left them.
pub fn triggers(p: &Mapping) -> Result<Option<String>> {
    spi::value(
        "SELECT pg_catalog.string_agg(pg_catalog.format('%s %s', w.name, CASE t.tgenabled WHEN 'D' THEN 'is disabled' \
         WHEN 'O' THEN 'is demoted to ORIGIN' WHEN 'R' THEN 'fires for replicas only' ELSE 'is missing' END), ', ' ORDER BY w.name) \
         FROM pg_catalog.unnest($2) w(name) LEFT JOIN pg_catalog.pg_trigger t ON t.tgrelid = $1 AND t.tgname = w.name \
         WHERE t.tgenabled IS DISTINCT FROM 'A'",
        &[
            pgrx::pg_sys::Oid::from(p.source).into(),
            vec![
                mirror::trigger_name(p.id, "row").as_str().to_owned(),
                mirror::trigger_name(p.id, "truncate").as_str().to_owned(),
            ]
            .into(),
        ],
    )
}
