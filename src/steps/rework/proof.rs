//! Rows whose columns are not in step: counted and named.

use crate::error::Result;
use crate::model::rework::{Rework, Stage};
use crate::pg::document::JsonText;
use crate::pg::{catalog, role, session, spi};
use crate::sqlgen::rework::compare as sql;
use pgrx::pg_sys::Oid;
use serde::Deserialize;

#[derive(Deserialize)]
pub struct Counted {
    pub rows: i64,
    pub wrong: i64,
}

/// Reads the whole table, at one moment.
pub fn count(r: &Rework, stage: Stage) -> Result<Counted> {
    let _owner = act(r)?;
    let _safe = session::pin_names();
    let found: Option<Counted> = spi::first(&sql::count(r, stage), &[])?;
    Ok(found.unwrap_or(Counted { rows: 0, wrong: 0 }))
}

/// A row that is out of step: what its columns should be, and what they are.
#[derive(Deserialize)]
pub struct Wrong {
    pub key: JsonText,
    pub source: Option<JsonText>,
    pub target: Option<JsonText>,
}

pub fn list(r: &Rework, stage: Stage, limit: i64) -> Result<Vec<Wrong>> {
    let table = r.table()?;
    let shape = catalog::shape_of(r.relation, &table.plain())?;
    let _owner = act(r)?;
    let _safe = session::pin_names();
    spi::rows(
        &sql::list(r, stage, table, &shape.key_columns(), limit),
        &[],
    )
}

fn act(r: &Rework) -> Result<role::Confined> {
    role::confine_reading(Oid::from(r.leader().owner.unwrap_or(0)))
}
