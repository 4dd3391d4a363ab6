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

/// Locks the tables AccessExclusive, for catalog changes.
fn lock_all(m: &Migration, all: &[ColumnChange]) -> Result<()> {
    lock::lock_all(
        &tables(all, LockMode::AccessExclusive)?,
        settings::lock_timeout_ms(m),
    )
}

/// Returns the changes whose tables have not been dropped.
fn existing_tables(all: &[ColumnChange]) -> Vec<ColumnChange> {
    all.iter().filter(|r| r.table.is_some()).cloned().collect()
}
