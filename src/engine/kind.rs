//! Loads the work of a migration: it moves tables, or it changes columns.

use crate::engine::columns::ColumnWork;
use crate::engine::gate;
use crate::engine::tables::TableWork;
use crate::engine::work::Work;
use crate::engine::work_path;
use crate::error::Result;
use crate::model::records::Migration;
use crate::store::{mapping, migration, new_column};

/// As long as the work lives, the application's code runs under the migration's search_path.
pub fn load(migration: Migration) -> Result<Box<dyn Work>> {
    let changes = new_column::list(migration.id)?;
    if !changes.is_empty() {
        let owners = changes.iter().map(|c| c.leader().owner);
        let path = work_path::enter(&migration, owners)?;
        return Ok(Box::new(ColumnWork {
            migration,
            changes,
            _path: path,
        }));
    }
    let mappings = mapping::list(migration.id)?;
    let owners = mappings
        .iter()
        .flat_map(|p| [p.source_owner, p.target_owner]);
    let path = work_path::enter(&migration, owners)?;
    Ok(Box::new(TableWork {
        migration,
        mappings,
        _path: path,
    }))
}

/// Loads the work of a migration of the caller, to look at it.
pub fn find(name: Option<&str>) -> Result<Box<dyn Work>> {
    let m = migration::find(name)?;
    migration::require_owner(&m)?;
    load(m)
}

/// Loads the work of a migration of the caller, which has no running job until the transaction ends. Errors name `call`.
pub fn lock_idle(name: Option<&str>, call: &'static str) -> Result<Box<dyn Work>> {
    load(gate::lock_idle_migration(name, call)?)
}
