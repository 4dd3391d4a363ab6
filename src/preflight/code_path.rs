//! The search_path of the application's code: schemas that it lacks, and roles that could put something into it.

use super::PreflightFinding;
use crate::error::Result;
use crate::model::records::Migration;
use crate::pg::{application_path, spi};
use crate::settings;
use pgrx::pg_sys::Oid;

/// Returns the findings for the path of a migration, whose tables have these owners.
pub fn findings(
    m: &Migration,
    owners: impl Iterator<Item = Option<u32>>,
) -> Result<Vec<PreflightFinding>> {
    let Some(path) = settings::search_path(m) else {
        return Ok(Vec::new());
    };
    let mut schemas = application_path::split(&path)?;
    schemas.retain(|name| name != "pg_temp");
    let owners: Vec<Oid> = owners.flatten().map(Oid::from).collect();
    spi::rows(
        include_str!("../../sql/query/path_findings.sql"),
        &[schemas.into(), owners.into(), m.name.as_str().into()],
    )
}
