//! The search_path of the application's code in the steps and jobs of a migration.

use crate::error::Result;
use crate::model::records::Migration;
use crate::pg::application_path::{self, PathGuard};
use crate::pg::role;
use crate::settings;
use pgrx::pg_sys::Oid;

/// Enters the migration's path. What the path finds runs as the tables' owners: where the migration's owner has lost the rights of one of them,
/// nothing is found but what is in pg_catalog.
pub fn enter(m: &Migration, owners: impl Iterator<Item = Option<u32>>) -> Result<PathGuard> {
    let mut owners = owners.flatten();
    let trusted = owners.all(|owner| role::has_privileges_of(m.owner.into(), Oid::from(owner)));
    let path = settings::search_path(m).filter(|_| trusted);
    let path = path
        .as_deref()
        .map(application_path::to_c_string)
        .transpose()?;
    Ok(application_path::enter(path))
}
