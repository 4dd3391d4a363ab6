//! Functions that change nothing: preflight, plan, DDL, config.

use crate::engine::kind;
use crate::engine::types::PlannedStep;
use crate::error::{Error, Result};
use crate::ident::Literal;
use crate::model::config::Config;
use crate::model::phase::Phase;
use crate::model::records::Migration;
use crate::preflight::PreflightFinding;
use crate::relation::id_pairs;
use crate::steps::define;
use crate::store::{mapping, migration, new_column};
use pgrx::pg_sys::Oid;

pub fn config(name: Option<&str>) -> Result<Config> {
    let m = migration::find_visible(name)?;
    let mappings = mapping::list(m.id)?;
    Ok(define::config(&m, &mappings, &new_column::list(m.id)?))
}

pub fn preflight(name: Option<&str>) -> Result<Vec<PreflightFinding>> {
    kind::find(name)?.findings()
}

/// Returns the new key of the row that had `old_key`; the same key if keys are kept. None if the target has no such row.
pub fn new_id(name: Option<&str>, source: Oid, old_key: &str) -> Result<Option<String>> {
    let m = migration::find_any(name)?;
    let mappings = mapping::list(m.id)?;
    let chosen = crate::engine::tables::choose_mappings(&mappings, Some(source))?;
    let Some(p) = chosen.first() else {
        return Ok(None);
    };
    if p.layout.is_none() {
        return Err(m.wrong_phase("phase \"created\" or later"));
    }
    id_pairs::look_up(p, old_key)
}

/// Returns every statement from here to the archive.
pub fn plan(name: Option<&str>) -> Result<Vec<PlannedStep>> {
    let work = kind::find(name)?;
    let now = work.migration().phase;
    if now < Phase::DualWrite {
        work.require_kinds()?;
    }
    Ok(work.plan()?.into_iter().filter(|s| s.phase > now).collect())
}

/// Returns the statements that create the targets, or their foreign keys, for a migration file of an ORM or for \gexec.
pub fn ddl(name: Option<&str>, phase: &str) -> Result<Vec<String>> {
    let work = kind::find(name)?;
    let made = match phase {
        "create" | "created" => work.ddl(false)?,
        "backfilled" => work.ddl(true)?,
        _ => None,
    };
    made.ok_or_else(|| no_ddl(work.migration(), phase))
}

fn no_ddl(m: &Migration, phase: &str) -> Error {
    Error::not_supported(
        format!("DDL of phase \"{phase}\""),
        "A file can create the targets ('create') and, once the rows are there, their foreign keys ('backfilled'); \
                 what else there is to do needs the engine.".into(),
        format!("SELECT * FROM mig_ddl({}, 'create');", Literal(&m.name)),
    )
}
