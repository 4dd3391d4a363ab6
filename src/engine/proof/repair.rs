//! Repair: makes both sides equal again, where writes passed the mirrors.

use crate::engine::kind;
use crate::engine::types::Repair;
use crate::error::Result;
use crate::pg::{guc, tx};
use pgrx::pg_sys::Oid;

/// Counts the rows that differ, and repairs them unless `dry_run`.
pub fn repair(name: Option<&str>, relation: Option<Oid>, dry_run: bool) -> Result<Vec<Repair>> {
    // Keys are passed from statement to statement as text.
    let _exact = guc::pin(&guc::EXACT);
    if dry_run {
        return kind::find(name)?.repair(relation, true);
    }
    tx::require_read_committed()?;
    kind::lock_idle(name, "mig_repair")?.repair(relation, false)
}
