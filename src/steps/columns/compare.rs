//! Rows whose columns are out of step: counted and listed.

use crate::error::Result;
use crate::model::column_change::{ColumnChange, SyncStage};
use crate::pg::document::JsonText;
use crate::pg::{catalog, guc, role, spi};
use crate::sqlgen::columns::compare as sql;
use crate::store::new_column;
use serde::Deserialize;

#[derive(Deserialize)]
pub struct SyncCount {
    pub rows: i64,
    pub wrong: i64,
}

/// Counts rows over the whole table, under one snapshot.
pub fn count(r: &ColumnChange, stage: SyncStage) -> Result<SyncCount> {
    let _owner = act(r)?;
    let _safe = guc::pin_names();
    let found: Option<SyncCount> = spi::first(&sql::count(r, stage), &[])?;
    Ok(found.unwrap_or(SyncCount { rows: 0, wrong: 0 }))
}

/// A row that is out of step: the values that its columns should have, and those that they have.
#[derive(Deserialize)]
pub struct OutOfStepRow {
    pub key: JsonText,
    pub source: Option<JsonText>,
    pub target: Option<JsonText>,
}

pub fn list(r: &ColumnChange, stage: SyncStage, limit: i64) -> Result<Vec<OutOfStepRow>> {
    let table = r.table()?;
    let shape = catalog::shape_of(r.relation, &table.plain())?;
    let _owner = act(r)?;
    let _safe = guc::pin_names();
    spi::rows(
        &sql::list(r, stage, table, &shape.key_columns(), limit),
        &[],
    )
}

fn act(r: &ColumnChange) -> Result<role::ConfinedRole> {
    role::confine_reading(new_column::trusted_owner(r)?)
}
