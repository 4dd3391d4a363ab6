//! `mig.check_result`

use crate::error::Result;
use crate::pg::spi;
use pgrx::JsonB;
use pgrx::datum::TimestampWithTimeZone;
use serde_json::Value;

pub struct Outcome {
    pub ok: Option<bool>,
    pub compared: i64,
    pub differences: i64,
    pub failed: Value,
}

pub fn insert(
    migration: i32,
    mode: &str,
    phase: &str,
    started: Option<TimestampWithTimeZone>,
    outcome: Outcome,
) -> Result<()> {
    spi::run(
        "INSERT INTO mig.check_result (migration, mode, phase, started_at, ok, compared, differences, failed) \
         VALUES ($1, $2, $3, coalesce($4, clock_timestamp()), $5, $6, $7, $8)",
        &[
            migration.into(),
            mode.into(),
            phase.into(),
            started.into(),
            outcome.ok.into(),
            outcome.compared.into(),
            outcome.differences.into(),
            JsonB(outcome.failed).into(),
        ],
    )?;
    Ok(())
}

pub fn now() -> Result<Option<TimestampWithTimeZone>> {
    spi::value("SELECT pg_catalog.clock_timestamp()", &[])
}
