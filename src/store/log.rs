//! `mig.step_log`: who did what, when; it outlives the migration.

use crate::error::Result;
use crate::pg::spi;

pub fn write(migration: &str, phase: &str, what: &str) -> Result<()> {
    spi::run(
        "INSERT INTO mig.step_log (migration, phase, what) VALUES ($1, $2, $3)",
        &[migration.into(), phase.into(), what.into()],
    )?;
    Ok(())
}
