//! Column changes: columns of one table that are replaced in place. Defined, created, kept in step, filled, ended.

pub mod backfill;
pub mod compare;
pub mod create;
pub mod define;
pub mod dependents;
pub mod finish;

use crate::error::Result;
use crate::model::column_change::ColumnChange;
use crate::model::records::Migration;
use crate::pg::lock::{self, LockMode, LockRequest};
use crate::relation::triggers;
use crate::settings;

/// Returns the tables of the changes, each once.
fn tables(all: &[ColumnChange], mode: LockMode) -> Result<Vec<LockRequest>> {
    let mut found: Vec<LockRequest> = Vec::new();
    for r in all {
        let table = LockRequest::new(r.relation.into(), r.table()?, mode);
        if !found.iter().any(|known| known.relation == table.relation) {
            found.push(table);
        }
    }
    Ok(found)
}

/// Locks the tables AccessExclusive, for catalog changes, and whatever else has triggers of ours.
fn lock_all(m: &Migration, all: &[ColumnChange]) -> Result<()> {
    lock_tables(m, tables(all, LockMode::AccessExclusive)?, all)
}

/// As `lock_all`, where tables may have been dropped.
fn lock_existing(m: &Migration, all: &[ColumnChange]) -> Result<()> {
    let there = tables(&existing_tables(all), LockMode::AccessExclusive)?;
    lock_tables(m, there, all)
}

fn lock_tables(m: &Migration, mut tables: Vec<LockRequest>, all: &[ColumnChange]) -> Result<()> {
    tables.extend(triggers::locks_elsewhere(all, LockMode::AccessExclusive)?);
    lock::lock_all(&tables, settings::lock_timeout_ms(m))
}

/// Returns the changes whose tables have not been dropped.
fn existing_tables(all: &[ColumnChange]) -> Vec<ColumnChange> {
    all.iter().filter(|r| r.table.is_some()).cloned().collect()
}
