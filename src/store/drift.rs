//! Is everything as we left it? DDL on source or target, and triggers that somebody switched off; `mig.drift`
//! looks, here it is judged.

use crate::error::{Error, Result};
use crate::ident::Literal;
use crate::model::state::{Mapping, Migration};
use crate::pg::spi;

/// What somebody changed, as text; None if all stands as we left it. `kinds` narrows it to `gone`, `shape` or `mirror`.
pub fn found(p: &Mapping, kinds: &[&str]) -> Result<Option<String>> {
    let kinds: Vec<String> = kinds.iter().map(|k| (*k).to_owned()).collect();
    spi::value(
        "SELECT pg_catalog.string_agg(what, '; ' ORDER BY what) FROM mig.drift WHERE mapping = $1 AND kind = ANY ($2)",
        &[p.id.into(), kinds.into()],
    )
}

/// Errors with 55000 if tables, columns, keys or mirrors of the migration are not as we left them.
pub fn require_none(m: &Migration) -> Result<()> {
    let what: Option<String> = spi::value(
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
            hint: format!(
                "Go back and start over: SELECT next_step FROM mig_status({});",
                Literal(&m.name)
            ),
        }),
    }
}
