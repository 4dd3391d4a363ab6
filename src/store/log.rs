//! `mig.step_log`: who did what and when; it outlives the migration.

use crate::error::Result;
use crate::pg::{role, state};

pub fn write(migration: &str, phase: &str, what: &str) -> Result<()> {
    state::run(
        // If the migration has been dropped by now, the caller was its owner.
        "INSERT INTO mig.step_log (migration, phase, what, owner) \
         VALUES ($1, $2, $3, coalesce((SELECT m.owner FROM mig.migration m WHERE m.name = $1), $4::regrole))",
        &[
            migration.into(),
            phase.into(),
            what.into(),
            role::current().into(),
        ],
    )?;
    Ok(())
}
